"""The blob store behind the gateway: calls with a time limit, pictures sent block by block, room left on the disk."""
