"""Acts on a PostgreSQL cluster under CloudNativePG."""
