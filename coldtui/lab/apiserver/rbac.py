"""Who may what: Role, ClusterRole and their bindings, evaluated as the RBAC authorizer does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from coldtui.lab.apiserver.auth import User
from coldtui.lab.apiserver.errors import ApiError, qualified
from coldtui.lab.apiserver.selectors import match_labels
from coldtui.lab.apiserver.store import Collection, Event, Store

Json = dict[str, Any]
GROUP = "rbac.authorization.k8s.io"


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a request wants to do."""

    verb: str
    group: str = ""
    resource: str = ""
    """With its subresource: ``pods/log``."""
    namespace: str = ""
    name: str = ""
    path: str = ""
    """For requests that name no resource: ``/readyz``."""


@dataclass(frozen=True, slots=True)
class _Grant:
    namespace: str
    """Empty: everywhere."""
    subjects: tuple[tuple[str, str], ...]
    rules: tuple[Json, ...]


class Rbac:
    """The authorizer; its grants are read from the store when RBAC objects have changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._grants: list[_Grant] | None = None
        store.listeners.append(self._changed)
        store.on_rewind.append(self._forget)

    def _forget(self) -> None:
        self._grants = None

    def _changed(self, collection: Collection, event: Event) -> None:
        if collection.resource.group == GROUP:
            self._grants = None

    def _read(self) -> list[_Grant]:
        if self._grants is None:
            self._grants = [*self._bindings("clusterrolebindings"), *self._bindings("rolebindings")]
        return self._grants

    def _bindings(self, plural: str) -> Iterator[_Grant]:
        for item in self._store.items(GROUP, plural):
            binding = item.decoded()
            namespace = item.key[0]
            subjects = tuple(_subject(s, namespace) for s in binding.get("subjects") or ())
            yield _Grant(namespace, subjects, tuple(self._rules(binding.get("roleRef") or {}, namespace)))

    def _rules(self, ref: Json, namespace: str) -> list[Json]:
        plural = "roles" if ref.get("kind") == "Role" else "clusterroles"
        item = self._store.find(GROUP, plural, namespace if plural == "roles" else "", ref.get("name", ""))
        if item is None:
            return []
        role = item.decoded()
        rules = list(role.get("rules") or ())
        for selector in (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or ():
            test = match_labels(selector)
            for other in self._store.items(GROUP, "clusterroles"):
                if test is not None and other.key != item.key and test(other.labels or {}):
                    rules += other.decoded().get("rules") or ()
        return rules

    def rules(self, user: User, namespace: str) -> list[Json]:
        """Every rule that holds for a user in a namespace (cluster-wide ones included)."""
        if user.is_admin:
            return [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, {"verbs": ["*"], "nonResourceURLs": ["*"]}]
        who = {("User", user.name), *(("Group", g) for g in user.groups)}
        found: list[Json] = []
        for grant in self._read():
            if (not grant.namespace or grant.namespace == namespace) and not who.isdisjoint(grant.subjects):
                found += grant.rules
        return found

    def allows(self, user: User, asked: Attributes) -> bool:
        if user.is_admin:
            return True
        return any(_matches(rule, asked) for rule in self.rules(user, asked.namespace))

    def check(self, user: User, asked: Attributes) -> None:
        """403 with the real server's words when the user may not."""
        if not self.allows(user, asked):
            raise refusal(user, asked)


def refusal(user: User, asked: Attributes, why: str = "") -> ApiError:
    """The 403 of the authorizer."""
    if asked.path:
        return ApiError(403, "Forbidden", f'forbidden: User "{user.name}" cannot {asked.verb} path "{asked.path}"', details={})
    plural = asked.resource.partition("/")[0]
    what = f'{qualified(plural, asked.group)} "{asked.name}"' if asked.name else qualified(plural, asked.group)
    scope = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    message = (
        f'{what} is forbidden: User "{user.name}" cannot {asked.verb} resource "{asked.resource}" in API group "{asked.group}" {scope}'
    )
    details: Json = {"kind": plural}
    if asked.name:
        details["name"] = asked.name
    if asked.group:
        details["group"] = asked.group
    return ApiError(403, "Forbidden", message + (f": {why}" if why else ""), details=details)


def _subject(subject: Json, namespace: str) -> tuple[str, str]:
    if subject.get("kind") == "ServiceAccount":
        return "User", f"system:serviceaccount:{subject.get('namespace') or namespace}:{subject.get('name', '')}"
    return str(subject.get("kind", "")), str(subject.get("name", ""))


def _matches(rule: Json, asked: Attributes) -> bool:
    verbs = rule.get("verbs") or ()
    if asked.verb not in verbs and "*" not in verbs:
        return False
    if asked.path:
        return any(u in ("*", asked.path) or (u.endswith("*") and asked.path.startswith(u[:-1])) for u in rule.get("nonResourceURLs") or ())
    groups = rule.get("apiGroups") or ()
    if asked.group not in groups and "*" not in groups:
        return False
    names = rule.get("resourceNames") or ()
    if names and asked.name not in names:
        return False
    resources = rule.get("resources") or ()
    _, slash, sub = asked.resource.partition("/")
    return asked.resource in resources or "*" in resources or bool(slash and f"*/{sub}" in resources)
