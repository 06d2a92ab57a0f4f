"""The simulated site's moving parts: ordinary API clients that watch, decide and write, as the real ones do."""
