"""Who asks: client certificates, bearer tokens and impersonation."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from coldtui.lab.apiserver.errors import unauthorized

MASTERS = "system:masters"


@dataclass(frozen=True, slots=True)
class User:
    """An authenticated requester."""

    name: str
    groups: tuple[str, ...]
    by_certificate: bool = False

    @property
    def is_admin(self) -> bool:
        return MASTERS in self.groups


class _Known(msgspec.Struct, frozen=True, omit_defaults=True):
    user: str
    groups: tuple[str, ...] = ()
    until: datetime | None = None
    """None: it holds for ever."""


class Authenticator:
    """Reads the user of a request; tokens come from a file that is read again when it changes."""

    def __init__(self, tokens: Path) -> None:
        self._path = tokens
        self._read_at = -1
        self._tokens: dict[str, _Known] = {}

    def _known(self, token: str) -> _Known | None:
        changed = self._path.stat().st_mtime_ns
        if changed != self._read_at:
            self._tokens = msgspec.json.decode(self._path.read_bytes(), type=dict[str, _Known])
            self._read_at = changed
        return self._tokens.get(token)

    def issue(self, user: str, groups: tuple[str, ...], until: datetime) -> str:
        """A new token for a user, kept in the file; those that have ended are dropped from it."""
        self._known("")  # the newest file
        token, now = secrets.token_urlsafe(48), datetime.now(UTC)
        kept = {text: known for text, known in self._tokens.items() if known.until is None or known.until > now}
        new = self._path.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_bytes(msgspec.json.encode({**kept, token: _Known(user, groups, until)}))
        new.replace(self._path)
        return token

    def user(self, request: web.Request) -> User:
        """The requester. 401 without credentials or with unknown ones."""
        transport = request.transport
        peer: dict[str, Any] | None = transport.get_extra_info("peercert") if transport is not None else None
        if peer:
            named = [pair for part in peer.get("subject", ()) for pair in part]
            groups = [v for k, v in named if k == "organizationName"]
            name = next((v for k, v in named if k == "commonName"), "")
            return User(name, (*groups, "system:authenticated"), True)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token:
            known = self._known(token.strip())
            if known and (known.until is None or known.until > datetime.now(UTC)):
                return User(known.user, (*known.groups, "system:authenticated"))
        raise unauthorized()


def impersonated(request: web.Request) -> User | None:
    """The user that the request wants to be taken for (``kubectl --as``), if any."""
    name = request.headers.get("Impersonate-User")
    if not name:
        return None
    groups = tuple(request.headers.getall("Impersonate-Group", []))
    return User(name, (*groups, "system:authenticated"))
