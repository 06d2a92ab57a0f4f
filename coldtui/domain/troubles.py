"""Errors into troubles: why a source is not live, in words an operator knows."""

from __future__ import annotations

from .errors import ColdError, Expired, Forbidden, Misconfigured, NotInstalled, Throttled, TooNew, Unauthorized, Unreachable
from .readings import Trouble


class LineTrouble(Unreachable):
    """The line to a server is at fault; the adapter knows how (`kind` of a Trouble: dns, refused, tls, timeout, server, garbage, lost)."""

    def __init__(self, title: str, *, kind: str, detail: str = "", hint: str = "") -> None:
        super().__init__(title, detail=detail, hint=hint)
        self.kind = kind


_SIGNS = (
    ("refused", ("refused", "reset by peer", "connection reset")),
    ("timeout", ("timed out", "timeout", "did not answer", "no answer", "silent")),
    ("tls", ("tls", "certificate", "ssl")),
    ("dns", ("resolve", "name or service", "no address", "unknown host")),
    ("garbage", ("garbage", "not json", "decode")),
)


def trouble_of(error: BaseException) -> Trouble:
    """The trouble behind an error. An error outside the small tree is a fault of this program: kind `bug`."""
    if isinstance(error, ColdError):
        # What is missing is said by verb and resource; the server's sentence about it would say it again, at length.
        words = f"{error.title}: {error.detail}" if error.detail and not isinstance(error, Forbidden) else error.title
        return Trouble(_kind(error), words, error.hint)
    if isinstance(error, TimeoutError):
        return Trouble("timeout", "no answer within the deadline")
    return Trouble("bug", f"fault of this program: {type(error).__name__}: {error}"[:200], "see the log; it is tried again")


def _kind(error: ColdError) -> str:
    match error:
        case LineTrouble():
            return error.kind
        case Unauthorized():
            return "unauthorized"
        case Throttled():
            return "throttled"
        case Forbidden():
            return "forbidden"
        case NotInstalled():
            return "not-installed"
        case Misconfigured():
            return "config"
        case Expired() | TooNew():
            return "server"
        case Unreachable():
            said = f"{error.title} {error.detail}".lower()
            return next((kind for kind, signs in _SIGNS if any(sign in said for sign in signs)), "lost")
        case _:
            return "server"
