#!/bin/sh
# Starts Stylize on this host with Docker Compose: secrets, a first API key, settings in .env, and all services.
set -eu

usage() {
    cat <<'TEXT'
usage: deploy/compose/start.sh [OPTION]...

Makes the secrets and a first API key, writes what is chosen into .env, builds the images, pulls the weights, and starts
gateway, sweeper, workers, Redis, the S3 store, Prometheus and Grafana. Run again, it keeps what is there and changes
only what an option names.

  --gpus N            workers, each on a GPU of its own; default: one for each GPU that nvidia-smi lists, at most 8
  --cpu               one worker without a GPU (minutes for a picture of a large model)
  --models IDS        base models to serve, separated by commas, the default first; default: sd15, on a CPU starter
  --pictures PLACE    s3 (a store of its own, the default), disk (the volume `data`), or s3://BUCKET[/PREFIX] of AWS or
                      of the server of --endpoint, with keys in deploy/compose/secrets/s3_credentials
  --endpoint URL      address of an S3 server other than AWS
  --region NAME       region of the bucket
  --monitoring, --no-monitoring
                      with Prometheus and Grafana (the default) or without
  --alerts URL        with Alertmanager, which posts alerts to this webhook
  --key NAME          name of the first API key; default: admin
  --help              show this
TEXT
}

fail() {
    echo "start.sh: $*" >&2
    exit 2
}

DRIVER=${DRIVER:-580} # CUDA 13, with which torch on PyPI is built; docs/operating.md tells of older ones
COMPOSE=2.24 # its first release that takes `required: false` of an env_file

gpus='' models='' pictures='' endpoint='' region='' monitoring='' alerts='' key=admin
while [ $# -gt 0 ]; do
    case $1 in
    --help | -h) usage && exit 0 ;;
    --cpu) gpus=0 && shift && continue ;;
    --monitoring) monitoring=yes && shift && continue ;;
    --no-monitoring) monitoring=no && shift && continue ;;
    --gpus | --models | --pictures | --endpoint | --region | --alerts | --key)
        [ $# -ge 2 ] && [ -n "$2" ] || fail "$1 needs a value; see --help"
        ;;
    *) fail "unknown option $1; see --help" ;;
    esac
    case $1 in
    --gpus) gpus=$2 ;;
    --models) models=$2 ;;
    --pictures) pictures=$2 ;;
    --endpoint) endpoint=$2 ;;
    --region) region=$2 ;;
    --alerts) alerts=$2 ;;
    --key) key=$2 ;;
    esac
    shift 2
done
case $gpus in '' | [0-8]) ;; *) fail "--gpus $gpus: a number from 1 to 8" ;; esac
case $pictures in '' | s3 | disk | s3://?*) ;; *) fail "--pictures $pictures: s3, disk or s3://BUCKET[/PREFIX]" ;; esac
case $alerts in '' | http://?* | https://?*) ;; *) fail "--alerts $alerts: an address that begins with https://" ;; esac
case $endpoint in '' | http://?* | https://?*) ;; *) fail "--endpoint $endpoint: an address that begins with https://" ;; esac

cd "$(dirname "$0")/../.."
secrets=deploy/compose/secrets

# value NAME: what .env says, or nothing
value() {
    [ ! -f .env ] || sed -n "s|^$1=||p" .env | tail -n 1
}

# set_value NAME [VALUE]: write it into .env in place of what is there; without a value remove it
set_value() {
    {
        [ ! -f .env ] || grep -v "^$1=" .env || true
        [ $# -eq 1 ] || printf '%s=%s\n' "$1" "$2"
    } >.env.partial
    mv .env.partial .env
}

command -v docker >/dev/null || fail "docker is not on PATH; install Docker Engine with its Compose plugin"
version=$(docker compose version --short 2>/dev/null) || fail "the Compose plugin of docker is missing"
version=${version#v}
oldest=$(printf '%s\n%s\n' "$COMPOSE" "$version" | sort -V | head -n 1)
[ "$oldest" = "$COMPOSE" ] || fail "docker compose is $version; $COMPOSE or later is needed"

profiles=$(value COMPOSE_PROFILES)
if [ -z "$gpus" ]; then
    case ,$profiles, in
    *,cpu,*) gpus=0 ;;
    *,gpu,*) gpus=1 ;;
    *,gpu[2-8],*) gpus=$(printf '%s' "$profiles" | sed 's/.*gpu\([2-8]\).*/\1/') ;;
    *)
        gpus=$(nvidia-smi --list-gpus 2>/dev/null | grep -c '^GPU ') || true
        [ "$gpus" -gt 0 ] || fail "nvidia-smi lists no GPU: install NVIDIA's driver, or take --cpu"
        [ "$gpus" -le 8 ] || gpus=8
        ;;
    esac
fi
if [ "$gpus" -gt 0 ] && command -v nvidia-smi >/dev/null; then
    driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1)
    case ${driver%%.*} in
    '' | *[!0-9]*) ;;
    *) [ "${driver%%.*}" -ge "$DRIVER" ] || fail "NVIDIA's driver is $driver; torch needs $DRIVER or later" ;;
    esac
fi

if [ -z "$pictures" ]; then
    case $(value STYLIZE_BLOB_URL) in
    '') pictures=s3 ;;
    file:*) pictures=disk ;;
    s3://stylize) case ,$profiles, in *,s3,*) pictures=s3 ;; *) pictures=kept ;; esac ;;
    *) pictures=kept ;;
    esac
fi

if [ -z "$monitoring" ]; then
    case ,$profiles, in ,, | *,observability,*) monitoring=yes ;; *) monitoring=no ;; esac
fi

case $gpus in 0) chosen=cpu ;; 1) chosen=gpu ;; *) chosen=gpu$gpus ;; esac
[ "$pictures" != s3 ] || chosen=$chosen,s3
[ "$monitoring" = no ] || chosen=$chosen,observability
[ -z "$alerts" ] && [ ! -s "$secrets/alert_url" ] || chosen=$chosen,alerts
case ,$profiles, in *,dcgm,*) chosen=$chosen,dcgm ;; esac

deploy/compose/make-secrets.sh
[ -z "$alerts" ] || printf '%s' "$alerts" >"$secrets/alert_url"
chmod 644 "$secrets"/* # read by the users inside the containers; the folder keeps others out
umask 077
set_value COMPOSE_PROFILES "$chosen"
if [ -z "$models" ] && [ -z "$(value STYLIZE_MODELS)" ]; then
    models=sd15
    [ "$gpus" -gt 0 ] || models=starter
fi
[ -z "$models" ] || set_value STYLIZE_MODELS "$models"
models=$(value STYLIZE_MODELS)
outside=docker-compose.yml:deploy/compose/outside-store.yml
[ "$pictures" = kept ] || [ "$(value COMPOSE_FILE)" != "$outside" ] || set_value COMPOSE_FILE
case $pictures in
s3)
    set_value STYLIZE_BLOB_URL s3://stylize
    set_value STYLIZE_S3_ENDPOINT_URL http://s3:9000
    ;;
disk) set_value STYLIZE_BLOB_URL file:/data/blobs ;;
s3://*)
    grep -q '^# of the store s3$' "$secrets/s3_credentials" \
        && fail "write the keys of $pictures into $secrets/s3_credentials, then start again"
    set_value STYLIZE_BLOB_URL "$pictures"
    set_value STYLIZE_S3_ENDPOINT_URL "$endpoint"
    set_value COMPOSE_FILE "$outside"
    ;;
esac
[ -z "$region" ] || set_value STYLIZE_S3_REGION "$region"
export COMPOSE_PROFILES="$chosen" # as .env has it, whatever this shell had

docker compose build
pull=$(printf '%s' "$models" | tr ',' '\n' | grep -vx starter) || true
# shellcheck disable=SC2086 # several names
[ -z "$pull" ] || docker compose run --rm -T models pull $pull
token=''
if [ "$(docker compose run --rm -T keys list --json)" = '[]' ]; then
    token=$(docker compose run --rm -T keys create "$key")
fi
docker compose up --detach --wait --remove-orphans

address=$(value GATEWAY_PUBLISHED)
echo "Stylize is on http://${address:-127.0.0.1:8000}, serving ${models}"
[ -z "$token" ] || echo "API key $key, shown this once: $token"
[ "$monitoring" = no ] || echo "Grafana is on http://127.0.0.1:3000: user admin, password in $secrets/grafana_password"
echo "docker compose run --rm doctor   # looks whether anything is missing"
