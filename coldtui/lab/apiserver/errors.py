"""Errors as the API tells them: a ``Status`` object and an HTTP code, with the wording of the real server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason why a field was refused."""

    reason: str
    """``FieldValueRequired``, ``FieldValueInvalid``, ... or a condition such as ``DisruptionBudget``."""
    field: str
    message: str

    def json(self) -> Json:
        return {"reason": self.reason, "message": self.message, "field": self.field}


class ApiError(Exception):
    """A request was refused; ``status()`` is the body, ``code`` the HTTP code."""

    def __init__(
        self, code: int, reason: str, message: str, *, details: Json | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message
        self.details = details or {}
        self.headers = dict(headers or {})

    def status(self) -> Json:
        """The ``Status`` object that describes this failure."""
        body: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message}
        if self.reason:
            body["reason"] = self.reason
        if self.details:
            body["details"] = self.details
        body["code"] = self.code
        return body


def qualified(plural: str, group: str) -> str:
    """``deployments.apps``; plain ``pods`` for the core group."""
    return f"{plural}.{group}" if group else plural


def _details(plural: str, group: str, name: str) -> Json:
    found: Json = {"name": name, "kind": plural}
    if group:
        found["group"] = group
    return found


def not_found(plural: str, group: str, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{qualified(plural, group)} "{name}" not found', details=_details(plural, group, name))


def no_such_resource() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def already_exists(plural: str, group: str, name: str) -> ApiError:
    return ApiError(409, "AlreadyExists", f'{qualified(plural, group)} "{name}" already exists', details=_details(plural, group, name))


STALE = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(plural: str, group: str, name: str, why: str = STALE) -> ApiError:
    message = f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": {why}'
    return ApiError(409, "Conflict", message, details=_details(plural, group, name))


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def method_not_allowed() -> ApiError:
    return ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def expired(message: str) -> ApiError:
    return ApiError(410, "Expired", message)


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def unsupported_media(message: str) -> ApiError:
    return ApiError(415, "UnsupportedMediaType", message)


def too_large_version(wanted: int, current: int) -> ApiError:
    """The asked version lies in the future: a restored or lagging server."""
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    details = {"causes": [cause], "retryAfterSeconds": 1}
    message = f"Timeout: Too large resource version: {wanted}, current: {current}"
    return ApiError(504, "Timeout", message, details=details, headers={"Retry-After": "1"})


def invalid(kind: str, group: str, name: str, causes: Sequence[Cause]) -> ApiError:
    """422 with one cause a field; the message joins them as the real server does."""
    said = list(dict.fromkeys(f"{c.field}: {c.message}" for c in causes))
    text = said[0] if len(said) == 1 else "[" + ", ".join(said) + "]"
    details: Json = {"name": name, "kind": kind, "causes": [c.json() for c in causes]}
    if group:
        details["group"] = group
    return ApiError(422, "Invalid", f'{qualified(kind, group)} "{name}" is invalid: {text}', details=details)


def forbidden(plural: str, group: str, name: str, why: str, causes: Sequence[Cause] = ()) -> ApiError:
    """403 with the reason after ``is forbidden:``."""
    details = _details(plural, group, name)
    if causes:
        details["causes"] = [c.json() for c in causes]
    subject = f'{qualified(plural, group)} "{name}"' if name else qualified(plural, group)
    return ApiError(403, "Forbidden", f"{subject} is forbidden: {why}", details=details)
