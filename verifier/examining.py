"""What a verifier finds in a round: every trainer judged, every accepted delta scored, in one document.

A pure function of the case and the store: the same for a member of the quorum and for a juror who looks at it later.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from types import MappingProxyType

from deltaproof.errors import UNUSABLE
from deltaproof.protocol.evidence.state import Vector, component_root
from deltaproof.protocol.outcome.attestation import Attestation, TrainerFinding
from deltaproof.protocol.outcome.settlement import SettlementProposal, Verdict
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, Digest32, RoundIndex
from deltaproof.replaying.judges import Judges
from deltaproof.replaying.judging import (
    Judgement,
    Submission,
    enrolment_problem,
    judge_submission,
    proven_faulty,
    sealing_problem,
    taken_as_withheld,
    training_context,
)
from deltaproof.replaying.replay import StepVerdict
from deltaproof.reporting import Reporter, counted
from deltaproof.store import ArtifactStore
from deltaproof.store.closing import Closing
from deltaproof.tuning.base_models.batches import rows_as_read
from deltaproof.tuning.emulators.fetching import fetch_models
from deltaproof.tuning.numerics.machine import HERE, Machine
from deltaproof.tuning.training.federation import scoring_bench
from incentives.scoring import RoundScores, same_adapter, score_round
from incentives.settling import disagreements
from incentives.unions import Contribution, named_root
from verifier.facts import RoundToJudge
from verifier.hindsight import Receipts
from verifier.looking import UNHEARD, Basis, SecondLook, Word
from verifier.outbox import Outbox

__all__ = ["Examiner"]


class Examiner:
    """Judges and scores the rounds of one task's spec."""

    def __init__(
        self,
        spec: TaskSpec,
        store: ArtifactStore,
        account: Address,
        report: Reporter,
        machine: Machine = HERE,
        closing: Closing | None = None,
        outbox: Outbox | None = None,
    ) -> None:
        """Loads the models for `machine`. What comes after `closing` is not there; what the store refuses stays in
        `outbox`. Raises ArtifactError, ModelError."""
        self.spec, self.store, self.account, self.report = spec, store, account, report
        self._shown = store if closing is None else store.in_time(closing)
        """What trainers and sponsor show of a round."""
        self._outbox = outbox or Outbox(report)
        fetch_models(store, spec, report=report)
        self.judges = Judges(spec, machine)
        self.scoring_bench = scoring_bench(spec, machine.device_here)
        self.look = SecondLook(self._readable)
        self._next_start: tuple[Digest32, Vector] | None = None
        """Of the last round that was examined: a juror puts none into the store."""
        self._scores: tuple[object, RoundScores] | None = None
        """The last scores, and all that they follow from."""

    def look_early(
        self,
        case: RoundToJudge,
        arrived: Collection[Address],
        between_steps: Callable[[], None] = lambda: None,
        heard_of: Collection[Address] = (),
    ) -> bool:
        """Judge those who have opened already; `examine` finds it done. Of trainers that are `heard_of` from their
        committees everything is read, and nothing replayed. Returns whether all of it was there.

        Attack: take openings out of the store while committees report, so that others find nothing. Raises as
        `judge_submission` does.
        """
        there = [one for one in case.submissions if one.trainer not in case.faulty]
        replayed = [self._basis(case, one) for one in there if one.trainer in arrived]
        read = [self._basis(case, one, UNHEARD) for one in there if one.trainer in heard_of]
        looked = self.look.judged([*replayed, *read], lambda basis: self._judge(case.round, basis, between_steps))
        return not self.look.missing(looked)

    def found_of(
        self,
        case: RoundToJudge,
        trainers: Collection[Address],
        *,
        may_give_up: bool,
        between_steps: Callable[[], None] = lambda: None,
    ) -> tuple[TrainerFinding, ...] | None:
        """Judge these trainers, as their committee; None while what is missing may still come.

        Raises as `judge_submission` does.
        """
        wanted = [self._basis(case, one) for one in case.submissions if one.trainer in trainers]
        looked = self.look.judged(wanted, lambda basis: self._judge(case.round, basis, between_steps))
        if self.look.missing(looked) and not may_give_up:
            return None
        return tuple(judgement.attested_by(self.account, case.task_id, case.round) for judgement in looked)

    def examine(
        self,
        case: RoundToJudge,
        *,
        may_give_up: bool,
        publish: bool = True,
        words: Mapping[Address, Word] = MappingProxyType({}),
        between_steps: Callable[[], None] = lambda: None,
    ) -> Attestation | None:
        """Judge and score; None while what is missing may still come and `may_give_up` is not set.

        `publish`: put the next adapter into the store, as a member of the round's quorum has to. `words`: of
        committees, by trainer, in place of replays.

        Raises what is nobody's fault: see `judge_submission`.
        """
        given = {
            **{one.trainer: taken_as_withheld(one) for one in case.submissions if one.trainer in case.withheld},
            **{one.trainer: proven_faulty(one) for one in case.submissions if one.trainer in case.faulty},
        }
        judged = [one for one in case.submissions if one.trainer not in given]
        wanted = [self._basis(case, one, words.get(one.trainer)) for one in judged]
        looked = self.look.judged(wanted, lambda basis: self._judge(case.round, basis, between_steps))
        found = iter(looked)
        judgements = [given.get(one.trainer) or next(found) for one in case.submissions]
        rows = self._validation_rows(case)
        kept_back = case.view.validation_revealed and not case.unscored and rows is None
        if kept_back and not may_give_up:
            return None
        # Attack: withhold one opening, so that everybody begins to score when half of the phase is over, and is late.
        scores = self._score(case, judgements, rows)
        if self.look.missing(looked) and not may_give_up:
            return None
        digest, next_start = component_root(scores.next_start), scores.next_start
        if publish:
            self._outbox.put(case.round, "the next adapter", lambda: self.store.put_tensors(next_start))
        self._next_start = (digest, next_start)
        findings = (judgement.attested_by(self.account, case.task_id, case.round) for judgement in judgements)
        return Attestation(
            task=case.task_id,
            round=case.round,
            verifier=self.account,
            findings=tuple(scores.scored(finding) for finding in findings),
            game=scores.game,
            improvement_nanos=scores.improvement_nanos,
            next_start_digest=digest,
        )

    def was_read(
        self,
        case: RoundToJudge,
        trainer: Address,
        receipts: Iterable[Receipts],
        between_steps: Callable[[], None] = lambda: None,
    ) -> bool:
        """Whether a trainer's work is good, and one of the receipts is for just what was judged.

        Raises as `judge_submission` does.
        """
        (submission,) = (one for one in case.submissions if one.trainer == trainer)
        basis = self._basis(case, submission)
        (judgement,) = self.look.judged([basis], lambda one: self._judge(case.round, one, between_steps))
        accepted = judgement.finding.verdict is Verdict.ACCEPTED
        return accepted and any(one.hold(judgement.read) for one in receipts)

    def contradicts(self, own: Attestation, proposal: SettlementProposal) -> bool:
        """Whether a settlement is further from one's own findings than the task tolerates, or names another adapter.

        Raises `UNUSABLE` where that adapter cannot be had.
        """
        return bool(disagreements(self.spec, own, proposal)) or not self._names_my_adapter(own, proposal)

    def _names_my_adapter(self, own: Attestation, proposal: SettlementProposal) -> bool:
        mine, settled = own.next_start_digest, proposal.settlement.next_start_digest
        if mine == settled:
            return True
        vector = self.adapter(mine)
        return same_adapter(vector, self.store.get_tensors(settled, len(vector)))

    def adapter(self, digest: Digest32) -> Vector:
        """An adapter that was found here, float32 of shape (P,). Raises `UNUSABLE` where it cannot be had any more."""
        kept, vector = self._next_start or (None, None)
        if kept != digest or vector is None:
            return self.store.get_tensors(digest, self.scoring_bench.layout.size)
        return vector

    def _basis(self, case: RoundToJudge, submission: Submission, word: Word | None = None) -> Basis:
        return Basis(case.drawn, submission, case.sample_of(submission.trainer, self.spec), word)

    def _readable(self, basis: Basis) -> bool:
        """Whether everybody can read what a trainer sealed; so it is where nothing is, or where nobody looks."""
        root, submission = basis.submission.transcript_root, basis.submission
        if not self.spec.data.sealed or root is None or enrolment_problem(self.spec, submission):
            return True
        size = self.judges.of(submission.trainer).reference.layout.size
        committed = training_context(basis.round, submission).committed_steps(self.spec, size, root)
        return sealing_problem(self._shown, committed, submission.readers) is None

    def _judge(self, round_: RoundIndex, basis: Basis, between_steps: Callable[[], None]) -> Judgement:
        """One trainer's verdict. Raises only what is nobody's fault: see `judge_submission`."""
        submission = basis.submission
        short = submission.trainer[:8]

        def progress(verdict: StepVerdict) -> None:
            self.report("replayed", f"round {round_}: replayed {short} {verdict.message}", round=round_)
            between_steps()

        judge = partial(judge_submission, self.judges, self._shown, basis.round, submission, basis.steps, progress)
        judgement = judge() if basis.word is None else judge(basis.word.record)
        if basis.word is not None and judgement.theta is not None and not basis.word.is_about(judgement.read):
            # Attack: a report about other bytes than everybody reads, or by somebody who read none.
            judgement = judge()
        if basis.word is not UNHEARD and (failure := judgement.finding.failure()):
            verdict = judgement.finding.verdict.name.lower()
            message = f"round {round_}: {short} {verdict}: {failure.message}"
            self.report("caught", message, round=round_, trainer=submission.trainer, check=failure.check)
        return judgement

    def _score(self, case: RoundToJudge, judgements: list[Judgement], rows: list[bytes] | None) -> RoundScores:
        """Score the accepted deltas on the validation rows; without any they are only aggregated. Once for the same."""
        taking_part = tuple(judgement.submission for judgement in judgements if judgement.theta is not None)
        basis = (case.drawn, case.view.challenge_seed, case.commit_order, case.enrolled, taking_part, rows)
        if self._scores is not None and self._scores[0] == basis:
            return self._scores[1]
        lacking = rows is None and case.view.validation_revealed and not case.unscored
        what = "nothing is scored: the sponsor keeps the validation set back" if lacking else "scoring"
        self.report("scoring", f"round {case.round}: {what}", round=case.round)
        start = self.store.get_tensors(case.view.start_digest, self.scoring_bench.layout.size)
        order = {trainer: i for i, trainer in enumerate(case.commit_order)}
        accepted = {
            s.trainer: Contribution(
                j.theta,
                s.data_rows,
                order[s.trainer],
                j.tuned,
                named_root(self.spec, s.data_root),
                partial(rows_as_read, j.opened, self.spec.model, self.scoring_bench.tokenizer),
                case.enrolled.index(s.trainer) if case.enrolled else 0,
            )
            for j in judgements
            if j.theta is not None and (s := j.submission)
        }

        def told(evaluations: int) -> None:
            message = f"round {case.round}: scoring, {counted(evaluations, 'evaluation')} so far"
            self.report("evaluated", message, round=case.round, evaluations=evaluations)

        scores = score_round(
            self.scoring_bench,
            start,
            accepted,
            rows,
            case.view.challenge_seed,
            self.judges.emulators(),
            machine=self.judges.machine,
            told=told,
        )
        self._scores = (basis, scores)
        return scores

    def _validation_rows(self, case: RoundToJudge) -> list[bytes] | None:
        """The round's validation rows; None if the sponsor did not open its commitment, or shows no set that fits it.

        Raises StoreUnavailable, which is nobody's fault.
        """
        if not case.view.validation_revealed or case.unscored:
            return None
        commitment = self.spec.validation.commitments[case.round - 1]
        try:
            rows, _salt = self._shown.get_validation(commitment)
        except UNUSABLE:
            # Attack: open the commitment on chain and keep the set back, so that nobody can attest and all are absent.
            return None
        return rows.scored(self.spec.validation.rows)
