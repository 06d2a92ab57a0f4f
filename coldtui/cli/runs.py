"""`coldtui runs`, `coldtui run list|show|follow|cancel|resume`: the runs in the journal of this machine. None of them needs the cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..domain.errors import ColdError, Exit, NotFound, Refused, UsageError
from ..domain.progress import Progress, fold
from ..domain.readings import SourceState
from ..domain.runboard import JOURNAL, RunBoard
from ..domain.runs import Run
from ..domain.world import SiteFacts, World
from ..live.pace import SystemClock
from ..live.runs import RunSource, RunWatch, read_once
from . import out

if TYPE_CHECKING:
    from ..operations.desk import Desk
    from ..ports import Journal
    from ..wiring import Site
    from .listings import Document
    from .run import Call

WATCH_S = 0.5


# ------------------------------------------------------------ listing


def run_list(call: Call) -> Exit:
    """Exit 0, or 1 when there is a journal that cannot be read."""
    from ..present.runs import RUNS_PLAIN
    from .listings import as_json, listing_document

    document = listing_document(call, RUNS_PLAIN)
    source = _source(call)
    if call.parsed.flags.get("watch"):
        return _watch(call, source, document)
    world = world_of(call, read_once(source, SystemClock()))
    _talk(world.runs)
    now = datetime.now(UTC)
    if as_json(call):
        out.dump(document.json(world, now))
    elif text := document.text(world, now):
        out.data(text)
    elif world.runs.trouble is None:
        out.say("no runs")
    return Exit.DONE if world.runs.trouble is None else Exit.FAILED


def _watch(call: Call, source: RunSource, document: Document) -> Exit:
    from .listings import print_again

    watch = RunWatch(source, lambda board: None, SystemClock())
    shown: object = None
    try:
        while True:
            watch.turn()
            world, now = world_of(call, watch.board), datetime.now(UTC)
            if world.runs.trouble is not None:
                mark: object = world.runs.trouble
                if mark != shown:
                    _talk(world.runs)
            else:
                mark = document.mark(world, now)
                if mark != shown:
                    print_again(call, document, world, now, first=shown is None)
            shown = mark
            time.sleep(WATCH_S)
    except KeyboardInterrupt:
        return Exit.DONE
    finally:
        watch.let_go()


def _source(call: Call) -> RunSource:
    from ..wiring import prepare_state
    from ..wiring.acting import look_journal, runner_lives

    folder = prepare_state(call.config, call.environ)
    return RunSource(lambda: look_journal(call.config, folder), runner_lives)


def world_of(call: Call, board: RunBoard) -> World:
    """A World that has the runs alone, for what is made of Worlds."""
    world = World(0, datetime.now(UTC), SiteFacts(name=call.config.site.name), runs=board)
    return World(
        0, world.at, world.site, world.sources.set(JOURNAL, SourceState(JOURNAL, board.as_of, board.trouble, board.since)), runs=board
    )


def _talk(board: RunBoard) -> None:
    if board.trouble is not None:
        out.say(out.clean(f"{board.trouble.words} · {board.trouble.hint}".removesuffix(" · ")))
    if board.notice:
        out.say(out.clean(board.notice))


# ------------------------------------------------------------ one run


@contextmanager
def journal_of(call: Call) -> Iterator[Journal | None]:
    """The journal that is there; None: nobody has begun one. Raises JournalTrouble."""
    journal = _source(call).look()
    try:
        yield journal
    finally:
        if journal is not None:
            journal.close()


@contextmanager
def _of_runs(call: Call) -> Iterator[Journal]:
    """Raises NotFound where nothing was ever run, JournalTrouble."""
    with journal_of(call) as journal:
        if journal is None:
            raise NotFound("no runs: nothing was run from this machine yet", detail=call.journal_path)
        yield journal


def _id(call: Call) -> str:
    return call.parsed.words[0]


def run_show(call: Call) -> Exit:
    from ..present import run as words

    with _of_runs(call) as journal:
        run = journal.run(_id(call))
        progress = Progress()
        while events := journal.events(run.id, after=progress.seq):
            progress = fold(progress, events)
        path = journal.log_path(run.id)
    now = datetime.now(UTC)
    board = read_once(_source(call), SystemClock())
    if call.parsed.flags.get("json"):
        out.dump({**words.run_json(world_of(call, board), run, progress, now), "log": path})
    else:
        out.data(out.lines(words.report(board, run, progress, now)))
        out.say(f"its log: coldtui run follow {run.id}")
    return Exit.DONE


def run_follow(call: Call) -> Exit:
    """From the beginning, or the last lines; any machine session on the same journal may."""
    from ..live.follow import tail

    with _of_runs(call) as journal:
        run = journal.run(_id(call))
        lines = call.parsed.flags.get("tail")
        offset = tail(journal, run.id, lines) if lines is not None else 0
        return asyncio.run(_followed(call, journal, run, offset))


async def _followed(call: Call, journal: Journal, run: Run, offset: int) -> Exit:
    from .follow import Follower

    desk = _desk(call.site())
    return await Follower(desk, journal, run, json=bool(call.parsed.flags.get("json")), started=False, offset=offset).run()


def run_cancel(call: Call) -> Exit:
    """Stops it before its next act. Allowed with --read-only too: it only keeps things from being changed."""
    from ..present.run import ACCEPTED, end_text

    _find(call)
    desk = _desk(call.site())
    run = asyncio.run(desk.cancel(_id(call)))
    if run.state.ended:
        out.say(out.clean(end_text(run, desk.clock.now())))
    else:
        out.say(out.clean(f"{run.title}: asked to stop before its next act; {ACCEPTED}; see coldtui run follow {run.id}"))
    return Exit.DONE


def run_resume(call: Call) -> Exit:
    if call.parsed.flags.get("after_boot"):
        if call.parsed.words:
            raise UsageError("--after-boot takes no ID", hint="it resumes every run that waits for the boot of this machine")
        return asyncio.run(_resume_after_boot(call))
    if not call.parsed.words:
        raise UsageError("run resume needs ID, or --after-boot", hint="see coldtui runs")
    _find(call)
    return asyncio.run(_resume(call, _desk(call.site())))


async def _resume_after_boot(call: Call) -> Exit:
    """Each on its own: one that cannot go on does not keep the others. Nothing is followed: nobody looks on at a boot."""
    from ..operations.desk import pending_after_boot
    from .follow import said_started

    with journal_of(call) as journal:
        if journal is None:
            out.say("no run waits for the boot of this machine")
            return Exit.DONE
    desk, worst = _desk(call.site()), Exit.DONE
    try:
        waiting = await asyncio.to_thread(lambda: pending_after_boot(desk.journal(), desk.boot_id, desk.who.host))
        for run in waiting:
            try:
                said_started(await desk.resume(run.id), json=bool(call.parsed.flags.get("json")))
            except ColdError as error:
                out.say(out.clean(f"{run.title}: {error}"))
                worst = error.exit
        if not waiting:
            out.say("no run waits for the boot of this machine")
    finally:
        await desk.aclose()
    return worst


async def _resume(call: Call, desk: Desk) -> Exit:
    from ..domain.plans import plan_of_json
    from . import confirm, secrets
    from .follow import Follower, said_end, said_started

    journal, flags = await asyncio.to_thread(desk.journal), call.parsed.flags
    before = await asyncio.to_thread(journal.run, _id(call))
    events = await asyncio.to_thread(journal.events, before.id, limit=100_000)
    if desk.forbidden:
        raise Refused(f"{before.title} is not resumed", detail=desk.forbidden, hint="start without --read-only")
    try:
        given = secrets.given(call, plan_of_json(before.plan))
    except ValueError:  # a plan of another version of this program
        given = {}
    size = (await asyncio.to_thread(journal.read_log, before.id, offset=0, limit_b=1)).size
    try:
        with confirm.held():
            run = await desk.resume(before.id, secrets=given)
        json = bool(flags.get("json"))
        if flags.get("detach"):
            return said_end(run, desk.clock.now(), json=json) if run.state.ended else said_started(run, json=json)
        follower = Follower(desk, journal, run, json=json, started=True, offset=size, after=events[-1].seq if events else 0)
        return await follower.run()
    finally:
        await desk.aclose()


def _desk(site: Site) -> Desk:
    from ..wiring import open_desk

    return open_desk(site, "command line")


def _find(call: Call) -> None:
    """Whether there is such a run, before anything else is opened or made. Raises NotFound, JournalTrouble."""
    with _of_runs(call) as journal:
        journal.run(_id(call))
