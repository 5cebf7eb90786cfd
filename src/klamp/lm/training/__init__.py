"""One iteration, the compiled programs, and the run around them."""
