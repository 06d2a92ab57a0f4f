"""Create, read, replace, patch and delete: what the API does to one object, apart from HTTP and rights."""

from __future__ import annotations

import copy
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from coldtui.lab.apiserver import crds, defaults, patches, validation
from coldtui.lab.apiserver.clock import Clock, parse_time, stamp
from coldtui.lab.apiserver.errors import (
    Cause,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    not_found,
    unsupported_media,
)
from coldtui.lab.apiserver.managed import note_manager
from coldtui.lab.apiserver.resources import STATUS, Registry, Resource
from coldtui.lab.apiserver.scale import apply_scale, scale_of
from coldtui.lab.apiserver.store import Collection, Item, Key, Store, encode

Json = dict[str, Any]
FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
STRATEGIC, MERGE, JSON_PATCH = "application/strategic-merge-patch+json", "application/merge-patch+json", "application/json-patch+json"
APPLY = ("application/apply-patch+yaml", "application/apply-patch+cbor")
_NEEDS_VERSION = ("Lease",)
_NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_PROTECTED = (
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "namespace",
    "name",
    "managedFields",
)


@dataclass(slots=True)
class Write:
    """How a write was asked for, and what is to be said about it."""

    manager: str = "unknown"
    """Who writes, for managedFields."""
    dry_run: bool = False
    field_validation: str = "Warn"
    warnings: list[str] = field(default_factory=list)
    """Filled by the write; sent as ``Warning`` headers."""


class Objects:
    """The write path of every stored kind."""

    def __init__(self, store: Store, registry: Registry, kinds: crds.CustomKinds, clock: Clock) -> None:
        self.store, self.registry, self.kinds, self.clock = store, registry, kinds, clock
        self.on_terminating: list[Callable[[Collection, Key], None]] = []
        """Told when an object waits for finalizers or dependents (garbage collection, namespaces)."""

    # --- reading

    def get(self, resource: Resource, namespace: str, name: str) -> Item:
        found = self.store.collection(resource).items.get((namespace, name))
        if found is None:
            raise not_found(resource.plural, resource.group, name)
        return found

    def served(self, resource: Resource, raw: bytes) -> bytes:
        """The bytes in the version that was asked for (conversion by name)."""
        stored = resource.storage_version or resource.version
        if stored == resource.version:
            return raw
        old, new = f'{{"apiVersion":"{resource.group}/{stored}"', f'{{"apiVersion":"{resource.group}/{resource.version}"'
        return new.encode() + raw[len(old) :]

    # --- creating

    def create(self, resource: Resource, namespace: str, body: Json, write: Write) -> bytes:
        """Store a new object; returns its bytes. 409 when it exists, 403 in a terminating namespace, 422 when it breaks a rule."""
        wrong = validation.check_body_kind(resource, body)
        if wrong:
            raise wrong
        obj = body
        meta = obj.get("metadata")
        if not isinstance(meta, dict):
            meta = obj["metadata"] = {}
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"] + "".join(random.choices(_NAME_LETTERS, k=5))
        name = meta.get("name") or ""
        if resource.namespaced:
            if meta.get("namespace", namespace) != namespace:
                raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
            meta["namespace"] = namespace
            self.check_namespace(resource, namespace, name)
        else:
            meta.pop("namespace", None)
        collection = self.store.collection(resource)
        if (meta.get("namespace", ""), name) in collection.items:
            raise already_exists(resource.plural, resource.group, name)
        if meta.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        for key in ("selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields", "resourceVersion", "generation"):
            meta.pop(key, None)
        meta["uid"] = str(uuid.uuid4())
        meta["creationTimestamp"] = self.clock.stamp()
        if resource.generation:
            meta["generation"] = 1
        if resource.custom:
            if resource.has_status:
                obj.pop("status", None)
        else:
            status = defaults.first_status(resource.kind, obj)
            if status is not None:
                obj["status"] = status
        self._admit(resource, obj, None, write)
        note_manager(obj, write.manager, "", self.clock, resource.group_version)
        if write.dry_run:
            return self.served(resource, collection.encode(obj, 0))
        return self.served(resource, collection.put(obj).raw)

    def check_namespace(self, resource: Resource, namespace: str, name: str) -> None:
        """Raise 404 or 403 unless something new may be made in a namespace."""
        found = self.store.find("", "namespaces", "", namespace)
        if found is None:
            raise not_found("namespaces", "", namespace)
        if b'"deletionTimestamp"' in found.raw and found.decoded()["metadata"].get("deletionTimestamp"):
            cause = Cause("NamespaceTerminating", "metadata.namespace", f"namespace {namespace} is being terminated")
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise forbidden(resource.plural, resource.group, name, why, [cause])

    def _admit(self, resource: Resource, obj: Json, old: Json | None, write: Write) -> None:
        if resource.custom:
            kind = self.kinds.find(resource)
            if kind is not None:
                write.warnings += kind.admit(obj, write.field_validation)
        else:
            defaults.apply_defaults(resource.kind, obj)
            if resource.kind == "CustomResourceDefinition":
                status = obj.get("status")
                crds.prepare(obj, self.clock)
                if old is not None and status:
                    obj["status"] = {**obj["status"], "conditions": status.get("conditions", [])}
        validation.check(resource, obj, old)

    # --- changing

    def update(self, resource: Resource, namespace: str, name: str, sub: str, body: Json, write: Write) -> bytes:
        """Replace an object, its status or its scale. 409 when the version is stale."""
        if sub == "scale":
            return self._scaled(resource, self.get(resource, namespace, name), body, write)
        wrong = validation.check_body_kind(resource, body)
        if wrong:
            raise wrong
        meta = body.setdefault("metadata", {})
        if meta.get("name") != name:
            message = f"the name of the object ({meta.get('name', '')}) does not match the name on the URL ({name})"
            raise bad_request(message)
        item = self.get(resource, namespace, name)
        version = meta.get("resourceVersion")
        if not version and (resource.custom or resource.kind in _NEEDS_VERSION):
            cause = Cause("FieldValueInvalid", "metadata.resourceVersion", "Invalid value: 0: must be specified for an update")
            raise invalid(resource.plural, resource.group, name, [cause])
        return self._replace(resource, item, body, sub, write)

    def patch(self, resource: Resource, namespace: str, name: str, sub: str, media: str, body: Any, write: Write) -> bytes:
        """Apply one of the three patch types to an object, its status or its scale. 415 for the other types."""
        item = self.get(resource, namespace, name)
        old = item.decoded()
        old["apiVersion"] = resource.group_version
        target = scale_of(resource, old) if sub == "scale" else copy.deepcopy(old)
        patched = self._patched(resource, sub, target, media, body)
        if sub == "scale":
            return self._scaled(resource, item, patched, write)
        meta = patched.get("metadata")
        if not isinstance(meta, dict) or meta.get("name") != name:
            shown = meta.get("name", "") if isinstance(meta, dict) else ""
            raise bad_request(f"the name of the object ({shown}) does not match the name on the URL ({name})")
        return self._replace(resource, item, patched, sub, write)

    def _patched(self, resource: Resource, sub: str, target: Json, media: str, body: Any) -> Json:
        if media in APPLY:
            raise unsupported_media("this server does not support server-side apply; use a merge, strategic merge or JSON patch")
        if media == JSON_PATCH:
            return patches.json_patch(target, body)
        if media == MERGE:
            if not isinstance(body, dict):
                raise bad_request("a merge patch is an object")
            merged: Json = patches.merge(target, body)
            return merged
        if media == STRATEGIC:
            if resource.custom and sub != "scale":
                raise unsupported_media(
                    f"the body of the request was in an unknown format - accepted media types include: {JSON_PATCH}, {MERGE}"
                )
            return patches.strategic("Scale" if sub == "scale" else resource.kind, target, body)
        raise unsupported_media("415: Unsupported Media Type")

    def _scaled(self, resource: Resource, item: Item, scale: Json, write: Write) -> bytes:
        obj = apply_scale(resource, item.decoded(), scale)
        raw = self._replace(resource, item, obj, "", write, version=str((scale.get("metadata") or {}).get("resourceVersion") or ""))
        changed = Item(item.key, 0, raw, "", None, ()).decoded()
        return encode(scale_of(resource, changed))

    def _replace(self, resource: Resource, item: Item, new: Json, sub: str, write: Write, version: str = "") -> bytes:
        old = item.decoded()
        meta, before = new["metadata"], old["metadata"]
        version = version or str(meta.get("resourceVersion") or "")
        name = before["name"]
        if version and version != before["resourceVersion"]:
            raise conflict(resource.plural, resource.group, name)
        if meta.get("uid") and meta["uid"] != before.get("uid"):
            why = f"Precondition failed: UID in precondition: {meta['uid']}, UID in object meta: {before.get('uid')}"
            raise conflict(resource.plural, resource.group, name, why)
        if sub == STATUS:
            new = {**old, "metadata": before if resource.custom else meta, "status": new.get("status") or {}}
            meta = new["metadata"] = dict(new["metadata"])
        elif sub == "finalize":
            new = {**old, "spec": new.get("spec") or {}}
            meta = new["metadata"] = dict(before)
        elif resource.has_status:
            new.pop("status", None)
            if "status" in old:
                new["status"] = old["status"]
        for key in _PROTECTED:
            meta.pop(key, None)
            if key in before:
                meta[key] = before[key]
        meta["resourceVersion"] = before["resourceVersion"]
        new["apiVersion"], new["kind"] = old["apiVersion"], old["kind"]
        validation.check_new_finalizers(resource, new, old)
        if sub != "finalize":
            self._admit(resource, new, old, write)
        if resource.generation and sub != STATUS and _spec(resource, new) != _spec(resource, old):
            meta["generation"] = int(before.get("generation") or 0) + 1
        if new == old:
            return self.served(resource, item.raw)
        note_manager(new, write.manager, sub, self.clock, resource.group_version)
        collection = self.store.collection(resource)
        if write.dry_run:
            return self.served(resource, collection.encode(new, item.rv))
        if _may_go(new):
            collection.delete(item.key)
            return self.served(resource, collection.encode(new, self.store.version))
        return self.served(resource, collection.put(new).raw)

    # --- deleting

    def delete(self, resource: Resource, namespace: str, name: str, options: Json, write: Write) -> tuple[int, bytes]:
        """Delete, or begin to: returns the HTTP code and the body (a Status when it is gone, the object when it has to wait)."""
        item = self.get(resource, namespace, name)
        obj = item.decoded()
        meta = obj["metadata"]
        wanted = options.get("preconditions") or {}
        for key, word, fate in (("uid", "UID", "deleted and then recreated"), ("resourceVersion", "ResourceVersion", "modified")):
            if wanted.get(key) and wanted[key] != meta.get(key):
                why = f"the {word} in the precondition ({wanted[key]}) does not match the {word} in record ({meta.get(key)}). "
                raise conflict(resource.kind, resource.group, name, f"{why}The object might have been {fate}")
        changed = self._mark(resource, obj, options)
        collection = self.store.collection(resource)
        if _may_go(obj) and not (resource.kind == "Namespace" and (obj.get("spec") or {}).get("finalizers")):
            if not write.dry_run:
                collection.delete(item.key)
            details: Json = {"name": name, "kind": resource.plural, "uid": meta.get("uid", "")}
            if resource.group:
                details["group"] = resource.group
            body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
            if resource.kind == "Pod":
                return 200, self.served(resource, collection.encode(obj, self.store.version))
            return 200, encode(body)
        if write.dry_run or not changed:
            return 200, self.served(resource, collection.encode(obj, item.rv))
        raw = collection.put(obj).raw
        for told in self.on_terminating:
            told(collection, item.key)
        return 200, self.served(resource, raw)

    def _mark(self, resource: Resource, obj: Json, options: Json) -> bool:
        """Set deletion time, grace and finalizers as the options ask; returns whether anything changed."""
        meta = obj["metadata"]
        before = copy.deepcopy(meta)
        grace = _grace(resource, obj, options.get("gracePeriodSeconds"))
        known = meta.get("deletionGracePeriodSeconds")
        began = parse_time(meta.get("deletionTimestamp"))
        if began is None:
            meta["deletionTimestamp"] = stamp(self.clock.now() + timedelta(seconds=grace))
            meta["deletionGracePeriodSeconds"] = grace
            if resource.generation:
                meta["generation"] = int(meta.get("generation") or 0) + 1
        elif options.get("gracePeriodSeconds") is not None and known is not None and grace < known:
            meta["deletionTimestamp"] = stamp(began - timedelta(seconds=known - grace))
            meta["deletionGracePeriodSeconds"] = grace
        held = [f for f in meta.get("finalizers") or [] if f not in (FOREGROUND, ORPHAN)]
        policy = options.get("propagationPolicy") or ("Orphan" if options.get("orphanDependents") else "")
        if policy not in ("", "Background", "Foreground", "Orphan"):
            raise bad_request(f'unsupported value: "{policy}": supported values: "Background", "Foreground", "Orphan"')
        if policy:
            wait = {"Foreground": [FOREGROUND], "Orphan": [ORPHAN]}.get(policy, [])
            # Nothing to wait for without dependents, so that a plain object goes at once.
            meta["finalizers"] = held + (wait if self.store.dependents.get(meta.get("uid", "")) else [])
            if not meta["finalizers"]:
                del meta["finalizers"]
        if resource.kind == "Namespace":
            obj.setdefault("status", {})["phase"] = "Terminating"
        return bool(meta != before)


def _grace(resource: Resource, obj: Json, asked: object) -> int:
    if resource.kind != "Pod":
        return 0
    spec, phase = obj.get("spec") or {}, (obj.get("status") or {}).get("phase")
    if not spec.get("nodeName") or phase in ("Succeeded", "Failed"):
        return 0
    if isinstance(asked, int) and not isinstance(asked, bool):
        return max(asked, 1) if asked < 0 else asked
    return int(spec.get("terminationGracePeriodSeconds", 30))


def _may_go(obj: Json) -> bool:
    """Whether nothing holds a deleted object any more."""
    meta = obj["metadata"]
    return bool(meta.get("deletionTimestamp")) and not meta.get("finalizers") and not meta.get("deletionGracePeriodSeconds")


def _spec(resource: Resource, obj: Json) -> Json:
    """The part of an object whose changes count as a new generation."""
    skip = (
        ("metadata", "status", "apiVersion", "kind") if resource.has_status or not resource.custom else ("metadata", "apiVersion", "kind")
    )
    return {k: v for k, v in obj.items() if k not in skip}
