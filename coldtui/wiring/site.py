"""Configuration becomes a Site: ports, live, state. Knows no face; adapters are imported only when something is reached."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from coldtui.domain.values import dataclass

from ..config import logs, state
from ..config.settings import Config
from ..config.state import StateDir
from ..domain.errors import ColdError, HostKeyUnknown, Misconfigured, Unreachable
from ..domain.logkeys import Key
from ..domain.runboard import JOURNAL
from ..domain.secret import Secret
from ..domain.sources import KUBE
from ..domain.world import SiteFacts, World
from ..live import Live
from ..live.database import DatabaseSource
from ..live.runs import RunSource

if TYPE_CHECKING:
    from ..operations.desk import Desk
    from ..ports import Database, Kube

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KubeconfigFacts:
    """What the kubeconfig says, before anything is reached."""

    paths: tuple[str, ...]
    """The files; empty: credentials of the pod that we run in."""
    context: str = ""
    server: str = ""
    user: str = ""
    namespace: str = ""
    login: str = ""
    """How it authenticates: `client certificate`, `token`, `exec plugin NAME`, ..."""
    certificate_until: datetime | None = None
    """notAfter of the client certificate."""
    trouble: ColdError | None = None


@dataclass(frozen=True, slots=True)
class Connector:
    """Makes the client: called by Live in a thread of its own."""

    kubeconfig: Path | None
    """None: $KUBECONFIG, ~/.kube/config, the K3s file, the pod's own credentials."""
    context: str | None
    namespace: str = ""
    """Read where the whole cluster may not be."""

    def __call__(self) -> Kube:
        return self.open(writable=False)

    def open(self, *, writable: bool) -> Kube:
        """`writable`: with an open write gate, for one confirmed run."""
        from ..adapters.kube.adapter import connect  # the adapter's libraries are paid for only when something is reached

        return connect(kubeconfig=self.kubeconfig, context=self.context, namespace=self.namespace, writable=writable)


class Once(Generic[T]):
    """Makes something at first use, once, from any thread; a failure is raised and tried again at the next use."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: list[T] = []
        self._lock = threading.Lock()

    def __call__(self) -> T:
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]

    @property
    def made(self) -> T | None:
        """What there is already."""
        return self._made[0] if self._made else None


@dataclass(frozen=True, slots=True)
class Site:
    """One site as configured. `live` is not started."""

    config: Config
    facts: SiteFacts
    live: Live
    connector: Callable[[], Kube]
    state_dir: StateDir
    log: str
    """Path of the log in use; empty when there is none."""
    log_trouble: str = ""
    """Why there is no log."""
    environ: Mapping[str, str] = field(default_factory=dict)
    console_desk: Callable[[], Desk | None] = lambda: None

    @property
    def desk(self) -> Desk | None:
        """Where the console asks for acts."""
        return self.console_desk()

    async def unknown_key(self, node: str, ip: str = "") -> HostKeyUnknown | None:
        """The key that the host of a node shows, when it is in no known_hosts file; None: it is known. Logs in nowhere that is not known.

        Raises what `Shell.run` raises otherwise.
        """
        from ..operations.hosts import boot_id
        from .acting import open_shell

        shell = open_shell(self)
        try:
            await boot_id(shell, node, ip)
        except HostKeyUnknown as error:
            return error
        finally:
            await shell.aclose()
        return None

    def trust(self, line: str) -> str:
        """Keep the key of a host that the operator has compared (`HostKeyUnknown.line`). Returns the file. Blocking. Raises Misconfigured."""
        from ..adapters.ssh.hostkeys import trust

        return trust(line, self.config.ssh.known_hosts)

    @property
    def kube(self) -> Kube:
        """The client that Live holds. Raises Unreachable, with what Live knows, while there is none."""
        found = self.live.kube
        if found is None:
            trouble = self.live.world.sources[KUBE].trouble
            raise Unreachable(trouble.words if trouble else "not connected yet", hint=trouble.hint if trouble else "wait a moment")
        return found

    def last_known(self, kinds: Iterable[str], world: World) -> World | None:
        """The saved World with the troubles of `world`, for when nothing could be read; None when nothing was saved."""
        from ..live.builder import Builder
        from ..live.pace import SystemClock
        from ..live.saved import SavedWorlds

        saved = SavedWorlds(Path(self.state_dir.path), self.facts.server, self.facts.context).load()
        if saved is None:
            return None
        wanted = [kind for kind in kinds if kind in world.sources and kind != JOURNAL]
        builder = Builder(SystemClock(), replace(saved.site, clock_skew_s=None), lambda urgent: None)
        builder.activate(wanted)
        shelves = {name: items for name, items in saved.shelves.items() if name in wanted}
        builder.restore(shelves, saved.as_of, saved.stats if "node_stats" in wanted else {})
        builder.runs(world.runs)  # those were read, whatever the API does
        for name, source in world.sources.items():
            if source.trouble is not None and name != JOURNAL:
                builder.troubled(name, source.trouble)
        return builder.publish() or builder.world


def open_log(config: Config, folder: StateDir) -> tuple[str, str]:
    """Start the log. (path in use, why there is none)."""
    for value in config.site_variables.values():
        if isinstance(value, Secret):
            logs.hide(value)
    path = config.log.file or os.path.join(folder.path, "coldtui.log")
    trouble = folder.trouble if not config.log.file else ""
    trouble = trouble or logs.start(path, level=config.log.level, max_bytes=config.log.max_bytes, backups=config.log.backups)
    if trouble:
        logs.start(os.devnull)  # the libraries' own logging must not reach the terminal either
        return "", trouble
    return path, ""


def prepare_state(config: Config, environ: Mapping[str, str] = os.environ) -> StateDir:
    return state.prepare(state.choose(config.state_dir, environ))


def kubeconfig_path(config: Config) -> Path | None:
    """The one file that was named; None when the usual places shall be looked at (KUBECONFIG's list is the adapter's)."""
    if not config.kube.kubeconfig or config.origin("kube.kubeconfig").where == "KUBECONFIG":
        return None
    return Path(config.kube.kubeconfig)


def kubeconfig_facts(config: Config) -> KubeconfigFacts:
    """What the kubeconfig says; its trouble when it cannot be read. Reaches nothing."""
    from ..adapters.kube import kubeconfig

    try:
        paths = kubeconfig.files(kubeconfig_path(config), kubeconfig.Places())
        if not paths:
            return KubeconfigFacts((), context="in-cluster", login="service account")
        chosen = kubeconfig.choose(paths, config.kube.context or None)
        user = chosen.user.value
        login, until = _login(user), _certificate_until(user, chosen.user.file.parent)
        return KubeconfigFacts(
            tuple(map(str, paths)),
            chosen.context,
            _without_login(chosen.cluster.text("server")),
            chosen.user.name,
            chosen.namespace,
            login,
            until,
        )
    except ColdError as error:
        return KubeconfigFacts((), trouble=error)


def _without_login(server: str) -> str:
    scheme, sep, rest = server.partition("://")
    return f"{scheme}{sep}{rest.rpartition('@')[2]}" if sep else server


def _login(user: Mapping[str, object]) -> str:
    if "exec" in user and isinstance(user["exec"], Mapping):
        return f"exec plugin {user['exec'].get('command', '')}"
    for key, words in (
        ("tokenFile", "token file"), ("token", "token"), ("client-certificate-data", "client certificate"),
        ("client-certificate", "client certificate"), ("username", "user name and password"), ("auth-provider", "auth provider"),
    ):  # fmt: skip
        if key in user:
            return words
    return "no credentials"


def _certificate_until(user: Mapping[str, object], folder: Path) -> datetime | None:
    """notAfter of the client certificate. Raises Misconfigured when the certificate cannot be understood."""
    import base64

    data, named = user.get("client-certificate-data"), user.get("client-certificate")
    try:
        if isinstance(data, str):
            pem = base64.b64decode(data)
        elif isinstance(named, str):
            pem = (folder / Path(named).expanduser()).read_bytes()
        else:
            return None
        from cryptography import x509

        return x509.load_pem_x509_certificate(pem).not_valid_after_utc
    except (OSError, ValueError) as error:
        raise Misconfigured(
            "the client certificate cannot be read", detail=str(error).split("\n")[0], hint="copy the kubeconfig anew"
        ) from None


def open_site(config: Config, environ: Mapping[str, str] = os.environ, connector: Callable[[], Kube] | None = None) -> Site:
    """Ports and Live as configured; nothing is reached yet and no mistake in the kubeconfig is fatal here: Live shows it as the API's trouble.

    `connector` makes the client instead of the adapter.
    """
    folder = prepare_state(config, environ)
    log, log_trouble = open_log(config, folder)
    found = quick_facts(config)
    facts = SiteFacts(
        name=config.site.name or found.context,
        server=found.server,
        context=found.context,
        production=config.production,
        pg_cluster=config.postgres.cluster,
        vip_probe=config.vip_tried,
    )
    connector = connector or Connector(kubeconfig_path(config), config.kube.context or None, config.kube.namespace)
    from .acting import look_journal, open_desk, runner_lives

    runs = RunSource(lambda: look_journal(config, folder), runner_lives)
    database = DatabaseSource(lambda: open_database(config, environ), named=bool(config.postgres.instances))
    live = Live(connector, site=facts, state_dir=Path(folder.path) if folder.writable else None, runs=runs, database=database)
    logs.get("coldtui.wiring").info(
        "site opened",
        {Key.SITE: facts.name, Key.CONTEXT: facts.context, Key.SERVER: facts.server, Key.CONFIG: config.file, Key.STATE_DIR: folder.path},
    )
    desk = Once(lambda: open_desk(site, "console"))
    site = Site(config, facts, live, connector, folder, log, log_trouble, environ, desk)
    return site


def open_database(config: Config, environ: Mapping[str, str]) -> Database:
    """SQL to look with: its connections are read-only. Loads the driver; blocking. Raises Misconfigured."""
    try:
        from ..adapters.postgres import connect
    except ImportError as error:
        raise Misconfigured(
            "PostgreSQL's client library cannot be loaded", detail=str(error), hint="pip install 'psycopg[binary]'"
        ) from None
    return connect(config, writable=False, environ=environ)


def quick_facts(config: Config) -> KubeconfigFacts:
    """Context and server alone: enough to find the saved World, without a look at certificates."""
    from ..adapters.kube import kubeconfig

    try:
        paths = kubeconfig.files(kubeconfig_path(config), kubeconfig.Places())
        if not paths:
            return KubeconfigFacts((), context="in-cluster")
        chosen = kubeconfig.choose(paths, config.kube.context or None)
        return KubeconfigFacts(tuple(map(str, paths)), chosen.context, _without_login(chosen.cluster.text("server")))
    except ColdError as error:
        return KubeconfigFacts((), context=config.kube.context, trouble=error)


async def reach(site: Site, deadline_s: float = 5.0) -> Kube:
    """The client alone, for single questions. Raises ColdError."""
    try:
        return await asyncio.wait_for(asyncio.to_thread(site.connector), deadline_s)
    except TimeoutError:
        raise Unreachable(
            "the Kubernetes client was not ready in time", detail=site.facts.server, hint="does a credential plugin wait?"
        ) from None
