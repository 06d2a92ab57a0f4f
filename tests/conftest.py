"""Fixtures for all rooms: the real control plane is a plugin, so that contract tests of any room may ask for it."""

import gc

pytest_plugins = ["tests.controlplane.fixtures"]


def pytest_collection_finish() -> None:
    """What was imported for the tests stays until the end: the collector need not walk it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
