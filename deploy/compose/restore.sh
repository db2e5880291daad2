#!/bin/sh
# usage: deploy/compose/restore.sh FOLDER [--replace]
# Stops the service and brings back what deploy/compose/backup.sh wrote into FOLDER: on a new host secrets and .env, too, on
# this one those that are there stay. --replace deletes what Redis holds. Then: docker compose up --detach --wait
set -eu

case ${1:-} in '' | -*) sed -n '2,4s/^# //p' "$0" >&2 && exit 2 ;; esac
case ${2:-} in '' | --replace) ;; *) sed -n '2,4s/^# //p' "$0" >&2 && exit 2 ;; esac
folder=$(cd "$1" && pwd)
for file in stylize.tar settings.tar; do
    [ -s "$folder/$file" ] || { echo "restore.sh: there is no $file in $folder" >&2 && exit 2; }
done
cd "$(dirname "$0")/../.."
[ -s deploy/compose/secrets/redis_auth ] || tar -xpf "$folder/settings.tar"
docker compose down
# shellcheck disable=SC2086 # --replace or nothing
docker compose run --rm -T backup restore - ${2:-} <"$folder/stylize.tar"
echo "restored; now: docker compose up --detach --wait"
