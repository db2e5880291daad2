"""One router per resource of the HTTP API, with its headers, conditional answers and problem documents."""
