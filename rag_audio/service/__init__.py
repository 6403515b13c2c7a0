"""Queue, workers, HTTP API and page."""
