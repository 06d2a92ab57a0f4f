"""Domain values become rows, badges, sentences and JSON shapes: one wording for every face."""
