"""Fixtures for all rooms: the real control plane is a plugin, so that contract tests of any room may ask for it."""

import gc
import signal

pytest_plugins = ["tests.controlplane.fixtures"]


def pytest_collection_finish() -> None:
    """What was imported for the tests stays until the end: the collector need not walk it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def pytest_configure() -> None:
    """A run in the background (`nohup`, `&`) ignores signals, and so would every program that tests start and then interrupt or hang up."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
