"""Text as tokens: tokenizer, chat template, and the record of what a policy sampled."""
