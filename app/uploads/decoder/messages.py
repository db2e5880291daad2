"""What gateway, server and child say to each other: fixed records, no pickles.

    gateway -> server   REQUEST, with two memory files: the upload, and the target for its PNG
    child   -> server   RESULT at the start of a file of the child's own, from PNG_OFFSET on the PNG and the text of the
                        recipe that the picture carries; then it ends
    server  -> gateway  REPLY; the target holds the PNG and the recipe behind it

No child ever holds a file that outlives it, or that a later picture will use, once it looks at its picture.
"""

import struct

HELLO = struct.Struct("<?")
"""Whether the server could leave the network behind."""

REQUEST = struct.Struct("<QQ?")
"""number, bytes of the upload, whether it is a mask"""

RESULT = struct.Struct("<4sBIIQI")
"""MAGIC, verdict, width, height, bytes of the PNG, bytes of the recipe"""

REPLY = struct.Struct("<QBIIQI32si")
"""number, verdict, width, height, bytes of the PNG, bytes of the recipe, sha256 of the PNG, wait status of the child"""

MAGIC = b"STY1"
PNG_OFFSET = 64
MAX_PNG_BYTES = 64_000_000
