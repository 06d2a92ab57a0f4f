"""What acting takes: the journal, means with closed or open gates, the desk of a face, the bench of a runner."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..config import logs, state
from ..config.settings import Config
from ..config.state import StateDir
from ..domain.errors import JournalTrouble, Unreachable
from ..domain.logkeys import Key
from ..domain.runs import AuditEntry, Run, RunSite
from ..domain.secret import Secret
from .database import lazy_database
from .site import Connector, Once, Site, kubeconfig_path, open_log, prepare_state, quick_facts

if TYPE_CHECKING:
    from ..operations.desk import Desk
    from ..operations.runner import Bench
    from ..ports import Database, Journal, Kube, Means, Self, Shell


def open_journal(config: Config, folder: StateDir) -> Journal:
    """The journal of runs and audit, made if there is none. Raises JournalTrouble."""
    if not config.journal and folder.trouble:
        what, _, remedy = folder.trouble.partition(": ")
        raise JournalTrouble("the journal cannot be written", detail=what, hint=remedy)
    from ..adapters.journal import open_journal as open_file
    from ..live.pace import SystemClock

    return open_file(state.journal_path(config.journal, folder.path), clock=SystemClock())


def look_journal(config: Config, folder: StateDir) -> Journal | None:
    """The journal if it is there; None: nobody has begun one. Looking makes none. Raises JournalTrouble."""
    return open_journal(config, folder) if os.path.exists(state.journal_path(config.journal, folder.path)) else None


def run_site(config: Config) -> RunSite:
    """Where a run acts, so that its runner and a later resume reach the same."""
    found = quick_facts(config)
    return RunSite(
        config=os.path.abspath(config.file) if config.file else "",
        kubeconfig=os.pathsep.join(os.path.abspath(path) for path in found.paths),
        context=found.context if found.paths else "",
        namespace=config.kube.namespace,
        name=config.site.name or found.context,
        server=found.server,
    )


def open_means(
    config: Config,
    me: Self,
    *,
    writable: bool,
    secrets: Mapping[str, Secret] | None = None,
    connector: Callable[[], Kube] | None = None,
    under_way: Callable[[], tuple[Run, ...]] = tuple,
    environ: Mapping[str, str] = os.environ,
) -> Means:
    """What plans and steps work with. `writable` opens the write gates: for one run whose confirmation is in the journal. Blocking.

    `connector` makes the client instead of the adapter. Raises Misconfigured, Unreachable (a credential plugin that does not answer).
    """
    from ..adapters.ssh import connect as open_shell
    from ..live.pace import SystemClock
    from ..ports import Means

    clock = SystemClock()
    if connector is None or isinstance(connector, Connector):
        connector = connector or Connector(kubeconfig_path(config), config.kube.context or None, config.kube.namespace)
        kube = connector.open(writable=writable)
    else:
        kube = connector()
    return Means(
        kube,
        open_shell(config, writable=writable, secrets=secrets or {}, clock=clock, environ=environ),
        clock,
        me,
        pg_cluster=config.postgres.cluster,
        lease_namespace=config.lease_namespace,
        production=config.production,
        secrets=secrets or {},
        under_way=under_way,
        database=lazy_database(lambda: _open_database(config, writable, secrets or {}, environ)),
    )


def _open_database(config: Config, writable: bool, secrets: Mapping[str, Secret], environ: Mapping[str, str]) -> Database:
    from ..adapters.postgres import connect

    return connect(config, writable=writable, secrets=secrets, environ=environ)


def open_shell(site: Site) -> Shell:
    """Commands on hosts with a closed gate and without secrets: for checks. Reaches nothing yet."""
    from ..adapters.ssh import connect
    from ..live.pace import SystemClock

    return connect(site.config, writable=False, secrets={}, clock=SystemClock(), environ=site.environ)


def runner_lives(run: Run) -> bool | None:
    """See `ports.Launcher.lives`."""
    from ..adapters.launch import lives

    return lives(run)


def runs_end_at_logout() -> bool:
    """Whether logind would end this user's runs with their last session. For the doctor; blocking."""
    from ..adapters.launch import Scope

    return Scope().ends_at_logout()


def open_desk(site: Site, face: str) -> Desk:
    """Where a face asks for acts. Opens nothing yet. `face`: `console`, `command line`, `api`."""
    from ..adapters.launch import ProcessLauncher
    from ..adapters.launch import me as who_we_are
    from ..config.settings import SITE_VARIABLES
    from ..live.pace import SystemClock
    from ..operations.catalogue import CATALOGUE
    from ..operations.desk import Desk

    config, me = site.config, who_we_are(face, site.environ)
    journal = Once(lambda: open_journal(config, site.state_dir))
    planning, here = _Planning(site, me, journal), _Here(site, me, journal)
    path = state.journal_path(config.journal, site.state_dir.path)
    hidden = [name for name, secret in SITE_VARIABLES.items() if secret]
    return Desk(
        operations=CATALOGUE,
        means=planning.means,
        journal=journal,
        launcher=ProcessLauncher(site.state_dir.path, journal, path, environ=site.environ, hidden=hidden),
        run_here=here.run,
        who=me.who,
        site=run_site(config),
        forbidden=f"nothing may be changed: read_only is set ({config.origin('read_only')})" if config.read_only else "",
        production=config.production,
        boot_id=me.boot_id,
        clock=SystemClock(),
        closing=planning.close,
        run_unrecorded=here.run_unrecorded,
        unwritable="" if config.journal else site.state_dir.trouble,
    )


class _Planning:
    """The means for plans: closed gates. The client is the one that Live holds, where there is one."""

    def __init__(self, site: Site, me: Self, journal: Callable[[], Journal]) -> None:
        self._site, self._me, self._journal = site, me, journal
        self._own: Means | None = None
        self._opening = asyncio.Lock()

    async def means(self) -> Means:
        async with self._opening:
            own = await self._opened()
        live = self._site.live.kube
        return replace(own, kube=live) if live is not None else own

    async def _opened(self) -> Means:
        if self._own is None:
            self._own = await _opened(
                self._site.config,
                self._me,
                self._site.environ,
                writable=False,
                connector=self._site.connector,
                under_way=self._under_way,
            )
        return self._own

    def _under_way(self) -> tuple[Run, ...]:
        """A plan makes no journal where there is none yet."""
        path = state.journal_path(self._site.config.journal, self._site.state_dir.path)
        return self._journal().runs(active=True) if os.path.exists(path) else ()

    async def close(self) -> None:
        if self._own is not None:
            await _close(self._own, self._site.connector)
            self._own = None


async def _close(means: Means, connector: Callable[[], Kube] | None) -> None:
    """The client of a connector that was given to us is not ours to close."""
    await means.shell.aclose()
    await means.database.aclose()
    if connector is None or isinstance(connector, Connector):
        await means.kube.aclose()


class _Here:
    """Performs small runs in this process, with open gates for the one run."""

    def __init__(self, site: Site, me: Self, journal: Callable[[], Journal]) -> None:
        self._site, self._me, self._journal = site, me, journal

    async def run(self, run: Run) -> Run:
        from ..operations.runner import execute

        journal = await asyncio.to_thread(self._journal)
        await execute(bench(self._site.config, self._me, journal, self._site.environ, connector=self._site.connector), run.id, here=True)
        return await asyncio.to_thread(journal.run, run.id)

    async def run_unrecorded(self, run: Run, entry: AuditEntry, secrets: Mapping[str, Secret]) -> Run:
        """With a journal in memory: the real one cannot be written."""
        from ..live.pace import SystemClock
        from ..operations.runner import execute
        from ..operations.unrecorded import MemoryJournal

        journal = MemoryJournal(SystemClock())
        journal.begin(run, entry)
        logs.get("coldtui.desk").warning(
            "an act that is not in the journal", {Key.RUN: run.id, Key.OPERATION: run.operation, Key.NAME: run.object}
        )
        await execute(
            bench(self._site.config, self._me, journal, self._site.environ, secrets=secrets, connector=self._site.connector),
            run.id,
            here=True,
        )
        return journal.run(run.id)


def bench(
    config: Config,
    me: Self,
    journal: Journal,
    environ: Mapping[str, str],
    *,
    secrets: Mapping[str, Secret] | None = None,
    connector: Callable[[], Kube] | None = None,
) -> Bench:
    """What a runner works with: the write gates open when it asks for its means, which it does for a run that is its own."""
    from ..live.pace import SystemClock
    from ..operations.runner import Bench

    async def means() -> Means:
        return await _opened(
            config, me, environ, writable=True, secrets=secrets, connector=connector, under_way=lambda: journal.runs(active=True)
        )

    return Bench(journal, means, me, os.getpid(), SystemClock(), close=lambda opened: _close(opened, connector), lives=runner_lives)


def open_bench(config: Config, environ: MutableMapping[str, str]) -> Bench:
    """For the process of a confirmed run: takes its secrets from the inherited pipe, and opens log and journal. Raises JournalTrouble."""
    from ..adapters.launch import me, take_secrets

    secrets = take_secrets(environ)
    folder = prepare_state(config, environ)
    open_log(config, folder)
    for secret in secrets.values():
        logs.hide(secret)
    return bench(config, me("runner", environ), open_journal(config, folder), environ, secrets=secrets)


async def _opened(config: Config, me: Self, environ: Mapping[str, str], *, deadline_s: float = 15.0, **how: Any) -> Means:
    """`open_means` in a thread. Raises Unreachable when it is not done in time: it may ask a credential plugin."""
    try:
        async with asyncio.timeout(deadline_s):
            return await asyncio.to_thread(open_means, config, me, environ=environ, **how)
    except TimeoutError:
        raise Unreachable(
            "the Kubernetes client was not ready in time", detail=config.kube.context, hint="does a credential plugin wait?"
        ) from None
