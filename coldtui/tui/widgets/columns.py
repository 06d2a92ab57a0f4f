"""Which columns of a table are drawn, where, and how wide."""

from __future__ import annotations

from collections.abc import Mapping

from coldtui.domain.values import dataclass

from ...present.rows import Column
from .draw import width_of

GAP = 2
GUTTER = 1


@dataclass(frozen=True, slots=True)
class Place:
    """Where a column is drawn."""

    number: int
    column: Column
    x: int
    width: int


def fitting_places(columns: tuple[Column, ...], needs: Mapping[int, int], width: int, *, lend: bool) -> tuple[Place, ...]:
    """Those that fit into `width` cells, by priority; `needs`: cells that the visible rows want, by number of the column. `lend`: rows are there,
    so that what a column has and no row of it needs may go to another."""
    chosen = list(enumerate(columns))
    room = width - GUTTER
    identifier = max(chosen, key=lambda pair: (pair[1].grow, -pair[0]))

    def wanted(number: int, column: Column) -> int:
        """What a column that is always shown needs (a third of the room at most, as one long name must not drive out the rest)."""
        if not column.grow or column.priority:
            return column.width
        return max(column.width, min(needs.get(number, 0), room // 3))

    def optional() -> list[tuple[int, Column]]:
        return [pair for pair in chosen if pair[1].priority and pair is not identifier]

    while optional() and sum(wanted(n, c) + GAP for n, c in chosen) - GAP > room:
        chosen.remove(max(optional(), key=lambda pair: (pair[1].priority, pair[0])))  # a whole state before one more column
    while len(chosen) > 1 and sum(c.width + GAP for _, c in chosen) - GAP > room:
        # By priority; when all that is left is "always shown", from the right, but never the identifier.
        chosen.remove(max((pair for pair in chosen if pair is not identifier), key=lambda pair: (pair[1].priority, pair[0])))
    widths = {number: column.width for number, column in chosen}
    spare = room - sum(widths.values()) - GAP * (len(chosen) - 1)
    growing = [(number, column) for number, column in chosen if column.grow]
    for number, column in growing:  # those that are always shown first: a whole state before a whole list of roles
        more = max(0, min(wanted(number, column) - widths[number], spare)) if not column.priority else 0
        widths[number] += more
        spare -= more
    while spare > 0 and growing:
        hungry = [(n, c) for n, c in growing if widths[n] < needs.get(n, 0)]
        if not hungry:
            break
        shares = sum(c.grow for _, c in hungry)
        given = 0
        for number, column in hungry:
            more = min(max(1, spare * column.grow // shares), needs[number] - widths[number], spare - given)
            widths[number] += more
            given += more
        spare -= given
    if spare < 0:
        widths[identifier[0]] = max(1, widths[identifier[0]] + spare)
    elif lend:
        _lend(needs, growing, widths)
    places, x = [], GUTTER
    for number, column in chosen:
        places.append(Place(number, column, x, widths[number]))
        x += widths[number] + GAP
    return tuple(places)


def _lend(needs: Mapping[int, int], growing: list[tuple[int, Column]], widths: dict[int, int]) -> None:
    """What a growing column has and no visible row of it needs goes to those that must cut: a state before blanks after a name."""
    for number, _ in growing:
        short = needs.get(number, 0) - widths[number]
        for other, lender in growing:
            if short > 0 and other != number:
                room = widths[other] - max(needs.get(other, 0), width_of(lender.title) + 1)
                given = max(0, min(short, room))
                widths[other] -= given
                widths[number] += given
                short -= given


def all_places(columns: tuple[Column, ...], needs: Mapping[int, int], pan: int) -> tuple[Place, ...]:
    """Every column at full width, without the first `pan` ones after the identifier."""
    places, x = [], GUTTER
    for number, column in enumerate(columns):
        if number and number <= pan:
            continue
        width = max(column.width, needs.get(number, 0))
        places.append(Place(number, column, x, width))
        x += width + GAP
    return tuple(places)
