"""The command line's one entry: parse, configure, run, and turn every end into words on stderr and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from coldtui.domain.values import dataclass

from ..domain.errors import ColdError, Exit, UsageError
from . import out
from .args import Parsed, command_help, help_text, parse
from .catalogue import ABOUT, COMMANDS, GLOBAL

if TYPE_CHECKING:
    from ..config.settings import Config
    from ..ports import Kube
    from ..tui.picture import Picture
    from ..wiring import Site

_FLAG_SETTINGS = {
    "kubeconfig": "kube.kubeconfig",
    "context": "kube.context",
    "namespace": "kube.namespace",
    "theme": "theme",
    "journal": "journal",
    "mouse": "mouse",
    "read_only": "read_only",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One command as it was called."""

    parsed: Parsed
    config: Config
    environ: Mapping[str, str]
    connector: Callable[[], Kube] | None = None
    """Makes the client instead of the wiring's own."""
    argv: tuple[str, ...] = ()
    """As it was typed."""

    def site(self) -> Site:
        from ..wiring import open_site

        return open_site(self.config, self.environ, self.connector)

    @property
    def state_path(self) -> str:
        from ..config.state import choose

        return choose(self.config.state_dir, self.environ)

    @property
    def journal_path(self) -> str:
        from ..config.state import journal_path

        return journal_path(self.config.journal, self.state_path)

    @property
    def log_path(self) -> str:
        return self.config.log.file or os.path.join(self.state_path, "coldtui.log")


def understand(argv: list[str]) -> Parsed:
    """Raises UsageError."""
    return parse(argv, COMMANDS, GLOBAL)


def configure(parsed: Parsed, environ: Mapping[str, str]) -> Config:
    """Raises Misconfigured."""
    from ..config.load import load

    flags = {key: parsed.flags.get(name) for name, key in _FLAG_SETTINGS.items()}
    if parsed.flags.get("all_namespaces"):
        if parsed.flags.get("namespace"):
            raise UsageError("-A and -n exclude each other", hint="leave one out")
        flags["kube.namespace"] = ""
    return load(flags, environ, config_flag=parsed.flags.get("config"))


def main(
    argv: list[str],
    environ: Mapping[str, str] = os.environ,
    *,
    connector: Callable[[], Kube] | None = None,
    picture: Picture | None = None,
) -> int:
    """Run one command, or the console, and return the exit code. Never raises.

    `connector` makes the client instead of the wiring's own. `picture` is on the terminal already, and is taken away before any word is said.
    """
    try:
        return int(_run(argv, environ, connector, picture))
    except BrokenPipeError:
        _mute()
        return int(Exit.DONE)
    except KeyboardInterrupt:
        _undo(picture)
        return int(Exit.CANCELLED)
    except ColdError as error:
        _undo(picture)
        out.say(out.clean(str(error)))
        return int(error.exit)
    except Exception as error:  # noqa: BLE001  the last boundary: one line for the operator, the rest in the log
        _undo(picture)
        return unexpected(error)


def _undo(picture: Picture | None) -> None:
    if picture is not None:
        picture.undo()


def _run(argv: list[str], environ: Mapping[str, str], connector: Callable[[], Kube] | None, picture: Picture | None) -> int:
    if argv[-3:-1] == ["run", "exec"]:  # the process of a confirmed run: for the launcher, and so in no help
        return _handler("exec:run")(argv[:-3], argv[-1], environ)
    parsed = understand(argv)
    if parsed.help:
        out.data(command_help(parsed.command, GLOBAL) if parsed.command else help_text(ABOUT, COMMANDS, GLOBAL))
        return Exit.DONE
    if parsed.flags.get("version"):
        from .. import __version__

        out.data(f"coldtui {__version__}")
        return Exit.DONE
    if parsed.command is None:
        if parsed.words:
            raise UsageError(f"unknown command {out.clean(parsed.words[0])!r}", hint="see coldtui --help")
        return _handler("console:run")(parsed, environ, connector, picture)
    if parsed.command.name == "demo":  # makes a site of its own: no configuration is needed
        return _handler(parsed.command.run)(parsed, environ)
    config = configure(parsed, environ)
    return _handler(parsed.command.run)(Call(parsed, config, environ, connector, tuple(argv)))


def _handler(where: str) -> Callable[..., int]:
    from importlib import import_module

    module, _, function = where.partition(":")
    found: Callable[..., int] = getattr(import_module(f"coldtui.cli.{module}"), function)
    return found


def unexpected(error: BaseException) -> int:
    """A fault of this program: the traceback goes to the log, one line to the operator."""
    from ..config import logs

    logs.get("coldtui").exception("fault of this program", error)
    where = logs.path()
    if not where or where == os.devnull:
        where = _trace_file(error)
    out.say(out.clean(f"a fault of this program: {type(error).__name__}: {error} · {where} has the details · please report it"))
    return int(Exit.FAILED)


def _trace_file(error: BaseException) -> str:
    """Without a log the traceback goes to a file of its own."""
    import tempfile
    import traceback

    try:
        with tempfile.NamedTemporaryFile("w", prefix="coldtui-", suffix=".txt", delete=False, encoding="utf-8", errors="replace") as file:
            file.write("".join(traceback.format_exception(error)))
            return file.name
    except OSError as other:
        return f"no file ({other.strerror})"


def _mute() -> None:
    """The reader went away: what is still buffered must not complain at exit."""
    try:
        sys.stdout.flush()
    except (BrokenPipeError, ValueError):
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
