"""Fixtures for all rooms: the real control plane is a plugin, so that contract tests of any room may ask for it."""

pytest_plugins = ["tests.controlplane.fixtures"]
