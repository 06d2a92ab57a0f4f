"""The small tree of errors. Adapters translate into it; faces turn it into words, exit codes and colours."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    UNREACHABLE = 4
    NOT_PERMITTED = 5
    CANCELLED = 6


class ColdError(Exception):
    """Something an operator can read and act on: what happened, where, and the remedy."""

    exit = Exit.FAILED

    def __init__(self, title: str, *, detail: str = "", hint: str = "") -> None:
        super().__init__(title)
        self.title = title
        self.detail = detail
        self.hint = hint

    def __str__(self) -> str:
        return " · ".join(part for part in (self.title, self.detail, self.hint) if part)


class Misconfigured(ColdError):
    """A file, flag or variable of the operator's is wrong."""

    exit = Exit.USAGE


class UsageError(ColdError):
    """The command line cannot be understood."""

    exit = Exit.USAGE


class Unreachable(ColdError):
    """The other side did not answer: DNS, refused, TLS, timeout, garbage."""

    exit = Exit.UNREACHABLE


class Unauthorized(Unreachable):
    """401, or a client certificate that is not accepted."""

    exit = Exit.NOT_PERMITTED


class Forbidden(ColdError):
    """403: `verb` on `resource` is missing."""

    exit = Exit.NOT_PERMITTED

    def __init__(self, title: str, *, verb: str = "", resource: str = "", detail: str = "", hint: str = "") -> None:
        super().__init__(title, detail=detail, hint=hint)
        self.verb = verb
        self.resource = resource


class NotInstalled(ColdError):
    """404 on a whole kind: the component is not there."""


class NotFound(ColdError):
    """404 on one object."""


class Expired(ColdError):
    """410: the version or the continue token is too old; list again."""


class TooNew(ColdError):
    """The server knows no such version yet: a restored or lagging datastore; list again with an empty version."""


class Throttled(Unreachable):
    """429, or a 5xx with Retry-After."""

    def __init__(self, title: str, *, retry_after_s: float | None = None, detail: str = "", hint: str = "") -> None:
        super().__init__(title, detail=detail, hint=hint)
        self.retry_after_s = retry_after_s


class Closed(ColdError):
    """A stream was shut down by our own side."""


class Conflict(ColdError):
    """409: the object changed since it was read, or one of that name exists. Read again and apply the intent anew."""


class Invalid(ColdError):
    """422 or 400: the server does not take what was sent; `detail` names field and reason."""


class BudgetRefused(ColdError):
    """An eviction answered by 429 with cause DisruptionBudget: it may be asked again.

    `detail` is the server's sentence about the budget. `retry_after_s` is set when the budget is only not up to date yet.
    """

    def __init__(self, title: str, *, retry_after_s: float | None = None, detail: str = "", hint: str = "") -> None:
        super().__init__(title, detail=detail, hint=hint)
        self.retry_after_s = retry_after_s


class EvictionImpossible(ColdError):
    """An eviction answered by 500, more than one budget selects the pod: no repetition helps."""


class NamespaceEnds(ColdError):
    """403 with cause NamespaceTerminating: the pod goes with its namespace."""


class Refused(ColdError):
    """The plan, a lock, a missing confirmation or read-only mode forbids it. Nothing was changed."""

    exit = Exit.REFUSED


class Locked(Refused):
    """Another run holds what this one needs; `holder` is its id."""

    def __init__(self, title: str, *, holder: str = "", detail: str = "", hint: str = "") -> None:
        super().__init__(title, detail=detail, hint=hint)
        self.holder = holder


class StepFailed(ColdError):
    """A step of a run cannot reach its end: what, where, and what the operator can do."""


class SecretWanted(StepFailed):
    """A secret that nobody gave, or a wrong one (`wrong`). `secret` is its name among the secrets of `ports.Means`: `sudo/NODE`, `key/PATH`."""

    exit = Exit.NOT_PERMITTED

    def __init__(self, title: str, *, secret: str, wrong: bool = False, detail: str = "", hint: str = "") -> None:
        super().__init__(title, detail=detail, hint=hint)
        self.secret = secret
        self.wrong = wrong


class Cancelled(ColdError):
    """The operator asked the run to stop; it stopped before its next act."""

    exit = Exit.CANCELLED


class JournalTrouble(ColdError):
    """The journal cannot be read or written: disk full, read-only, corrupt, of a newer version."""


class HostKeyUnknown(ColdError):
    """SSH: the host is in no known_hosts file. `fingerprint` is what it showed; it was not accepted."""

    def __init__(self, title: str, *, fingerprint: str, line: str, detail: str = "", hint: str = "") -> None:
        super().__init__(title, detail=detail, hint=hint)
        self.fingerprint = fingerprint
        """`ED25519 SHA256:...`."""
        self.line = line
        """The line for known_hosts."""


class HostKeyChanged(ColdError):
    """SSH: the host shows another key than the one that is known."""
