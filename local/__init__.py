"""The local stack: what a laptop runs in place of AWS. Nothing in `src/` imports from here."""
