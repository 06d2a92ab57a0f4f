"""Drain a node: kubectl's algorithm, with a plan before it that says of each pod what will happen, and a run that survives its terminal."""
