"""Finished pictures as files that carry their recipe: PNG text, XMP in JPEG and WebP."""

import json
from collections.abc import Sequence
from io import BytesIO
from xml.sax.saxutils import quoteattr

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from workers.contract.blobs.names import OutputFormat
from workers.contract.jobs.models import StylizeRequest, Terms

CONTENT_TYPES: dict[OutputFormat, str] = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
RECIPE_KEY = "stylize:recipe"
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:stylize="https://stylize.invalid/ns/1.0/" stylize:recipe={recipe}/>'
    "</rdf:RDF></x:xmpmeta>"
)


def recipe(request: StylizeRequest, seed: int, licences: Sequence[Terms] = (), weight_storage: str = "full") -> str:
    """Return the JSON of a Recipe that makes this one picture again: the request with the picture's own seed.

    `licences` are the terms of the models and the method that made it; `weight_storage` is named where it loses bits.
    """
    again = request.model_dump(mode="json", exclude_defaults=False) | {"seed": seed, "num_images": 1}
    if licences:
        again["licences"] = [terms.model_dump(mode="json", exclude_defaults=True) for terms in licences]
    if weight_storage != "full":
        again["weight_storage"] = weight_storage
    return json.dumps(again, sort_keys=True, ensure_ascii=False)


def encode_map(picture: Image.Image) -> bytes:
    """Return a map made of a control picture as a PNG file, whose pixels are those that the model saw."""
    file = BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()


def encode(picture: Image.Image, output_format: OutputFormat, recipe: str) -> bytes:
    """Return the RGB picture as a PNG (level 1: speed over size), JPEG or WebP file with the recipe inside."""
    file = BytesIO()
    if output_format == "png":
        text = PngInfo()
        text.add_itxt(RECIPE_KEY, recipe)
        picture.save(file, "PNG", compress_level=1, pnginfo=text)
    else:
        xmp = XMP.format(recipe=quoteattr(recipe)).encode()
        picture.save(file, output_format.upper(), quality=95, xmp=xmp)
    return file.getvalue()
