"""`deltaproof methods` and `deltaproof methods recommend`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from deltaproof.cli.common import JsonOption, show_result
from deltaproof.reporting import counted

__all__ = ["app"]

app = typer.Typer(help="The delta-tuning methods a task can name, and which one suits a model and its data.")

ModelOption = Annotated[
    str, typer.Option("--model", help="Base model: package:<name>/<folder>, path:<folder> or hub:<org>/<name>@<rev>.")
]
KindOption = Annotated[str, typer.Option(help="sequence-classification, causal-lm or image-classification.")]
LabelsOption = Annotated[int, typer.Option(help="Classes of a classification model.", min=2)]
TokensOption = Annotated[int, typer.Option(help="Longest text in tokens.", min=1)]


@app.callback(invoke_without_command=True)
def methods(
    context: typer.Context,
    model: Annotated[str | None, typer.Option(help="Measure sizes in this base model.")] = None,
    kind: KindOption = "sequence-classification",
    labels: LabelsOption = 2,
    as_json: JsonOption = False,
) -> None:
    """List the methods: family, aggregation, paper and, with `--model`, trained values, bytes a round and memory."""
    if context.invoked_subcommand is not None:
        return
    from deltaproof.sponsor.recommend import method_sizes
    from deltaproof.tuning.methods import METHODS

    sizes = {s.name: s for s in method_sizes(model, kind, _section(kind, labels, 64))} if model else {}
    result: list[dict[str, Any]] = []
    lines = []
    for name, method in METHODS.items():
        size = sizes.get(name)
        measured = asdict(size) if size else {}
        result.append(
            {"method": name, "family": method.family, "paper": method.paper, "aggregation": method.aggregation}
            | {k: v for k, v in measured.items() if k != "name"}
        )
        numbers = ""
        if size and size.problem:
            numbers = f"  does not fit: {size.problem}"
        elif size:
            numbers = (
                f"  {size.values:>11,} values {size.delta_bytes:>12,} B a round {size.state_bytes / 2**20:>7.1f} MiB"
            )
        lines += [f"{name:<13} {method.family:<19} {method.paper}{numbers}", f"{'':<13} {method.aggregation}"]
    show_result({"methods": result}, as_json=as_json, text="\n".join(lines))


@app.command("recommend")
def recommend(
    model: ModelOption,
    data: Annotated[Path, typer.Option(help="JSON Lines rows to measure on.", exists=True, dir_okay=False)],
    budget: Annotated[int, typer.Option(help="Most bytes that a trainer's delta may have, uncoded.", min=1)],
    kind: KindOption = "sequence-classification",
    labels: LabelsOption = 2,
    tokens: TokensOption = 64,
    rows: Annotated[int, typer.Option(help="Rows to measure on, from the start of the file.", min=16)] = 128,
    steps: Annotated[int, typer.Option(help="Steps of each trial.", min=1)] = 12,
    batch: Annotated[int, typer.Option(help="Rows of a step.", min=1)] = 8,
    as_json: JsonOption = False,
) -> None:
    """Measure where the model is sensitive, try every method that fits the budget for a few steps, propose the best."""
    from deltaproof.errors import UsageError
    from deltaproof.protocol.evidence.rows import read_shard
    from deltaproof.sponsor.recommend import Diverged, Trial, candidate_spec, sensitivity_by_kind, trials
    from deltaproof.tuning.errors import DivergenceError

    sample = list(read_shard(data))[:rows]
    section = _section(kind, labels, tokens)
    places = sensitivity_by_kind(candidate_spec("lora", model, kind, section, 1, 1), sample[:8])
    found = list(trials(model, kind, section, sample, budget, steps, batch))
    if not found:
        raise UsageError(f"no method fits {budget} bytes a round in this model")
    tried = sorted((one for one in found if isinstance(one, Trial)), key=lambda trial: -trial.gain)
    diverged = [one for one in found if isinstance(one, Diverged)]
    apart = [f"{one.size.name} diverges at learning rate {one.learning_rate:g}: {one.problem}" for one in diverged]
    if not tried:
        raise DivergenceError(
            f"training diverges with every method that fits {budget} bytes a round, so none is recommended: check that "
            f"the model computes finite numbers on these rows, or try fewer --steps\n" + "\n".join(apart)
        )
    best = tried[0]
    result = {
        "recommended": best.size.name,
        "sensitivity": places,
        "trials": [asdict(trial) | {"gain": trial.gain} for trial in tried],
        "diverged": [asdict(one) for one in diverged],
    }
    lines = ["mean squared gradient by module:", *(f"  {name:<28} {value:.3g}" for name, value in places.items())]
    lines += [f"after {counted(steps, 'step')} on {counted(len(sample) * 3 // 4, 'row')}, on the rest:"]
    lines += [
        f"  {t.size.name:<13} loss {t.loss_before:.4f} -> {t.loss_after:.4f}  accuracy {t.accuracy:.3f}  "
        f"{t.size.delta_bytes:>11,} B"
        for t in tried
    ]
    lines += [f"  {line}" for line in apart]
    lines += [f"recommended: {best.size.name}"]
    show_result(result, as_json=as_json, text="\n".join(lines))


def _section(kind: str, labels: int, tokens: int) -> dict[str, Any]:
    texts = {} if kind == "image-classification" else {"max_tokens": tokens}
    return texts | ({} if kind == "causal-lm" else {"num_labels": labels})
