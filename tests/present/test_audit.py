"""The audit in rows, whole entries and the words about its chain."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

from coldtui.domain.runs import Verified, Who
from coldtui.domain.world import World
from coldtui.present import audit
from coldtui.present.filters import matcher
from coldtui.present.lines import plain_text
from tests.journals import NOW, a_run, an_entry

ENTRY = replace(an_entry(a_run()), seq=7, prev="aa" * 32, hash="bb" * 32)


def cells(**changes: Any) -> dict[str, str]:
    row = audit.AUDIT.row(World(1, NOW), audit.row_of(replace(ENTRY, **changes)), NOW + timedelta(hours=1))
    return dict(zip((c.id for c in audit.AUDIT.columns), (cell.text for cell in row.cells), strict=True))


def test_a_row_has_time_person_act_object() -> None:
    """Of a confirmation, of an end (by how it ended) and of a refusal."""
    found = cells()
    assert (found["at"], found["who"], found["source"], found["what"]) == ("11-24 14:02Z", "anna", "10.0.0.5", "confirmed")
    assert (found["operation"], found["object"], found["run"], found["seq"]) == ("node.drain", "nodes/k3s-worker-1", a_run().id, "7")
    assert cells(what="ended", outcome="partial: out of time")["what"] == "partial"
    assert cells(what="ended", outcome="done in 6.5 s")["what"] == "done"
    assert cells(what="refused", outcome="refused: locked")["what"] == "refused"
    assert cells(at=NOW.replace(year=2024))["at"] == "2024-11-24"


def test_an_entry_is_found_by_any_of_its_words() -> None:
    """Person, address, object, run, reason, outcome, site and time."""
    row = audit.row_of(replace(ENTRY, outcome="refused: held by ben"))
    for words in ("ANNA", "10.0.0.5", "worker-1", "7f3a", "kernel", "held by ben", "cold-site", "2026-11-24T14"):
        wanted = matcher(audit.AUDIT_PLAIN, words)
        assert wanted is not None
        assert wanted(row), words


def test_an_entry_whole() -> None:
    """Login and user apart, address, parameters, premises with their ages, and the three hashes."""
    text = plain_text(audit.entry_lines(replace(ENTRY, who=Who("anna", "root", "10.0.0.5", "k3s-master", "console"))))
    for words in (
        "anna",
        "root",
        "10.0.0.5",
        "k3s-master",
        "grace           30",
        "pods of k3s-worker-1",
        "0.4 s",
        "9f9f",
        "aaaa",
        "bbbb",
        "kernel update",
    ):
        assert words in text, words
    assert "no SSH connection" in plain_text(audit.entry_lines(replace(ENTRY, who=Who("anna", "anna"))))


def test_json_is_plain() -> None:
    """Every field, nothing that JSON does not know."""
    made = json.loads(json.dumps(audit.entry_json(ENTRY)))
    assert (made["seq"], made["what"], made["prev"], made["hash"]) == (7, "confirmed", "aa" * 32, "bb" * 32)
    assert made["premises"] == [{"name": "pods of k3s-worker-1", "age": "0.4 s"}]


def test_the_chain_in_words() -> None:
    """A whole one says how many entries and its head; a broken one names each fault; both say what is not proven."""
    whole = plain_text(audit.verified_lines(Verified(9, "cc" * 32, (), ("a copy",))))
    assert whole.splitlines() == ["✓ the chain holds: 9 entries, head cccccccccccc", "○ not proven: a copy"]
    broken = plain_text(audit.verified_lines(Verified(9, "cc" * 32, ("entry 4 was edited",), ())))
    assert broken.splitlines() == ["✗ the chain is broken: 1 fault in 9 entries", "  entry 4 was edited"]
    assert audit.verified_json(Verified(0, "", (), ())) == {"whole": True, "entries": 0, "head": None, "faults": [], "unproven": []}


def test_words_that_repeat_are_kept_once() -> None:
    """A hundred thousand rows share their people, acts and objects."""
    one, two = audit.row_of(ENTRY), audit.row_of(replace(ENTRY, seq=8, operation="node." + "drain", object="nodes/" + "k3s-worker-1"))
    assert one.operation is two.operation
    assert one.object is two.object
