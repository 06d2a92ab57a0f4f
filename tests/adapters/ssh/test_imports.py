"""asyncssh is paid for when something is reached, and does not speak to the terminal."""

from __future__ import annotations

import subprocess
import sys

SNIPPET = """
import sys
from coldtui.adapters.ssh import connect
from coldtui.config.settings import Config
from coldtui.live.pace import SystemClock
shell = connect(Config(), writable=False, secrets={}, clock=SystemClock())
shell.address("a", "10.0.0.1")
assert "asyncssh" not in sys.modules, "imported too early"
import coldtui.adapters.ssh.dial
from coldtui.adapters.ssh import connect as again
assert again is connect, "a module hides it"
import logging
logging.getLogger("asyncssh").warning("to nobody")
logging.getLogger("asyncssh.x").error("to nobody")
"""


def test_asyncssh_is_imported_at_the_first_connection_and_logs_to_no_terminal() -> None:
    """Making the port does not import it; its warnings reach no terminal even before our log was started."""
    done = subprocess.run([sys.executable, "-c", SNIPPET], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
