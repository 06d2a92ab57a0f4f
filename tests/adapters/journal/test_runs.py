"""Runs, their locks and their events."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from coldtui.adapters.journal import SqliteJournal
from coldtui.domain.errors import ColdError, JournalTrouble, Locked, NotFound, Refused
from coldtui.domain.runs import LOST_AFTER, Run, RunState, What
from coldtui.domain.secret import Secret
from coldtui.ports import Journal
from tests.adapters.journal.means import BOB, START, HandClock, a_run, an_entry


def begun(journal: SqliteJournal, run: Run | None = None) -> Run:
    run = run or a_run()
    journal.begin(run, an_entry(run))
    return run


def test_a_run_comes_out_as_it_went_in(journal: SqliteJournal) -> None:
    """Every field of a confirmed run, and its audit entry, is in the journal and equal to what was confirmed."""
    port: Journal = journal  # holds the class to its port
    run = begun(journal)
    assert port.run(run.id) == run
    assert port.runs() == (run,)
    assert port.holder("site") == run
    (entry,) = port.audit_entries()
    assert entry == replace(an_entry(run), seq=1, prev="", hash=entry.hash)


def test_what_another_connection_wrote_is_seen(journal: SqliteJournal, other: SqliteJournal) -> None:
    """`changed` differs after a write of the other or of our own, and does not while nothing happens."""
    before = journal.changed()
    assert journal.changed() == before
    run = begun(other)
    after = journal.changed()
    assert after != before
    assert journal.run(run.id) == run
    assert journal.changed() == after
    journal.beat(run.id)
    assert journal.changed() != after


def test_a_second_run_on_the_same_lock_is_refused(journal: SqliteJournal, other: SqliteJournal) -> None:
    """It is told who holds it, what that does, since when and by which run; nothing of the second is written."""
    first = begun(journal)
    second = a_run(locks=("node:k3s-worker-2", "site"), who=BOB)
    with pytest.raises(Locked) as caught:
        other.begin(second, an_entry(second))
    assert caught.value.holder == first.id
    for words in (
        "site is held by Drain k3s-worker-1",
        first.id,
        "ann (as root) from 10.1.2.3",
        "14:02:10Z",
        f"coldtui run cancel {first.id} stops its waiting, what it asked for goes on by itself",
    ):
        assert words in str(caught.value)
    assert other.runs() == (first,)
    assert len(other.audit_entries()) == 1
    assert other.holder("node:k3s-worker-2") is None


def test_a_statement_that_holds_the_lock_is_stopped_by_a_cancel(journal: SqliteJournal) -> None:
    """Maintenance ends on the server with its run: nothing is said to go on by itself."""
    first = begun(journal, a_run(locks=("database:shop",)))
    with pytest.raises(Locked) as caught:
        begun(journal, a_run(locks=("database:shop",), who=BOB))
    assert caught.value.hint == f"wait for it: coldtui run follow {first.id}; coldtui run cancel {first.id} stops it"


def test_locks_are_freed_by_the_end_and_only_by_it(journal: SqliteJournal) -> None:
    """While a run waits or stops its locks hold; each ended state frees them."""
    for state in (RunState.RUNNING, RunState.WAITING, RunState.STOPPING):
        run = begun(journal)
        journal.set_state(run.id, state)
        assert journal.holder("site") is not None
        journal.set_state(run.id, RunState.DONE)
    for state in (RunState.DONE, RunState.FAILED, RunState.REFUSED, RunState.CANCELLED, RunState.PARTIAL):
        run = begun(journal)
        journal.set_state(run.id, state, outcome="so it was")
        assert journal.holder("site") is None
        assert (journal.run(run.id).state, journal.run(run.id).ended, journal.run(run.id).outcome) == (state, START, "so it was")


def test_a_lost_run_keeps_its_locks_and_the_way_out_is_named(journal: SqliteJournal, clock: HandClock) -> None:
    """Nobody drains a second node while the first drain hangs half done: it is resumed or cancelled first."""
    run = begun(journal)
    journal.take_up(run.id, pid=11, host="a")
    clock.move(20)
    with pytest.raises(Locked, match=f"its runner is lost: coldtui run resume {run.id}, or coldtui run cancel {run.id}"):
        begun(journal, a_run(created=clock.now()))


def test_different_locks_do_not_meet(journal: SqliteJournal) -> None:
    """Runs on different objects go on side by side."""
    one, two = begun(journal, a_run(locks=("node:a",))), begun(journal, a_run(locks=("node:b",)))
    assert journal.holder("node:a") == one
    assert journal.holder("node:b") == two


def test_a_runner_takes_a_run_up(journal: SqliteJournal, clock: HandClock) -> None:
    """Attempts are counted, the first start is kept, the runner's own steps replace the planned ones."""
    run = begun(journal)
    clock.move(1)
    taken = journal.take_up(run.id, pid=11, host="k3s-master", steps=("Cordon",))
    assert (taken.state, taken.attempts, taken.steps, taken.runner_pid, taken.runner_host) == (
        RunState.RUNNING,
        1,
        ("Cordon",),
        11,
        "k3s-master",
    )
    clock.move(60)
    again = journal.take_up(run.id, pid=12, host="k3s-master")
    assert (again.attempts, again.started, again.beat, again.steps) == (2, START + timedelta(seconds=1), clock.now(), ("Cordon",))


def test_a_run_whose_runner_lives_is_not_taken(journal: SqliteJournal, clock: HandClock) -> None:
    """Until the beat is older than 12 s another runner is refused, and told who has it."""
    run = begun(journal)
    journal.take_up(run.id, pid=11, host="a")
    clock.move(LOST_AFTER.total_seconds())
    with pytest.raises(Refused, match=r"process 11 on a, heard of 12 s ago"):
        journal.take_up(run.id, pid=12, host="a")
    clock.move(0.1)
    assert journal.take_up(run.id, pid=12, host="a").attempts == 2


def test_nobody_waits_for_the_beat_of_a_process_that_is_no_more(journal: SqliteJournal, clock: HandClock) -> None:
    """Whoever saw that the process of this machine is gone takes its run at once; not that of another process, nor of another machine."""
    run = begun(journal)
    journal.take_up(run.id, pid=11, host="a")
    for pid, host, gone in ((12, "a", 10), (12, "b", 11), (12, "a", 0)):
        with pytest.raises(Refused, match="has a runner already"):
            journal.take_up(run.id, pid=pid, host=host, gone=gone)
    assert journal.take_up(run.id, pid=12, host="a", gone=11).attempts == 2


def test_a_runner_that_was_taken_for_lost_cannot_go_on(journal: SqliteJournal, other: SqliteJournal, clock: HandClock) -> None:
    """A runner that slept (a stopped process, a frozen machine) finds that another acts now: its next event is refused, before its act."""
    run = begun(journal)
    journal.take_up(run.id, pid=11, host="a")
    clock.move(30)
    other.take_up(run.id, pid=12, host="b")
    for act in (
        lambda: journal.record(run.id, What.MEMO, memo={"0/x": 1}),
        lambda: journal.beat(run.id),
        lambda: journal.set_state(run.id, RunState.DONE),
    ):
        with pytest.raises(Refused, match=f"another runner took run {run.id} up"):
            act()
    other.record(run.id, What.STARTED, step=0)
    assert journal.run(run.id).state is RunState.RUNNING


def test_a_run_that_has_ended_stays_ended(journal: SqliteJournal, other: SqliteJournal) -> None:
    """No second end, no going on, no cancel, no announcing of acts; its last words are still taken."""
    run = begun(journal)
    journal.take_up(run.id, pid=11, host="a")
    other.set_state(run.id, RunState.CANCELLED, outcome="by bob")
    journal.set_state(run.id, RunState.FAILED, outcome="too late")
    assert (journal.run(run.id).state, journal.run(run.id).outcome) == (RunState.CANCELLED, "by bob")
    for act in (
        lambda: journal.set_state(run.id, RunState.RUNNING),
        lambda: journal.take_up(run.id, pid=11, host="a"),
        lambda: journal.ask_cancel(run.id, "ann"),
        lambda: journal.record(run.id, What.STARTED, step=1),
        lambda: journal.record(run.id, What.MEMO, memo={"a": 1}),
        lambda: journal.record(run.id, What.ITEM, object="pods/a/b", text="evicting"),
    ):
        with pytest.raises(Refused, match="has ended: cancelled at 14:02:10Z"):
            act()
    journal.beat(run.id)
    assert journal.record(run.id, What.ENDED, text="cancelled").what is What.ENDED


def test_who_asked_first_to_cancel_stays(journal: SqliteJournal, clock: HandClock) -> None:
    """Cancel marks the run as stopping, and no later state, nor a new runner, forgets it."""
    run = begun(journal)
    journal.ask_cancel(run.id, "ann")
    clock.move(5)
    journal.ask_cancel(run.id, "bob")
    assert (journal.run(run.id).cancel_by, journal.run(run.id).cancel_at) == ("ann", START)
    assert journal.take_up(run.id, pid=1, host="a").state is RunState.STOPPING
    journal.set_state(run.id, RunState.WAITING, outcome="for the API")
    assert journal.run(run.id).state is RunState.STOPPING


def test_a_mark_for_resume_after_boot_holds_until_the_run_is_taken_up(journal: SqliteJournal, clock: HandClock) -> None:
    """Else each start of a console would resume it again."""
    run = begun(journal)
    journal.take_up(run.id, pid=1, host="a")
    journal.set_state(run.id, RunState.WAITING, outcome="for the boot", after_boot="boot-1")
    journal.set_state(run.id, RunState.WAITING)
    assert journal.run(run.id).after_boot == "boot-1"
    clock.move(300)
    assert journal.take_up(run.id, pid=2, host="a").after_boot == ""


def test_runs_are_listed_newest_first(journal: SqliteJournal) -> None:
    """With a limit, and those that are under way or have ended alone."""
    made = [begun(journal, a_run(locks=(), created=START + timedelta(seconds=n))) for n in range(5)]
    journal.set_state(made[1].id, RunState.DONE)
    journal.set_state(made[3].id, RunState.FAILED)
    assert [run.id for run in journal.runs()] == [run.id for run in reversed(made)]
    assert [run.id for run in journal.runs(limit=2)] == [made[4].id, made[3].id]
    assert [run.id for run in journal.runs(active=True)] == [made[n].id for n in (4, 2, 0)]
    assert [run.id for run in journal.runs(active=False)] == [made[n].id for n in (3, 1)]


def test_a_run_is_found_by_the_beginning_of_its_id(journal: SqliteJournal) -> None:
    """If it is unique and at least four characters; else the several, or the nearest, are named."""
    one = begun(journal, a_run("20261124-140210-7f3a", locks=()))
    assert journal.run("20261124-14") == one
    begun(journal, a_run("20261124-140315-9b01", locks=()))
    with pytest.raises(NotFound, match="is the beginning of several runs · give more of it: 20261124-140315-9b01, 20261124-140210-7f3a"):
        journal.run("2026")
    with pytest.raises(NotFound, match="there is no run 20261124-140210-7f3b · the nearest is 20261124-140210-7f3a"):
        journal.run("20261124-140210-7f3b")
    for odd in ("202", "", "%", "2026%", "\x1b[31m", "\ud800"):
        with pytest.raises(NotFound):
            journal.run(odd)


def test_what_is_said_of_no_run_is_refused(journal: SqliteJournal) -> None:
    """Event, beat, state and cancel of an unknown run are NotFound, and leave nothing."""
    for act in (
        lambda: journal.record("nobody", What.SAID, text="x"),
        lambda: journal.beat("nobody"),
        lambda: journal.set_state("nobody", RunState.DONE),
        lambda: journal.ask_cancel("nobody", "ann"),
        lambda: journal.take_up("nobody", pid=1, host="a"),
        lambda: journal.run("nobody"),
    ):
        with pytest.raises(NotFound, match="there is no run nobody"):
            act()
    assert journal.events("nobody") == ()


def test_an_id_is_given_once(journal: SqliteJournal) -> None:
    """A second run of the same id is refused as a whole."""
    run = begun(journal, a_run(locks=()))
    with pytest.raises(Refused, match="there is a run"):
        begun(journal, replace(run, locks=("site",)))
    assert journal.holder("site") is None


def test_events_come_in_order(journal: SqliteJournal, other: SqliteJournal) -> None:
    """Their numbers rise over the journal, the step of the run follows them, each knows the size of the log, and a follower goes on after the last."""
    run, bystander = begun(journal), begun(journal, a_run(locks=()))
    first = journal.record(run.id, What.STARTED, step=0, text="Cordon", memo={"0/begun": True, "0/was": None, "n": [1, {"a": "b"}]})
    other.record(bystander.id, What.SAID, text="between")
    second = journal.record(run.id, What.ITEM, step=0, object="pods/production/redis-0", text="gone")
    third = journal.record(run.id, What.FAILED, step=1, text="Evict: out of time")
    assert first.seq < second.seq < third.seq
    assert other.events(run.id) == (first, second, third)
    assert other.events(run.id, after=first.seq, limit=1) == (second,)
    assert journal.run(run.id).step == 1


def test_a_secret_never_gets_in(journal: SqliteJournal, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A Secret among the parameters is an error of the program before anything is written."""
    run = a_run()
    with pytest.raises(TypeError):
        journal.begin(replace(run, params={"password": Secret("hush")}), an_entry(run))
    with pytest.raises(TypeError):
        journal.audit(an_entry(run, params={"password": Secret("hush")}))
    assert journal.runs() == ()
    assert journal.audit_entries() == ()


def test_threads_share_a_journal(journal: SqliteJournal) -> None:
    """Eight threads that write and read at once lose nothing and repeat no number."""
    run = begun(journal)
    seen: list[int] = []
    troubles: list[ColdError] = []

    def work() -> None:
        try:
            for n in range(25):
                seen.append(journal.record(run.id, What.SAID, text=f"line {n}").seq)
                journal.audit(an_entry(run, what="armed"))
                journal.beat(run.id)
                journal.runs()
                journal.changed()
        except ColdError as error:
            troubles.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not troubles
    assert len(set(seen)) == 200 == len(journal.events(run.id))
    assert journal.verify().whole
    assert journal.verify().entries == 201


def test_a_busy_journal_is_told_after_its_deadline(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who holds the database for ever does not hold us: a sentence with the way to find them."""
    run = begun(journal)
    journal._store.opened().writer.execute("PRAGMA busy_timeout=50")
    with sqlite3.connect(journal.path, isolation_level=None) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalTrouble, match=r"the journal is busy .* fuser -v"):
            journal.record(run.id, What.SAID, text="x")
        assert journal.run(run.id) == run
        blocker.execute("ROLLBACK")
    blocker.close()
    journal.record(run.id, What.SAID, text="x")


def test_a_closed_journal_says_so(journal: SqliteJournal) -> None:
    """Closing twice is no error; using it after is one that can be read."""
    journal.close()
    journal.close()
    with pytest.raises(JournalTrouble, match="the journal is closed"):
        journal.runs()
    with pytest.raises(JournalTrouble, match="the journal is closed"):
        journal.audit(an_entry())
