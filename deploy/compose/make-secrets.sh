#!/bin/sh
# usage: deploy/compose/make-secrets.sh [FOLDER]
# Makes the secrets of docker-compose.yml once; what is there already stays. Remove a file and run it again to renew it.
# With FOLDER they are made there instead, but for the keys of the S3 store: those are the store's, not ours to make up.
set -eu

folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
chmod 700 "$folder" # keeps other users of this host out; the files are read by the users inside the containers
umask 022

random() {
    LC_ALL=C tr -dc 'A-Za-z0-9' </dev/urandom | head -c "$1"
}

# make NAME: keep what comes from standard input, unless the file is there
make() {
    if [ -s "$folder/$1" ]; then
        cat >/dev/null
    else
        cat >"$folder/$1.partial"
        mv "$folder/$1.partial" "$folder/$1"
    fi
}

if [ ! -s "$folder/redis_auth" ] || [ ! -s "$folder/redis_url" ]; then
    rm -f "$folder/redis_auth" "$folder/redis_url"
    password=$(random 40)
    printf 'requirepass %s\n' "$password" | make redis_auth
    printf 'redis://:%s@redis:6379/0\n' "$password" | make redis_url
fi
random 48 | make url_key
if [ $# -eq 0 ]; then
    # Keys of another store, written by hand into s3_credentials, stay; ours are renewed with what they are made of.
    if [ ! -s "$folder/s3_access_key" ] || [ ! -s "$folder/s3_secret_key" ]; then
        [ -s "$folder/s3_credentials" ] && grep -q '^# of the store s3$' "$folder/s3_credentials" \
            && rm -f "$folder/s3_credentials"
        random 20 | make s3_access_key
        random 40 | make s3_secret_key
    fi
    printf '# of the store s3\n[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' \
        "$(cat "$folder/s3_access_key")" "$(cat "$folder/s3_secret_key")" | make s3_credentials
    random 24 | make grafana_password
fi
echo "secrets are in $folder"
