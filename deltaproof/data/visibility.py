"""What of a shard others get to see, and who: counted from a task's terms before anything is enrolled."""

from __future__ import annotations

from dataclasses import dataclass

from deltaproof.protocol.terms.spec import TaskSpec

__all__ = ["READERS", "Exposure", "exposure"]

READERS = {
    "public": "everybody, for ever",
    "verifiers": "the round's verifiers, jurors of a case about it, auditors, and whom any of them shows it to",
}
"""Who reads the rows of drawn steps, by `data.visibility`. A demand on chain shows parts of states and gradients, and
never a row (docs/protocol/sealing.md)."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """Rows of one trainer that are opened."""

    rows: int
    steps_per_round: int
    """Opened in a round: the first, the last, and what was drawn between."""
    expected_in_a_round: float
    expected_in_all: float
    """Different rows, over all rounds."""
    readers: str
    delta_readers: str
    """Of deltas and adapters, which tell something of all rows."""
    named: bool
    """Whether the task names its shards: then salts are public, and whoever guesses a row can see that it is there."""


def exposure(spec: TaskSpec, rows: int) -> Exposure:
    """What a task's rounds open of a shard of so many rows.

    All verifiers replay the same drawn steps (`draw_samples`), and batches are drawn anew each round (`BatchOrder`), so
    which rows they hold is chance; the numbers are means.
    """
    steps, batch = spec.training.steps, spec.training.batch_size
    opened = min(steps, 2 + spec.verification.samples)
    hidden = _stays_hidden(rows, steps, batch, opened)
    return Exposure(
        rows=rows,
        steps_per_round=opened,
        expected_in_a_round=rows * (1 - hidden),
        expected_in_all=rows * (1 - hidden**spec.rewards.rounds),
        readers=READERS[spec.data.visibility],
        delta_readers="who takes part in the task" if spec.adapter.sealed else "everybody",
        named=bool(spec.data.roots),
    )


def _stays_hidden(rows: int, steps: int, batch: int, opened: int) -> float:
    """Probability that a row is in none of a round's opened steps; 1 where there is no row."""
    if not rows:
        return 1.0
    times, more = divmod(steps * batch, rows)  # in how many steps a row is; `more` rows are in one step more
    share = more / rows
    return (1 - share) * _unopened(steps, opened, times) + share * _unopened(steps, opened, times + 1)


def _unopened(steps: int, opened: int, times: int) -> float:
    """Probability that none of `times` different steps is among the `opened` of all."""
    found = 1.0
    for i in range(min(times, steps)):
        found *= max(steps - opened - i, 0) / (steps - i)
    return found
