#!/bin/sh
# usage: deploy/compose/backup.sh FOLDER [--pictures]
# Writes into FOLDER what a new host needs: stylize.tar (jobs, API keys, styles, webhook secrets of one moment; with
# --pictures those of the blob store, too) and settings.tar (the secrets and .env). The service goes on meanwhile.
set -eu

case ${1:-} in '' | -*) sed -n '2,4s/^# //p' "$0" >&2 && exit 2 ;; esac
case ${2:-} in '' | --pictures) ;; *) sed -n '2,4s/^# //p' "$0" >&2 && exit 2 ;; esac
mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.."
umask 077
# shellcheck disable=SC2086 # --pictures or nothing
docker compose run --rm -T backup backup - ${2:-} >"$folder/stylize.tar.partial"
settings=''
[ ! -f .env ] || settings=.env
# shellcheck disable=SC2086 # .env or nothing
tar -cf "$folder/settings.tar.partial" deploy/compose/secrets $settings
mv "$folder/stylize.tar.partial" "$folder/stylize.tar"
mv "$folder/settings.tar.partial" "$folder/settings.tar"
echo "the backup is in $folder: keep it where nobody else reads it"
