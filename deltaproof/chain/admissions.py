"""Who is let into a private task: participants hand the secret of its adapters to one another, the sponsor first.

Everybody who holds the secret can admit somebody, so a sponsor that leaves a participant out keeps it out only as long
as all others do. Admissions are named by who gave them: nobody can take another's place with garbage.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from deltaproof.chain.contracts.gateway import Gateway
from deltaproof.chain.reading import invited, readers_of
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, TaskId
from deltaproof.reporting import Reporter
from deltaproof.store import ArtifactStore
from deltaproof.store.readers import Reader

__all__ = ["AdmissionDesk", "Entrance", "givers_of", "pause_between_looks", "task_view"]

LOOK_SECONDS = 5.0
"""Between looks at the store for who has a new reading key, or for one's own admission."""
LOOKS_A_SECOND = 20
PATIENCE_SECONDS = 60.0
"""How long a participant leaves it to the sponsor to admit somebody."""


def pause_between_looks(accounts: int) -> float:
    """Seconds until so many accounts are looked for again: each costs two reads of the store."""
    return max(LOOK_SECONDS, 2 * accounts / LOOKS_A_SECOND)


def givers_of(gateway: Gateway, task_id: TaskId) -> Iterator[Address]:
    """Who may have let somebody in: the sponsor, then verifiers and trainers in the order of enrolment."""
    yield gateway.terms.sponsor(task_id)
    yield from gateway.verifiers.enrolments(task_id)
    yield from gateway.trainers.enrolments(task_id)


def task_view(gateway: Gateway, store: ArtifactStore, spec: TaskSpec, task_id: TaskId) -> ArtifactStore:
    """The store for somebody who looks at a task's adapters, with their secret if somebody let this reader in.

    Raises ChainError, StoreUnavailable.
    """
    view = store.of_task(spec)
    if view.private is not None:
        view.private.enter(givers_of(gateway, task_id))
    return view


class Entrance:
    """One party's way into a private task; open at once where adapters are public."""

    def __init__(self, gateway: Gateway, store: ArtifactStore, task_id: TaskId, report: Reporter) -> None:
        self._gateway, self._store, self._task_id, self._report = gateway, store, task_id, report
        self._looked_at: float | None = None
        self._told = False

    def is_open(self) -> bool:
        """Whether the secret of the adapters is known here. Tells once that somebody has to admit this account.

        Raises ChainError, StoreUnavailable.
        """
        private = self._store.private
        if private is None or private.known:
            return True
        now = time.monotonic()
        if self._looked_at is not None and now < self._looked_at + LOOK_SECONDS:
            return False
        self._looked_at = now
        if private.enter(givers_of(self._gateway, self._task_id)):
            self._report("entered", f"task {self._task_id}: admitted to its adapters")
            return True
        if not self._told:
            self._told = True
            message = (
                f"task {self._task_id}: its adapters are sealed, and no participant has admitted this account yet; "
                "the sponsor does so while `deltaproof sponsor run` runs"
            )
            self._report("outside", message)
        return False


class AdmissionDesk:
    """Admits who takes part in a private task and has published a reading key; in other tasks nothing."""

    def __init__(
        self,
        gateway: Gateway,
        store: ArtifactStore,
        task_id: TaskId,
        spec: TaskSpec,
        report: Reporter,
        *,
        others: Sequence[Reader] = (),
        patience_seconds: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`others` are admitted, too, besides who takes part and the spec's auditors."""
        self._gateway, self._store, self._task_id, self._report = gateway, store, task_id, report
        self._others, self._patience, self._clock = (*invited(spec), *others), patience_seconds, clock
        self._next_look = 0.0
        self._seen: dict[bytes, float] = {}
        """Reading keys that nobody had admitted, and since when."""
        self._admitted: set[bytes] = set()

    def mind(self) -> None:
        """Admit everybody enrolled, each by its newest key, and auditors. Raises ChainError, StoreUnavailable."""
        private = self._store.private
        if private is None or not private.known or self._clock() < self._next_look:
            return
        pool = [*self._gateway.verifiers.enrolments(self._task_id), *self._gateway.trainers.enrolments(self._task_id)]
        self.admit(dict.fromkeys(pool), self._others)
        self._next_look = self._clock() + pause_between_looks(len(pool))

    def admit(self, accounts: Iterable[Address], others: Iterable[Reader] = (), *, at_once: bool = False) -> None:
        """Admit accounts with a reading key, and other readers, unless the sponsor has. `at_once`: whom a sponsor does
        not look for, and who has no minute to wait until it might have. Raises StoreUnavailable."""
        private = self._store.private
        if private is None or not private.known:
            return
        sponsor, mine = self._gateway.terms.sponsor(self._task_id), self._gateway.account
        at_once = at_once or mine == sponsor
        for reader in (*others, *readers_of(self._store, self._gateway.permit_domain, accounts, seen=True)):
            key = reader.newest
            if key in self._admitted or reader.name == mine:
                continue
            if private.admitted(key, sponsor) or private.admitted(key, mine):
                self._admitted.add(key)
            elif at_once or self._clock() >= self._seen.setdefault(key, self._clock()) + self._patience:
                private.admit(key, mine)
                self._admitted.add(key)
                self._report("admitted", f"let {reader.name} have the task's adapters", reader=reader.name)
