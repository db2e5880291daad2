"""The studio: the web page at `/`, static files that use nothing but the public API."""
