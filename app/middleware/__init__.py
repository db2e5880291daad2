"""What lies around every route: foreign hosts, security headers, HEAD, request metrics."""
