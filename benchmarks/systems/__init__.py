"""One worker a system: a JSON description of the work in, a JSON measurement out."""
