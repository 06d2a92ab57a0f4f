"""`coldtui audit list|verify`: who did what, and whether the chain of entries holds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..domain.errors import Exit
from ..domain.runs import AuditEntry
from ..present import audit as words
from ..present.filters import matcher
from ..present.words import iso
from . import out
from .runs import journal_of

if TYPE_CHECKING:
    from .run import Call

SHOWN = 200


def run_list(call: Call) -> Exit:
    """Newest first."""
    flags = call.parsed.flags
    limit = flags.get("limit", SHOWN)
    wanted = matcher(words.AUDIT_PLAIN, flags.get("filter") or "")
    found: list[AuditEntry] = []
    total = 0
    with journal_of(call) as journal:
        every = (
            journal.audit_entries(newest_first=True, limit=limit if limit and wanted is None else 1_000_000_000)
            if journal is not None
            else ()
        )
        if journal is not None and journal.notice:
            out.say(out.clean(journal.notice))
    for entry in every:
        if wanted is None or wanted(words.row_of(entry)):
            total += 1
            if not limit or len(found) < limit:
                found.append(entry)
    now = datetime.now(UTC)
    if flags.get("json"):
        out.dump(
            {"audit": [words.entry_json(entry) for entry in found], "_at": iso(now), "_site": call.config.site.name, "_matching": total}
        )
        return Exit.DONE
    if not found:
        out.say("no entries" if not flags.get("filter") else "no entries match")
        return Exit.DONE
    columns = words.AUDIT_PLAIN.columns
    rows = [words.plain_cells(words.row_of(entry)) for entry in found]
    out.data(out.table([column.title for column in columns], rows, headers=not flags.get("no_headers")))
    if limit and len(found) == limit:
        out.say(f"the newest {limit}; --limit 0 shows all")
    return Exit.DONE


def run_verify(call: Call) -> Exit:
    """Exit 0 when the chain holds, 1 when it is broken or cannot be read."""
    with journal_of(call) as journal:
        if journal is None:
            out.say("there is no journal: nothing was done from this machine yet")
            return Exit.DONE
        found = journal.verify()
    if call.parsed.flags.get("json"):
        out.dump(words.verified_json(found))
    else:
        out.data(out.lines(words.verified_lines(found)))
    return Exit.DONE if found.whole else Exit.FAILED
