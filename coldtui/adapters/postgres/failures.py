"""What psycopg raises, in an operator's words."""

from __future__ import annotations

import re
import socket

import psycopg

from ...domain.errors import ColdError, Forbidden, Misconfigured, NotFound, Refused, StepFailed, Unauthorized
from ...domain.text import plain
from ...domain.troubles import LineTrouble

UNREADABLE = (psycopg.Error, UnicodeError, NotImplementedError)
"""What psycopg raises: the last two for values in a form that it does not read."""
_LINE = (
    ("closed the connection unexpectedly", "lost", ""),
    ("has been closed unexpectedly", "lost", ""),
    ("EOF detected", "lost", ""),
    ("unexpected eof", "lost", ""),
    ("Connection reset", "lost", ""),
    ("Connection refused", "refused", "is PostgreSQL running there?"),
    ("timeout expired", "timeout", ""),
    ("No route to host", "lost", "check the network"),
    ("Network is unreachable", "lost", "check the network"),
    ("the database system is starting up", "server", "wait: it is starting"),
    ("the database system is shutting down", "server", "it is being stopped"),
    ("the database system is not yet accepting connections", "server", "wait: it recovers"),
    ("invalid response to SSL negotiation", "garbage", "what listens there is no PostgreSQL, or not yet"),
    ("server does not support SSL", "tls", "set postgres.sslmode: prefer, or switch TLS on at the server"),
    ("certificate verify failed", "tls", "set postgres.sslrootcert to the cluster's CA"),
    ("does not match host name", "tls", "name it in postgres.instances as its certificate does, or set postgres.sslmode: verify-ca"),
    ("SSL", "tls", "check postgres.sslmode and postgres.sslrootcert"),
)
_PREFIX = re.compile(r'^(connection failed: )?(connection to server at "[^"]*"( \([^)]*\))?, port \d+ failed: )?((FATAL|ERROR): +)?')
"""What stands before the server's sentence: the address is said by us."""
_LOGIN = ("password authentication failed", "no password supplied", "no pg_hba.conf entry", "not permitted to log in")
_NO_ROLE = re.compile(r'role "[^"]*" does not exist')
_NO_DATABASE = re.compile(r'database "[^"]*" does not exist')


def words(error: BaseException) -> str:
    """The last line that says something: libpq tells every address that it tried."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return _PREFIX.sub("", plain(lines[-1] if lines else type(error).__name__))[:300]


def translate(error: Exception, target: str, where: str, user: str) -> ColdError:
    """`where` is `host:port`."""
    if isinstance(error, socket.gaierror):
        reason = plain(error.strerror or str(error))
        hint = "check the name in postgres.instances, and DNS on this machine"
        return LineTrouble(f"{target} ({where}): failed to resolve host", kind="dns", detail=reason, hint=hint)
    if isinstance(error, (UnicodeError, NotImplementedError)):
        return StepFailed(f"{target} answered in a form that cannot be read", detail=words(error))
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return Forbidden(f"{user} may not do that on {target}", detail=words(error), hint=f"grant it to {user}: pg_monitor, or pg_maintain")
    if isinstance(error, psycopg.errors.QueryCanceled):
        return LineTrouble(f"{target} did not answer in time: the statement was stopped", kind="timeout", detail=words(error))
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        return Refused(f"{target} is read-only: a standby, or closed for writing", detail=words(error))
    if isinstance(error, (psycopg.errors.UndefinedTable, psycopg.errors.InvalidCatalogName)):
        return NotFound(f"{target}: {words(error)}")
    if isinstance(error, psycopg.OperationalError):
        return _line(error, target, where, user)
    return StepFailed(f"{target} refused the statement", detail=words(error))


def _line(error: psycopg.OperationalError, target: str, where: str, user: str) -> ColdError:
    whole = str(error)
    if "root certificate file" in whole:
        line = next(plain(part.strip()) for part in whole.splitlines() if "root certificate file" in part)
        return Misconfigured(f"{target} ({where}): {_PREFIX.sub('', line)}", hint="mend postgres.sslrootcert: the CA of the cluster")
    if _NO_DATABASE.search(whole):
        return NotFound(f"{target} ({where}): {words(error)}")
    if any(sign in whole for sign in _LOGIN) or _NO_ROLE.search(whole):
        return Unauthorized(
            f"{target} ({where}) does not let {user} in",
            detail=words(error),
            hint="check postgres.user, postgres.password_file, pg_hba.conf",
        )
    for sign, kind, hint in _LINE:
        if sign.lower() in whole.lower():
            return LineTrouble(f"{target} ({where}): {sign.lower() if kind != 'tls' else words(error)}", kind=kind, hint=hint)
    if error.sqlstate or "FATAL:" in whole:  # its own word, such as too many clients: it is reached
        return LineTrouble(f"{target} ({where}): {words(error)}", kind="server")
    return LineTrouble(f"the connection to {target} ({where}) broke", kind="lost", detail=words(error))
