"""What trainers of one task have handed in for its running round, checked before it is kept.

Nothing here asks the chain: a stranger's request costs a signature check at most. At most one commitment and one reveal
of each trainer is kept, so that what strangers send takes no more memory than the task has trainers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.abi.structs import RevealData, SignedCommit
from deltaproof.chain.signed_commits import CommitPermit, compact
from deltaproof.errors import CryptoError
from deltaproof.gateway.refusals import RequestRefused
from deltaproof.protocol.commit.commitments import commitment_hash
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId

__all__ = ["Desk", "Handed"]

LATER_SECONDS = 2
"""When to come again with what this relay does not expect yet: it sees a new phase a look later."""


@dataclass(frozen=True)
class Handed:
    """A commitment that waits to be brought; `index`: its trainer's in the task."""

    index: int
    trainer: Address
    signed: SignedCommit


class Desk:
    """Of one task. Safe to share between threads."""

    def __init__(self, gateway: Gateway, task_id: TaskId) -> None:
        self.task_id = task_id
        self._gateway, self._lock = gateway, threading.Lock()
        self._round, self._phase = RoundIndex(0), Phase.IDLE
        self._members: Mapping[Address, int] = {}
        self._commits: dict[Address, SignedCommit] = {}
        self._batched: dict[Address, Digest32] = {}
        self._reveals: dict[Address, RevealData] = {}
        self._since: float | None = None

    def look(self, round_: RoundIndex, phase: Phase) -> None:
        """The task is there now: what belongs to another round is forgotten."""
        with self._lock:
            if round_ != self._round:
                self._members, self._commits, self._batched, self._reveals = {}, {}, {}, {}
            if (round_, phase) != (self._round, self._phase):
                self._since = None
            self._round, self._phase = round_, phase

    def admit(self, members: Mapping[Address, int]) -> None:
        """Who may commit in the round, with the index in the task."""
        with self._lock:
            self._members = dict(members)

    def expect(self, batched: Mapping[Address, Digest32]) -> None:
        """Commitments of the round that came in batches: only these can be revealed for others."""
        with self._lock:
            self._batched = dict(batched)

    # What strangers hand in.

    def take_commitment(self, permit: CommitPermit, signature: bytes) -> None:
        """Keep a signed commitment until it is brought. Raises RequestRefused."""
        with self._lock:
            self._require(permit.round, Phase.COMMIT, "no-commitments")
        try:
            trainer = permit.signer(self._gateway, signature)
            signed = compact(permit.commitment, signature)
        except CryptoError as error:
            raise RequestRefused(401, "bad-signature", str(error)) from error
        if not any(permit.commitment):
            raise RequestRefused(422, "malformed", "a commitment is not zero")
        with self._lock:
            self._require(permit.round, Phase.COMMIT, "no-commitments")
            if trainer not in self._members:
                message = f"{trainer} takes no part in round {permit.round} of task {permit.task}"
                raise RequestRefused(403, "no-trainer", message)
            self._commits[trainer] = signed
            self._began()

    def take_reveal(self, round_: RoundIndex, trainer: Address, data: RevealData) -> None:
        """Keep the work behind a batched commitment until it is shown. Raises RequestRefused."""
        domain = self._gateway.domain(self.task_id, round_)
        sealed = commitment_hash(domain, trainer, data.delta_digest, data.transcript_root, data.salt)
        with self._lock:
            self._require(round_, Phase.REVEAL, "no-reveals")
            committed = self._batched.get(trainer)
            if committed is None:
                message = f"no batch of round {round_} holds a commitment of {trainer}"
                raise RequestRefused(409, "not-batched", message, LATER_SECONDS)
            if committed != sealed:
                raise RequestRefused(422, "mismatch", f"this is not what {trainer} committed in round {round_}")
            self._reveals[trainer] = data
            self._began()

    # What the relayer brings.

    def commitments(self) -> list[Handed]:
        """Those that wait, in ascending order of their trainers' indices, as batches have them."""
        with self._lock:
            found = [Handed(self._members[who], who, signed) for who, signed in self._commits.items()]
        return sorted(found, key=lambda handed: handed.index)

    def reveals(self, trainers: Iterable[Address]) -> dict[Address, RevealData]:
        """What these trainers have handed in."""
        with self._lock:
            return {who: self._reveals[who] for who in trainers if who in self._reveals}

    def brought(self, commitments: Iterable[Handed]) -> None:
        """They are on chain, or cannot come there: forget them, unless another was handed in since."""
        with self._lock:
            for handed in commitments:
                if self._commits.get(handed.trainer) == handed.signed:
                    del self._commits[handed.trainer]
            self._since = time.monotonic() if self._commits else None

    def waited_seconds(self) -> float:
        """How long the first of what waits in this phase has waited; 0 if nothing does."""
        with self._lock:
            return 0.0 if self._since is None else time.monotonic() - self._since

    def _began(self) -> None:
        if self._since is None:
            self._since = time.monotonic()

    def _require(self, round_: RoundIndex, phase: Phase, code: str) -> None:
        if (round_, phase) != (self._round, self._phase):
            seen = f"round {self._round}, {self._phase.name.lower()}"
            message = f"task {self.task_id} is in {seen} as this relay sees it, not in round {round_}, "
            raise RequestRefused(409, code, message + phase.name.lower(), LATER_SECONDS)
