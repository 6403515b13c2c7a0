"""Sound and scores: reading, writing, signal processing, analysis, pictures."""
