"""From a piece of audio back to the output it is, and to its sources."""
