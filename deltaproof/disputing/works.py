"""Faults in a trainer's published work that the contract `FaultProver` can see, and their evidence.

Everything is recomputed from published openings: what a record commits to, the optimiser's update in float32, the
start and the end of the round. A step's update can be proved wrong where the state after it is known: from the next
step's opening, or because nothing but the adapter was changed and the final adapter is published.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deltaproof.chain.abi.dispute_structs import RecordOpening, StepEvidence, VectorChunk, Work
from deltaproof.chain.abi.enums import Component, Fault
from deltaproof.chain.abi.structs import TrainingTerms
from deltaproof.chain.contracts.disputes import FaultProver
from deltaproof.chain.rpc.sender import Receipt
from deltaproof.protocol.evidence.state import StateRoots, Vector, component_root, open_value
from deltaproof.protocol.evidence.transcript import StepOpening, StepRecord
from deltaproof.protocol.rules import CHUNK_VALUES
from deltaproof.protocol.types import ZERO_DIGEST, Digest32
from deltaproof.protocol.wire import merkle
from deltaproof.tuning.training.optimizers import constants_of, update

__all__ = ["TrainerFault", "find_work_fault"]

COMPONENT = {
    "theta": Component.THETA, "m": Component.FIRST_MOMENT, "v": Component.SECOND_MOMENT, "grad": Component.GRADIENT,
}  # fmt: skip


@dataclass(frozen=True)
class TrainerFault:
    """What is wrong at which record, and how to prove it of the work that the trainer committed."""

    kind: Fault
    step: int
    message: str
    proof: Callable[..., Receipt]
    """The method of `FaultProver`."""
    evidence: tuple[Any, ...] = ()
    """Its arguments after the work."""

    def prove(self, prover: FaultProver, work: Work) -> Receipt:
        """Send the proof; `work` is what the trainer committed. Raises ContractRevert, e.g. if somebody was faster."""
        return self.proof(prover, work, *self.evidence)


def find_work_fault(
    openings: Mapping[int, StepOpening],
    terms: TrainingTerms,
    table: NDArray[np.float32],
    start_digest: Digest32,
    delta_digest: Digest32,
    final: Vector | None = None,
) -> TrainerFault | None:
    """The first fault that the openings (by step) prove.

    Args:
        openings: proved against the committed transcript.
        terms: the task's, of the chain.
        table: the optimiser's constants, float32 of shape (steps, 16).
        start_digest: component root of the adapter that the round starts from.
        delta_digest: what the trainer revealed.
        final: the revealed adapter, shape (P,), under the codec `float32`; else None.
    """
    for step in sorted(openings):
        opening = openings[step]
        found = (
            _malformed(opening, terms)
            or (_wrong_start(opening, start_digest, terms) if step == 0 else None)
            or _wrong_update(opening, openings.get(step + 1), terms, table, final)
            or (_wrong_delta(opening, terms, table, delta_digest) if step == terms.steps - 1 else None)
        )
        if found:
            return found
    return None


def _malformed(opening: StepOpening, terms: TrainingTerms) -> TrainerFault | None:
    for record, proof in ((opening.before, opening.before_proof), (opening.after, opening.after_proof)):
        wrong = not 0.0 <= record.clip_scale <= 1.0
        if record.step == terms.steps:
            empty = record.grad_root == record.rows_root == ZERO_DIGEST
            wrong = wrong or not empty or record.clip_scale != 0.0 or record.loss != 0.0
        if wrong:
            shown = _record(record, proof)
            return TrainerFault(
                Fault.MALFORMED_RECORD, record.step, f"record {record.step} breaks the rules of records",
                FaultProver.prove_malformed_record, (shown,),
            )  # fmt: skip
    return None


def _wrong_start(opening: StepOpening, start_digest: Digest32, terms: TrainingTerms) -> TrainerFault | None:
    roots = opening.roots
    if roots.root() != opening.before.state_root:
        return None  # the opening does not belong to its record: a replay rejects it, a contract needs a demand
    shown = _record(opening.before, opening.before_proof)
    if roots.theta != start_digest:
        theta, (first, second) = Digest32(roots.theta), roots.siblings("theta")
        return TrainerFault(
            Fault.WRONG_START, 0, "record 0 does not start from the round's adapter",
            FaultProver.prove_wrong_start, (shown, theta, (Digest32(first), Digest32(second))),
        )  # fmt: skip
    for slot in terms.optimizer.slots[1:]:
        warm = np.flatnonzero(opening.state[slot])
        if warm.size:
            element = int(warm[0])
            chunk = _chunk(opening.state[slot], element, slot, roots)
            return TrainerFault(
                Fault.WRONG_START, 0, f"record 0 has a moment that is not zero (value {element})",
                FaultProver.prove_warm_start, (shown, chunk, element),
            )  # fmt: skip
    return None


def _wrong_update(
    opening: StepOpening,
    following: StepOpening | None,
    terms: TrainingTerms,
    table: NDArray[np.float32],
    final: Vector | None,
) -> TrainerFault | None:
    step, slots = opening.before.step, terms.optimizer.slots
    if opening.roots.root() != opening.before.state_root:
        return None
    if opening.gradient_root != opening.before.grad_root:
        return None
    computed = _after(opening, terms, table)
    committed = dict(following.state) if following is not None else dict(computed)
    if following is None and step == terms.steps - 1 and final is not None:
        committed["theta"] = final
    roots = _roots(committed, opening)
    if roots.root() != opening.after.state_root:
        return None  # the state after the step is not known
    differing = [np.flatnonzero(_bits(computed[slot]) != _bits(committed[slot])) for slot in slots]
    first = next((found for found in differing if found.size), None)
    if first is None:
        return None
    element, before = int(first[0]), opening.roots
    row = [merkle.leaf(row.astype("<f4").tobytes()) for row in table]
    evidence = StepEvidence(
        element=element,
        before=_record(opening.before, opening.before_proof),
        afterwards=_record(opening.after, opening.after_proof),
        before_chunks=tuple(_chunk(opening.state[slot], element, slot, before) for slot in slots),
        gradient=_chunk(opening.gradient, element, "grad", None),
        after_chunks=tuple(_chunk(committed[slot], element, slot, roots) for slot in slots),
        constants=table[step].astype("<f4").tobytes(),
        constants_proof=tuple(map(Digest32, merkle.proof(row, step))),
    )
    return TrainerFault(
        Fault.WRONG_UPDATE, step, f"step {step} changes value {element} otherwise than the optimiser does",
        FaultProver.prove_wrong_update, (evidence,),
    )  # fmt: skip


def _wrong_delta(
    opening: StepOpening, terms: TrainingTerms, table: NDArray[np.float32], delta_digest: Digest32
) -> TrainerFault | None:
    """The last record is honest, and what was revealed is another adapter."""
    if not terms.float32_delta:
        return None
    roots = _roots(_after(opening, terms, table), opening)
    if roots.root() != opening.after.state_root or roots.theta == delta_digest:
        return None
    shown, (first, second) = _record(opening.after, opening.after_proof), roots.siblings("theta")
    return TrainerFault(
        Fault.WRONG_DELTA, terms.steps, "the revealed adapter is not the one of the last record",
        FaultProver.prove_wrong_delta, (shown, Digest32(roots.theta), (Digest32(first), Digest32(second))),
    )  # fmt: skip


def _after(opening: StepOpening, terms: TrainingTerms, table: NDArray[np.float32]) -> dict[str, Vector]:
    """The state after the step by the optimiser's rule."""
    state = {slot: torch.from_numpy(opening.state[slot].copy()) for slot in terms.optimizer.slots}
    gradient, constants = torch.from_numpy(opening.gradient.copy()), constants_of(table, opening.before.step)
    after = update(int(terms.optimizer), constants, state, gradient, opening.before.clip_scale)
    return {slot: values.numpy() for slot, values in after.items()}


def _roots(state: Mapping[str, Vector], opening: StepOpening) -> StateRoots:
    return StateRoots(**{slot: component_root(values) for slot, values in state.items()}, e=opening.error_root)


def _record(record: StepRecord, proof: tuple[bytes, ...]) -> RecordOpening:
    return RecordOpening(record.step, record.encode(), tuple(map(Digest32, proof)))


def _chunk(values: Vector, element: int, slot: str, roots: StateRoots | None) -> VectorChunk:
    shown = open_value(values, element, slot if roots is not None else None, roots)
    return VectorChunk(COMPONENT[slot], element // CHUNK_VALUES, shown.chunk, tuple(map(Digest32, shown.siblings)))


def _bits(values: Vector) -> NDArray[np.uint32]:
    return values.view(np.uint32)
