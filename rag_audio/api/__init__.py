"""The HTTP API, with the page on ``/``: thin over the main path, loaded only by ``serve``."""
