"""Secrets that a run needs: asked for on a terminal, else read from a file descriptor. Never from an argument or a variable."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..domain.errors import Refused, UsageError
from ..domain.plans import Finding, Plan
from ..domain.secret import Secret
from ..domain.text import plain
from . import confirm, out

if TYPE_CHECKING:
    from .run import Call

CODE = "needs-secret."
"""A finding whose code begins so names in `object` what is needed, such as `secrets/sudo/k3s-worker-1`."""
AT_MOST = 1 << 20


def given(call: Call, plan: Plan) -> dict[str, Secret]:
    """By name, such as `sudo/k3s-worker-1`. Raises UsageError, Refused."""
    fd = call.parsed.flags.get("secrets_fd")
    found = read(fd) if fd is not None else {}
    for finding in plan.findings:
        name = finding.object.removeprefix("secrets/")
        if finding.code.startswith(CODE) and name and name not in found:
            found[name] = _asked(name, finding)
    return found


def read(fd: int) -> dict[str, Secret]:
    """One JSON object of names and texts. Raises UsageError; what was read is in no message."""
    try:
        with os.fdopen(fd, "rb", closefd=fd > 2) as pipe:
            data = pipe.read(AT_MOST)
    except OSError as error:
        raise UsageError(
            f"--secrets-fd {fd} cannot be read", detail=(error.strerror or "").lower(), hint="coldtui ... --secrets-fd 3 3< FILE"
        ) from None
    try:
        made: Any = json.loads(data)
    except ValueError:
        made = None
    if not isinstance(made, Mapping) or not all(isinstance(value, str) for value in made.values()):
        raise UsageError(f"--secrets-fd {fd} is no JSON object of names and texts", hint='such as {"sudo/k3s-worker-1": "..."}')
    return {str(name): Secret(value) for name, value in made.items()}


def _asked(name: str, finding: Finding) -> Secret:
    if not confirm.terminal():
        raise Refused(
            f"a secret is needed: {plain(name)}", detail=finding.sentence, hint="give it with --secrets-fd, or call this on a terminal"
        )
    import getpass

    out.say(out.clean(finding.sentence))
    with confirm.interruptible():
        typed = getpass.getpass(f"{plain(name)}: ")
    if not typed:
        raise Refused(f"a secret is needed: {plain(name)}", detail="nothing was typed", hint=finding.remedy)
    return Secret(typed)
