"""Tokens of service accounts: what `kubectl create token` asks for (TokenRequest)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from coldtui.lab.apiserver.auth import Authenticator
from coldtui.lab.apiserver.clock import Clock, stamp
from coldtui.lab.apiserver.errors import bad_request

Json = dict[str, Any]
HOUR_S = 3600
SHORTEST_S = 600
"""A real server refuses shorter ones too."""


def create(body: Json, namespace: str, name: str, authenticator: Authenticator, clock: Clock) -> Json:
    """The TokenRequest with its status filled in; the token holds at once, also after a restart of the server. 400 for one that is too short."""
    spec: Json = body.get("spec") or {}
    seconds = int(spec.get("expirationSeconds") or HOUR_S)
    if seconds < SHORTEST_S:
        raise bad_request(f"spec.expirationSeconds: Invalid value: {seconds}: may not specify a duration less than 10 minutes")
    until = clock.now() + timedelta(seconds=seconds)
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
    token = authenticator.issue(f"system:serviceaccount:{namespace}:{name}", groups, until)
    return {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": clock.stamp()},
        "spec": {
            "audiences": spec.get("audiences") or ["https://kubernetes.default.svc"],
            "expirationSeconds": seconds,
            "boundObjectRef": None,
        },
        "status": {"token": token, "expirationTimestamp": stamp(until)},
    }
