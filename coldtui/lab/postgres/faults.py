"""What can be wrong with the database of a lab, by the names that operators use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from coldtui.domain.errors import ColdError
from coldtui.lab.controllers.base import Lab
from coldtui.lab.postgres import faults_operator, faults_primary, faults_session, faults_standby
from coldtui.lab.postgres.faults_operator import DOWN, OperatorFaults, operator_down
from coldtui.lab.postgres.faults_primary import PrimaryFaults
from coldtui.lab.postgres.faults_session import SessionFaults
from coldtui.lab.postgres.faults_standby import SEGMENT_B, StandbyFaults
from coldtui.lab.postgres.means import Means, Options

if TYPE_CHECKING:
    from coldtui.lab.postgres.database import Database
    from coldtui.lab.postgres.load import Load

__all__ = ["ABOUT", "SEGMENT_B", "Options", "PgFaults"]

ABOUT: dict[str, str] = {**faults_standby.ABOUT, **faults_primary.ABOUT, **faults_session.ABOUT, **faults_operator.ABOUT}


@dataclass(slots=True)
class PgFaults:
    """Switches them."""

    lab: Lab
    database: Database | None
    """None: nothing real is behind the cluster; only `operator-down` can be had."""
    _means: Means | None = field(init=False, default=None)
    _sessions: SessionFaults | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.database is not None:
            self._means = Means(self.lab, self.database)
            self._sessions = SessionFaults(self._means)

    async def switch(self, name: str, on: bool, options: Options) -> str:
        """Returns in a sentence what is now. Raises ColdError."""
        if name == DOWN:
            return await operator_down(self.lab, on)
        if self._means is None or self._sessions is None:
            raise ColdError("this demo has no PostgreSQL servers", hint="start it without --no-postgres and without --scale")
        primary = PrimaryFaults(self._means, self._sessions.write)
        known = {
            **StandbyFaults(self._means, primary.killed).all(), **primary.all(), **self._sessions.all(), **OperatorFaults(self._means).all()
        }  # fmt: skip
        if on:
            await self._means.settle()
        return await known[name](on, options)

    async def aclose(self) -> None:
        """End what runs."""
        if self._sessions is not None:
            await self._sessions.aclose()

    @property
    def load(self) -> Load | None:
        """What writes through the VIP now."""
        return self._sessions.load if self._sessions is not None else None

    @property
    def primary(self) -> str:
        return self._means.primary if self._means is not None else ""
