"""A trainer's data against the task's terms, before anything is staked on it: what others would reject is refused."""

from __future__ import annotations

from deltaproof.errors import TaskRefused, UsageError
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.evidence.rows import PUBLIC_SALTS, Shard
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Digest32, TaskId
from deltaproof.reporting import counted
from deltaproof.tuning.base_models.batches import unfit_rows
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["check_rows", "enrolled_shard", "shard_secret"]

SHOWN = 5
"""Bad rows that a message lists."""


def shard_secret(home: HomeSecret, task_id: TaskId) -> Digest32:
    """What salts this owner's rows in a task: in each another, so that nobody sees that they are the same."""
    return home.derive("rows", task_id.to_bytes(8, "big"))


def enrolled_shard(rows: tuple[bytes, ...], secret: Digest32, spec: TaskSpec) -> Shard:
    """The rows under salts of their owner's, or, where the task names the shards, under the public ones.

    Raises UsageError for too few or too many rows, TaskRefused if the task names roots and this shard's is not among
    them: it could earn nothing.
    """
    least, most = spec.least_rows, spec.data.max_rows
    if not least <= len(rows) <= most:
        raise UsageError(
            f"--data has {counted(len(rows), 'row')}; this task takes {least} to {most}, and a stake would be lost"
        )
    if not spec.data.roots:
        return Shard(rows, secret)
    for shard in (Shard(rows, PUBLIC_SALTS), Shard(rows, secret)):
        if shard.root in spec.data.roots:
            return shard
    raise TaskRefused(
        f"the task takes only data that its sponsor named, and these {counted(len(rows), 'row')} are none of its "
        f"{counted(len(spec.data.roots), 'shard')}; pass one of them, unchanged, as --data"
    )


def check_rows(bench: Workbench, rows: tuple[bytes, ...]) -> None:
    """Raises UsageError naming rows that the task's model cannot use: a batch with one of them would be rejected."""
    config = getattr(bench.model, "config", None)
    wrong = list(unfit_rows(rows, bench.spec.model, tokenizer=bench.tokenizer, config=config))
    most = bench.spec.data.max_row_bytes
    wrong += [f"row {n} has {len(row)} bytes of at most {most}" for n, row in enumerate(rows) if len(row) > most]
    if wrong:
        more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise UsageError(f"--data does not fit this task: {'; '.join(wrong[:SHOWN])}{more}. Mend or drop these rows")
