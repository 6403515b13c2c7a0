"""What went into an output, provably: ledger, content credentials, trace, influence, reports."""
