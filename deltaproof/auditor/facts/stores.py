"""Where the artifacts of each task are, for somebody who looks at many and names no store: where its sponsor said.

What the chain announces is a stranger's word (`deltaproof.chain.announced`): content proves itself, and nobody waits
long (`deltaproof.store.brief`).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress

from deltaproof.auditor.index.events import Event
from deltaproof.auditor.index.reader import Index
from deltaproof.auditor.index.rpc import Rpc
from deltaproof.chain.announced import announced_in
from deltaproof.errors import ChainError, ChainUnavailable, StoreUnavailable
from deltaproof.protocol.types import Address
from deltaproof.store import ArtifactStore
from deltaproof.store.artifacts import MOST_PROFILES
from deltaproof.store.backend import Mirrors
from deltaproof.store.brief import LOST_SECONDS, BrieflyAsked, LostTime
from deltaproof.store.http import HttpBackend
from deltaproof.store.permits import PermitDomain
from deltaproof.store.profiles import Profile
from deltaproof.store.readers import Keyring

__all__ = ["NOT_GIVEN", "AnnouncedStores", "Source", "store_of", "why_no_store"]

ATTEMPTS = 3
KEPT_STORES = 64
"""Of those that were looked at last: each may hold connections and threads."""
NOT_GIVEN = "no store was given"
"""What is said where nobody named one, and none was looked for."""


class AnnouncedStores:
    """The store of each task that its sponsor announced on chain. Safe to share between threads."""

    def __init__(self, index: Index, rpc: Rpc, keyring: Keyring | None = None) -> None:
        """`keyring`: what opens what is sealed."""
        self._index, self._rpc, self._keyring = index, rpc, keyring or Keyring()
        self._said: dict[str, str] = {}
        """What was announced, by the transaction that created the task."""
        self._unsaid: dict[str, str] = {}
        """Why that is not known, likewise."""
        self._lost_at: dict[str, LostTime] = {}
        """With each gateway; it outlasts what is kept open."""
        self._lost_together: dict[str, LostTime] = {}
        """With all gateways of an announcement."""
        self._lost_at_node = LostTime(0.0)
        self._open: OrderedDict[str, ArtifactStore] = OrderedDict()

    def of(self, task: int) -> ArtifactStore | None:
        """The store of a task; None where none is known."""
        found = self.announced(task)
        return self._opened(found) if found else None

    def trouble(self, task: int) -> str:
        """Why a task's artifacts may not be known: no store is, or its gateway did not answer; empty for no reason."""
        if found := self.announced(task):
            asked = [self._lost_at.get(url) for url in found.split(",")] + [self._lost_together.get(found)]
            away = any(lost is not None and lost.was_too_much for lost in asked)
            return f"{found}, announced on chain, did not answer in time" if away else ""
        created = self._created(task)
        if created is not None and created.transaction not in self._said:
            problem = self._unsaid.get(created.transaction, "it did not answer before")
            return f"the node does not tell which store is announced on chain: {problem}"
        return "no store was given, and none is announced on chain: say --store URL"

    def announced(self, task: int) -> str:
        """The URLs of the gateways that a task's sponsor announced, separated by commas; empty if none are known."""
        created = self._created(task)
        if created is None:
            return ""
        key = created.transaction
        if key not in self._said and not self._lost_at_node.is_too_much:
            try:
                self._said[key] = self._read(created)
            except ChainError as error:  # told as this task's trouble; the other tasks go on
                self._unsaid[key] = str(error)
                if isinstance(error, ChainUnavailable):
                    self._lost_at_node.lose(math.inf)
        return self._said.get(key, "")

    def known_profiles(self, domain: PermitDomain, accounts: Sequence[Address]) -> dict[Address, Profile]:
        """What accounts say of themselves in the stores of the tasks that they enrolled in, the newest of each.

        No more than `MOST_PROFILES` are asked for, in the newest tasks first.
        """
        wanted = set(accounts)
        by_task: dict[int, dict[Address, None]] = {}
        for event in self._index.events(names=["TrainerEnrolled", "VerifierEnrolled"]):
            who = event.args.get("trainer") or event.args["verifier"]
            if who in wanted:
                by_task.setdefault(event.args["task_id"], {})[who] = None
        found: dict[Address, Profile] = {}
        left = MOST_PROFILES
        for task in sorted(by_task, reverse=True):
            asked = list(by_task[task])[:left]
            if asked and (store := self.of(task)) is not None:
                left -= len(asked)
                with suppress(StoreUnavailable):  # names prove nothing, and those of other tasks are told
                    for who, profile in store.known_profiles(domain, asked).items():
                        if who not in found or profile.issued > found[who].issued:
                            found[who] = profile
        return found

    def _created(self, task: int) -> Event | None:
        return next(iter(self._index.events(task=task, names=["TaskCreated"])), None)

    def _read(self, created: Event) -> str:
        found = self._rpc.call("eth_getTransactionByHash", created.transaction)
        if found is None:
            raise ChainError(f"it has no transaction {created.transaction}")
        place = self._index.deployment.contracts[created.contract]
        return announced_in(found["to"], bytes.fromhex(found["input"][2:]), place)

    def _opened(self, places: str) -> ArtifactStore:
        found = self._open.pop(places, None)
        if found is None:
            shared = self._lost_together.setdefault(places, LostTime(LOST_SECONDS))
            asked = [self._asked(url, shared) for url in places.split(",")]
            found = ArtifactStore(Mirrors(asked) if asked[1:] else asked[0], self._keyring)
        self._open[places] = found
        while len(self._open) > KEPT_STORES:
            self._open.popitem(last=False)
        return found

    def _asked(self, url: str, shared: LostTime) -> BrieflyAsked:
        own = self._lost_at.setdefault(url, LostTime(0.0))
        return BrieflyAsked(HttpBackend(url, attempts=ATTEMPTS), url, own, shared)


Source = ArtifactStore | AnnouncedStores | None
"""Where artifacts are read: one store for all tasks, what each task's sponsor announced, or nowhere."""


def store_of(source: Source, task: int) -> ArtifactStore | None:
    """The store of a task; None where none is known."""
    return source.of(task) if isinstance(source, AnnouncedStores) else source


def why_no_store(source: Source, task: int) -> str:
    """What to say of a task of which no store is known."""
    return source.trouble(task) if isinstance(source, AnnouncedStores) else NOT_GIVEN
