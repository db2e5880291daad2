"""The world of pictures: objects x rendering styles, every picture a pure function of its seeds."""
