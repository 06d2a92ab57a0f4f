"""`ports.Database` on PostgreSQL servers, by psycopg. The entrance is `connect`."""

from __future__ import annotations

from .adapter import PostgresAdapter, connect

__all__ = ["PostgresAdapter", "connect"]
