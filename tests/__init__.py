"""Tests. A package, so that shared means are imported by one name: `from tests.controlplane.plane import ControlPlane`."""
