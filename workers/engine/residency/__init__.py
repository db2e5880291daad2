"""Which weights lie where, in which form, and whether they fit: said before any of them takes memory."""
