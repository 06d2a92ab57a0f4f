"""`coldtui demo`: a simulated site, with the console on it or alone; and its faults."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..domain.errors import Exit, UsageError
from ..domain.text import one_of, plain
from . import out

if TYPE_CHECKING:
    from ..lab.demo import DemoOptions
    from .args import Parsed

_KEPT = ("COLDTUI_THEME", "COLDTUI_MOUSE")


def run(parsed: Parsed, environ: Mapping[str, str]) -> int:
    if parsed.words:
        return int(_fault(parsed))
    options = _options(parsed)
    if parsed.flags.get("headless"):
        from ..lab.demo import headless

        return headless(options)
    from .console import need_terminal

    need_terminal(environ)
    return _with_console(parsed, environ, options)


def _options(parsed: Parsed) -> DemoOptions:
    from ..lab.demo import DemoOptions

    flags = parsed.flags
    return DemoOptions(
        dir=Path(flags["dir"]).absolute() if flags.get("dir") else None,
        scale=flags.get("scale") or "",
        churn=_number(flags.get("churn"), "--churn", 20),
        still=bool(flags.get("still")),
        scenario=flags.get("scenario") or "",
        version=flags.get("k3s_version") or "",
        reboot_s=_number(flags.get("reboot"), "--reboot", 70),
        postgres=not flags.get("no_postgres"),
    )


def _number(text: str | None, flag: str, such_as: int) -> float:
    """0 when it is not given. Raises UsageError."""
    try:
        return float(text or 0.0)
    except ValueError:
        raise UsageError(f"{flag} needs a number, not {plain(str(text))!r}", hint=f"write {flag} {such_as}") from None


def _with_console(parsed: Parsed, environ: Mapping[str, str], options: DemoOptions) -> int:
    """The lab beside us, the console on it; the lab ends with the console."""
    from ..config.load import load
    from ..lab.demo import start
    from ..wiring import open_site
    from .console import show

    out.say("starting a simulated site")
    with start(options) as lab:
        # Nothing of the operator's own environment may lead this console to a real site.
        clean = {
            k: v
            for k, v in environ.items()
            if k in _KEPT or not (k.startswith("COLDTUI_") or k in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"))
        }
        flags = {"kube.kubeconfig": str(lab.kubeconfig), "theme": parsed.flags.get("theme"), "mouse": parsed.flags.get("mouse")}
        config = load(flags, clean, config_flag=str(lab.config))
        return show(config, open_site(config, clean), None)


def _fault(parsed: Parsed) -> Exit:
    """`demo fault NAME on|off [key=value ...]`; without a name the faults there are."""
    from ..lab.demo import fault, faults, on_a_node

    word, *rest = parsed.words
    if word != "fault":
        raise UsageError(f"demo does not take {plain(word)!r}", hint="coldtui demo [flags], or coldtui demo fault NAME on|off")
    known = faults()
    if not rest:
        from ..present.rows import Cell

        out.data(out.table(("FAULT", "WHAT IT DOES"), [(Cell(name), Cell(about)) for name, about in known.items()]))
        return Exit.DONE
    name, *more = rest
    if name not in known:
        near = one_of(tuple(known), name)
        raise UsageError(f"there is no fault {plain(name)!r}", hint=f"did you mean {near}?" if near else f"known: {', '.join(known)}")
    if not more or more[0] not in ("on", "off"):
        raise UsageError(f"fault {name}: on or off?", hint=f"coldtui demo fault {name} on")
    # Which demo: the folder, or the configuration file that the demo wrote into it.
    config = parsed.flags.get("config")
    folder = Path(parsed.flags["dir"]).absolute() if parsed.flags.get("dir") else Path(config).absolute().parent if config else None
    options = _pairs(more[1:])
    node = parsed.flags.get("node")
    if node:
        if options.setdefault("node", node) != node:
            raise UsageError(f"--node {plain(node)} and node={plain(str(options['node']))} say different things", hint="leave one out")
        if name not in on_a_node():
            raise UsageError(f"fault {name} is for no node", hint="leave --node out")
    out.data(plain(fault(name, more[0] == "on", folder, **options)))
    return Exit.DONE


def _pairs(words: list[str]) -> dict[str, Any]:
    """`node=k3s-worker-1 seconds=5` as options of a fault."""
    found: dict[str, Any] = {}
    for word in words:
        key, equal, value = word.partition("=")
        if not equal or not key.isidentifier():
            raise UsageError(f"{plain(word)!r} is no option of a fault", hint="write key=value")
        found[key] = int(value) if value.isascii() and value.isdigit() else value
    return found
