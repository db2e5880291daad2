#!/bin/sh
# Writes deploy/locks anew: every version and the sha256 of each of its files, for Python 3.11 and later on any platform.
# UV is the program uv. Versions stay as they are unless a file of the folder is deleted or --upgrade is given.
# torch's CUDA libraries are left out: which build of torch is taken, and so what it needs, is the host's choice. The locks
# hold torch itself; pip then adds what its build asks for.
set -eu
cd "$(dirname "$0")/.."
mkdir -p deploy/locks
write() {
    name=$1
    shift
    "${UV:-uv}" pip compile pyproject.toml "$@" --quiet --universal --python-version 3.11 --generate-hashes --no-header \
        --no-annotate --no-emit-package triton --no-emit-package cuda-bindings --no-emit-package cuda-pathfinder \
        --no-emit-package cuda-toolkit --output-file "deploy/locks/$name.lock"
    # What is left of CUDA goes, and the CPU build of the same torch comes beside the others.
    awk -v cpu="${TORCH_CPU_SHA256:-6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b}" '
        /^[a-z]/ { skip = /^nvidia-/ }
        skip { next }
        { print }
        /^torch==/ { print "    --hash=sha256:" cpu " \\" }' "deploy/locks/$name.lock" >"deploy/locks/$name.partial"
    mv "deploy/locks/$name.partial" "deploy/locks/$name.lock"
}
write gateway --extra gateway --extra tracing "$@"
write worker --extra gateway --extra worker --extra tracing --extra credentials "$@"
write demo --extra gateway --extra worker --extra embedded "$@"
write dev --all-extras "$@"
