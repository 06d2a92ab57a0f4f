"""Bytes into lines, without any network."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coldtui.adapters.ssh.lines import KEPT, TOLD_A_SECOND, Lines
from coldtui.lab.fakes import FakeClock
from coldtui.ports import Output


def fed(*parts: bytes) -> tuple[str, ...]:
    lines = Lines("out", FakeClock())
    for part in parts:
        lines.feed(part)
    return lines.end()


@given(st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\r\n", b"", "é".encode(), b"\xff"]), max_size=40), st.integers(1, 5))
def test_it_does_not_matter_how_bytes_are_cut(parts: list[bytes], width: int) -> None:
    """The same bytes make the same lines, however the network cuts them: also within a character or a line's end."""
    whole = b"".join(parts)
    assert fed(*(whole[i : i + width] for i in range(0, len(whole), width))) == fed(whole)


def test_ends_of_lines() -> None:
    """LF, CR LF and CR end a line; the last line needs no end; empty lines are lines."""
    assert fed(b"a\nb\r\nc\rd\n\ne") == ("a", "b", "c", "d", "", "e")
    assert fed(b"a\r", b"\nb") == ("a", "b")
    assert fed() == ()


def test_a_line_that_never_ends_is_bounded() -> None:
    """Megabytes without an end of line are one line of 4,096 characters, and are not kept."""
    lines = Lines("out", FakeClock())
    for _ in range(100):
        lines.feed(b"x" * 65_536)
        assert len(lines._tail) <= 4 * 4096
    assert [len(line) for line in lines.end()] == [4096]


def test_floods_are_counted() -> None:
    """Beyond the limit of a second lines are counted instead of told; the count comes with the next second or the end; the last ones are kept."""
    clock, told = FakeClock(), list[Output]()
    lines = Lines("err", clock, told.append)
    clock.advance(100)
    lines.feed(b"y\n" * (TOLD_A_SECOND + 5))
    assert len(told) == TOLD_A_SECOND
    clock.advance(1.5)
    lines.feed(b"z\n")
    assert told[-2:] == [Output("err", "[5 lines left out: too many at once]"), Output("err", "z")]
    lines.feed(b"y\n" * TOLD_A_SECOND)
    kept = lines.end()
    assert told[-1] == Output("err", "[1 line left out: too many at once]")
    assert (len(kept), kept[-1]) == (KEPT, "y")
