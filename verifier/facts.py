"""What a verifier judges in a round: everything that chain and spec fix, read at one block."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256

from deltaproof.chain import Gateway
from deltaproof.chain.abi.structs import RoundView
from deltaproof.chain.memory import memory_roots
from deltaproof.chain.participation import known_faults
from deltaproof.chain.reading import due_readers
from deltaproof.chain.tasklog import TaskLog
from deltaproof.protocol.draws.samples import draw_samples
from deltaproof.protocol.outcome.settlement import SettlementProposal, Verdict
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import ZERO_DIGEST, Address, Digest32, RoundIndex, TaskId
from deltaproof.protocol.wire.encoding import canonical_json
from deltaproof.replaying.judging import Submission
from deltaproof.store import ArtifactStore
from deltaproof.tuning.training.step import DrawnRound

__all__ = ["RoundToJudge", "as_settled", "case_key", "read_case", "read_chain"]


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
    settled_before: Digest32 = ZERO_DIGEST
    """Root of the leaves of the round before: it says whose memory counts."""
    withheld: frozenset[Address] = frozenset()
    """Whose work counts as withheld, whatever the store shows now: see `as_settled`."""
    unscored: bool = False
    """Whether nothing is scored, though the sponsor opened a validation set on chain: see `as_settled`."""

    @property
    def drawn(self) -> DrawnRound:
        """The part that judging a single submission needs."""
        return DrawnRound(self.task_id, self.round, self.view.order_seed, self.view.start_digest)

    def sample_of(self, trainer: Address, spec: TaskSpec) -> tuple[int, ...]:
        """The steps of a trainer that every verifier replays: all that it has to publish."""
        return draw_samples(
            self.view.challenge_seed, self.task_id, self.round, trainer,
            steps=spec.training.steps, extra=spec.verification.samples, run=spec.verification.run,
        )  # fmt: skip


def as_settled(case: RoundToJudge, proposal: SettlementProposal) -> RoundToJudge:
    """The round as somebody judges it who was not there: what was not in the store then is taken from the settlement.

    Attack: keep an opening, or the validation set, back until verifiers have attested without it; then show it, and
    have every juror find that the settlement is wrong. No later look at a store tells what it lacked.
    """
    revealed = {submission.trainer for submission in case.submissions if submission.transcript_root is not None}
    withheld = {leaf.trainer for leaf in proposal.leaves if leaf.verdict is Verdict.WITHHELD}
    scored = any((proposal.settlement.improvement_nanos, *(leaf.score_nanos for leaf in proposal.leaves)))
    unscored = case.view.validation_revealed and not scored
    return replace(case, withheld=frozenset(revealed & withheld), unscored=unscored)


def case_key(case: RoundToJudge) -> Digest32:
    """Tells apart what has to be judged anew: everything that the chain says and that a judgement follows from.

    Attack: have a fault become known, or a commitment fall out, by a reorganisation that leaves the seeds as they are,
    as rounds of drand do. Who reads, and whose memory is there, the store says; it is looked at again before sealing.
    """
    view, before = case.view, case.settled_before
    facts = {
        "place": [case.task_id, case.round],
        "drawn": [digest.hex() for digest in (view.start_digest, view.order_seed, view.challenge_seed, before)],
        "scored": [view.validation_revealed and not case.unscored, view.validation_digest.hex()],
        "order": [list(case.commit_order), list(case.enrolled)],
        "faulty": sorted(case.faulty),
        "withheld": sorted(case.withheld),
        "work": [
            [one.trainer, one.data_root.hex(), one.data_rows, _hex(one.delta_digest), _hex(one.transcript_root)]
            for one in case.submissions
        ],
    }
    return Digest32(sha256(canonical_json(facts)).digest())


def read_chain(gateway: Gateway, log: TaskLog, spec: TaskSpec, task_id: TaskId, round_: RoundIndex) -> RoundToJudge:
    """What the chain says of a round's case, which is all that `case_key` knows: without readers and memories.

    `log` was refreshed at the block that is looked at. Raises ChainError.
    """
    reveals, enrolments = log.reveals(round_), gateway.trainers.enrolments(task_id)
    submissions = tuple(
        Submission(
            trainer=trainer,
            data_root=enrolments[trainer].data_root,
            data_rows=enrolments[trainer].data_rows,
            delta_digest=reveals[trainer].delta_digest if trainer in reveals else None,
            transcript_root=reveals[trainer].transcript_root if trainer in reveals else None,
        )
        for trainer in log.sorted_trainers(round_)
    )
    before = gateway.tasks.round(task_id, RoundIndex(round_ - 1)).settlement.leaves_root if round_ > 1 else ZERO_DIGEST
    return RoundToJudge(
        task_id=task_id,
        round=round_,
        view=gateway.tasks.round(task_id, round_),
        commit_order=tuple(log.committed(round_)),
        enrolled=_enrolled(spec, round_, log),
        submissions=submissions,
        faulty=known_faults(gateway, task_id, round_, [submission.trainer for submission in submissions]),
        settled_before=before,
    )


def read_case(
    gateway: Gateway, store: ArtifactStore, log: TaskLog, spec: TaskSpec, task_id: TaskId, round_: RoundIndex
) -> RoundToJudge:
    """The round's case, as chain and store say it now: see `read_chain`. Raises ChainError, StoreUnavailable."""
    case, readers = read_chain(gateway, log, spec, task_id, round_), due_readers(gateway, store, spec, task_id, round_)
    trainers = [one.trainer for one in case.submissions]
    memories = memory_roots(gateway, store, log, spec, task_id, round_, trainers)
    submissions = tuple(replace(one, error_root=memories[one.trainer], readers=readers) for one in case.submissions)
    return replace(case, submissions=submissions)


def _enrolled(spec: TaskSpec, round_: RoundIndex, log: TaskLog) -> tuple[Address, ...]:
    """Raises ChainError, or BlockUnknown if the node leaves out whom the contract knows."""
    if spec.scoring.rows != "distinct":
        return ()
    return log.enrolments.order(round_, log.committed(round_))


def _hex(digest: Digest32 | None) -> str:
    return "" if digest is None else digest.hex()
