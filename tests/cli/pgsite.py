"""The command line over a site with three real servers: configurations as an operator writes them, also wrong ones."""

from __future__ import annotations

import copy
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.cli.means import Cli, Result
from tests.lab.postgres.conftest import Place, Site
from tests.ports import free_port

Json = dict[str, Any]


@dataclass
class PgCli:
    """`coldtui ARGS` on a live site; `changed(...)` gives one with another configuration."""

    site: Site
    cli: Cli
    config: Json
    _files: list[Path] = field(default_factory=list)

    @property
    def place(self) -> Place:
        return self.site.place

    def __call__(self, *argv: str, config: Json | None = None) -> Result:
        path = self.cli.folder / f"config-{len(self._files)}.yaml"
        path.write_text(yaml.safe_dump(self.config if config is None else config))
        self._files.append(path)
        return self.cli("--config", str(path), *argv)

    def changed(self, **postgres: Any) -> Json:
        """The configuration with these settings of `postgres`."""
        made = copy.deepcopy(self.config)
        made["postgres"] |= postgres
        return made

    def at(self, name: str, address: str) -> Json:
        """One instance is said to be there."""
        return self.changed(instances={**self.config["postgres"]["instances"], name: address})

    def without_api(self, config: Json | None = None) -> Json:
        """A kubeconfig that names a port on which nobody listens."""
        text = self.place.kubeconfig.read_text()
        real = yaml.safe_load(text)["clusters"][0]["cluster"]["server"]
        path = self.cli.folder / "no-api.kubeconfig"
        path.write_text(text.replace(real, f"https://127.0.0.1:{closed_port()}"))
        path.chmod(0o600)
        made = copy.deepcopy(self.config if config is None else config)
        made["kube"] = {"kubeconfig": str(path)}
        return made

    def play(self, scene: Callable[[Place], Awaitable[Any]]) -> Any:
        """In the loop of the site, when it is whole."""
        return self.site.play(scene)


def pg_cli(site: Site, cli: Cli) -> PgCli:
    config = {"kube": {"kubeconfig": str(site.place.kubeconfig)}, "site": {"name": "cold-site"}, **site.place.database.settings()}
    del cli.environ["COLDTUI_KUBECONFIG"]
    return PgCli(site, cli, config)


def one_line(found: Result, code: int, *words: str) -> str:
    """What every mistake has in common: the exit code, one printable line on stderr, nothing on stdout, no traceback. Returns the line."""
    assert found.code == code, found.err
    assert found.out == "", found.out
    assert found.err.count("\n") == 1, found.err
    assert found.err.startswith("coldtui: ")
    assert found.err[:-1].isprintable()
    assert "fault of this program" not in found.err
    for word in words:
        assert word in found.err, found.err
    return found.err


def closed_port() -> int:
    """A port of this machine on which nobody listens, nor will soon."""
    return free_port()


@contextmanager
def mute() -> Iterator[str]:
    """The address of a server that accepts and never says a word."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        made.listen(16)
        yield f"127.0.0.1:{made.getsockname()[1]}"
