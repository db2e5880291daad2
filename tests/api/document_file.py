"""`python -m tests.api.document_file --write`: write docs/openapi.json, the OpenAPI document of this release."""

import json
import sys
from typing import Any

from app.main import create_app
from app.settings import GatewaySettings
from tests.architecture.source import ROOT

FILE = ROOT / "docs" / "openapi.json"


def served_document(*models: str) -> dict[str, Any]:
    """Return the document of a host that serves these models; it names no release of the server."""
    document = dict(create_app(GatewaySettings(models=models)).openapi())
    document["info"] = {**document["info"], "version": "1"}
    return document


def written() -> str:
    """Return the text of the file."""
    return json.dumps(served_document("starter"), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        FILE.write_text(written(), encoding="utf-8")
    elif FILE.read_text(encoding="utf-8") != written():
        sys.exit("docs/openapi.json is not the code's; run: make docs")
