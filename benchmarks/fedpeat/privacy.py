"""What somebody with an emulator can get of the model that it stands for: a measured attempt on MiniLM.

    python -m benchmarks.fedpeat.privacy [--steps 60] [--queries 300]

The attacker has what every trainer gets (embeddings, last layers, tokeniser, a compressed middle) and public sentences.
Without the owner's answers there is nothing to learn from but the emulator itself, so its first figures are of what it
received. Then the owner answers some queries (a sentence, its embedding by the full model), and the attacker trains its
middle on the answers, from the emulator's middle or, for comparison, from a random one of the public architecture.

Measured on sentences that the attacker never saw: distance of embeddings from the full model's, and accuracy of a
linear probe, which says what the embeddings are good for. Writes docs/results/emulator_privacy.md. About five minutes.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.fedpeat.tasks import ARMS, TASKS, WORK, FedpeatTask
from benchmarks.shared.lora_rounds import SOURCES, sentiment_rows
from benchmarks.shared.places import FIGURES, PAGES
from benchmarks.shared.replay_tasks import table
from benchmarks.shared.tuning_tasks import Cells
from deltaproof.protocol.draws.order import BatchOrder
from deltaproof.tuning.base_models.batches import make_batch
from deltaproof.tuning.base_models.layers import layer_of
from deltaproof.tuning.base_models.loading import BaseModel, load_base
from deltaproof.tuning.numerics.randomness import SeededFills

ARM_NAMES = ("FedPEAT 0.27", "FedPEAT 0.14", "FedPEAT 0.07")
RANDOM = "disclosed parts, random middle"
BATCH, RATE, LAST = 16, 5e-4, 2
PROBE_PENALTY = 1.0
TEST = [row for source in SOURCES for row in sentiment_rows(source, 700, 800)]
PROBE = [row for source in SOURCES for row in sentiment_rows(source, 0, 200)]
DOC = PAGES / "emulator_privacy.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--queries", type=int, default=300)
    options = parser.parse_args()
    os.environ["XDG_CACHE_HOME"] = str(WORK / "cache")
    torch.set_num_threads(1)
    task = TASKS["MiniLM"]()
    truth = load_base(task.full, bytes(32), "float32")
    wanted = {name: embeddings(truth, task, rows) for name, rows in (("test", TEST), ("probe", PROBE))}
    cells = Cells(FIGURES / "emulator_privacy.json")
    cells.measure("the full model", lambda: {"distance": 0.0, "probe": probe(wanted["probe"], wanted["test"])})
    for name in (*ARM_NAMES, RANDOM):
        cells.measure(f"{name} / received", partial(received, task, truth, name, wanted))
        key = f"{name} / {options.queries} answers, {options.steps} steps"
        cells.measure(key, partial(attacked, task, truth, name, wanted, options.queries, options.steps))
    write(cells)


def holding(task: FedpeatTask, name: str) -> BaseModel:
    """What the attacker starts from."""
    if name == RANDOM:
        base = load_base(task.full, bytes(32), "float32")
        with torch.no_grad(), SeededFills(b"\x05" * 32):
            for parameter in middle_of(base, task).values():
                if parameter.ndim == 2:
                    torch.nn.init.normal_(parameter, std=0.02)
        return base
    arm = next(arm for arm in ARMS["MiniLM"] if arm.name == name)
    return load_base(task.spec(arm, 0).model, bytes(32), "float32")


def middle_of(base: BaseModel, task: FedpeatTask) -> dict[str, Tensor]:
    """Parameters of layers that are not disclosed."""
    depth = 6
    return {n: p for n, p in base.model.named_parameters() if (i := layer_of(n)) is not None and i < depth - LAST}


def embeddings(base: BaseModel, task: FedpeatTask, rows: Sequence[bytes]) -> Tensor:
    """Mean of the last hidden states over tokens, as this model is used: float32 [rows, 384]."""
    with torch.inference_mode():
        return torch.cat([pooled(base, task, rows[i : i + 32]) for i in range(0, len(rows), 32)]).clone()


def pooled(base: BaseModel, task: FedpeatTask, rows: Sequence[bytes]) -> Tensor:
    inputs = make_batch(rows, task.full, tokenizer=base.tokenizer, config=base.model.config, parts=1).parts[0]
    body: Any = base.model.base_model
    states = body(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).last_hidden_state
    mask = inputs["attention_mask"][..., None]
    result: Tensor = (states * mask).sum(1) / mask.sum(1)
    return result


def received(task: FedpeatTask, truth: BaseModel, name: str, wanted: dict[str, Tensor]) -> dict[str, Any]:
    base = holding(task, name)
    secret, held = middle_of(truth, task), middle_of(base, task)
    errors = [
        float((held[n] - p).norm() / p.norm()) if n in held else 1.0 for n, p in secret.items() if p.ndim == 2
    ]  # fmt: skip
    return {"matrices": float(np.median(errors)), **scores(base, task, wanted)}


def attacked(
    task: FedpeatTask, truth: BaseModel, name: str, wanted: dict[str, Tensor], queries: int, steps: int
) -> dict[str, Any]:
    base = holding(task, name)
    rows = task.public[:queries]
    answers = embeddings(truth, task, rows)
    tuned = list(middle_of(base, task).values())
    for parameter in tuned:
        parameter.requires_grad_(True)
    optimizer = torch.optim.Adam(tuned, lr=RATE)
    order = BatchOrder(b"\x06" * 32, len(rows), BATCH)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1.0 - step / steps)
        chosen = list(order.batch(step))
        off = pooled(base, task, [rows[i] for i in chosen]) - answers[chosen]
        optimizer.zero_grad()
        (off.square().sum() / answers[chosen].square().sum()).backward()
        optimizer.step()
    return scores(base, task, wanted)


def scores(base: BaseModel, task: FedpeatTask, wanted: dict[str, Tensor]) -> dict[str, float]:
    test = embeddings(base, task, TEST)
    distance = float(((test - wanted["test"]).norm(dim=1) / wanted["test"].norm(dim=1)).mean())
    return {"distance": distance, "probe": probe(embeddings(base, task, PROBE), test)}


def probe(train: Tensor, test: Tensor) -> float:
    """Held-out accuracy of ridge regression on the labels."""
    signs = [np.array([2 * json.loads(row)["label"] - 1 for row in rows], float) for rows in (PROBE, TEST)]
    x, y = (np.concatenate([t.double().numpy(), np.ones((len(t), 1))], axis=1) for t in (train, test))
    weights = np.linalg.solve(x.T @ x + PROBE_PENALTY * np.eye(x.shape[1]), x.T @ signs[0])
    return float(((y @ weights > 0) == (signs[1] > 0)).mean())


def write(cells: Cells) -> None:
    rows = []
    for key, cell in cells.values.items():
        name, _, after = key.partition(" / ")
        matrices = f"{cell['matrices']:.3f}" if "matrices" in cell else "-"
        rows.append((name, after or "-", matrices, f"{cell['distance']:.3f}", f"{cell['probe']:.3f}"))
    rows.sort(key=lambda row: (row[0] != "the full model", row[0], row[1] != "received"))
    lines = [
        "# What an emulator gives away",
        "",
        "MiniLM, the last two layers and the embeddings disclosed; made by `python -m benchmarks.fedpeat.privacy`.",
        f"Distances are relative L2, the mean over {len(TEST)} sentences that the attacker never saw; probe: accuracy",
        f"of ridge regression on {len(PROBE)} labelled embeddings. Matrices: median relative distance of the middle's",
        "matrices from the owner's; 1 stands for a matrix that is not there.",
        "",
        table(("the attacker holds", "and gets", "matrices", "distance of embeddings", "probe"), rows),
    ]
    DOC.write_text("\n".join(lines) + "\n", "utf-8")
    print(DOC.read_text("utf-8"))


if __name__ == "__main__":
    main()
