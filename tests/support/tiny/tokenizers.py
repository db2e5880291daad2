"""A byte-level CLIP vocabulary without merges: 256 bytes, 256 word-final bytes and two markers."""

import json
from pathlib import Path


def save_byte_vocabulary(folder: Path) -> None:
    """Write vocab.json and merges.txt into a folder, made if it is not there."""
    symbols = byte_symbols()
    vocabulary = symbols + [f"{symbol}</w>" for symbol in symbols] + ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(vocabulary)}, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n")


def byte_symbols() -> list[str]:
    """Return CLIP's printable symbol of each byte: printable Latin-1 bytes themselves first, then the others."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]
