"""Where the numbers of a run go while it trains, and what they say of it afterwards."""
