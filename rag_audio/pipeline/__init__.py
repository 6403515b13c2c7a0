"""The product's use cases: generate, edit, deliver, copy, back up."""
