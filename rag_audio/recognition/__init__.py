"""Which stems of the library a sound holds, whatever was done to them on the way."""
