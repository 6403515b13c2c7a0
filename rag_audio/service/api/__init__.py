"""The HTTP API: thin over the main path, loaded only by ``serve``."""
