"""Why an honest trainer with LoRA on MiniLM's words was once refused, and whether it still can be.

    python -m benchmarks.replay.words [--steps N] [--work DIR]

An earlier version refused step 39 of such a round: its gradient was off by 8.7e-5 where 1e-5 is allowed. Here the round
is trained again, on mixed rows and on rows of one label, and its steps are computed in float32 with the loss head as it
is (float64), in float32 with the head that the earlier version had, and in float64, at the same states. What differs is
told by step and by group of tensors. The real judge then replays the measured steps. Results: docs/results/words.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.replay.regimes import WORDS, Regime, shard_of, spec_of
from benchmarks.shared.cells import cell
from benchmarks.shared.replay_tasks import machine_facts, round_context, table, write_results
from deltaproof.protocol.evidence.state import Layout, Vector
from deltaproof.replaying.comparison import Wide
from deltaproof.replaying.replay import Judge, ReplayContext
from deltaproof.tuning.base_models.loss import logits_of
from deltaproof.tuning.training import workbench
from deltaproof.tuning.training.recording import open_steps, train_round
from deltaproof.tuning.training.workbench import Workbench

CASES = {
    "mixed labels": Regime(0, sections={"method": WORDS, "optimizer": {"learning_rate": 1e-2}}),
    "one label": Regime(0, 1, 200, {"method": WORDS, "optimizer": {"learning_rate": 1e-2}}),
}
ONCE_REFUSED = 39
WORD_TENSORS = "word_embeddings"


@dataclass(frozen=True)
class Differences:
    """Of a float32 gradient from the float64 one, relative to its norm: as a whole, of words' tensors, of others."""

    whole: float
    words: float
    rest: float

    @classmethod
    def of(cls, narrow: Wide, wide: Wide, layout: Layout) -> Differences:
        words = np.zeros(layout.size, bool)
        for name, where in layout.slices.items():
            words[where] = WORD_TENSORS in name
        off, norm = narrow - wide, float(np.linalg.norm(wide)) or 1.0
        return cls(*(float(np.linalg.norm(part)) / norm for part in (off, off[words], off[~words])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--work", type=Path, default=Path("runs/words"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    found = {
        name: cell(options.work / f"{options.steps}", name, partial(played, regime, options.steps, options.work / name))
        for name, regime in CASES.items()
    }
    document = {"machine": machine_facts(), "cases": found, "seconds": time.perf_counter() - started}
    write_results("words", document, markdown(found, options.steps))
    if refused := {name: case["refused"] for name, case in found.items() if case["refused"]}:
        raise SystemExit(f"honest steps refused: {refused}")


def played(regime: Regime, steps: int, folder: Path) -> dict[str, Any]:
    """One round, its measured steps, and the judge's verdicts on them."""
    judge = Judge.from_spec(spec_of(Regime(steps, regime.label, regime.rows, regime.sections), True, folder))
    bench, reference = judge.mirror, judge.reference
    assert bench is not None  # bounded mode has one
    shard = shard_of(regime, bench.spec)
    context = round_context(bench, shard)
    trained = train_round(bench, context, bench.initial_state(), shard, folder / "round", keep_every=1)
    replay = ReplayContext(context, trained.transcript_root, trained.theta_digest)
    measured = sorted({*range(0, steps, 8), min(ONCE_REFUSED, steps - 1)})
    rows, verdicts = [], []
    for opening in open_steps(bench, context, shard, folder / "round", measured):
        texts = [row.row for row in opening.rows]
        wide = gradient(reference, opening.state["theta"], texts)
        now = Differences.of(gradient(bench, opening.state["theta"], texts), wide, bench.layout)
        with narrow_head():
            before = Differences.of(gradient(bench, opening.state["theta"], texts), wide, bench.layout)
        step = opening.before.step
        rows.append({"step": step, "loss": opening.before.loss, "now": vars(now), "before": vars(before)})
        verdicts.append(judge.judge_step(opening, step, replay))
    return {
        "rows": rows, "bound": bench.spec.training.bound_total, "judged": len(verdicts),
        "refused": [verdict.message for verdict in verdicts if not verdict.accepted],
        "worst": max(verdict.magnitude / verdict.bound for verdict in verdicts if verdict.bound),
    }  # fmt: skip


def gradient(bench: Workbench, theta: Vector, rows: list[bytes]) -> Wide:
    bench.load(theta)
    return bench.gradient(rows, b"")[0].double().numpy()


@contextmanager
def narrow_head() -> Iterator[None]:
    """The loss head of the earlier version: cross-entropy in the model's own precision."""

    def loss_sum(model: nn.Module, part: Mapping[str, Tensor], kind: str) -> Tensor:
        inputs = {name: tensor for name, tensor in part.items() if name != "labels"}
        return nn.functional.cross_entropy(logits_of(model, inputs, kind), part["labels"], reduction="sum")

    with patch.object(workbench, "loss_sum", loss_sum):
        yield


def markdown(found: Mapping[str, dict[str, Any]], steps: int) -> str:
    bound = next(iter(found.values()))["bound"]
    lines = [
        "# LoRA on words: the refusal of an honest trainer, explained",
        f"MiniLM-L6, LoRA r = 4 on query, value and word_embeddings, AdamW, {steps} steps of 8 rows, bounded mode. An "
        "earlier version refused step 39 of such a round: off by 8.7e-5, bound 1e-5. *Head in float32* is the loss "
        "head of that version, at the very same states; *words* and *others* are the parts of the difference in the "
        "words' tensors and in all others, relative to the norm of the whole gradient. Made by "
        "`python -m benchmarks.replay.words`.",
        explained(found, bound),
    ]
    for name, case in found.items():
        cells = [
            (row["step"], f"{row['loss']:.2e}",
             *(f"{row[head][part]:.1e}" for head in ("before", "now") for part in ("whole", "words", "rest")))
            for row in case["rows"]
        ]  # fmt: skip
        header = (
            "step",
            "loss",
            "head in float32: whole",
            "words",
            "others",
            "head as it is: whole",
            "words",
            "others",
        )
        verdict = f"{case['judged']} of these steps judged, {len(case['refused'])} refused, worst {case['worst']:.3f}"
        lines += [f"## {name}, bound {case['bound']:.0e}", table(header, cells), f"{verdict} of what is allowed."]
    return "\n\n".join([*lines, f"Machine: {machine_facts()}"])


def explained(found: Mapping[str, dict[str, Any]], bound: float) -> str:
    """The cause, in numbers of this run."""
    rows = [row for case in found.values() for row in case["rows"]]
    beyond = [row for row in rows if row["before"]["whole"] > bound]
    share = max((row["before"]["words"] / row["before"]["whole"] for row in beyond), default=0.0)
    worst_now = max(row["now"]["whole"] for row in rows)
    if not beyond:
        return (
            f"In this run neither head goes beyond the bound of {bound:.0e}: with the head in float32 the difference "
            f"is {max(row['before']['whole'] for row in rows):.1e} at most, with the present one {worst_now:.1e}."
        )
    losses = [row["loss"] for row in beyond]
    return (
        f"The cause is the loss head, not the words. With the head in float32, {len(beyond)} of {len(rows)} measured "
        f"steps are beyond the bound, all with a loss of {max(losses):.1e} or less: tuning words learns the rows "
        "sooner, and `softmax - 1` of a learnt label cancels. The error is common to all tensors, words hold "
        f"{share:.0%} of it at most. With the present head none is beyond; the worst is {worst_now:.1e}."
        if worst_now <= bound
        else f"With the present head a step is still off by {worst_now:.1e}, beyond {bound:.0e}."
    )


if __name__ == "__main__":
    main()
