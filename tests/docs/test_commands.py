"""The documentation against the program: every command line in it is run, every link is followed, every table is compared."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
import yaml

from coldtui.cli.catalogue import COMMANDS
from coldtui.cli.run import main
from coldtui.config.settings import SETTINGS, SITE_VARIABLES
from coldtui.domain.errors import Exit
from coldtui.domain.kinds import KINDS, NODE_STATS
from coldtui.lab.control import CATALOGUE
from coldtui.lab.supervisor import SCENARIOS
from coldtui.present.words import ASCII_GLYPHS, GLYPHS
from coldtui.tui import theme
from docs import make_keys
from tests.docs import pages
from tests.docs.conftest import Place
from tests.docs.pages import PAGES, ROOT, Block, Line

DOCS = ROOT / "docs"
BLOCKS = [block for page in PAGES for block in pages.blocks(page)]
RUN = {(line.words, line.exit, line.endless, line.fault): line for block in BLOCKS if block.run for line in pages.command_lines(block)}
"""Each line once, however often it is written."""
CALM = [line for line in RUN.values() if not line.fault and not line.endless]
ENDLESS = [line for line in RUN.values() if line.endless]
FAULTS = sorted({line.fault for line in RUN.values() if line.fault})


def ground(line: Line, request: pytest.FixtureRequest) -> Place:
    """The lab with real servers for the lines about them."""
    found: Place = request.getfixturevalue("servers" if line.words[0] == "postgres" else "place")
    return found


def run_here(line: Line, place: Place) -> int:
    return main(list(line.words), place.environ)


@contextmanager
def fault(place: Place, name: str) -> Iterator[None]:
    place.lab.fault(name, True)
    try:
        yield
    finally:
        place.lab.fault(name, False)


@pytest.mark.parametrize("line", CALM, ids=lambda line: f"{line.where} {line.text.partition('#')[0].strip()}")
def test_a_documented_command_ends_as_documented(line: Line, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    """A reader who types a line of the documentation gets the exit code that stands there, and words or data."""
    place = ground(line, request)
    switched = line.words[2] if line.words[:2] == ("demo", "fault") and line.words[3:4] == ("on",) else ""
    try:
        assert run_here(line, place) == line.exit
    finally:
        if switched and line.exit == 0:
            place.lab.fault(switched, False)
    told = capsys.readouterr()
    assert told.out or told.err
    assert "Traceback" not in told.err
    assert "fault of this program" not in told.err


@pytest.mark.parametrize(("name", "of_servers"), sorted({(line.fault, line.words[0] == "postgres") for line in RUN.values() if line.fault}))
def test_commands_under_a_fault_end_as_documented(
    name: str, of_servers: bool, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit codes that the documentation gives for a broken site are those that a broken site gives."""
    mine = [line for line in RUN.values() if line.fault == name and (line.words[0] == "postgres") == of_servers]
    place = ground(mine[0], request)
    calm = Line("", "", ("status",), 0, False, "")
    assert run_here(calm, place) == 0, "there must be a last known state"
    with fault(place, name):
        found = {line.text: run_here(line, place) for line in mine}
    assert found == {line.text: line.exit for line in mine}
    assert run_here(calm, place) == 0
    capsys.readouterr()


@pytest.mark.parametrize("line", ENDLESS, ids=lambda line: line.text.partition("#")[0].strip())
def test_a_command_that_goes_on_ends_with_ctrl_c(line: Line, place: Place) -> None:
    """`--watch` and `-f` print at once, go on, and end with 0 when they are interrupted."""
    command = [sys.executable, "-m", "coldtui", *line.words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=place.environ, cwd=ROOT)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline()
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.stdout.read()
    assert process.wait(10) == line.exit


def test_only_what_cannot_be_run_here_is_not_run() -> None:
    """No line escapes the test by the marker `not-run`: each block that bears it has something that is no command of ours, or needs a terminal."""

    def needs_more(written: str) -> bool:
        words = written.split()
        console = not any(word in COMMANDS for word in words[1:]) or words[1:2] == ["demo"]
        return words[0] != "coldtui" or console

    wrong = []
    for block in BLOCKS:
        if block.shell and not block.run:
            lines = [line.strip() for line in block.text.splitlines() if line.strip() and not line.strip().startswith("#")]
            if not any(needs_more(line) for line in lines):
                wrong.append(f"{block.page}:{block.line}")
    assert wrong == []


def test_a_line_that_is_no_command_of_ours_must_be_marked() -> None:
    """A block with kubectl in it that is not marked is a mistake, not silently skipped."""
    with pytest.raises(ValueError, match="not-run"):
        pages.command_lines(Block("x.md", 1, ("sh",), "kubectl get nodes\n"))


def test_blocks_say_what_they_are() -> None:
    """Every fenced block names its language and nothing that the tests do not know, so that no command hides in an unnamed one."""
    for block in BLOCKS:
        assert block.info[:1] in {("sh",), ("text",), ("json",), ("yaml",), ("python",), ("sql",)}, f"{block.page}:{block.line}"
        assert all(word == "not-run" or word.startswith("fault=") for word in block.info[1:]), f"{block.page}:{block.line}"
    assert set(FAULTS) <= set(CATALOGUE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Each link names a file that is there, and a heading that is in it."""
    for target in pages.links(page):
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), f"{page.name}: {target}"
        assert there.is_relative_to(ROOT), f"{page.name}: {target}"
        if anchor:
            assert anchor in pages.anchors(there), f"{page.name}: {target}"


def test_every_page_is_reached_from_the_readme() -> None:
    """A page that nothing links to is not read."""
    reached, left = set(), [ROOT / "README.md"]
    while left:
        page = left.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        left += [(page.parent / target.partition("#")[0]).resolve() for target in pages.links(page) if not target.startswith("#")]
    assert set(DOCS.glob("*.md")) - reached - {DOCS / "benchmarks.md"} == set()


def test_keys_are_up_to_date() -> None:
    """docs/keys.md is what the live bindings say; if not, run docs/make_keys.py."""
    assert make_keys.PAGE.read_text(encoding="utf-8") == make_keys.page()


def test_configuration_names_every_setting_and_no_other() -> None:
    """Key, variables and flag of each setting stand in configuration.md as the program has them."""
    told = {
        pages.codes(key)[0]: (tuple(pages.codes(variables)), tuple(pages.codes(flag)))
        for key, variables, flag, *_ in pages.rows(DOCS / "configuration.md", "## All settings")
    }
    assert told == {s.key: (s.variables, (s.flag,) if s.flag else ()) for s in SETTINGS}
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    assert [name for name in SITE_VARIABLES if f"`{name}`" not in text] == []


def test_the_configuration_example_is_valid(tmp_path: Path) -> None:
    """The file in configuration.md is accepted, key by key."""
    from coldtui.config.load import load

    example = next(block for block in BLOCKS if block.page == "configuration.md" and block.info == ("yaml",))
    path = tmp_path / "config.yaml"
    path.write_text(example.text, encoding="utf-8")
    config = load({}, {"HOME": str(tmp_path)}, config_flag=str(path))
    assert set(yaml.safe_load(example.text)) <= {key.partition(".")[0] for key in config.origins}
    assert config.theme in theme.names()


def test_tables_of_the_lab_are_whole() -> None:
    """lab.md names every fault and every scenario and no other."""
    assert {pages.codes(row[0])[0] for row in pages.rows(DOCS / "lab.md", "## Faults")} == set(CATALOGUE)
    assert {pages.codes(row[0])[0] for row in pages.rows(DOCS / "lab.md", "## Scenarios")} == set(SCENARIOS)


def test_exit_codes_themes_and_glyphs_are_those_of_the_program() -> None:
    """The tables of exit codes, themes and glyphs name what the program has."""
    assert [int(row[0]) for row in pages.rows(DOCS / "command-line.md", "## Exit codes")] == [int(code) for code in Exit]
    assert {pages.codes(row[0])[0] for row in pages.rows(DOCS / "configuration.md", "## Colours")} == set(theme.names())
    told = {pages.codes(row[0])[0]: pages.codes(row[1])[0] for row in pages.rows(DOCS / "screens.md", "## Glyphs")}
    assert [told[GLYPHS[name]] for name in ("good", "part", "bad", "off", "none")] == [
        ASCII_GLYPHS[name] for name in ("good", "part", "bad", "off", "none")
    ]


def test_permissions_name_every_kind_that_is_read() -> None:
    """For each kind that the console reads, permissions.md has a row, and the account in deploy/ may read it."""
    cells = " ".join(row[1] for row in pages.rows(DOCS / "permissions.md", "## What each right is for"))
    granted = {
        (group, resource)
        for document in yaml.safe_load_all((ROOT / "deploy" / "viewer-rbac.yaml").read_text(encoding="utf-8"))
        for rule in document.get("rules") or ()
        for group in rule.get("apiGroups") or ()
        for resource in rule.get("resources") or ()
    }
    for kind in KINDS.values():
        wanted = "nodes/stats" if kind is NODE_STATS else kind.plural
        assert f"`{wanted}`" in cells, kind.name
        assert (kind.group, wanted) in granted, kind.name


@pytest.mark.parametrize("noun", [row[0].strip("`") for row in pages.rows(DOCS / "command-line.md", "## JSON")])
def test_json_has_the_documented_keys(noun: str, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """The keys of a row are those that command-line.md names, no more and no fewer: scripts rest on them."""
    told = next(pages.codes(row[1]) for row in pages.rows(DOCS / "command-line.md", "## JSON") if row[0] == f"`{noun}`")
    if noun == "runs":  # a fresh machine has none
        assert main(["node", "cordon", "k3s-worker-4"], place.environ) == main(["node", "uncordon", "k3s-worker-4"], place.environ) == 0
        capsys.readouterr()
    with fault(place, "metrics-down") if noun == "problems" else nullcontext():  # a calm site has none
        assert main([noun, "--json"], place.environ) == 0
    document = json.loads(capsys.readouterr().out)
    found = list(dict.fromkeys(key for row in document[noun] for key in row))
    assert sorted(found) == sorted(told)


def test_nothing_is_left_of_the_environment() -> None:
    """The pages never name a path of the machine that they were written on."""
    mine = (str(ROOT), "/tmp/")
    assert [(page.name, name) for page in PAGES for name in mine if name in page.read_text(encoding="utf-8")] == []
