"""From one step of a controlled federation to the draft of the next."""

from __future__ import annotations

from pathlib import Path

from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Outcome
from deltaproof.chain.admissions import task_view
from deltaproof.chain.participation import read_task
from deltaproof.errors import UsageError
from deltaproof.protocol.types import RoundIndex, TaskId
from deltaproof.protocol.wire.tensorfile import write_vectors
from deltaproof.store import ArtifactStore

__all__ = ["next_step"]


def next_step(gateway: Gateway, store: ArtifactStore, task_id: TaskId, out: Path) -> dict[str, int]:
    """Keys of `[federation.control]` for the step after this task; its adapter goes to `out`.

    Raises UsageError for a task that is not controlled or has not ended, or if no step is left; ChainError or
    ArtifactError for what cannot be read.
    """
    terms = read_task(gateway, store, task_id)
    control = terms.spec.federation.control if terms.spec.federation else None
    if control is None:
        raise UsageError(f"task {task_id} is not controlled: its spec has no [federation.control]")
    if not gateway.tasks.is_ended(task_id):
        raise UsageError(f"task {task_id} has not ended yet")
    seen = control.observation
    if seen.step + 1 == seen.horizon:
        raise UsageError(f"task {task_id} was the last of {seen.horizon} steps")
    last = gateway.tasks.phase(task_id).round
    rounds = [gateway.tasks.round(task_id, RoundIndex(number)) for number in range(1, last + 1)]
    gained = sum(view.settlement.improvement_nanos for view in rounds if view.outcome == Outcome.SETTLED)
    store = task_view(gateway, store, terms.spec, task_id)
    theta = store.get_tensors(terms.view.adapter_digest, terms.view.params.training.parameters)
    out.write_bytes(write_vectors({"values": theta}, {}))
    return {
        "step": seen.step + 1,
        "previous_task": int(task_id),
        "gained_nanos": seen.gained_nanos + gained,
        "last_nanos": gained,
    }
