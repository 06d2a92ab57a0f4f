"""CustomResourceDefinitions: a CRD in the store serves its kind at once, with the defaults and rules of its schema.

Versions convert by name only (strategy None). The schemas are decoded at first use: those of CloudNativePG are huge.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources as package_files
from typing import Any

import yaml

from coldtui.lab.apiserver import schema as rules
from coldtui.lab.apiserver.clock import Clock
from coldtui.lab.apiserver.errors import Cause, bad_request, invalid
from coldtui.lab.apiserver.resources import SCALE, STATUS, Registry, Resource, Subresource
from coldtui.lab.apiserver.store import DELETED, Collection, Event, Item, Store, decode

Json = dict[str, Any]
_BLOCKING = ("FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid")
_UNCHECKED = (
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)
GROUP, PLURAL = "apiextensions.k8s.io", "customresourcedefinitions"


class CustomKind:
    """One served version of a custom kind."""

    def __init__(self, resource: Resource, item: Item, version: str) -> None:
        self.resource = resource
        self._item, self._version = item, version
        self._spec: Json | None = None
        self._has_rules = b'"x-kubernetes-validations"' in item.raw

    @property
    def version(self) -> Json:
        """The version's entry in the CRD, decoded once."""
        if self._spec is None:
            versions: list[Json] = decode(self._item.raw)["spec"]["versions"]
            self._spec = next(v for v in versions if v["name"] == self._version)
        return self._spec

    @property
    def schema(self) -> Json:
        found: Json = (self.version.get("schema") or {}).get("openAPIV3Schema") or {}
        return found

    @property
    def columns(self) -> list[Json]:
        found: list[Json] = self.version.get("additionalPrinterColumns") or []
        return found

    def admit(self, obj: Json, field_validation: str) -> list[str]:
        """Prune, default and validate, in place; returns warnings. 400 for unknown fields when strict, 422 when the rules are broken."""
        schema = self.schema
        if not schema:
            return []
        unknown = rules.prune(obj, schema)
        if unknown and field_validation == "Strict":
            said = ", ".join(f'unknown field "{path}"' for path in unknown)
            raise bad_request(
                f'{self.resource.kind} in version "{self.resource.version}" cannot be handled as a {self.resource.kind}: strict decoding error: {said}'
            )
        rules.apply_defaults(obj, schema)
        causes = rules.validate(obj, schema)
        if self._has_rules and any(c.reason in _BLOCKING for c in causes):
            causes.append(Cause("FieldValueInvalid", "<nil>", _UNCHECKED))
        if causes:
            raise invalid(self.resource.kind, self.resource.group, obj["metadata"].get("name", ""), causes)
        return [f'unknown field "{path}"' for path in unknown] if field_validation == "Warn" else []


class CustomKinds:
    """Follows the CRDs in the store and keeps the registry in step."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store, self._registry = store, registry
        self._kinds: dict[tuple[str, str, str], CustomKind] = {}
        store.listeners.append(self._on_event)
        store.on_rewind.append(self._all_anew)

    def find(self, resource: Resource) -> CustomKind | None:
        return self._kinds.get((resource.group, resource.version, resource.plural))

    def _on_event(self, collection: Collection, event: Event) -> None:
        if (collection.resource.group, collection.resource.plural) == (GROUP, PLURAL):
            self._serve(event.item, deleted=event.type == DELETED)

    def _serve(self, item: Item, *, deleted: bool) -> None:
        spec = item.decoded()["spec"]
        group, plural = spec["group"], spec["names"]["plural"]
        for at in [k for k in self._kinds if (k[0], k[2]) == (group, plural)]:
            del self._kinds[at]
        self._registry.remove(group, plural)
        if deleted:
            self._store.drop(group, plural)
            return
        for resource in resources_of(spec):
            self._registry.add(resource)
            self._kinds[group, resource.version, plural] = CustomKind(resource, item, resource.version)

    def _all_anew(self) -> None:
        for group, _, plural in list(self._kinds):
            self._registry.remove(group, plural)
        self._kinds.clear()
        for item in self._store.items(GROUP, PLURAL):
            self._serve(item, deleted=False)


def resources_of(spec: Json) -> Iterator[Resource]:
    """The served versions that a CRD's spec declares."""
    names, group = spec["names"], spec["group"]
    storage = next((v["name"] for v in spec["versions"] if v.get("storage")), spec["versions"][0]["name"])
    for version in spec["versions"]:
        if not version.get("served", True):
            continue
        subs = version.get("subresources") or {}
        own: list[Subresource] = []
        paths = ("", "", "")
        if "status" in subs:
            own.append(Subresource(STATUS, names["kind"], group, version["name"]))
        if "scale" in subs:
            own.append(SCALE)
            scale = subs["scale"]
            paths = (scale["specReplicasPath"], scale["statusReplicasPath"], scale.get("labelSelectorPath", ""))
        yield Resource(
            group=group,
            version=version["name"],
            plural=names["plural"],
            kind=names["kind"],
            namespaced=spec["scope"] == "Namespaced",
            short=tuple(names.get("shortNames") or ()),
            subresources=tuple(own),
            generation=True,
            fields=tuple(f["jsonPath"].removeprefix(".") for f in version.get("selectableFields") or ()),
            categories=tuple(names.get("categories") or ()),
            singular=names.get("singular") or names["kind"].lower(),
            list_kind=names.get("listKind") or f"{names['kind']}List",
            custom=True,
            storage_version=storage,
            scale_paths=paths,
        )


def prepare(crd: Json, clock: Clock) -> None:
    """Check a CRD before it is stored, and say that it is established. 422 when it is malformed."""
    name, spec = crd["metadata"].get("name", ""), crd.get("spec") or {}
    causes: list[Cause] = []
    for path in ("group", "names", "scope", "versions"):
        if not spec.get(path):
            causes.append(Cause("FieldValueRequired", f"spec.{path}", "Required value"))
    if not causes:
        wanted = f"{spec['names'].get('plural')}.{spec['group']}"
        if name != wanted:
            causes.append(Cause("FieldValueInvalid", "metadata.name", f'Invalid value: "{name}": must be spec.names.plural+"."+spec.group'))
        if sum(bool(v.get("storage")) for v in spec["versions"]) != 1:
            causes.append(Cause("FieldValueInvalid", "spec.versions", "must have exactly one version marked as storage version"))
    if causes:
        raise invalid("CustomResourceDefinition", GROUP, name, causes)
    names = spec["names"]
    names.setdefault("singular", names["kind"].lower())
    names.setdefault("listKind", f"{names['kind']}List")
    spec.setdefault("conversion", {"strategy": "None"})
    for version in spec["versions"]:
        version.setdefault("served", True)
    when = clock.stamp()

    def condition(kind: str, reason: str, message: str) -> Json:
        return {"type": kind, "status": "True", "lastTransitionTime": when, "reason": reason, "message": message}

    crd["status"] = {
        "acceptedNames": names,
        "storedVersions": [v["name"] for v in spec["versions"] if v.get("storage")],
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
    }


def packaged(groups: frozenset[str] | None = None) -> Iterator[Json]:
    """The real CRD files that come with the lab; only those of the named API groups, or all."""
    for folder in sorted(package_files.files("coldtui.lab").joinpath("crds").iterdir(), key=lambda f: f.name):
        if not folder.is_dir():
            continue
        for file in sorted(folder.iterdir(), key=lambda f: f.name):
            if file.name.endswith(".yaml") and (groups is None or file.name.split("_")[0] in groups):
                yield yaml.load(file.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
