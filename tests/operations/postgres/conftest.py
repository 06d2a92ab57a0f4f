"""The site with real servers, once for a module."""

from tests.lab.postgres.conftest import real

__all__ = ["real"]
