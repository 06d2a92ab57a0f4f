"""Deployments, their rollouts and history, and the sets beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, assert_never

from ..domain import deployments as domain
from ..domain.deployments import DaemonSet, Deployment, ReplicaSet, StatefulSet
from ..domain.objects import Ref
from ..domain.pods import Pod
from ..domain.problems import Severity
from ..domain.world import World
from . import pods as pod_rows
from . import words
from .lines import Ago, Line, cut, old, pad, pair, table
from .rows import Cell, Column, Listing, Row, Tone
from .verdicts import troubled

Workload = Deployment | StatefulSet | DaemonSet


def rollout_words(d: Deployment) -> str:
    """Where the rollout stands, in kubectl's order and nearly in its words."""
    match d.rollout:
        case "unobserved":
            return "waits to be observed"
        case "failed":
            return "exceeded its progress deadline"
        case "paused":
            return "paused"
        case "updating":
            return f"{d.updated} of {d.desired} updated"
        case "old-pending":
            return f"{d.replicas - d.updated} old pending termination"
        case "not-available":
            return f"{d.available} of {d.updated} updated available"
        case _:
            return "complete"


def rollout_sentence(d: Deployment) -> str:
    """What `kubectl rollout status` would print."""
    match d.rollout:
        case "unobserved":
            return "Waiting for deployment spec update to be observed..."
        case "failed":
            return f'deployment "{d.name}" exceeded its progress deadline'
        case "updating":
            return f'Waiting for deployment "{d.name}" rollout to finish: {d.updated} out of {d.desired} new replicas have been updated...'
        case "old-pending":
            return f'Waiting for deployment "{d.name}" rollout to finish: {d.replicas - d.updated} old replicas are pending termination...'
        case "not-available":
            return f'Waiting for deployment "{d.name}" rollout to finish: {d.available} of {d.updated} updated replicas are available...'
        case "paused":
            return f'deployment "{d.name}" is paused'
        case _:
            return f'deployment "{d.name}" successfully rolled out'


def rollout_cell(world: World, d: Deployment, now: datetime) -> Cell:
    stale = old(world, "deployments")
    text = rollout_words(d)
    if stale:
        return Cell(f"{words.GLYPHS['off']} {text}", Tone.STALE)
    found = domain.trouble(world, d, now)
    if found is not None and found.severity > Severity.NOTICE:
        return Cell(f"{words.GLYPHS['bad']} {text}", Tone.BAD if found.severity is Severity.CRITICAL else Tone.WARN)
    if d.rollout == "complete" and d.desired == 0:
        return Cell(f"{words.GLYPHS['off']} scaled to 0", Tone.MUTED)
    if d.rollout == "complete":
        return Cell(f"{words.GLYPHS['good']} {text}", Tone.GOOD)
    return Cell(f"{words.GLYPHS['part']} {text}", Tone.WARN)


_COLUMNS: tuple[Column, ...] = (
    Column("namespace", "NAMESPACE", 10, grow=1, sort_key="U"),
    Column("name", "NAME", 20, grow=3, sort_key="E"),
    Column("ready", "READY", 5, right=True, sort_key="R"),
    Column("rollout", "ROLLOUT", 12, grow=2, sort_key="S"),
    Column("version", "VERSION", 12, grow=1, priority=1, sort_key="V"),
    Column("age", "AGE", 5, right=True, priority=1, sort_key="T"),
    Column("updated", "UP-TO-DATE", 10, right=True, priority=2),
    Column("available", "AVAILABLE", 9, right=True, priority=2),
    Column("revision", "REVISION", 8, right=True, priority=1),
    Column("strategy", "STRATEGY", 13, priority=3),
    Column("images", "IMAGES", 30, grow=3, priority=5),
)
_BY_ID = {c.id: c for c in _COLUMNS}


def _cell(world: World, d: Deployment, now: datetime, column: str, ago: Ago) -> Cell:
    match column:
        case "namespace":
            return Cell(d.namespace, Tone.MUTED)
        case "name":
            return Cell(d.name, Tone.STRONG)
        case "ready":
            return Cell(f"{d.ready}/{d.desired}", Tone.WARN if d.ready < d.desired and not old(world, "deployments") else Tone.PLAIN)
        case "updated":
            return Cell(str(d.updated))
        case "available":
            return Cell(str(d.available))
        case "version":
            return Cell(d.version)
        case "rollout":
            return rollout_cell(world, d, now)
        case "revision":
            return Cell(str(d.revision) if d.revision else "–")
        case "age":
            return Cell(ago(now - d.created))
        case "strategy":
            return Cell(d.strategy, Tone.MUTED)
        case "images":
            return Cell(",".join(image for _, image in d.images), Tone.MUTED)
    raise AssertionError(column)


def _row(world: World, d: Deployment, now: datetime) -> Row:
    return Row(d.key, tuple(_cell(world, d, now, c.id, words.age) for c in _COLUMNS), dim=old(world, "deployments"))


def json_of(world: World, d: Deployment, now: datetime) -> dict[str, Any]:
    state = world.sources["deployments"]
    found = domain.trouble(world, d, now)
    return {
        "namespace": d.namespace,
        "name": d.name,
        "version": d.version,
        "images": dict(d.images),
        "replicas": {"desired": d.desired, "ready": d.ready, "updated": d.updated, "available": d.available, "all": d.replicas},
        "rollout": d.rollout,
        "message": rollout_sentence(d),
        "revision": d.revision or None,
        "change_cause": d.change_cause or None,
        "paused": d.paused,
        "strategy": {"type": d.strategy, "max_surge": d.max_surge or None, "max_unavailable": d.max_unavailable or None},
        "created": words.iso(d.created),
        "trouble": found.sentence if found else None,
        "_age_s": None if state.as_of is None else max(0, int((now - state.as_of).total_seconds())),
        "_freshness": state.freshness.value,
    }


def _items(world: World) -> Mapping[str, Deployment]:
    return world.deployments.items


DEPLOYMENTS: Listing[Deployment] = Listing(
    noun="deployments",
    title="Deployments",
    sources=("deployments", "replicasets", "pods"),
    columns=_COLUMNS,
    items=_items,
    row=_row,
    sorts={
        "namespace": lambda world, d: d.key,
        "name": lambda world, d: (d.name, d.namespace),
        "ready": lambda world, d: (d.ready >= d.desired, d.key),
        "version": lambda world, d: (d.version, d.key),
        "rollout": lambda world, d: (d.rollout == "complete", d.rollout, d.key),
        "age": lambda world, d: -d.created.timestamp(),
    },
    default_sort="namespace",
    text=lambda d: f"{d.namespace}/{d.name} {d.version} {d.rollout}",
    trouble=lambda world, d, now: domain.trouble(world, d, now) is not None,
    labels=lambda d: d.labels,
    json=json_of,
    namespaced=True,
)

_PLAIN = tuple(
    replace(_BY_ID[i], priority=1 if i in ("strategy", "images") else 0)
    for i in ("namespace", "name", "ready", "updated", "available", "age", "version", "rollout", "revision", "strategy", "images")
)


def _plain_row(world: World, d: Deployment, now: datetime) -> Row:
    return Row(d.key, tuple(_cell(world, d, now, c.id, words.duration) for c in _PLAIN), dim=old(world, "deployments"))


DEPLOYMENTS_PLAIN: Listing[Deployment] = replace(DEPLOYMENTS, columns=_PLAIN, row=_plain_row)


# ---------------------------------------------------------------- stateful sets and daemon sets


def _image_version(images: tuple[tuple[str, str], ...]) -> str:
    image = images[0][1] if images else ""
    tag = image.partition("@")[0].rpartition(":")[2]
    return tag if tag and "/" not in tag else "latest"


def set_rollout(item: StatefulSet | DaemonSet) -> str:
    """One of: unobserved, not-ready, updating, complete."""
    if item.observed_generation < item.generation:
        return "unobserved"
    if item.ready < item.desired:
        return "not-ready"
    return "updating" if item.updated < item.desired else "complete"


def set_words(item: StatefulSet | DaemonSet) -> str:
    match set_rollout(item):
        case "unobserved":
            return "waits to be observed"
        case "not-ready":
            return f"{item.ready} of {item.desired} ready"
        case "updating":
            return f"{item.updated} of {item.desired} updated"
        case _:
            return "complete"


def set_sentence(item: StatefulSet | DaemonSet) -> str:
    """The set's rollout in a sentence, as `rollout_sentence` has it for a deployment."""
    name = f'{"stateful" if isinstance(item, StatefulSet) else "daemon"} set "{item.name}"'
    match set_rollout(item):
        case "unobserved":
            return f"Waiting for {name} spec update to be observed..."
        case "not-ready":
            return f"Waiting for {name} rollout to finish: {item.ready} of {item.desired} pods are ready..."
        case "updating":
            return f"Waiting for {name} rollout to finish: {item.updated} out of {item.desired} new pods have been updated..."
        case _:
            return f"{name} successfully rolled out"


def _set_trouble(world: World, item: StatefulSet | DaemonSet, now: datetime) -> str | None:
    """The sentence of the problem that names this set."""
    ref = Ref(kind_of(item), item.name, item.namespace)
    if ref not in troubled(world, now, domain.problems):
        return None
    return next((p.sentence for p in domain.problems(world, now) if p.object == ref), None)


def _set_cell(item: StatefulSet | DaemonSet, stale: bool) -> Cell:
    text = set_words(item)
    if stale:
        return Cell(f"{words.GLYPHS['off']} {text}", Tone.STALE)
    if text == "complete":
        return Cell(f"{words.GLYPHS['good']} {text}", Tone.GOOD)
    return Cell(f"{words.GLYPHS['part' if item.ready else 'bad']} {text}", Tone.WARN if item.ready else Tone.BAD)


_SET_COLUMNS = tuple(_BY_ID[i] for i in ("namespace", "name", "ready", "version", "rollout", "age", "updated", "available", "images"))


def _set_row(world: World, item: StatefulSet | DaemonSet, now: datetime, kind: str, ago: Ago) -> Row:
    return Row(
        item.key,
        (
            Cell(item.namespace, Tone.MUTED),
            Cell(item.name, Tone.STRONG),
            Cell(f"{item.ready}/{item.desired}", Tone.PLAIN if item.ready >= item.desired or old(world, kind) else Tone.WARN),
            Cell(_image_version(item.images)),
            _set_cell(item, old(world, kind)),
            Cell(ago(now - item.created)),
            Cell(str(item.updated)),
            Cell(str(item.available)),
            Cell(",".join(image for _, image in item.images), Tone.MUTED),
        ),
        dim=old(world, kind),
    )


def _set_json(world: World, item: StatefulSet | DaemonSet, now: datetime) -> dict[str, Any]:
    state = world.sources[kind_of(item)]
    return {
        "namespace": item.namespace,
        "name": item.name,
        "images": dict(item.images),
        "replicas": {"desired": item.desired, "ready": item.ready, "updated": item.updated, "available": item.available},
        "rollout": set_rollout(item),
        "message": set_sentence(item),
        "created": words.iso(item.created),
        "trouble": _set_trouble(world, item, now),
        "_age_s": None if state.as_of is None else max(0, int((now - state.as_of).total_seconds())),
        "_freshness": state.freshness.value,
    }


def _set_sorts() -> dict[str, Any]:
    return {
        "namespace": lambda world, s: s.key,
        "name": lambda world, s: (s.name, s.namespace),
        "ready": lambda world, s: (s.ready >= s.desired, s.key),
        "rollout": lambda world, s: (set_words(s) == "complete", s.key),
        "version": lambda world, s: (_image_version(s.images), s.key),
        "age": lambda world, s: -s.created.timestamp(),
    }


STATEFULSETS: Listing[StatefulSet] = Listing(
    noun="statefulsets",
    title="Stateful sets",
    sources=("statefulsets",),
    columns=_SET_COLUMNS,
    items=lambda world: world.statefulsets.items,
    row=lambda world, s, now: _set_row(world, s, now, "statefulsets", words.age),
    sorts=_set_sorts(),
    default_sort="namespace",
    text=lambda s: f"{s.namespace}/{s.name}",
    trouble=lambda world, s, now: s.ready < s.desired and now - s.created > domain.SETTLING,
    json=_set_json,
    namespaced=True,
)
DAEMONSETS: Listing[DaemonSet] = Listing(
    noun="daemonsets",
    title="Daemon sets",
    sources=("daemonsets",),
    columns=_SET_COLUMNS,
    items=lambda world: world.daemonsets.items,
    row=lambda world, s, now: _set_row(world, s, now, "daemonsets", words.age),
    sorts=_set_sorts(),
    default_sort="namespace",
    text=lambda s: f"{s.namespace}/{s.name}",
    trouble=lambda world, s, now: s.ready < s.desired and now - s.created > domain.SETTLING,
    json=_set_json,
    namespaced=True,
)
STATEFULSETS_PLAIN: Listing[StatefulSet] = replace(
    STATEFULSETS, row=lambda world, s, now: _set_row(world, s, now, "statefulsets", words.duration)
)
DAEMONSETS_PLAIN: Listing[DaemonSet] = replace(DAEMONSETS, row=lambda world, s, now: _set_row(world, s, now, "daemonsets", words.duration))


# ---------------------------------------------------------------- the rollout tree and the history


def replica_sets_of(world: World, d: Deployment) -> tuple[ReplicaSet, ...]:
    """Its ReplicaSets, newest revision first."""
    mine = (r for r in world.replicasets.items.values() if r.owner is not None and r.owner.uid == d.uid)
    return tuple(sorted(mine, key=lambda r: (-r.revision, r.name)))


def pods_of(world: World, sets: tuple[ReplicaSet, ...]) -> dict[str, list[Pod]]:
    """ReplicaSet uid -> its pods by name. Walks the pods once: for one deployment at a time."""
    found: dict[str, list[Pod]] = {r.uid: [] for r in sets}
    for pod in world.pods.items.values():
        if pod.owner is not None and pod.owner.uid in found:
            found[pod.owner.uid].append(pod)
    for pods in found.values():
        pods.sort(key=lambda p: p.name)
    return found


TREE_COLUMNS: tuple[Column, ...] = (
    Column("name", "NAME", 40, grow=4),
    Column("ready", "READY", 5, right=True),
    Column("state", "STATE", 22, grow=1),
    Column("age", "AGE", 5, right=True),
    Column("version", "VERSION", 12, grow=1, priority=1),
    Column("node", "NODE", 14, priority=2),
)


def tree_rows(world: World, d: Deployment, now: datetime) -> tuple[Row, ...]:
    """Deployment, its ReplicaSets that have pods (and the newest), their pods. Keys: `deployments/…`, `replicasets/…`, `pods/…`."""
    sets = replica_sets_of(world, d)
    pods = pods_of(world, sets)
    rows = [
        Row(
            f"deployments/{d.key}",
            (
                Cell(d.name, Tone.STRONG),
                Cell(f"{d.ready}/{d.desired}"),
                rollout_cell(world, d, now),
                Cell(words.age(now - d.created)),
                Cell(d.version),
                Cell(""),
            ),
        )
    ]
    shown = [r for i, r in enumerate(sets) if i == 0 or r.replicas or r.desired or pods[r.uid]]
    for i, rs in enumerate(shown):
        last = i == len(shown) - 1
        rows.append(_set_line(world, rs, last, newest=rs is sets[0], now=now))
        for j, pod in enumerate(pods[rs.uid]):
            rows.append(_pod_line(world, pod, last, j == len(pods[rs.uid]) - 1, now))
    return tuple(rows)


def _set_line(world: World, rs: ReplicaSet, last: bool, *, newest: bool, now: datetime) -> Row:
    state = "newest" if newest else "old"
    tone = Tone.STALE if old(world, "replicasets") else Tone.PLAIN if newest else Tone.MUTED
    version = rs.images[0][1] if rs.images else ""
    return Row(
        f"replicasets/{rs.key}",
        (
            Cell(f"{'└' if last else '├'}─ {rs.name}"),
            Cell(f"{rs.ready}/{rs.desired}"),
            Cell(f"revision {rs.revision}, {state}", tone),
            Cell(words.age(now - rs.created)),
            Cell(_image_version(rs.images) if version else ""),
            Cell(""),
        ),
        dim=not newest and not rs.replicas,
    )


def _pod_line(world: World, pod: Pod, set_last: bool, last: bool, now: datetime) -> Row:
    return Row(
        f"pods/{pod.key}",
        (
            Cell(f"{' ' if set_last else '│'}  {'└' if last else '├'}─ {pod.name}"),
            Cell(f"{pod.ready}/{pod.total}"),
            pod_rows.status_cell(world, pod, now),
            Cell(words.age(now - pod.created)),
            Cell(_image_version(tuple((c.name, c.image) for c in pod.containers if not c.init))),
            Cell(pod.node),
        ),
    )


def history(world: World, d: Deployment, now: datetime) -> tuple[Line, ...]:
    """Its revisions, newest first: what an undo can go back to."""
    rows = [
        (
            Cell(str(r.revision)),
            Cell(_image_version(r.images)),
            Cell(f"{r.ready}/{r.desired}"),
            Cell(words.age(now - r.created), Tone.MUTED),
            Cell(r.change_cause or "<none>", Tone.PLAIN if r.change_cause else Tone.MUTED),
            Cell(r.name, Tone.MUTED),
        )
        for r in replica_sets_of(world, d)
    ]
    if not rows:
        return ((Cell(f"no revisions known ({words.freshness(world.sources['replicasets'], now)})", Tone.MUTED),),)
    return table(("REVISION", "VERSION", "READY", "AGE", "CHANGE-CAUSE", "REPLICASET"), rows, right=frozenset({0, 2}))


def detail(world: World, d: Deployment, now: datetime) -> tuple[Line, ...]:
    """One deployment as lines, for the pane beside the list and for `describe`."""
    lines: list[Line] = [(rollout_cell(world, d, now),)]
    found = domain.trouble(world, d, now)
    if found is not None:
        lines.append((Cell(found.sentence, Tone.WARN), Cell(f" · {found.cause}" if found.cause else "", Tone.MUTED)))
    surge = f", surge {d.max_surge}, unavailable {d.max_unavailable}" if d.max_surge or d.max_unavailable else ""
    lines += [
        (),
        pair("Replicas", f"{d.ready} ready, {d.available} available, {d.updated} updated, {d.desired} wanted"),
        pair("Strategy", f"{d.strategy}{surge}"),
        pair("Revision", str(d.revision or "–")),
        pair("Created", f"{words.stamp(d.created)}  ({words.age(now - d.created)})"),
    ]
    if d.change_cause:
        lines.append(pair("Change", d.change_cause))
    lines += [pair("Image" if i == 0 else "", f"{container}: {image}") for i, (container, image) in enumerate(d.images)]
    lines.append(())
    for c in d.conditions:
        text = f"{c.status}  {c.reason}  {c.message}"
        lines.append(pair(c.type, text, Tone.WARN if (c.status == "True") == (c.type == "ReplicaFailure") else Tone.PLAIN))
    return (*lines, (), *history(world, d, now))


def card_line(world: World, d: Deployment, now: datetime, name_width: int = 22) -> Line:
    """One deployment in the home screen's card."""
    cell = rollout_cell(world, d, now)
    glyph, _, text = cell.text.partition(" ")
    plain = Tone.STALE if old(world, "deployments") else Tone.PLAIN
    return (
        Cell(f"{glyph} ", cell.tone),
        Cell(pad(cut(d.name, name_width), name_width) + " ", plain),
        Cell(pad(f"{d.ready}/{d.desired}", 6), plain),
        *(
            (Cell(pad(d.version, 10), Tone.MUTED), Cell(f" {words.age(now - d.created):>5}", Tone.MUTED))
            if text == "complete"
            else (Cell(text, cell.tone),)
        ),
    )


def kind_of(item: Workload) -> str:
    """Name of the kind of a workload."""
    match item:
        case Deployment():
            return "deployments"
        case StatefulSet():
            return "statefulsets"
        case DaemonSet():
            return "daemonsets"
        case _:
            assert_never(item)
