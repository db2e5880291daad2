"""What lies around every route: paths and versions, hosts and pages of others, security headers, metrics, access log."""
