"""Files from the hub, a bucket or a folder, resumed and verified."""
