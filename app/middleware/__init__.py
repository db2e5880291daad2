"""What lies around every route: paths and versions, foreign hosts and pages, security headers, metrics, access log."""
