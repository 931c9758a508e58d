"""What a verifier judges in a round: everything that chain and spec fix, read at one block."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256

from deltaproof.chain import Gateway
from deltaproof.chain.abi.structs import RoundView
from deltaproof.chain.memory import memory_root
from deltaproof.chain.participation import known_faults
from deltaproof.chain.reading import due_readers
from deltaproof.chain.tasklog import TaskLog
from deltaproof.protocol.draws.samples import draw_samples
from deltaproof.protocol.outcome.settlement import SettlementProposal, Verdict
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId
from deltaproof.replaying.judging import Submission
from deltaproof.store import ArtifactStore
from deltaproof.tuning.training.step import DrawnRound

__all__ = ["RoundToJudge", "as_settled", "case_key", "read_case"]


@dataclass(frozen=True)
class RoundToJudge:
    """One round as it is to be judged."""

    task_id: TaskId
    round: RoundIndex
    view: RoundView
    commit_order: tuple[Address, ...]
    submissions: tuple[Submission, ...]
    """Of everybody who committed, in the order of settlement leaves."""
    enrolled: tuple[Address, ...]
    """In the order in which they enrolled their rows; none where that does not matter."""
    faulty: frozenset[Address]
    """Whose fault a contract had established before verifiers could attest."""
    withheld: frozenset[Address] = frozenset()
    """Whose work counts as withheld, whatever the store shows now: see `as_settled`."""

    @property
    def drawn(self) -> DrawnRound:
        """The part that judging a single submission needs."""
        return DrawnRound(self.task_id, self.round, self.view.order_seed, self.view.start_digest)

    def sample_of(self, trainer: Address, spec: TaskSpec) -> tuple[int, ...]:
        """The steps of a trainer that every verifier replays: all that it has to publish."""
        return draw_samples(
            self.view.challenge_seed, self.task_id, self.round, trainer,
            steps=spec.training.steps, extra=spec.verification.samples,
        )  # fmt: skip


def as_settled(case: RoundToJudge, proposal: SettlementProposal) -> RoundToJudge:
    """The round as somebody judges it who was not there: what was not in the store then is taken from the settlement.

    Attack: keep an opening, or the validation set, back until verifiers have attested without it; then show it, and
    have every juror find that the settlement is wrong. No later look at a store tells what it lacked.
    """
    revealed = {submission.trainer for submission in case.submissions if submission.transcript_root is not None}
    withheld = {leaf.trainer for leaf in proposal.leaves if leaf.verdict is Verdict.WITHHELD}
    scored = any((proposal.settlement.improvement_nanos, *(leaf.score_nanos for leaf in proposal.leaves)))
    view = replace(case.view, validation_revealed=case.view.validation_revealed and scored)
    return replace(case, view=view, withheld=frozenset(revealed & withheld))


def case_key(task_id: TaskId, round_: RoundIndex, view: RoundView) -> Digest32:
    """Tells apart what has to be judged anew.

    The challenge seed comes from a block after the last reveal, so a reorganisation that changed any submission
    changed the seed, too.
    """
    seen = (view.start_digest, view.order_seed, view.challenge_seed, view.validation_digest)
    numbers = f"{task_id}/{round_}/{int(view.validation_revealed)}".encode()
    return Digest32(sha256(b"".join(seen) + numbers).digest())


def read_case(
    gateway: Gateway, store: ArtifactStore, log: TaskLog, spec: TaskSpec, task_id: TaskId, round_: RoundIndex
) -> RoundToJudge:
    """The round's case; `log` was refreshed at the block that is looked at. Raises ChainError, StoreUnavailable."""
    reveals, readers = log.reveals(round_), due_readers(gateway, store, spec, task_id, round_)
    enrolments = gateway.trainers.enrolments(task_id)
    submissions = []
    for trainer in log.sorted_trainers(round_):
        enrolment, reveal = enrolments[trainer], reveals.get(trainer)
        submissions.append(
            Submission(
                trainer=trainer,
                data_root=enrolment.data_root,
                data_rows=enrolment.data_rows,
                delta_digest=reveal.delta_digest if reveal else None,
                transcript_root=reveal.transcript_root if reveal else None,
                error_root=memory_root(gateway, store, log, spec, task_id, round_, trainer),
                readers=readers,
            )
        )
    return RoundToJudge(
        task_id=task_id,
        round=round_,
        view=gateway.tasks.round(task_id, round_),
        commit_order=tuple(log.committed(round_)),
        enrolled=_enrolled(spec, round_, log),
        submissions=tuple(submissions),
        faulty=known_faults(gateway, task_id, round_, [submission.trainer for submission in submissions]),
    )


def _enrolled(spec: TaskSpec, round_: RoundIndex, log: TaskLog) -> tuple[Address, ...]:
    """Raises ChainError, or BlockUnknown if the node leaves out whom the contract knows."""
    if spec.scoring.rows != "distinct":
        return ()
    return log.enrolments.order(round_, log.committed(round_))
