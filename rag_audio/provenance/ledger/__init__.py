"""The append-only, tamper-evident log of outputs and of rights."""
