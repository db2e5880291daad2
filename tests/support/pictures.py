"""Pictures and forms for the gateway's tests."""

import random
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from PIL import Image

FORM = {"method": "signal-leak", "prompt": "a house", "seed": "7", "steps": "2", "width": "64", "height": "64"}


def picture(mode: str = "RGB", size: tuple[int, int] = (40, 30), seed: int = 0) -> Image.Image:
    """Smooth colours, so that lossy formats keep them."""
    small = Image.new(mode, (3, 2))
    drawn = random.Random(seed)
    depth = len(small.getbands())
    for x in range(3):
        for y in range(2):
            value = tuple(drawn.randrange(256) for _ in range(depth))
            small.putpixel((x, y), value if depth > 1 else value[0])
    return small.resize(size, Image.Resampling.BILINEAR if mode not in ("1", "P") else Image.Resampling.NEAREST)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    data = BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def style(data: bytes | None = None, name: str = "style.png", media_type: str = "image/png") -> list[Any]:
    return [("style_image", (name, encoded(picture()) if data is None else data, media_type))]


def multipart(fields: Mapping[str, str], files: Mapping[str, bytes], boundary: str = "x") -> bytes:
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode() for k, v in fields.items()
    ]
    for name, data in files.items():
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="f"\r\n\r\n'
        parts.append(head.encode() + data + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode()
