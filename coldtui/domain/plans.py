"""What an operation will do, said before it is done: verdict, findings with numbers and remedies, steps, locks, and how it must be confirmed.

A plan is a pure value: the face shows it, the runner makes it again and compares.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import field
from datetime import datetime
from enum import Enum, IntEnum
from typing import Any

from .values import dataclass


class Rung(IntEnum):
    """How grave an act is, and so how it is confirmed."""

    SMALL = 0
    """Small and reversible: acts at once, offers undo."""
    VISIBLE = 1
    """y/N."""
    DISRUPTIVE = 2
    """The plan is shown; then the verb is typed."""
    DESTRUCTIVE = 3
    """Loses data or cannot be undone: the plan is shown, the object's name is typed, a reason given, and a hold while facts are read again."""


class Outlook(Enum):
    """What is expected to happen, in the order of gravity: the worst finding decides."""

    GO = "go"
    GO_AFTER = "go after"
    """Goes, after steps of this plan or waits that will end by themselves."""
    WOULD_HANG = "would hang"
    WOULD_LOSE = "would lose data"
    NOT_EVALUATED = "not evaluated"
    """A premise could not be read."""
    REFUSED = "refused"

    @property
    def rank(self) -> int:
        return list(Outlook).index(self)


class Weight(IntEnum):
    """How a finding weighs for the reader."""

    GOOD = 0
    """Was checked and is well."""
    NOTE = 1
    WARNING = 2
    STOP = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. The sentence names the object and the number; the remedy what can be done."""

    code: str
    """Stable name, such as `drain.budget-never`."""
    weight: Weight
    sentence: str
    object: str = ""
    """Address, such as `pods/production/redis-0`: with the code the identity of a finding."""
    remedy: str = ""
    outlook: Outlook = Outlook.GO
    """The least that the whole plan's outlook becomes by this finding."""
    amount: int = 0
    """Bytes that a warning is about (a lag). 0: none."""


class Fate(Enum):
    """What will happen to one thing under a plan, best first."""

    STAYS = "stays"
    """Is not touched (DaemonSet pods, mirror pods)."""
    GOES = "goes"
    WAITS = "waits"
    """Goes once something else has happened that this plan does or that happens by itself; `why` says what."""
    NOT_EVALUATED = "not evaluated"
    NEVER = "never"
    """Nothing that is under way will ever let it go; `why` names it, `remedy` what can be done."""

    @property
    def rank(self) -> int:
        return list(Fate).index(self)


@dataclass(frozen=True, slots=True)
class PlanItem:
    """One thing that a plan acts on, such as a pod of a drain."""

    object: str
    """Address, such as `pods/production/redis-0`."""
    fate: Fate
    why: str = ""
    remedy: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    """(name, text) in the order in which they are shown: owner, budget, emptyDir, claims, grace, can go to."""
    word: str = ""
    """What becomes of it where a fate does not tell: `leads`, `follows`, `lost`. Such things keep their order."""


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """Names a registered Step and its arguments (plain JSON values)."""

    name: str
    title: str
    """What it does to what: `Cordon k3s-worker-1`."""
    args: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    """`cannot be undone`, `accepted evictions cannot be recalled`; empty: nothing special."""


@dataclass(frozen=True, slots=True)
class Premise:
    """One thing that was read for the plan."""

    name: str
    """Such as `pods of k3s-worker-1`."""
    as_of: datetime | None
    """None: it could not be read, and `reason` says why."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    operation: str
    """`node.drain`."""
    title: str
    """`Drain k3s-worker-1`."""
    object: str
    """Full address of what is acted on: `nodes/k3s-worker-1`."""
    findings: tuple[Finding, ...]
    steps: tuple[PlannedStep, ...]
    locks: tuple[str, ...]
    """`site`, `node:NAME`, `deployment:NS/NAME`."""
    rung: Rung
    verb: str
    """What is typed on rung 2, and what buttons carry: `drain`."""
    confirm: str
    """The word for `--yes`, and what is typed on rung 3: `k3s-worker-1`."""
    items: tuple[PlanItem, ...] = ()
    premises: tuple[Premise, ...] = ()
    outlook: Outlook = Outlook.GO
    blocked: str = ""
    """Why it cannot be confirmed at all, with the remedy; empty: it can."""
    needs_reason: bool = False
    took_s: float = 0.0
    """How long reading the premises took."""
    gist: str = ""
    """How it is done, in one line: `way delete-pod: kills postgres-1, then postgres-2 leads`; empty: the title tells."""
    done: str = ""
    """Nothing to do: why (`k3s-worker-1 is cordoned already`); the plan has no steps then."""

    @property
    def words(self) -> str:
        """The outlook as it is shown: `go`, `go after 1 step`, `would hang`."""
        if self.outlook is Outlook.GO_AFTER:
            waits = sum(1 for item in self.items if item.fate is Fate.WAITS)
            return f"go after {waits} wait{'s' if waits != 1 else ''}" if waits else "go after a step"
        return str(self.outlook.value)

    @property
    def read_at(self) -> datetime | None:
        """The age of the oldest premise."""
        known = [p.as_of for p in self.premises if p.as_of is not None]
        return min(known) if known else None

    @property
    def digest(self) -> str:
        """SHA-256 over what was agreed to: not the times at which it was read."""
        text = json.dumps(agreed(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def agreed(plan: Plan) -> dict[str, Any]:
    """What an operator agrees to by confirming, as plain JSON values."""
    return {
        "operation": plan.operation,
        "object": plan.object,
        "outlook": plan.outlook.value,
        "rung": int(plan.rung),
        "findings": [[f.code, f.object, int(f.weight), f.sentence] for f in plan.findings],
        "items": [[i.object, i.fate.value, i.why] for i in plan.items],
        "steps": [[s.name, s.title, dict(s.args)] for s in plan.steps],
        "locks": list(plan.locks),
    }


def plan_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain JSON values: what was agreed to, what was said of it, and when its premises were read."""
    return {
        **agreed(plan),
        "title": plan.title,
        "verb": plan.verb,
        "confirm": plan.confirm,
        "remedies": [f.remedy for f in plan.findings],
        "outlooks": [f.outlook.value for f in plan.findings],
        "amounts": [f.amount for f in plan.findings],
        "more": [[i.remedy, [list(fact) for fact in i.facts], i.word] for i in plan.items],
        "notes": [s.note for s in plan.steps],
        "premises": [
            {"name": p.name, "as_of": p.as_of.isoformat() if p.as_of is not None else None, "reason": p.reason} for p in plan.premises
        ],
        "blocked": plan.blocked,
        "gist": plan.gist,
        "needs_reason": plan.needs_reason,
        "took_s": round(plan.took_s, 3),
        "done": plan.done,
    }


def plan_of_json(made: Mapping[str, Any]) -> Plan:
    """The plan that `plan_json` was made of, with the same digest. Raises ValueError when it is no such thing."""
    try:
        return _plan_of(made)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"not a plan: {error}") from None


def _plan_of(made: Mapping[str, Any]) -> Plan:
    amounts = made.get("amounts") or [0] * len(made["findings"])  # a journal may have older plans
    findings = zip(made["findings"], made["remedies"], made["outlooks"], amounts, strict=True)
    items = zip(made["items"], made["more"], strict=True)
    steps = zip(made["steps"], made["notes"], strict=True)
    return Plan(
        operation=made["operation"],
        title=made["title"],
        object=made["object"],
        findings=tuple(
            Finding(f[0], Weight(f[2]), f[3], f[1], remedy, Outlook(outlook), amount) for f, remedy, outlook, amount in findings
        ),
        steps=tuple(PlannedStep(s[0], s[1], dict(s[2]), note) for s, note in steps),
        locks=tuple(made["locks"]),
        rung=Rung(made["rung"]),
        verb=made["verb"],
        confirm=made["confirm"],
        items=tuple(PlanItem(i[0], Fate(i[1]), i[2], more[0], tuple((n, t) for n, t in more[1]), "".join(more[2:])) for i, more in items),
        premises=tuple(
            Premise(p["name"], datetime.fromisoformat(p["as_of"]) if p["as_of"] else None, p["reason"]) for p in made["premises"]
        ),
        outlook=Outlook(made["outlook"]),
        blocked=made["blocked"],
        gist=made.get("gist", ""),
        needs_reason=made["needs_reason"],
        took_s=made["took_s"],
        done=made["done"],
    )


def outlook_of(findings: Iterable[Finding], items: Iterable[PlanItem] = ()) -> Outlook:
    """The worst of what was found: one pod that can never go makes the plan hang."""
    fates = {Fate.WAITS: Outlook.GO_AFTER, Fate.NOT_EVALUATED: Outlook.NOT_EVALUATED, Fate.NEVER: Outlook.WOULD_HANG}
    every = [f.outlook for f in findings] + [fates.get(i.fate, Outlook.GO) for i in items]
    return max(every, key=lambda o: o.rank, default=Outlook.GO)


GROWTH_B = 16 * 2**20
"""An amount that grew by more than this (a WAL segment) since the plan was confirmed makes it worse."""


def worse(before: Plan, after: Plan) -> tuple[str, ...]:
    """What got worse between the plan that was confirmed and the same plan made again; empty: nothing, the run may go on."""
    found: list[str] = []
    if after.blocked and not before.blocked:
        found.append(after.blocked)
    if after.rung > before.rung:
        found.append(f"it now needs a confirmation of rung {int(after.rung)}, not {int(before.rung)}")
    # A wait that ends by itself is the cluster's life (a budget that refills), as for the things below: it does not hold the start.
    if after.outlook.rank > max(before.outlook.rank, Outlook.GO_AFTER.rank):
        found.append(f"the outlook was {before.words!r} and is {after.words!r}")
    known = {(f.code, f.object): f for f in before.findings}
    for finding in after.findings:
        earlier = known.get((finding.code, finding.object))
        said = finding.sentence in after.blocked and after.blocked in found  # what blocks is a list of such sentences
        heavier = earlier is None or earlier.weight < finding.weight or finding.amount > earlier.amount + GROWTH_B
        if not said and finding.weight >= Weight.WARNING and heavier:
            found.append(finding.sentence)
    fates = {i.object: i for i in before.items}
    for item in after.items:
        was = fates.get(item.object)
        # A thing that is new and simply goes or stays is the cluster's life, not a danger.
        least = Fate.GOES if was is None else was.fate
        if item.fate.rank > max(least.rank, Fate.GOES.rank) and item.fate.rank > Fate.WAITS.rank:
            found.append(f"{item.object}: {item.fate.value}, {item.why}")
    planned = {s.title for s in before.steps}
    found += [f"one more step: {s.title}" for s in after.steps if s.title not in planned]
    return tuple(dict.fromkeys(found))
