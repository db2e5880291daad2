"""What gateway and workers share: jobs, styles, blobs, the queue. No torch, no HTTP."""
