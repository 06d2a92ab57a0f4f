"""What faults tell the instance managers and the operator."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Orders:
    """Names are those of instances."""

    ignore_target: bool = False
    """A change of targetPrimary is not acted on by anybody."""
    stalls: bool = False
    """The operator takes back the target ``pending`` instead of electing anybody."""
    rogue: set[str] = field(default_factory=set)
    """Their manager lets the server be what it is."""
    cut: set[str] = field(default_factory=set)
    """Standbys that cannot reach any primary."""
    held: dict[str, str] = field(default_factory=dict)
    """Standbys that cannot reach this one primary; another they follow."""
    lost: set[str] = field(default_factory=set)
    """They crash at each start."""
    diverged: set[str] = field(default_factory=set)
    """Standbys that crash at each start for as long as they have the data that they have."""
    receiving: set[str] = field(default_factory=set)
    """Standbys that say of their WAL receiver that it runs, whatever it does."""
    unready: set[str] = field(default_factory=set)
    """Their readiness probe fails; the server works."""
    mute: set[str] = field(default_factory=set)
    """Their status endpoint fails; all else works."""
    wedged: set[str] = field(default_factory=set)
    """Their server is frozen. The manager waits for it and holds the lease; the readiness probe fails."""
