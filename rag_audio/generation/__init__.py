"""From references to sound: plan, seed audio, takes, in-painting."""
