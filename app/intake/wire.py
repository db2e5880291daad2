"""What gateway, zygote and child say to each other: fixed records, no pickles.

gateway -> zygote   REQUEST, with the upload's descriptor
child   -> zygote   RESULT at the start of the target file, the PNG from PNG_OFFSET on; then the child ends
zygote  -> gateway  REPLY, with the target's descriptor, sealed: nobody can change it any more
"""

import struct

HELLO = struct.Struct("<?")
"""Whether the zygote could leave the network behind."""

REQUEST = struct.Struct("<Q")
"""number"""

RESULT = struct.Struct("<4sBIIQ")
"""MAGIC, verdict, width, height, bytes of the PNG"""

REPLY = struct.Struct("<QBIIQ32si")
"""number, verdict, width, height, bytes of the PNG, sha256 of the PNG, wait status of the child"""

MAGIC = b"STY1"
PNG_OFFSET = 64
MAX_PNG_BYTES = 64_000_000
