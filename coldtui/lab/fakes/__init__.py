"""In-memory fakes of the ports, with faults to order. The tests of every room use them.

`FakeKube` is a small API server that deals in domain values: put and delete objects, and whoever lists or watches sees them as through the
real port, in versions, pages and batches. Faults are methods: `kill`, `pause`, `fail`, `expire`, `garble`, `restore`, `end_watches`, `break_watches`.
`FakeDatabase` holds a `FakeServer` a target: what it says, whether it hangs or fails, and what was done to it.
What changes something is done to the same objects and remembered in `acts`. Everything may be called from any thread.
"""

from .acts import Act
from .clock import START, FakeClock
from .database import FakeDatabase, FakeServer
from .kube import FakeKube
from .state import EVERY
from .streams import FakeStreams

__all__ = ["EVERY", "START", "Act", "FakeClock", "FakeDatabase", "FakeKube", "FakeServer", "FakeStreams"]
