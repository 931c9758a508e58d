"""Several federated rounds on images and on language: quality by round.

    python -m benchmarks.methods.rounds

Three trainers with a third of the rows each; a round starts from the aggregate of the round before, moments at zero.
Cells are kept in build/benchmarks/methods/rounds.json and shown by `python -m benchmarks.methods --report`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from benchmarks.methods.cells import family, spec_of, task_data
from benchmarks.methods.rates import rate_of
from benchmarks.methods.results import kind_of
from benchmarks.shared.places import BUILD
from benchmarks.shared.tuning_tasks import Cells, Data
from deltaproof.protocol.evidence.rows import Shard
from deltaproof.protocol.evidence.state import Vector, component_root
from deltaproof.protocol.types import Digest32
from deltaproof.tuning.combining.evaluation import Evaluator
from deltaproof.tuning.combining.mixing import aggregate_thetas
from deltaproof.tuning.training.recording import batch_rows
from deltaproof.tuning.training.step import DrawnRound, run_step, start_state
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["FILE", "PLANS", "of_chosen_rate"]

FILE = BUILD / "methods" / "rounds.json"
TRAINERS = 3
PLANS = {
    "rotated digits": {
        "rounds": 5,
        "steps": 15,
        "test": 290,
        "methods": ("lora", "adalora", "lokr", "pfeiffer", "ia3", "bitfit", "diff_pruning", "shira"),
    },
    "movie language": {"rounds": 3, "steps": 4, "test": 40, "methods": ("lora", "pfeiffer", "ia3")},
}
"""By task; steps are those of one trainer in one round."""


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    cells = Cells(FILE)
    cells.values = of_chosen_rate(cells.values)
    for task, plan in PLANS.items():
        data = task_data(task)
        data = replace(data, test=data.test[: plan["test"]])
        for method in plan["methods"]:
            cells.measure(
                f"{task} / {method}", lambda m=method, d=data, p=plan: play(d, m, p["rounds"], p["steps"]), data.split
            )


def of_chosen_rate(cells: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Those that were played at the rate that is chosen now."""
    keys = {key: key.split(" / ") for key in cells}
    return {
        key: cell for key, cell in cells.items() if cell.get("rate") == rate_of(kind_of(keys[key][0]), keys[key][1])
    }


def play(data: Data, method: str, rounds: int, steps: int) -> dict[str, Any]:
    """Accuracy and loss of the start and after each round, and the largest share of a change lost in refactoring."""
    rate = rate_of(family(data.source), method)
    spec = spec_of(data, method, rate, 0)
    spec = spec.model_copy(update={"training": spec.training.model_copy(update={"steps": steps})})
    bench = Workbench.from_spec(spec)
    shards = [Shard(data.train[number::TRAINERS], Digest32(bytes(32))) for number in range(TRAINERS)]
    evaluator, start, lost = Evaluator(bench, data.test), bench.initial_state(), 0.0
    found = [evaluator.evaluate(start)]
    for round_ in range(1, rounds + 1):
        thetas = [_trained(bench, shard, start, round_, number) for number, shard in enumerate(shards)]
        start, loss = aggregate_thetas(bench, thetas, None)
        lost = max(lost, loss)
        found.append(evaluator.evaluate(start))
    return {
        "accuracy": [result.accuracy for result in found],
        "loss": [result.loss for result in found],
        "lost": lost,
        "rounds": rounds,
        "steps": steps,
        "rate": rate,
    }


def _trained(bench: Workbench, shard: Shard, start: Vector, round_: int, number: int) -> Vector:
    context = DrawnRound(0, round_, bytes(32), component_root(start)).with_shard(bytes([number]) * 20, shard)
    state = start_state(bench, start)
    for step in range(bench.spec.training.steps):
        state = run_step(bench, context, state, step, batch_rows(bench, context, shard, step)).next_state
    theta: Vector = state["theta"].numpy()
    return theta


if __name__ == "__main__":
    main()
