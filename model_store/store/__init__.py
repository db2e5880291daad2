"""The files of the store: the lock file, presence, verification, removal."""
