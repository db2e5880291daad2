"""The child that reads one pickled checkpoint and writes safetensors, after it has given up what it does not need.

Arguments: file to read, file to write, key map, memory limit in bytes, CPU limit in seconds. It prints one JSON
object, `{"tensors": n, "network": false}`; a refusal is a line on its standard error and a code other than 0.
Started by `pickled.py`; the service never imports it.
"""

import json
import sys
import warnings
from pathlib import Path

from model_store.convert import sandbox


def main() -> None:
    """Convert one file as the module says."""
    source, target, keymap = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    network = not sandbox.leave_network()  # before torch starts threads
    from model_store.convert import unpickle  # before the limits: it maps gigabytes and loads libraries

    output = 2 * source.stat().st_size + (1 << 20)
    sandbox.limit(memory_bytes=int(sys.argv[4]), output_bytes=output, cpu_seconds=int(sys.argv[5]))
    sandbox.refuse_actions()
    warnings.simplefilter("ignore")
    try:
        count = unpickle.convert(source, target, keymap)
    except Exception as fault:  # noqa: BLE001  whatever the file provokes is a refusal
        first = (str(fault).strip().splitlines() or [""])[0]
        sys.exit(f"{type(fault).__name__}: {first[:400]}")
    print(json.dumps({"tensors": count, "network": network}))
