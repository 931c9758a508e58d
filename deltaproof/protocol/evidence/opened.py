"""What an opening has to fit before anything is read of it: committed transcript, enrolled rows, batch order.

For a step there is one opening that fits, and every byte of it follows from digests on chain. So a verdict is about
what a trainer committed, whoever looks, when, and at which copy. What does not fit is nobody's opening: it counts as
not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deltaproof.errors import EncodingError
from deltaproof.protocol.draws.order import BatchOrder
from deltaproof.protocol.evidence.transcript import OpeningLimits, StepOpening
from deltaproof.protocol.types import Address, Digest32
from deltaproof.protocol.wire import merkle

__all__ = ["CommittedSteps", "Misfit", "Part", "check_all_but_gradient", "check_gradient_digest", "check_opening"]

Part = Literal["record", "transcript", "state", "gradient digest", "rows"]
"""What of an opening is held against a digest, as verdicts name it."""


class Misfit(EncodingError):
    """An opening shows something else than its trainer committed: `part` says what."""

    def __init__(self, part: Part, message: str) -> None:
        super().__init__(message)
        self.part = part


@dataclass(frozen=True)
class CommittedSteps:
    """What openings of one trainer's round are held against."""

    transcript_root: Digest32
    trainer: Address
    limits: OpeningLimits
    data_root: Digest32 | None
    """Of the enrolled rows; None for who reads no rows."""
    order_key: bytes | None
    """Of the batch order; None for who reads no rows, or only stores them: an order takes a shuffle of all rows."""

    def batch(self, step: int) -> tuple[int, ...] | None:
        """The rows that step is on, in order; None without the key of the order."""
        if self.order_key is None:
            return None
        return BatchOrder(self.order_key, self.limits.shard_rows, self.limits.batch_rows).batch(step)


def check_opening(opening: StepOpening, committed: CommittedSteps, step: int) -> None:
    """Raises Misfit unless this is the opening of the committed step `step`. Its vectors are float32 of shape (P,)."""
    check_all_but_gradient(opening, committed, step)
    check_gradient_digest(opening)


def check_gradient_digest(opening: StepOpening) -> None:
    """Raises Misfit unless the gradient is the one that the opening's record names."""
    if opening.gradient_root != opening.before.grad_root:
        raise Misfit("gradient digest", "the gradient shown is not the gradient that was committed")


def check_all_but_gradient(opening: StepOpening, committed: CommittedSteps, step: int) -> None:
    """`check_opening`, whatever stands for the gradient. Raises Misfit."""
    _check_records(opening, committed, step)
    if set(opening.state) != set(committed.limits.slots):
        shown, due = sorted(opening.state), sorted(committed.limits.slots)
        raise Misfit("state", f"shows the components {shown} instead of {due}")
    # Attack: one value off in a copy that verifiers read, and the right one for jurors: verdicts differ, no root does.
    if opening.roots.root() != opening.before.state_root:
        raise Misfit("state", "the state shown is not the state that was committed")
    _check_rows(opening, committed, step)


def _check_records(opening: StepOpening, committed: CommittedSteps, step: int) -> None:
    steps = committed.limits.steps
    if not 0 <= step < steps:
        raise Misfit("record", f"a round has steps 0 to {steps - 1}")
    shown = (opening.before.step, opening.after.step)
    if shown != (step, step + 1):
        raise Misfit("record", f"shows records {shown[0]} and {shown[1]} instead of {step} and {step + 1}")
    for record, proof in ((opening.before, opening.before_proof), (opening.after, opening.after_proof)):
        if not merkle.verify(committed.transcript_root, record.digest, record.step, steps + 1, proof):
            raise Misfit("transcript", f"record {record.step} does not belong to the committed transcript")


def _check_rows(opening: StepOpening, committed: CommittedSteps, step: int) -> None:
    if merkle.root([row.digest for row in opening.rows]) != opening.before.rows_root:
        raise Misfit("rows", "the rows shown are not the rows that were committed")
    for row in opening.rows:
        if committed.data_root is not None and not row.verify(committed.data_root, committed.limits.shard_rows):
            raise Misfit("rows", f"row {row.index} does not belong to the enrolled data")
    # A row that is enrolled twice, salt and all, can be proved at two indices: only the order says which one is meant.
    due, shown = committed.batch(step), tuple(row.index for row in opening.rows)
    if due is not None and shown != due:
        wrong = sum(a != b for a, b in zip(shown, due, strict=False)) + abs(len(shown) - len(due))
        raise Misfit("rows", f"{wrong} of {len(due)} rows are not the ones the batch order gives")
