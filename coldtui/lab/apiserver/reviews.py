"""Questions about rights and identity: SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview, SelfSubjectReview."""

from __future__ import annotations

from typing import Any

from coldtui.lab.apiserver.auth import User
from coldtui.lab.apiserver.errors import bad_request
from coldtui.lab.apiserver.rbac import Attributes, Rbac

Json = dict[str, Any]


def answer(kind: str, body: Json, user: User, rbac: Rbac) -> Json:
    """The review with its status filled in. 400 when it asks nothing."""
    spec: Json = body.get("spec") or {}
    match kind:
        case "SelfSubjectAccessReview":
            status = _access(spec, user, rbac)
        case "SubjectAccessReview":
            status = _access(spec, User(spec.get("user", ""), tuple(spec.get("groups") or ())), rbac)
        case "SelfSubjectRulesReview":
            status = _rules(spec.get("namespace", ""), user, rbac)
        case _:
            status = {"userInfo": {"username": user.name, "groups": list(user.groups)}}
    api = "authentication.k8s.io/v1" if kind == "SelfSubjectReview" else "authorization.k8s.io/v1"
    return {"kind": kind, "apiVersion": api, "metadata": {"creationTimestamp": None}, "spec": spec, "status": status}


def _access(spec: Json, user: User, rbac: Rbac) -> Json:
    asked, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if asked:
        resource = asked.get("resource", "")
        if asked.get("subresource"):
            resource += f"/{asked['subresource']}"
        attributes = Attributes(asked.get("verb", ""), asked.get("group", ""), resource, asked.get("namespace", ""), asked.get("name", ""))
    elif path:
        attributes = Attributes(path.get("verb", ""), path=path.get("path", ""))
    else:
        raise bad_request("spec: exactly one of nonResourceAttributes or resourceAttributes must be specified")
    return {"allowed": rbac.allows(user, attributes)}


def _rules(namespace: str, user: User, rbac: Rbac) -> Json:
    resource: list[Json] = []
    plain: list[Json] = []
    for rule in rbac.rules(user, namespace):
        if rule.get("nonResourceURLs"):
            plain.append({"verbs": rule["verbs"], "nonResourceURLs": rule["nonResourceURLs"]})
        else:
            kept = ("verbs", "apiGroups", "resources", "resourceNames")
            resource.append({k: rule[k] for k in kept if k in rule})
    return {"resourceRules": resource, "nonResourceRules": plain, "incomplete": False}
