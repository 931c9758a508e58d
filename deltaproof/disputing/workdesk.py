"""Looks at everybody's published openings once they are due, and tells or proves the faults that a contract can see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from deltaproof.agent.loop import Moment
from deltaproof.agent.patience import each_in_turn
from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Fault, Phase
from deltaproof.chain.abi.structs import RevealData, RoundView, TaskParams
from deltaproof.chain.admissions import task_view
from deltaproof.chain.participation import attempt, read_task
from deltaproof.chain.tasklog import TaskLog
from deltaproof.disputing.committed import committed_work
from deltaproof.disputing.works import TrainerFault, find_work_fault
from deltaproof.errors import UNUSABLE, ArtifactSealed, StoreUnavailable
from deltaproof.protocol.draws.samples import draw_samples
from deltaproof.protocol.evidence.opened import CommittedSteps
from deltaproof.protocol.evidence.transcript import StepOpening
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, Digest32, RoundIndex, StepIndex, TaskId
from deltaproof.reporting import Reporter
from deltaproof.store import ArtifactStore
from deltaproof.tuning.training.optimizers import constants_root, constants_table

__all__ = ["WorkDesk"]

PUBLISHED = (Phase.ATTEST_COMMIT, Phase.ATTEST_REVEAL, Phase.SETTLE, Phase.WINDOW)
"""Phases in which the drawn openings are in the store, if they ever will be."""


class WorkDesk:
    """Checks every trainer's openings of the running round: once if all are there, else again in each later phase."""

    def __init__(
        self,
        gateway: Gateway,
        store: ArtifactStore,
        task_id: TaskId,
        params: TaskParams,
        log: TaskLog,
        report: Reporter,
        *,
        prove: bool = True,
        replayed: Callable[[Address, Digest32], bool | None] = lambda *_: False,
    ) -> None:
        """`log` follows the trainer pool. Without `prove` faults are only told. `replayed`: whether this process has
        replayed a trainer's transcript and accepted it, which leaves nothing to find; None if it is about to."""
        self.gateway, self.store, self.task_id, self.params = gateway, store, task_id, params
        self.log, self.report, self.prove, self._replayed = log, report, prove, replayed
        self._spec: TaskSpec | None = None
        self._unseen: set[str] = set()
        self._told = RoundIndex(0)
        self._table: NDArray[np.float32] | None = None
        self._seen: set[tuple[Digest32, Phase, Address]] = set()
        self._whole: set[tuple[Digest32, Address]] = set()
        """Whose work of a round was all there, without a fault; what is committed does not change any more."""
        self._outages = Counter[Address]()
        """How often the store was away when one's work was to be read."""

    def mind(self, moment: Moment) -> None:
        """Look at what is new. Raises ChainError, StoreUnavailable, SpecError if the task's spec is no use; what fails
        about one trainer, after all others were looked at."""
        round_, phase = moment.view.round, moment.view.phase
        if phase not in PUBLISHED:
            return
        view = self.gateway.tasks.round(self.task_id, round_)
        self.log.refresh(round_)
        reveals, seed = self.log.reveals(round_), view.challenge_seed

        def look(trainer: Address) -> None:
            place = (seed, phase, trainer)
            if place in self._seen or (seed, trainer) in self._whole or trainer == self._myself:
                return
            accepted = self._replayed(trainer, reveals[trainer].transcript_root)
            if accepted or (accepted is None and phase is Phase.ATTEST_COMMIT):
                return
            try:
                self._mind_one(round_, view, trainer, reveals[trainer])
            except StoreUnavailable:
                self._outages[trainer] += 1
                raise
            self._seen.add(place)

        # Attack: be a mirror that is away for the work of one trainer alone, so that nobody else's is looked at.
        each_in_turn(sorted(reveals, key=lambda trainer: self._outages[trainer]), look)

    def _mind_one(self, round_: RoundIndex, view: RoundView, trainer: Address, revealed: RevealData) -> None:
        if self.gateway.trainers.work(self.task_id, round_, trainer).fault is not Fault.NONE:
            return
        found, whole = self._look(round_, view, trainer, revealed.transcript_root, revealed.delta_digest)
        self._tell_sealed(round_)
        if found is not None:
            self.act(round_, trainer, found)
        elif whole:
            self._whole.add((view.challenge_seed, trainer))

    def _look(
        self, round_: RoundIndex, view: RoundView, trainer: Address, root: Digest32, delta: Digest32
    ) -> tuple[TrainerFault | None, bool]:
        """The first fault in what one trainer published that a contract can see, and whether everything was there."""
        spec, table = self._terms()
        terms = self.params.training
        place = (view.challenge_seed, self.task_id, round_, trainer)
        due = draw_samples(*place, steps=terms.steps, extra=terms.samples, run=spec.verification.run)
        rows = min(self.gateway.trainers.enrolment(self.task_id, trainer).data_rows, spec.data.max_rows)
        limits = spec.opening_limits(terms.parameters, terms.optimizer.slots, terms.steps, rows)
        openings = self._openings(CommittedSteps(root, trainer, limits, data_root=None, order_key=None), due)
        whole, final = len(openings) == len(due), None
        if terms.float32_delta:
            try:
                final = self.store.get_tensors(delta, terms.parameters)
            except UNUSABLE as error:
                whole = False
                self._note(error, "deltas")
        return find_work_fault(openings, terms, table, view.start_digest, delta, final), whole

    def _tell_sealed(self, round_: RoundIndex) -> None:
        """Say once a round what this reader does not see."""
        if self._unseen and round_ != self._told:
            self._told = round_
            what = " and ".join(sorted(self._unseen))
            message = f"round {round_}: {what} are sealed for others and not looked at; --reading-key opens them"
            self.report("sealed", message, round=round_)
        self._unseen.clear()

    def _openings(self, committed: CommittedSteps, steps: Sequence[int]) -> dict[int, StepOpening]:
        found: dict[int, StepOpening] = {}
        for step in steps:
            try:
                found[step] = self.store.get_opening(committed, StepIndex(step))
            except UNUSABLE as error:  # withheld: for verifiers to say, or for a demand
                self._note(error, "openings")
        return found

    def _note(self, error: Exception, what: str) -> None:
        if isinstance(error, ArtifactSealed):
            self._unseen.add(what)

    def act(self, round_: RoundIndex, trainer: Address, found: TrainerFault) -> None:
        """Tell a fault of a trainer, and prove it where that is wanted."""
        self.report("work-fault", f"round {round_}: {trainer}: {found.message}", round=round_, trainer=trainer)
        work = committed_work(self.gateway, self.task_id, round_, trainer) if self.prove else None
        if work is not None and attempt(found.prove, self.gateway.faults, work) is not None:
            text = f"round {round_}: proved a fault of {trainer} ({found.kind.name.lower()})"
            self.report("proved", text, round=round_, trainer=trainer)

    def _terms(self) -> tuple[TaskSpec, NDArray[np.float32]]:
        if self._spec is None or self._table is None:
            self._spec = read_task(self.gateway, self.store, self.task_id).spec
            self.store = task_view(self.gateway, self.store, self._spec, self.task_id)
            self._table = constants_table(self._spec.optimizer, self.params.training.steps)
            if constants_root(self._table) != self.params.constants_root:
                # Evidence made of other constants would prove nothing.
                self.report("odd-terms", "the constants of the task's spec are not those on chain")
        return self._spec, self._table

    @property
    def _myself(self) -> Address | None:
        return self.gateway.account if self.gateway.sender is not None else None
