"""What `app.server.http_protocol` leans on inside uvicorn: a release that changes it fails here."""

import hashlib
import inspect

from uvicorn.protocols.http import httptools_impl

KNOWN = "1d4e1c579df4168433a61a01f10c628b31c1790e72dd9769d2b8633b22214033"


def test_uvicorns_protocol_is_the_one_that_was_read() -> None:
    source = inspect.getsource(httptools_impl)
    assert hashlib.sha256(source.encode()).hexdigest() == KNOWN, (
        "read app/server/http_protocol.py and connection_app.py beside it"
    )
