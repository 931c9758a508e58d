"""What a trainer shows when somebody demands a chunk of its committed work on chain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from deltaproof.chain import Gateway
from deltaproof.chain.abi.dispute_structs import ChunkOpening, Demand, DemandKind
from deltaproof.chain.abi.enums import Component
from deltaproof.chain.participation import attempt
from deltaproof.errors import ChainError
from deltaproof.protocol.evidence.state import StateRoots, Vector, component_root, open_value
from deltaproof.protocol.rules import CHUNK_VALUES
from deltaproof.protocol.types import Digest32, TaskId
from deltaproof.reporting import Reporter
from deltaproof.tuning.training.step import apply_update
from trainer.conduct import Conduct, RoundWork

__all__ = ["AnswerDesk", "chunk_opening"]

SLOTS = {
    Component.THETA: "theta",
    Component.FIRST_MOMENT: "m",
    Component.SECOND_MOMENT: "v",
    Component.ERROR_MEMORY: "e",
}


def chunk_opening(
    work: RoundWork, conduct: Conduct, memory: Vector | None, step: int, component: Component, chunk: int
) -> ChunkOpening:
    """Record `step` (0 to N) of a trained round with one chunk of one of its vectors.

    `memory` is the error-feedback memory, shape (P,), where the task's codec has one. Raises ChainError for a vector
    that the record does not have, TranscriptError if the transcript is gone.
    """
    last = work.bench.spec.training.steps
    (opening,) = conduct.open(work, [min(step, last - 1)])
    state, record, proof = dict(opening.state), opening.before, opening.before_proof
    if step == last:  # the record after the last step: its state follows from the step before
        before = {slot: torch.from_numpy(values.copy()) for slot, values in state.items()}
        gradient = torch.from_numpy(opening.gradient.copy())
        after = apply_update(work.bench, before, last - 1, gradient, opening.before.clip_scale)
        state = {slot: values.detach().cpu().numpy() for slot, values in after.items()}
        record, proof = opening.after, opening.after_proof
    vectors = state | ({"e": memory} if memory is not None else {}) | {"grad": opening.gradient}
    slot = SLOTS.get(component, "grad")
    if slot not in vectors or (slot == "grad" and step == last):
        raise ChainError(
            f"record {step} has no {component.name.lower().replace('_', ' ')}: no such demand has an answer"
        )
    if slot == "grad":
        shown = open_value(vectors[slot], chunk * CHUNK_VALUES)
    else:
        roots = StateRoots(**{s: component_root(values) for s, values in state.items()}, e=work.context.error_root)
        shown = open_value(vectors[slot], chunk * CHUNK_VALUES, slot, roots)
    return ChunkOpening(record.encode(), _digests(proof), shown.chunk, _digests(shown.siblings))


@dataclass(frozen=True)
class _Seen:
    """An open demand against this trainer."""

    number: int
    demand: Demand


class AnswerDesk:
    """Finds the demands that this trainer has to answer, and answers each once."""

    def __init__(self, gateway: Gateway, task_id: TaskId, report: Reporter) -> None:
        self.gateway, self.task_id, self.report = gateway, task_id, report
        self._looked_to = 0
        self._open: list[_Seen] = []

    def mind(self, now: int, answer: Callable[[Demand], ChunkOpening]) -> None:
        """Answer every open demand; `now` is the chain's time. Raises what the first that fails raises, after all."""
        self._look(now)
        errors: list[Exception] = []
        for seen in list(self._open):
            try:
                self._answer(seen, now, answer)
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]

    @property
    def deadlines(self) -> Sequence[int]:
        """Until when each open demand has to be answered, seconds since the epoch."""
        return [seen.demand.deadline for seen in self._open]

    def _look(self, now: int) -> None:
        """Read what was demanded since the last look; at first, back to the first that can still be answered."""
        count = self.gateway.court.demand_count()
        if count < self._looked_to:  # a reorganisation took demands away
            self._looked_to, self._open = 0, []
        for number in range(count, self._looked_to, -1):
            demand = self.gateway.court.demand(number)
            if demand.deadline < now and self._looked_to == 0:
                break  # all have the same time to answer, so those before are over as well
            mine = (demand.kind, demand.task_id, demand.respondent) == (
                DemandKind.OPENING, self.task_id, self.gateway.account,
            )  # fmt: skip
            if mine and not demand.closed:
                self._open.append(_Seen(number, demand))
        self._looked_to = count

    def _answer(self, seen: _Seen, now: int, answer: Callable[[Demand], ChunkOpening]) -> None:
        demand = self.gateway.court.demand(seen.number)
        if demand.closed or demand.deadline < now:
            self._open.remove(seen)
            if not demand.closed:
                self.report("unanswered", f"demand {seen.number} was not answered in time")
            return
        what = f"demand {seen.number}: record {demand.step}, chunk {demand.chunk} of {demand.component.name.lower()}"
        if attempt(self.gateway.court.answer_opening, seen.number, answer(demand)) is not None:
            self.report("answered", what, demand=seen.number, round=demand.round)


def _digests(values: Sequence[bytes]) -> tuple[Digest32, ...]:
    return tuple(map(Digest32, values))
