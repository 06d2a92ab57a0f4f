"""One place where failures of the line and answers of the API become the program's errors, in an operator's words."""

from __future__ import annotations

import contextlib
import email.utils
import errno
import http.client
import socket
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import urllib3.exceptions as u

from coldtui.domain.values import dataclass

from ...domain.errors import (
    ColdError,
    Expired,
    Forbidden,
    Invalid,
    Misconfigured,
    NotFound,
    NotInstalled,
    Throttled,
    TooNew,
    Unauthorized,
    Unreachable,
)
from ...domain.kinds import Kind
from ...domain.text import plain
from ...domain.troubles import LineTrouble
from .decoding import UNDECODABLE, Wire

LINE_ERRORS = (u.HTTPError, http.client.HTTPException, OSError, ValueError)
"""What urllib3 and below can raise while a request is under way."""


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked, for the words of a refusal."""

    verb: str
    resource: str
    """Plural, with `/subresource`."""
    group: str = ""
    namespace: str = ""
    name: str = ""
    kind: Kind | None = None

    def __str__(self) -> str:
        group = f" ({self.group})" if self.group else ""
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} on {self.resource}{group}{where}"

    @classmethod
    def of(cls, verb: str, kind: Kind, namespace: str = "", name: str = "") -> Question:
        return cls(verb, kind.plural, kind.group, namespace or kind.namespace, name, kind)


# --- the line --------------------------------------------------------------------------------------------------------------------------


def translate(error: BaseException, where: str, after_s: float | None = None) -> ColdError:
    """An exception of urllib3, ssl or the socket as what it means. `where` is `host:port`."""
    cause = _cause(error)
    host = where.rpartition(":")[0] or where
    late = f"{where} timed out" + (f" after {after_s:.0f} s" if after_s else "")
    match cause:
        case u.NameResolutionError() | socket.gaierror():
            return LineTrouble(f"name {host} cannot be resolved", kind="dns", hint="check the name, and DNS on this machine")
        case ssl.SSLCertVerificationError():
            return _untrusted(cause, where)
        case ssl.SSLError():
            return _tls(cause, where)
        case u.TimeoutError() | TimeoutError() if not isinstance(cause, u.NewConnectionError):
            return LineTrouble(late, kind="timeout")
        case ConnectionRefusedError():
            return LineTrouble(
                f"connection refused by {where}", kind="refused", hint="is the API server running there? systemctl status k3s"
            )
        case ConnectionResetError() | BrokenPipeError() | ConnectionAbortedError():
            return LineTrouble(f"{where} reset the connection", kind="lost")
        case http.client.RemoteDisconnected():
            return LineTrouble(f"{where} closed the connection without an answer", kind="lost")
        case http.client.BadStatusLine() | http.client.LineTooLong() | u.DecodeError() | u.InvalidHeader() | u.HeaderParsingError():
            return LineTrouble(f"what {where} answers is no HTTP", kind="garbage", hint="does the address lead to the Kubernetes API?")
        case http.client.IncompleteRead() | u.IncompleteRead():
            return LineTrouble(f"the answer of {where} broke off", kind="lost")
        case OSError() if cause.errno in {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN}:
            return LineTrouble(f"no route to {where}", kind="lost", hint="check the network or the VPN")
        case u.ProxyError():
            return LineTrouble(f"the proxy before {where} does not work", kind="lost", hint="check proxy-url in the kubeconfig")
        case u.ClosedPoolError():
            return LineTrouble(f"the connection to {where} was closed", kind="lost")
        case u.LocationValueError() | UnicodeError():
            return Misconfigured(f"{where} is no address that can be connected to", hint="check `server` in the kubeconfig")
        case OSError() if cause.strerror:
            return LineTrouble(f"{where}: {plain(cause.strerror).lower()}", kind="lost")
        case _:
            return LineTrouble(f"connection to {where} failed ({type(cause).__name__})", kind="lost")


def _cause(error: BaseException) -> BaseException:
    """The innermost exception that still says more than its wrapper."""
    seen = 0
    while seen < 8:
        seen += 1
        if isinstance(error, u.NameResolutionError | socket.gaierror | ssl.SSLError):
            return error
        inner = next((a for a in error.args if isinstance(a, BaseException)), None) or error.__cause__
        if isinstance(error, u.ConnectTimeoutError | u.ReadTimeoutError) and not isinstance(error, u.NewConnectionError):
            return error
        if inner is None and isinstance(error, u.NewConnectionError):
            inner = error.__context__
        if inner is None:
            return error
        error = inner
    return error


def _untrusted(error: ssl.SSLCertVerificationError, where: str) -> ColdError:
    said = plain(error.verify_message or "verification failed").rstrip(".")
    if "Hostname mismatch" in said or "IP address mismatch" in said:
        hint = "use an address that is in the certificate (K3s: --tls-san), or set tls-server-name in the kubeconfig"
    elif "expired" in said or "not yet valid" in said:
        hint = "compare the clocks of both machines; K3s renews its certificates at a restart"
    else:
        hint = "the kubeconfig belongs to another or a re-installed cluster: re-copy it from the server"
    return LineTrouble(f"certificate of {where} not trusted: {said}", kind="tls", hint=hint)


def _tls(error: ssl.SSLError, where: str) -> ColdError:
    reason = (error.reason or "").upper()
    if (
        "CERTIFICATE_REQUIRED" in reason
        or "ALERT_BAD_CERTIFICATE" in reason
        or "ALERT_UNKNOWN_CA" in reason
        or "CERTIFICATE_EXPIRED" in reason
    ):
        return Unauthorized(f"{where} refused our client certificate", detail=reason.lower().replace("_", " "))
    if "WRONG_VERSION_NUMBER" in reason or "HTTP_REQUEST" in reason:
        return LineTrouble(f"{where} does not speak TLS", kind="tls", hint="is it the right port? should `server` begin with http:?")
    if "EOF" in reason or isinstance(error, ssl.SSLEOFError):
        return LineTrouble(f"{where} closed the connection during TLS", kind="lost")
    return LineTrouble(f"TLS with {where} failed: {reason.lower().replace('_', ' ') or 'no reason given'}", kind="tls")


# --- the answer ------------------------------------------------------------------------------------------------------------------------


class StatusCause(Wire):
    reason: str = ""
    message: str = ""
    field: str = ""


class _Details(Wire):
    name: str = ""
    kind: str = ""
    """Plural of what is named."""
    retry_after_seconds: int = 0
    causes: list[StatusCause] | None = None


class Status(Wire):
    """The Status object that comes with an error."""

    kind: str = ""
    message: str = ""
    reason: str = ""
    code: int = 0
    details: _Details | None = None

    @property
    def causes(self) -> list[StatusCause]:
        return (self.details.causes if self.details is not None else None) or []

    @property
    def about(self) -> tuple[str, str]:
        """(plural, name) of the object that the refusal is about, empty when it does not say."""
        return (self.details.kind, self.details.name) if self.details is not None else ("", "")

    def caused_by(self, reason: str) -> StatusCause | None:
        return next((cause for cause in self.causes if cause.reason == reason), None)

    def wait_s(self, headers: Mapping[str, str]) -> float | None:
        """After how many seconds to ask again, by header or body."""
        given = _retry_after(headers)
        told = self.details.retry_after_seconds if self.details is not None else 0
        return given if given is not None else (float(told) or None)


_status = msgspec.json.Decoder(Status).decode


def status_of(body: bytes | msgspec.Raw) -> Status:
    """The Status in a body, an empty one when there is none."""
    try:
        return _status(body)
    except UNDECODABLE:
        return Status()


def refusal(code: int, headers: Mapping[str, str], body: bytes, question: Question, where: str) -> ColdError:
    """An HTTP answer that is not 2xx, as what it means. 401 is the transport's, which knows the credentials."""
    status = status_of(body)
    if not status.kind and code not in {403, 404, 429, 503}:
        return no_api(code, headers, where)
    return of_status(code, status, question, where, _retry_after(headers))


def no_api(code: int, headers: Mapping[str, str], where: str) -> ColdError:
    """Something answers, but not the Kubernetes API."""
    kind = plain(headers.get("content-type", "") or "").partition(";")[0] or "no type"
    return LineTrouble(
        f"{where} answers, but not as a Kubernetes API (HTTP {code}, {kind})",
        kind="garbage",
        hint="does the address lead to the API server?",
    )


def of_status(code: int, status: Status, question: Question, where: str, retry_after_s: float | None = None) -> ColdError:
    """A Status, whether it came as an answer or as an ERROR event."""
    said = plain(status.message)[:500]
    wait = retry_after_s if retry_after_s is not None else status.wait_s({})
    match code:
        case 403:
            resource = f"{question.resource}.{question.group}" if question.group else question.resource
            return Forbidden(f"needs {question}", verb=question.verb, resource=resource, detail=said, hint="ask for that right (RBAC)")
        case 404 if question.name and not (question.kind is not None and question.kind.group and not status.about[1]):  # names the object
            what = question.resource.partition("/")[0]
            whole = f"{question.namespace}/{question.name}" if question.namespace else question.name
            return NotFound(f"{what} {plain(whole)} does not exist", detail="" if status.kind else said)
        case 404 if question.kind is not None and question.kind.group:
            return NotInstalled(f"{question.kind.plural}.{question.kind.group} is not installed")
        case 404:
            return LineTrouble(
                f"{where} does not serve {question.resource}", kind="garbage", hint="does the address lead to the Kubernetes API?"
            )
        case 410:
            return Expired("the version is too old", detail=said)
        case 504 | 500 if status.caused_by("ResourceVersionTooLarge"):
            return TooNew("the server does not know this version yet", detail=said)
        case 429:
            return Throttled("the API server asks to slow down", retry_after_s=wait, detail=said)
        case _ if code >= 500 and wait is not None:
            return Throttled(f"the API server is busy ({code})", retry_after_s=wait, detail=said)
        case _ if code >= 500 and question.kind is not None and question.kind.polled:
            return LineTrouble(f"their server is down ({code})", kind="server", detail=said)
        case _ if code >= 500:
            return LineTrouble(f"the API server failed ({code} {plain(status.reason)})".replace(" )", ")"), kind="server", detail=said)
        case 400 | 422:
            return Invalid(f"the API refused {question} ({code} {plain(status.reason)})".replace(" )", ")"), detail=said)
        case _:
            return ColdError(f"the API refused {question} ({code} {plain(status.reason)})".replace(" )", ")"), detail=said)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds; a date is allowed too."""
    given = headers.get("retry-after")
    if not given:
        return None
    with contextlib.suppress(ValueError):
        return min(3600.0, max(0.0, float(given)))
    with contextlib.suppress(ValueError, TypeError):
        return min(3600.0, max(0.0, (email.utils.parsedate_to_datetime(given) - datetime.now(UTC)).total_seconds()))
    return None


UNSURE = "whether it was done is not known: read it back"


def unsure(error: ColdError) -> ColdError:
    """A line that breaks under an act leaves open whether it was done; the error says so."""
    if not isinstance(error, LineTrouble) or UNSURE in error.detail:
        return error
    return LineTrouble(error.title, kind=error.kind, detail=" · ".join(filter(None, (error.detail, UNSURE))), hint=error.hint)


def is_line(error: Any) -> bool:
    """Whether the line itself failed, as opposed to an answer."""
    return isinstance(error, Unreachable) and not isinstance(error, Unauthorized | Throttled)
