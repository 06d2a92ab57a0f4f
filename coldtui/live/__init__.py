"""List-watch-relist, heartbeat and polls -> one immutable World. Owns every background task."""

from .core import Connector, Live, Subscriber
from .pace import Pace, SystemClock

__all__ = ["Connector", "Live", "Pace", "Subscriber", "SystemClock"]
