"""What an endpoint calls: submit, wait, compare, precompute, follow a job."""
