"""The line to the API as the threads see it: whether it answers, when to try again, when to stop."""

from __future__ import annotations

from threading import Condition


class Line:
    """Shared by the heartbeat, which judges, and the threads, which wait here. Every wait ends on `close`."""

    def __init__(self) -> None:
        self._cond = Condition()
        self.up = True
        """Presumed, so that the first lists do not wait for the first probe."""
        self.generation = 0
        """Rises when everyone who waits shall try again at once."""
        self.epoch = 0
        """Rises when versions of the past mean nothing any more (restored or other cluster)."""
        self.closed = False

    def lose(self) -> None:
        with self._cond:
            self.up = False
            self._cond.notify_all()

    def wake(self) -> None:
        """The API answers (again): all try at once."""
        with self._cond:
            self.up = True
            self.generation += 1
            self._cond.notify_all()

    def nudge(self) -> None:
        """Try again at once, if the line is up."""
        with self._cond:
            self.generation += 1
            self._cond.notify_all()

    def new_epoch(self, seen: int) -> bool:
        """Begin a new epoch unless someone already did since `seen`; True for the one who did."""
        with self._cond:
            if self.epoch != seen:
                return False
            self.epoch += 1
            self.generation += 1
            self._cond.notify_all()
            return True

    def close(self) -> None:
        with self._cond:
            self.closed = True
            self._cond.notify_all()

    def wait(self, delay_s: float, generation: int | None = None) -> bool:
        """Wait for `delay_s` and then for the line; less when the generation moved on from `generation`. False: closed.

        Take the generation before the attempt, so that a wake between its failure and this wait is not missed.
        """
        with self._cond:
            woken = self._cond.wait_for(
                lambda: self.closed or (generation is not None and generation != self.generation), timeout=max(0.0, delay_s)
            )
            if not woken or not self.up:
                self._cond.wait_for(lambda: self.closed or self.up)
            return not self.closed

    def sleep(self, delay_s: float) -> bool:
        """Wait for the full time. False: closed."""
        with self._cond:
            return not self._cond.wait_for(lambda: self.closed, timeout=max(0.0, delay_s))
