"""Whether the pictures of a request fit one another: known once they are decoded, before anything is stored."""

import json
from collections.abc import Iterable

from app.errors import Fault, Invalid
from app.services.admission import InputWriter, Pictures
from app.services.stored_inputs import Names
from app.uploads.upload import MASK_POINTER
from workers.contract.errors import BlobDamaged, BlobMissing
from workers.contract.jobs.models import StylizeRequest
from workers.contract.spec import Size
from workers.techniques import registry

CONTENT_POINTER = "#/content_image"


async def check_sizes(
    requests: Iterable[StylizeRequest], names: Names, pictures: Pictures, stored: InputWriter
) -> None:
    """Raise Invalid unless a mask has its content image's size, and the content image the room that it needs.

    `names` are all pictures of the requests, `pictures` those of them that were sent. Raises Unavailable.
    """
    concerned = [one for one in requests if registry.spec(one.method).inputs.mask_image != "none"]
    if not concerned or CONTENT_POINTER not in names:
        return
    content = await _size(CONTENT_POINTER, names, pictures, stored)
    if any(one.mask_image for one in concerned):
        mask = await _size(MASK_POINTER, names, pictures, stored)
        if mask != content:
            detail = f"has {_words(mask)} pixels, the content image {_words(content)}: they must have the same size"
            raise Invalid.of([Fault(MASK_POINTER, detail)])
    for request in concerned:
        params = registry.spec(request.method).params.model_validate_json(json.dumps(request.params))
        if fault := params.content_fault(content, (request.width, request.height)):
            raise Invalid.of([Fault(CONTENT_POINTER, fault)])


async def _size(pointer: str, names: Names, pictures: Pictures, stored: InputWriter) -> Size:
    """Return the size of a picture. Raises Invalid when it is stored no more."""
    if pointer in pictures:
        return pictures[pointer].width, pictures[pointer].height
    try:
        return await stored.read_size(names[pointer])
    except (BlobMissing, BlobDamaged) as gone:
        detail = f"{names[pointer]} is not stored any more; send the picture again"
        raise Invalid.of([Fault(pointer, detail)]) from gone


def _words(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
