"""What a person at a terminal feels, measured: `make bench` prints one table with medians and ratios. Nothing here is a test."""
