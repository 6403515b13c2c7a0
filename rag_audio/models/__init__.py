"""CLAP and diffusion checkpoints: found, checked, loaded and run."""
