"""Every number of time that `live` goes by, in one place, so that tests can run the same rules faster."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from time import monotonic

from coldtui.domain.values import dataclass


class SystemClock:
    """The machine's time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return monotonic()


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds, unless said otherwise."""

    heartbeat_s: float = 5.0
    probe_s: float = 3.0
    """Deadline of one probe: 5 + 2 × 3 = a paused API is named within 11 s."""
    lost_probe_s: float = 1.0
    """Between probes while the API is lost or not ready: the return must be seen at once."""
    stagger_s: float = 0.25
    """Between the kinds of the first screen and the others: thirty TLS handshakes at once would delay the first paint."""
    settle_s: float = 1.0
    """A re-opened watch that was neither refused nor broken for so long counts as live, though nothing came on it yet."""
    wake_jitter_s: float = 0.5
    """Spread of the reflectors that all start again when the API returns."""

    new_s: float = 1.0
    """After the client was made, for so long each piece of news is published almost at once."""
    new_publish_s: float = 0.02
    publish_s: float = 0.1
    """Least distance of two revisions of the World."""
    lazy_s: float = 5.0
    """The same for what only ages (renewed leases): far below the 40 s from which a lease is stale."""

    backoff_s: float = 0.8
    backoff_cap_s: float = 30.0
    healthy_s: float = 120.0
    """So long without a failure, and the back-off begins anew."""
    connect_s: float = 15.0
    """Deadline of one try to make a client (credential plugins are programs)."""
    connect_cap_s: float = 10.0
    renew_s: float = 30.0
    """Between tries to make a new client while credentials or certificates are refused."""
    list_s: float = 30.0
    watch_min_s: float = 300.0
    watch_max_s: float = 600.0
    """timeoutSeconds of a watch is drawn between, so that thirty of them do not end together."""
    short_watch_s: float = 1.0
    """A watch that ends sooner, without events, counts as a failure: guards against a hot loop."""
    forbidden_s: float = 60.0
    missing_s: float = 300.0
    """When a kind that is not installed is asked for again."""
    restored_s: float = 30.0
    """How long "the cluster was restored" stays on screen at least."""

    quiet_s: float = 25.0
    """No kubelet's heartbeat on the stream for so long (they come every 10 s): ask whether there are any, well before a node is called late at 40 s."""

    journal_s: float = 0.2
    """Between looks at the journal: a look that finds nothing new costs microseconds."""
    poll_s: float = 15.0
    stats_s: float = 15.0
    stats_deadline_s: float = 5.0
    stats_many_s: float = 60.0
    """Distance of the rounds with more than 50 nodes, 50 nodes a round."""
    pg_shown_s: float = 2.0
    """Between two questions to a PostgreSQL server, or through the VIP, while a screen shows it, ..."""
    pg_primary_s: float = 1.0
    """The same to the primary, so that its loss is seen within 2 s."""
    pg_idle_s: float = 10.0
    """... and else."""
    pg_slowest_s: float = 30.0
    """The same of a server that keeps failing, while nobody looks."""
    pg_look_s: float = 1.0
    """Between looks at which instances there are."""
    trend_s: float = 15.0
    sweep_s: float = 60.0
    save_s: float = 60.0
    facts_s: float = 5.0
    close_s: float = 0.8
    """How long closing waits for threads that do not let go."""

    def scaled(self, factor: float) -> Pace:
        """The same rules, `factor` times as long."""
        return Pace(**{f.name: getattr(self, f.name) * factor for f in fields(self)})
