"""How a verifier finds its attestation of a round, beside its loop: early looks, its committees' words, the judging.

Each piece of heavy work is known by what it is about, so that asking again goes on where it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial

from deltaproof.agent.heavy import Heavy
from deltaproof.chain import Gateway
from deltaproof.chain.tasklog import TaskLog
from deltaproof.protocol.outcome.attestation import Attestation
from deltaproof.protocol.outcome.reads import given_up_from
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import ZERO_DIGEST, Address, Digest32, RoundIndex, TaskId
from deltaproof.store import ArtifactStore
from deltaproof.store.closing import Closing
from verifier.committee import CommitteeDesk, Committees, Deadline
from verifier.examining import Examiner
from verifier.facts import RoundToJudge, case_key, read_case, read_chain
from verifier.looking import EarlyLook, Word
from verifier.own import OwnAttestations

__all__ = ["AttestingDesk"]

JUDGING = ("committee", "attest")
"""Heavy work on a round: as a member of committees, and for the attestation."""


class AttestingDesk:
    """What one verifier replays, reads, waits for and writes of a round."""

    def __init__(
        self,
        gateway: Gateway,
        store: ArtifactStore,
        task_id: TaskId,
        spec: TaskSpec,
        log: TaskLog,
        examiner: Examiner,
        committee: CommitteeDesk,
        own: OwnAttestations,
        closing: Closing,
        *,
        heavy: Callable[[], Heavy],
        now: Callable[[], int],
    ) -> None:
        """`closing`: from when on nothing more counts that the store gets; the desk sets it in the phase to attest.
        `heavy` and `now` are the agent's: where heavy work runs, and the chain's time, seconds."""
        self._gateway, self._store, self._task_id, self._spec = gateway, store, task_id, spec
        self._log, self._examiner, self._committee, self._own = log, examiner, committee, own
        self._closing, self._heavy, self._now, self._account = closing, heavy, now, examiner.account
        self._attesting: tuple[RoundIndex, Digest32] | None = None
        """What is judged on the other thread."""
        self._read_all = ZERO_DIGEST
        """Of what round's case everything was read that other verifiers replay, as `case_key` names it."""
        self._early: EarlyLook | None = None
        self._looked_at = (ZERO_DIGEST, 0)
        """Challenge seed, and how many had opened when what they opened was replayed."""

    def look_early(self, round_: RoundIndex) -> None:
        """Replay what is opened already: the slowest trainer keeps nobody from that."""
        view = self._gateway.tasks.round(self._task_id, round_)
        seed, opened = view.challenge_seed, self._gateway.trainers.progress(self._task_id).opened
        if ZERO_DIGEST in (view.order_seed, seed) or (seed, opened) == self._looked_at:
            return
        if self._early is None or self._early.seed != seed:
            self._log.refresh(round_)
            case = read_case(self._gateway, self._store, self._log, self._spec, self._task_id, round_)
            work = self._gateway.trainers.work
            drawn = self._committee.drawn(case)
            there = {s.trainer for s in case.submissions if work(self._task_id, round_, s.trainer).opened}
            if drawn is None:
                mine = there
            else:
                mine = there & (drawn.of(self._account) | self._committee.looked_at_anyway(case, drawn))
            self._early = EarlyLook(seed, opened, lambda: self._looked(case, mine, there - mine))
        early, heavy = self._early, self._heavy()
        if not heavy.running(early.key) and heavy.result(early.key, early.work):
            self._early, self._looked_at = None, (seed, early.opened)

    def judged(self, round_: RoundIndex) -> Attestation | None:
        """The attestation of a round, which is on disk; None while it is judged, or something may still come."""
        self._log.refresh(round_)
        key = case_key(read_chain(self._gateway, self._log, self._spec, self._task_id, round_))
        kept = self._own.kept(round_, key)
        if kept is not None or self._heavy().running(("attest", key)):
            return kept
        may_give_up = self._may_call_withheld(round_)
        if self._early and self._heavy().running(self._early.key):
            return None
        case = read_case(self._gateway, self._store, self._log, self._spec, self._task_id, round_)
        self._attesting = (round_, key)
        words = self._heard(case, key, may_give_up=may_give_up)
        if words is None:
            return None
        attest = partial(self._attest, case, key, words, may_give_up=may_give_up)
        return self._heavy().result(("attest", key), attest)

    def was_late(self, round_: RoundIndex) -> bool:
        """Whether this round is still being judged although its phase for that is over; told once."""
        if self._attesting is None:
            return False
        attesting, key = self._attesting
        self._attesting = None
        return attesting == round_ and any(self._heavy().running((work, key)) for work in JUDGING)

    def _heard(self, case: RoundToJudge, key: Digest32, *, may_give_up: bool) -> Mapping[Address, Word] | None:
        """What committees say of those whom this verifier does not replay; None while it replays its own, or waits."""
        committees = self._committee.drawn(case)
        if committees is None:
            return {}
        if (mine := committees.of(self._account)) and not self._committee.has_sealed(case):
            between = self._heavy().between_steps
            look = partial(self._examiner.found_of, case, mine, may_give_up=may_give_up, between_steps=between)
            findings = self._heavy().result(("committee", key), look)
            if findings is None:
                return None
            self._committee.seal(case, findings)
        phase, seconds = self._gateway.tasks.phase(self._task_id), self._spec.phases.attest_commit
        words = self._committee.words(case, committees, Deadline(phase.deadline, seconds, self._now()))
        if words is None:
            self._read_ahead(case, key, committees)
        return words

    def _attest(
        self, case: RoundToJudge, key: Digest32, words: Mapping[Address, Word], *, may_give_up: bool
    ) -> Attestation | None:
        """Judge and score; the document is on disk before this returns. None while what is missing may still come."""
        between = self._heavy().between_steps
        attestation = self._examiner.examine(case, may_give_up=may_give_up, words=words, between_steps=between)
        if attestation is not None:
            self._own.keep(attestation, key)
        return attestation

    def _looked(self, case: RoundToJudge, mine: Collection[Address], others: Collection[Address]) -> bool:
        self._examiner.look_early(case, mine, self._heavy().between_steps, others)
        return True

    def _read_ahead(self, case: RoundToJudge, key: Digest32, committees: Committees) -> None:
        """While committees report, read what they report on: their word is all that is missing then."""
        others = committees.by_trainer.keys() - committees.of(self._account)
        if self._read_all == key or not others:
            return
        anyway, heavy = self._committee.looked_at_anyway(case, committees), self._heavy()
        look = partial(self._examiner.look_early, case, anyway, heavy.between_steps, others - anyway)
        if heavy.result(("reading", key), look):
            self._read_all = key

    def _may_call_withheld(self, round_: RoundIndex) -> bool:
        """Whether it is late enough to seal that something is not in the store; what comes later counts no more."""
        phase, seconds = self._gateway.tasks.phase(self._task_id), self._spec.phases.attest_commit
        now = self._now()
        if phase.round != round_:
            return True
        self._closing.set(phase.deadline, seconds, now)
        return now >= given_up_from(phase.deadline, seconds)
