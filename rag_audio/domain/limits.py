"""Bounds that a request or a search keeps to, wherever it comes from."""

from __future__ import annotations

SEARCH_MOST = 1000
"""References that one search returns at most."""
REFERENCES_MOST = 64
"""References that one output is made from at most."""
VARIATIONS_MOST = 16
STEPS_MOST = 1000
GUIDANCE_MOST = 50.0
SEED_MOST = 2**63 - 1
BPM_LEAST, BPM_MOST = 20.0, 400.0
DURATION_LEAST_S, DURATION_MOST_S = 0.5, 3600.0
WORKERS_MOST = 64
"""Processes that decode files for an index run."""
OUTPUT_MOST = 2**40 - 1
"""The highest number of an output: a mark carries 40 bits."""
