"""What a juror, who comes later, can still hold against *withheld* and *unscored*: two words that it was there in time.

One is the store's: when everything that a replay needs was written, which the trainer had announced on chain; or the
validation set, which the sponsor had opened there. The other is a verifier's of the round: a receipt for all of it
(`protocol.outcome.reads`); or scores that nobody finds without the set. Neither is enough alone. A store's clock is its
operator's, who may be the sponsor. A verifier may have had the bytes from trainer or sponsor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from deltaproof.chain import Gateway
from deltaproof.chain.events.participants import AttestationRevealed
from deltaproof.chain.tasklog import TaskLog
from deltaproof.errors import UNUSABLE
from deltaproof.protocol.outcome.attestation import Attestation
from deltaproof.protocol.outcome.reads import read_receipt, withheld_from
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.rules import AUDIT_CLOCK_SECONDS
from deltaproof.protocol.terms.attested import attestation_bytes
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, Digest32, RoundIndex, StepIndex, TaskId
from deltaproof.replaying.judging import Submission
from deltaproof.store import ArtifactStore
from deltaproof.store.paths import Kind, addressed_path, envelope_path, opening_path
from verifier.facts import RoundToJudge

__all__ = ["Hindsight", "Receipts", "look_back"]


@dataclass(frozen=True)
class Receipts:
    """What one verifier of the round says that it read of a trainer's work, by step; the delta as `reads.DELTA`."""

    task: TaskId
    round: RoundIndex
    reader: Address
    by_step: Mapping[int, Digest32]

    def hold(self, contents: Mapping[int, Digest32]) -> bool:
        """Whether they are for just these bytes, named by their SHA-256 by step."""
        due = {step: read_receipt(self.task, self.round, self.reader, content) for step, content in contents.items()}
        return bool(due) and due == self.by_step


@dataclass(frozen=True)
class Hindsight:
    """What was there in time by the store's clock, and who of the round says to have had it."""

    read_by: Mapping[Address, tuple[Receipts, ...]]
    """By trainer who was settled as withheld."""
    scored_by: tuple[Attestation, ...]
    """With scores, where the settlement has none."""

    @property
    def evidence(self) -> frozenset[object]:
        """All of it in a form that can be compared."""
        receipts = {(trainer, one.reader) for trainer, known in self.read_by.items() for one in known}
        return frozenset({*receipts, *(one.digest() for one in self.scored_by)})


def look_back(gateway: Gateway, store: ArtifactStore, log: TaskLog, spec: TaskSpec, case: RoundToJudge) -> Hindsight:
    """Of what a settlement calls withheld or does not score: what was there in time by the store's clock, and who of
    the round's verifiers says to have had it.

    `log` follows the verifier pool and was refreshed. Raises ChainError, StoreUnavailable.
    """
    params = gateway.terms.params(case.task_id)
    began = int(gateway.connection.block(case.view.attesting_block)["timestamp"])
    length = params.phases.attest_commit
    latest = withheld_from(began + length, length) - AUDIT_CLOCK_SECONDS
    kind = Kind.TENSORS if params.training.float32_delta else Kind.BLOB
    found: dict[Address, tuple[Receipts, ...]] = {}
    for submission in case.submissions:
        trainer = submission.trainer
        if trainer not in case.withheld or not gateway.trainers.work(case.task_id, case.round, trainer).opened:
            continue
        written = _written(store, submission, case.sample_of(trainer, spec), kind, sealed=spec.data.sealed)
        if written is not None and written <= latest:
            found[trainer] = tuple(_receipts(store, log, spec, case, trainer))
    scored: tuple[Attestation, ...] = ()
    if case.unscored:
        shown = _last(store, [addressed_path(Kind.VALIDATION, spec.validation.commitments[case.round - 1])])
        if shown is not None and shown <= latest:
            scored = tuple(one for one in _documents(store, log, spec, case) if one.game is not None)
    return Hindsight(found, scored)


def _written(
    store: ArtifactStore, submission: Submission, steps: Sequence[int], kind: Kind, *, sealed: bool
) -> float | None:
    """When the last of what a replay needs was written, by the store's word; None if it does not say of all.

    Of several copies of one thing the last counts: a store does not say which one is right.
    """
    trainer, root, delta = submission.trainer, submission.transcript_root, submission.delta_digest
    if root is None or delta is None:
        return None
    needed = [store.weights_paths(kind, delta), *([opening_path(root, trainer, StepIndex(step))] for step in steps)]
    if sealed:
        needed += [[envelope_path(root, trainer, key) for key in reader.keys] for reader in submission.readers]
    times = [_last(store, paths) for paths in needed]
    known = [time for time in times if time is not None]
    return max(known) if len(known) == len(times) else None


def _last(store: ArtifactStore, paths: Sequence[str]) -> float | None:
    def times() -> Iterator[float]:
        for path in paths:
            try:
                time = store.published(path)
            except UNUSABLE:
                continue
            if time is not None:
                yield time

    return max(times(), default=None)


def _documents(store: ArtifactStore, log: TaskLog, spec: TaskSpec, case: RoundToJudge) -> Iterator[Attestation]:
    """Attestations of the round that their verifiers revealed."""
    most = attestation_bytes(spec, len(case.submissions))
    for event in log.of(AttestationRevealed, case.round):
        try:
            document = store.get_attestation(Attestation, event.artifact_digest, most)
        except UNUSABLE:
            continue
        if (document.task, document.round, document.verifier) == (case.task_id, case.round, event.verifier):
            yield document


def _receipts(
    store: ArtifactStore, log: TaskLog, spec: TaskSpec, case: RoundToJudge, trainer: Address
) -> Iterator[Receipts]:
    for document in _documents(store, log, spec, case):
        finding = document.by_trainer().get(trainer)
        if finding is not None and finding.verdict is not Verdict.WITHHELD:
            by_step = {read.step: read.receipt for read in finding.reads}
            yield Receipts(case.task_id, case.round, document.verifier, by_step)
