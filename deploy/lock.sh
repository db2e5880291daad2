#!/bin/sh
# Writes deploy/locks anew: every version and the sha256 of each of its files, for Python 3.11 to 3.13 on any platform.
# UV is the program uv. Versions stay as they are unless a file of the folder is deleted or --upgrade is given.
# worker, gateway and demo are what runs; dev is only what development adds to demo, and changes no version of theirs.
# torch is left out, with CUDA's libraries: which of its builds is taken is the host's choice, and pip, told the hashes of
# the public one, would take that wherever it is. It is installed by its version.
set -eu
cd "$(dirname "$0")/.."
mkdir -p deploy/locks
# NAME OTHER ARGUMENTS...: writes a lock, without what the lock OTHER has (its file, or nothing).
write() {
    name=$1 other=$2
    shift 2
    "${UV:-uv}" pip compile pyproject.toml "$@" --quiet --universal --python-version 3.11 --generate-hashes --no-header \
        --no-annotate --no-emit-package torch --no-emit-package triton --no-emit-package cuda-bindings \
        --no-emit-package cuda-pathfinder --no-emit-package cuda-toolkit --output-file "deploy/locks/$name.lock"
    awk -v other="$other" 'BEGIN { while (other && (getline <other) > 0) if (/^[a-z]/) drop[$0] = 1 }
        /^[a-z]/ { skip = /^nvidia-/ || $0 in drop } !skip' "deploy/locks/$name.lock" >"deploy/locks/$name.partial"
    mv "deploy/locks/$name.partial" "deploy/locks/$name.lock"
}
write worker "" --extra gateway --extra worker --extra tracing --extra credentials "$@"
write gateway "" --extra gateway --extra tracing --constraint deploy/locks/worker.lock "$@"
write demo "" --extra gateway --extra worker --extra embedded --constraint deploy/locks/worker.lock "$@"
write dev deploy/locks/demo.lock --all-extras --constraint deploy/locks/worker.lock --constraint deploy/locks/demo.lock "$@"
