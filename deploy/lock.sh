#!/bin/sh
# Writes deploy/locks anew: every version and the sha256 of each of its files, for Python 3.11 and later on any platform.
# UV is the program uv. Versions stay as they are unless a file of the folder is deleted or --upgrade is given.
# torch is left out, with CUDA's libraries: which of its builds is taken is the host's choice, and pip, told the hashes of
# the public one, would take that wherever it is. It is installed by its version.
set -eu
cd "$(dirname "$0")/.."
mkdir -p deploy/locks
write() {
    name=$1
    shift
    "${UV:-uv}" pip compile pyproject.toml "$@" --quiet --universal --python-version 3.11 --generate-hashes --no-header \
        --no-annotate --no-emit-package torch --no-emit-package triton --no-emit-package cuda-bindings \
        --no-emit-package cuda-pathfinder --no-emit-package cuda-toolkit --output-file "deploy/locks/$name.lock"
    awk '/^[a-z]/ { skip = /^nvidia-/ } !skip' "deploy/locks/$name.lock" >"deploy/locks/$name.partial"
    mv "deploy/locks/$name.partial" "deploy/locks/$name.lock"
}
write gateway --extra gateway --extra tracing "$@"
write worker --extra gateway --extra worker --extra tracing --extra credentials "$@"
write demo --extra gateway --extra worker --extra embedded "$@"
write dev --all-extras "$@"
