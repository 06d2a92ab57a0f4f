"""What can be run on a host, by name."""

from __future__ import annotations

from coldtui.lab.hosts.programs import basic, df, files, journalctl, k3s, sudo, systemctl
from coldtui.lab.hosts.shell import Program

PROGRAMS: dict[str, Program] = {
    **basic.PROGRAMS,
    **sudo.PROGRAMS,
    **systemctl.PROGRAMS,
    **journalctl.PROGRAMS,
    **df.PROGRAMS,
    **files.PROGRAMS,
    **k3s.PROGRAMS,
}
