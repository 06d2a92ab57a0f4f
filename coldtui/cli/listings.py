"""Listings: one reading, or again whenever something changed; as a table or as JSON."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from coldtui.domain.values import dataclass

from ..domain.errors import Exit, UsageError
from ..domain.kinds import KINDS
from ..domain.readings import Freshness, Known
from ..domain.runboard import JOURNAL
from ..domain.sources import KUBE
from ..domain.text import one_of, plain
from ..domain.world import DATABASE, NOT_SHOWN, SESSIONS
from ..present import words
from ..present.filters import matcher
from ..present.rows import Listing
from . import nouns, out

if TYPE_CHECKING:
    from ..domain.world import World
    from ..wiring import Site
    from .run import Call

DEADLINE_S = 4.5
"""Connecting and reading together; a script waits no longer than 5 s for an answer."""
WATCH_S = 1.0
"""Least distance of two prints."""
_BY_TROUBLE = {
    "unauthorized": Exit.NOT_PERMITTED, "forbidden": Exit.NOT_PERMITTED, "not-installed": Exit.FAILED, "config": Exit.USAGE, "bug": Exit.FAILED,
}  # fmt: skip
_SESSIONS = "pg_sessions"
_AGES = frozenset({"age", "last", "lease", "since", "tx"})


@dataclass(frozen=True, slots=True)
class Document:
    """What one command prints, made from a World."""

    title: str
    """What it lists, in words."""
    sources: tuple[str, ...]
    """Kinds that are read; the first decides about success."""
    text: Callable[[World, datetime], str]
    json: Callable[[World, datetime], Any]
    mark: Callable[[World, datetime], Any]
    """Changes when there is something new to print; ages left out."""
    more: tuple[str, ...] = ()
    """Kinds that are read besides, without a word when they are not there."""
    reading: str = ""
    """Field of the World that decides about success instead of the first source: what the primary tells by SQL."""
    by_sql: bool = False
    """SQL tells a part of it: that is printed though the API cannot be read."""


def run(call: Call) -> Exit:
    noun = call.parsed.command.name if call.parsed.command else ""
    document = listing_document(call, nouns.find(noun))
    return _print(call, _with_state(call, document) if noun == "postgres status" else document)


def _with_state(call: Call, document: Document) -> Document:
    """The instances with what stands above and below them, unless only rows are asked for."""
    if call.parsed.flags.get("output") == "name" or call.parsed.flags.get("no_headers"):
        return document
    from ..present.lines import plain_text
    from ..present.postgres_listings import state_lines

    def text(world: World, now: datetime) -> str:
        above, *below = state_lines(world, now)
        return "\n\n".join(part for part in (out.lines(above), document.text(world, now), *map(out.lines, below)) if part)

    def mark(world: World, now: datetime) -> Any:
        return (document.mark(world, now), plain_text(state_lines(world, now)[-1]))

    return dataclasses.replace(document, text=text, mark=mark, more=tuple(dict.fromkeys((*document.more, *nouns.STATE))))


def run_status(call: Call) -> Exit:
    from ..present import status
    from ..present.lines import plain_text

    def text(world: World, now: datetime) -> str:
        return out.lines(status.report(world, now))

    return _print(
        call,
        Document(
            "status",
            ("nodes",),
            text,
            status.status_json,
            lambda world, now: (plain_text(status.cluster_card(world, now, 200)), _quiet(status.status_json(world, now))),
            more=(*(name for name in KINDS if name not in ("nodes", "replicasets", "pod_usage")), JOURNAL, DATABASE),
        ),
    )


# ---------------------------------------------------------------- what is printed


def listing_document(call: Call, listing: Listing[Any]) -> Document:
    flags = call.parsed.flags
    sort = _sort_column(listing, flags.get("sort"))
    wanted = matcher(listing, flags.get("filter") or "")
    namespace = call.config.kube.namespace if listing.namespaced else ""
    form, reading = flags.get("output"), nouns.reading(listing)
    shown = [i for i, column in enumerate(listing.columns) if form == "wide" or column.priority == 0 or nouns.always(listing, column)]
    steady = [i for i in shown if listing.columns[i].id not in _AGES]

    def chosen(world: World, now: datetime) -> list[Any]:
        items = list(listing.items(world).values())
        if namespace:
            items = [item for item in items if _namespace_of(item) == namespace]
        if wanted is not None:
            items = [item for item in items if wanted(item)]
        if flags.get("trouble"):
            items = [item for item in items if listing.trouble(world, item, now)]
        key = listing.sorts[sort]
        items.sort(key=lambda item: key(world, item), reverse=bool(flags.get("reverse")))
        return items

    def text(world: World, now: datetime) -> str:
        rows = [listing.row(world, item, now) for item in chosen(world, now)]
        if form == "name":
            return "\n".join(row.key for row in rows)
        if not rows:
            return ""  # as kubectl: not even a heading; the word about it goes to stderr
        titles = [listing.columns[i].title for i in shown]
        return out.table(titles, ([row.cells[i] for i in shown] for row in rows), headers=not flags.get("no_headers"))

    def json(world: World, now: datetime) -> Any:
        make = listing.json
        items = chosen(world, now)
        if make is None:
            columns = [column.id for column in listing.columns]
            rows = [listing.row(world, item, now) for item in items]
            found: list[Any] = [dict(zip(columns, (cell.text for cell in row.cells), strict=True)) for row in rows]
        else:
            found = [make(world, item, now) for item in items]
        summary, beside = nouns.summary(listing.noun), nouns.beside(listing.noun)
        if reading:
            known = isinstance(getattr(world, reading), Known)
        else:
            known = world.sources[listing.sources[0]].as_of is not None or bool(found)
        return {
            listing.noun: found if known else None,
            **(beside(world, now) if beside is not None else {}),
            **({"_summary": summary(world, now)} if summary is not None else {}),
            **notes(world, listing.sources, now),
            **(_sql_notes(world, reading, now) if reading else {}),
        }

    def mark(world: World, now: datetime) -> Any:
        if as_json(call):
            return _quiet(json(world, now))
        return [tuple(listing.row(world, item, now).cells[i].text for i in steady) for item in chosen(world, now)]

    more = nouns.besides(listing, json=as_json(call))
    title = listing.title if listing.title.startswith("PostgreSQL") else listing.title.lower()
    return Document(title, listing.sources, text, json, mark, more, reading, by_sql=DATABASE in more)


def _namespace_of(item: Any) -> str:
    """Of an object, or of what an item is made around (a cluster, a Service, a wrapped object)."""
    for part in (item, *(getattr(item, name, None) for name in ("object", "cluster", "service"))):
        found = getattr(part, "namespace", None)
        if isinstance(found, str):
            return found
    return ""


def _sort_column(listing: Listing[Any], asked: str | None) -> str:
    if not asked:
        return listing.default_sort
    known = {column.title.lower(): column.id for column in listing.columns if column.id in listing.sorts} | {i: i for i in listing.sorts}
    found = known.get(asked.lower())
    if found is None:
        near = one_of(tuple(known), asked.lower())
        raise UsageError(
            f"{listing.noun} cannot be sorted by {plain(asked)!r}",
            hint=f"did you mean {near}?" if near else f"one of {', '.join(listing.sorts)}",
        )
    return found


def notes(world: World, sources: tuple[str, ...], now: datetime) -> dict[str, Any]:
    """What stands beside a listing: when, from where, and how each source stands."""
    states = {}
    for name in sources:
        state = world.sources[name]
        age = None if state.as_of is None else max(0, int((now - state.as_of).total_seconds()))
        states[name] = {"freshness": state.freshness.value, "age_s": age, "trouble": state.trouble.words if state.trouble else None}
    return {"_at": words.iso(now), "_site": world.site.name, "_whole": world.whole(*sources), "_sources": states}


def _sql_notes(world: World, field: str, now: datetime) -> dict[str, Any]:
    """The same of what SQL alone tells."""
    reading = getattr(world, field)
    known = isinstance(reading, Known)
    state = {
        "freshness": "live" if known else "failed",
        "age_s": max(0, int((now - reading.as_of).total_seconds())) if known else None,
        "trouble": None if known else reading.reason,
    }
    return {"_whole": known, "_sources": {"sql": state}}


def as_json(call: Call) -> bool:
    return bool(call.parsed.flags.get("json")) or call.parsed.flags.get("output") == "json"


def _quiet(document: Any) -> Any:
    """The document without what changes by the passing of time alone."""
    if isinstance(document, Mapping):
        return {k: _quiet(v) for k, v in document.items() if not (k.endswith("_s") or k == "_at")}
    if isinstance(document, list):
        return [_quiet(v) for v in document]
    return document


# ---------------------------------------------------------------- one reading


def _print(call: Call, document: Document) -> Exit:
    site = call.site()
    if call.parsed.flags.get("watch"):
        return asyncio.run(_watch(call, site, document))
    world = asyncio.run(site.live.once((*document.sources, *document.more), DEADLINE_S))
    now = datetime.now(UTC)
    code = _verdict_of(world, document)
    if code is not Exit.DONE:
        _explain(site, world, document)
    _talk(world, document, now, whole=code is Exit.DONE)
    told = code is Exit.DONE or (document.by_sql and not document.reading and any(isinstance(r, Known) for r in world.pg_sql.values()))
    if code is not Exit.DONE and not document.reading and (told or as_json(call)):
        world = _last_known(site, document, world, now)
    if as_json(call):
        out.dump(document.json(world, now))
    elif told:
        text = document.text(world, now)
        if text:
            out.data(text)
        else:
            out.say(f"no {document.title}{_seen_by_us(world, document, now)}")
    return code


def _seen_by_us(world: World, document: Document, now: datetime) -> str:
    """Of sessions: that there may be some which this login is not shown."""
    if document.reading != _SESSIONS:
        return ""
    from ..present.postgres_activity import lacking

    return " that this login may see" if lacking(world, now) else ""


def _last_known(site: Site, document: Document, world: World, now: datetime) -> World:
    """What the API told before, with what the servers say now."""
    saved = site.last_known((*document.sources, *document.more), world)
    if saved is None:
        return world
    out.say(f"printed as last known, {words.freshness(saved.sources[document.sources[0]], now)}")
    return dataclasses.replace(saved, pg_sql=world.pg_sql, pg_claims=world.pg_claims) if document.by_sql else saved


def _verdict_of(world: World, document: Document) -> Exit:
    if not document.reading:
        return verdict(world, document.sources[0])
    reading = getattr(world, document.reading)
    if isinstance(reading, Known):
        return Exit.DONE
    return _BY_TROUBLE.get(reading.kind, Exit.UNREACHABLE)


def verdict(world: World, source: str) -> Exit:
    """The exit code that the state of the main source means."""
    state = world.sources[source]
    match state.freshness:
        case Freshness.LIVE:
            return Exit.DONE
        case Freshness.FORBIDDEN:
            return Exit.NOT_PERMITTED
        case Freshness.NOT_INSTALLED:
            return Exit.FAILED
        case Freshness.STALE | Freshness.LOADING | Freshness.FAILED:
            kind = state.trouble.kind if state.trouble is not None else ""
            return _BY_TROUBLE.get(kind, Exit.UNREACHABLE)


def _explain(site: Site, world: World, document: Document) -> None:
    """One line: what, where, remedy."""
    source = document.sources[0]
    if document.reading:
        from ..present.postgres_listings import why_not

        out.say(out.clean(f"{document.title}: {why_not(world, document.reading)}"))
        return
    state = world.sources[source]
    trouble = world.sources[KUBE].trouble or state.trouble
    title = KINDS[source].title if source in KINDS else source
    if trouble is not None and trouble.kind == "config":
        parts = [trouble.words, trouble.hint]
    else:
        server = world.site.server or site.facts.server
        what = trouble.words if trouble else f"not read within {DEADLINE_S:.0f} s"
        named = server.partition("://")[2] in what
        parts = [f"{title}: {what}", "" if named else server, (trouble.hint if trouble else "") or "see coldtui doctor"]
    out.say(out.clean(" · ".join(p for p in parts if p)))


def _talk(world: World, document: Document, now: datetime, *, whole: bool) -> None:
    """What is missing or not whole, one line each. What is read besides tells its own troubles where it is printed."""
    if whole and not document.reading:
        for name in document.sources:
            _one_note(world, name, now)
    if document.by_sql and (whole or not document.reading):
        from ..present.postgres_listings import sql_notes

        for note in sql_notes(world, document.reading, now):
            out.say(out.clean(note))


def _one_note(world: World, name: str, now: datetime) -> None:
    state = world.sources[name]
    title = KINDS[name].title
    if state.partial:
        out.say(f"{title}: only the first part was read in time, totals are lower bounds (≥)")
    elif state.freshness is not Freshness.LIVE:
        hint = f" · {state.trouble.hint}" if state.trouble and state.trouble.hint else ""
        out.say(out.clean(f"{title}: {words.freshness(state, now)}{hint}"))


# ---------------------------------------------------------------- again and again


async def _watch(call: Call, site: Site, document: Document) -> Exit:
    """Print what changed, at most each second, until cancelled. A lost API is a word on stderr and the end of nothing."""
    gc.freeze()  # what the imports made stays; from here on this process may run for days
    gc.enable()
    changed = asyncio.Event()
    live = site.live
    end = live.subscribe(lambda world: changed.set())
    look_away = (
        live.attend(*(name for name in document.more if name in (DATABASE, SESSIONS)), document.reading)
        if document.by_sql
        else lambda: None
    )
    await live.start((*document.sources, *document.more))
    shown: Any = None
    said = ""
    try:
        while True:
            await changed.wait()
            changed.clear()
            world, now = live.world, datetime.now(UTC)
            said = _standing(world, document, said)
            if _whole(world, document):
                mark = document.mark(world, now)
                if mark != shown:
                    print_again(call, document, world, now, first=shown is None)
                    shown = mark
            await asyncio.sleep(WATCH_S)
    except asyncio.CancelledError:
        return Exit.DONE
    finally:
        end()
        look_away()
        await live.close()


def _whole(world: World, document: Document) -> bool:
    """Whether there is something to print."""
    if document.reading:
        return isinstance(getattr(world, document.reading), Known)
    main = world.sources[document.sources[0]]
    return main.freshness is Freshness.LIVE and not main.partial


def print_again(call: Call, document: Document, world: World, now: datetime, *, first: bool) -> None:
    if as_json(call):
        out.dump(document.json(world, now), compact=True)
        return
    if not first:
        out.data("")
    out.data(document.text(world, now))


_LINE_KINDS = frozenset({"dns", "refused", "tls", "timeout", "lost"})


def _standing(world: World, document: Document, said: str) -> str:
    """Say it once when a source is lost and once when it is back."""
    line = world.sources[KUBE].trouble
    if document.reading:
        reading = getattr(world, document.reading)
        text = "" if isinstance(reading, Known) or reading == NOT_SHOWN else f"{document.title}: {reading.reason}"
    elif line is not None:
        text = f"Kubernetes API: {line.words}" + (f" · {line.hint}" if line.hint else "")
    else:
        # While the line lives, a source whose line is lost is only about to be opened again.
        troubles = ((name, world.sources[name].trouble) for name in document.sources)
        text = "; ".join(f"{KINDS[name].title}: {t.words}" for name, t in troubles if t is not None and t.kind not in _LINE_KINDS)
    if text != said:
        out.say(out.clean(text or "all sources answer again"))
    return text
