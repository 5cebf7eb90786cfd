"""The promises that ``benchmarks/judge.py`` judges, one a file."""
