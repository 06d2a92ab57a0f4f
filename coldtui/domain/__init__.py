"""Values and verdicts: frozen dataclasses and pure functions. No I/O, no clock."""
