"""Plans in words: the verdict, the order of findings, what is told of each thing, and the JSON of the same."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from coldtui.domain.plans import Fate, Finding, Outlook, Plan, PlanItem, PlannedStep, Premise, Rung, Weight, outlook_of
from coldtui.domain.world import World
from coldtui.present import plans
from coldtui.present.lines import Line, plain_text, width
from coldtui.present.rows import Tone
from tests.tui import worlds

NOW = datetime(2026, 10, 25, 14, 2, 12, tzinfo=UTC)
READ = NOW - timedelta(seconds=2)
GOOD = Finding("drain.vip", Weight.GOOD, "VIP 192.168.15.200 is announced elsewhere")
NOTE = Finding("drain.emptydir", Weight.NOTE, "1 emptyDir is lost")
WARNING = Finding("drain.primary", Weight.WARNING, "cold-postgres-1 is the PRIMARY", outlook=Outlook.GO_AFTER)
STOP = Finding("drain.never", Weight.STOP, "redis-0 can never be evicted", remedy="scale redis to 2", outlook=Outlook.WOULD_HANG)
NEVER = PlanItem(
    "pods/production/redis-0",
    Fate.NEVER,
    "budget redis-pdb never allows it",
    "scale redis to 2",
    (("owner", "redis"), ("budget", "0 of 1")),
)
GOES = PlanItem(
    "pods/cold-prod/web-0", Fate.GOES, facts=(("owner", "ReplicaSet web"), ("can go to", "k3s-worker-2"), ("budget", "web 1 of 3"))
)
STAYS = PlanItem("pods/kube-system/agent-x", Fate.STAYS, "DaemonSet")


def plan(*findings: Finding, items: tuple[PlanItem, ...] = (), premises: tuple[Premise, ...] = (Premise("pods", READ),)) -> Plan:
    steps = (
        PlannedStep("node.cordon", "Cordon w1"),
        PlannedStep("node.evict", "Evict 2 pods", note="accepted evictions cannot be recalled"),
    )
    return Plan(
        "node.drain", "Drain w1", "nodes/w1", findings, steps, ("site",), Rung.DISRUPTIVE, "drain", "w1", items=items, premises=premises,
        outlook=outlook_of(findings, items), took_s=0.42,
    )  # fmt: skip


def text(lines: tuple[Line, ...] | list[Line]) -> list[str]:
    return plain_text(lines).split("\n")


@pytest.mark.parametrize(
    ("found", "words", "tone"),
    [
        (plan(GOOD), "● GO", Tone.GOOD),
        (plan(NOTE), "● GO", Tone.GOOD),
        (plan(replace(WARNING, outlook=Outlook.GO)), "◐ GO · 1 WARNING", Tone.WARN),
        (plan(WARNING), "◐ GO AFTER A STEP · 1 WARNING", Tone.WARN),
        (plan(items=(replace(GOES, fate=Fate.WAITS),)), "◐ GO AFTER 1 WAIT", Tone.WARN),
        (plan(STOP), "▲ WOULD HANG", Tone.BAD),
        (plan(replace(STOP, outlook=Outlook.WOULD_LOSE)), "▲ WOULD LOSE DATA", Tone.BAD),
        (plan(replace(STOP, outlook=Outlook.NOT_EVALUATED)), "○ NOT EVALUATED", Tone.WARN),
        (plan(replace(STOP, outlook=Outlook.REFUSED)), "✗ REFUSED", Tone.BAD),
        (replace(plan(), done="w1 is cordoned already"), "✓ NOTHING TO DO", Tone.GOOD),
    ],
)
def test_the_verdict_is_a_glyph_a_word_and_a_colour(found: Plan, words: str, tone: Tone) -> None:
    """Each outlook has its own glyph and word; only what goes without a warning is green."""
    cell = plans.verdict_cell(found)
    assert (cell.text, cell.tone) == (words, tone)


def test_the_verdict_says_when_it_was_read() -> None:
    """Time and length of the reading stand beside the verdict; when it is old, how old; when nothing could be read, that."""
    assert text([plans.verdict_line(plan(), NOW, 60)])[0].endswith("read 14:02:10Z, 0.4 s; will be read again")
    assert width(text([plans.verdict_line(plan(), NOW, 60)])[0]) == 60
    assert "read 14:02:10Z, 42s ago" in plans.read_words(plan(), READ + timedelta(seconds=42))
    assert plans.read_words(plan(premises=(Premise("pods", None, "403"),)), NOW) == "nothing of it could be read"


def test_findings_come_worst_first_with_their_remedy() -> None:
    """What stops comes before what warns, before notes; what is well comes last, below steps and pods."""
    lines = text(plans.plan_lines(plan(GOOD, NOTE, WARNING, STOP, items=(GOES,)), NOW, 80))
    order = [
        lines.index(line)
        for line in (
            "✗ redis-0 can never be evicted",
            "  → scale redis to 2",
            "▲ cold-postgres-1 is the PRIMARY",
            "· 1 emptyDir is lost",
            "Steps",
        )
    ]
    assert order == sorted(order)
    assert lines.index("✓ VIP 192.168.15.200 is announced elsewhere") > lines.index("Each pod")
    assert "2 Evict 2 pods (accepted evictions cannot be recalled)" in lines


def test_what_could_not_be_read_is_said_once() -> None:
    """A premise without a time is `not evaluated` with its reason, unless a finding says so already."""
    unread = Premise("budgets", None, "403: needs list")
    assert "○ not evaluated: budgets (403: needs list)" in text(plans.plan_lines(plan(premises=(unread,)), NOW, 80))
    told = plan(replace(STOP, sentence="not evaluated: budgets (403: needs list)"), premises=(unread,))
    assert sum("needs list" in line for line in text(plans.plan_lines(told, NOW, 80))) == 1


def test_the_counts_of_fates_are_one_line() -> None:
    """The consequence in one line, worst first, in the number that it is."""
    assert plans.summary(plan(items=(GOES, STAYS, NEVER, replace(GOES, object="pods/a/b")))) == "4 pods: 1 never · 2 go · 1 stays"
    assert plans.summary(plan()) == "Cordon w1 · Evict 2 pods"
    assert plans.summary(plan(items=(replace(GOES, object="claims/a/b"),))) == "1 thing: 1 goes"


def test_things_with_a_word_of_their_own_are_named_in_their_own_order() -> None:
    """Who leads, who follows, who is lost: neither counted as pods that go, nor sorted by a fate."""
    led = (replace(STAYS, object="pods/d/pg-2", word="leads"), replace(STAYS, object="pods/d/pg-3", word="follows"))
    found = plan(items=(*led, replace(GOES, object="pods/d/pg-1", word="lost")))
    assert plans.summary(found) == "leads pg-2 · follows pg-3 · lost pg-1"
    assert [line[:17].split() for line in text(plans.item_lines(found, 110))] == [
        ["●", "leads", "d/pg-2"],
        ["·", "follows", "d/pg-3"],
        ["✗", "lost", "d/pg-1"],
    ]
    assert "Each instance" in text(plans.body_lines(found, 110))


def test_of_an_act_that_cannot_be_undone_the_steps_come_before_the_notes() -> None:
    """How it is done stands in the head, below the verdict; what warns stays first."""
    found = replace(plan(GOOD, NOTE, WARNING), rung=Rung.DESTRUCTIVE, gist="way delete-pod: kills pg-1")
    lines = text(plans.plan_lines(found, NOW, 80))
    order = [lines.index(line) for line in ("▲ cold-postgres-1 is the PRIMARY", "Steps", "Worth knowing", "· 1 emptyDir is lost")]
    assert order == sorted(order)
    assert lines[2] == "way delete-pod: kills pg-1"


@pytest.mark.parametrize("cells", [40, 80, 116])
def test_each_pod_has_its_fate_and_the_grave_ones_are_told_whole(cells: int) -> None:
    """A pod that can never go is told with why, remedy and numbers at every width; names are whole, no line is too wide."""
    lines = text(plans.item_lines(plan(items=(STAYS, GOES, NEVER)), cells))
    assert lines[0].startswith("✗ never  production/redis-0")
    whole = " ".join(" ".join(lines).split())
    assert "budget redis-pdb never allows it" in whole
    assert "→ scale redis to 2" in whole
    assert "budget 0 of 1" in whole
    assert any("cold-prod/web-0" in line for line in lines)
    assert all(width(line) <= cells for line in lines)


def test_the_budget_is_the_first_fact() -> None:
    """Where the end of a line is cut, the numbers of the budget are still there."""
    assert "budget web 1 of 3 · can go to k3s-worker-2 · owner ReplicaSet web" in text(plans.item_lines(plan(items=(GOES,)), 110))[0]
    assert "budget web" in text(plans.item_lines(plan(items=(GOES,)), 48))[0]


@pytest.mark.parametrize("cells", [20, 39, 80])
def test_hostile_text_stays_within_its_width(cells: int) -> None:
    """Names without blanks, wide letters and markup break where they must, and nothing is lost of a sentence."""
    sentence = "x" * 100 + " 名前が長い漢字漢字漢字漢字漢字漢字漢字漢字 [/b][@click=app.quit]x[/]"
    lines = text(plans.finding_lines(replace(STOP, sentence=sentence), cells))
    assert all(width(line) <= cells for line in lines)
    assert "".join("".join(lines).split())[1:].startswith("x" * 100)


def test_a_blocked_plan_says_so_below_the_verdict() -> None:
    """Why it cannot be confirmed stands under the verdict; a refusal that a finding tells is not told twice."""
    blocked = replace(plan(STOP), blocked="1 pod can never go: --on-trouble skip")
    assert "✗ cannot be confirmed: 1 pod can never go: --on-trouble skip" in text(plans.head_lines(blocked, NOW, 80))
    refused = plan(replace(STOP, outlook=Outlook.REFUSED))
    assert plans.blocked_words(refused) == "redis-0 can never be evicted → scale redis to 2"
    assert len(text(plans.head_lines(refused, NOW, 80))) == 1
    assert sum("redis-0 can never" in line for line in text(plans.plan_lines(refused, NOW, 80))) == 1


def test_the_document_is_json_and_holds_what_is_agreed_to() -> None:
    """`--json` prints verdict, word to confirm with, every finding and pod with remedies, and the digest that goes into the audit."""
    made = plan(STOP, GOOD, items=(GOES, NEVER), premises=(Premise("pods", READ), Premise("budgets", None, "403")))
    document = json.loads(json.dumps(plans.plan_document(made)))
    assert document["verdict"] == "would hang"
    assert document["confirm"] == "w1"
    assert document["digest"] == made.digest
    assert document["counts"] == {"never": 1, "goes": 1}
    assert [f["weight"] for f in document["findings"]] == ["stop", "good"]
    assert document["items"][0] == {
        "object": "pods/production/redis-0", "fate": "never", "word": None, "why": "budget redis-pdb never allows it", "remedy": "scale redis to 2",
        "facts": {"owner": "redis", "budget": "0 of 1"},
    }  # fmt: skip
    assert document["premises"][1] == {"name": "budgets", "as_of": None, "reason": "403"}
    assert document["read_at"] == "2026-10-25T14:02:10Z"


def address(world: World | None, object: str, cells: int = 90) -> str:
    return "\n".join(text(plans.address_lines(world, object, worlds.NOW, cells)))


def test_the_address_names_role_site_and_context_as_they_are_now() -> None:
    """What is acted on is named with its role, state and site; production stands out; what is old says so; unknown is not guessed."""
    world = worlds.healthy()
    assert address(world, "nodes/k3s-master").split("   ")[0] == "node k3s-master · control-plane,master · Ready"
    assert address(world, "nodes/k3s-worker-1").endswith("site cold-site · context cold")
    production = replace(world, site=replace(world.site, production=True))
    assert address(production, "nodes/k3s-worker-1").endswith("context cold · PRODUCTION")
    assert "worker · Ready (stale 30s)" in address(worlds.lost(world), "nodes/k3s-worker-1")
    assert address(world, "nodes/gone").startswith("node gone  ")
    assert address(None, "nodes/k3s-worker-1") == "node k3s-worker-1"
    assert address(world, "nodes/k3s-worker-1", 40).split("\n")[1] == "site cold-site · context cold"


def test_things_that_are_no_pods_are_told_in_full() -> None:
    """What a clean-up frees is told to its end at every width, by the name that it has on its node."""
    apt = PlanItem("nodes/w1/disk/apt", Fate.GOES, "frees about 209 MiB: downloaded packages that are installed already")
    lines = text(plans.item_lines(plan(items=(apt,)), 40))
    assert lines[0] == "● goes  disk/apt"
    assert "frees about 209 MiB: downloaded packages that are installed already" in " ".join(" ".join(lines).split())


def test_a_long_verdict_keeps_the_time_at_which_it_was_read() -> None:
    """Where there is no room for both, the time stays and the promise to read again goes."""
    many = plan(*(replace(WARNING, object=str(i)) for i in range(12)), items=(replace(GOES, fate=Fate.WAITS),))
    [line] = text([plans.verdict_line(many, NOW, 66)])
    assert line.startswith("◐ GO AFTER 1 WAIT · 12 WARNINGS")
    assert line.endswith("read 14:02:10Z, 0.4 s")


def test_a_missing_right_is_told_from_a_refusal() -> None:
    """Only where nothing but rights is in the way: what the operator could choose otherwise is a refusal."""
    right = Finding("drain.right-evict", Weight.STOP, "evicting needs create on pods/eviction", outlook=Outlook.REFUSED)
    other = Finding("drain.force", Weight.STOP, "nothing makes it again", outlook=Outlook.REFUSED)
    plan = Plan(
        operation="node.drain", title="Drain a", object="nodes/a", findings=(right,), steps=(), locks=(), rung=Rung.DISRUPTIVE,
        verb="drain", confirm="a", outlook=Outlook.REFUSED,
    )  # fmt: skip
    assert plans.not_permitted(plan)
    assert not plans.not_permitted(replace(plan, findings=(right, other)))
    assert not plans.not_permitted(replace(plan, blocked="--force allows it"))
    assert not plans.not_permitted(replace(plan, findings=()))
