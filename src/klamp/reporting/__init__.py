"""What a run tells a person while it trains."""
