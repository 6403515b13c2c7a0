"""Content credentials (C2PA): keys, signing, reading."""
