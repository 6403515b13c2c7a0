"""A number hidden in sound: keyed, checked, and found again in cropped and recompressed copies."""
