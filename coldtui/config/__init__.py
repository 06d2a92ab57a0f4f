"""One typed configuration from flag, environment, file and default; the state folder; the log."""
