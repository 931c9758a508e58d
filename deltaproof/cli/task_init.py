"""`deltaproof task init`: a first draft from a model and held-out rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deltaproof.cli.amounts import AMOUNT
from deltaproof.cli.common import JsonOption, show_result, told_on_stderr
from deltaproof.reporting import counted

if TYPE_CHECKING:
    from deltaproof.cli.documents.tasks import TaskDraft

__all__ = ["init"]


def init(
    model: Annotated[
        str, typer.Option(help="Base model: path:FOLDER, package:NAME/FOLDER or hub:ORG/NAME@COMMIT.", metavar="SOURCE")
    ],
    data: Annotated[
        Path,
        typer.Option(help="Held-out rows, JSON Lines; they stay hidden, and no trainer may have them.", exists=True),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the draft and its files.")] = Path(),
    name: Annotated[str, typer.Option(help="What the task is called.")] = "my task",
    method: Annotated[str, typer.Option(help="Tuning method; `deltaproof methods` compares them.")] = "lora",
    small_deltas: Annotated[
        bool, typer.Option("--small-deltas", help="LoRA of rank 2 on the upper layers, two bits a value.")
    ] = False,
    rounds: Annotated[int, typer.Option(help="Rounds of training.", min=1)] = 3,
    budget: Annotated[str, typer.Option(help="Pay of a round to its trainers, in tokens.", metavar=AMOUNT)] = "100",
    stake: Annotated[
        str, typer.Option(help="What a trainer or verifier locks at least, in tokens.", metavar=AMOUNT)
    ] = "250",
    trainers: Annotated[
        int | None, typer.Option(help="Trainers that you expect: a round needs more than half of them.", min=1)
    ] = None,
    verifiers: Annotated[int | None, typer.Option(help="Verifiers that you expect, the same.", min=1)] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a draft of a task that works, with a comment at every choice.

    What the rows say decides the kind of model, the labels and the tokens. The rows are cut into a hidden set for each
    round and a test set.
    """
    from deltaproof.chain.contracts.money import Amount
    from deltaproof.sponsor.beginning import begin
    from deltaproof.tuning.base_models.loading import resolve_source

    resolve_source(model, told_on_stderr)
    made = begin(
        out, name=name, source=model, data=data, method=method, small_deltas=small_deltas, rounds=rounds,
        budget=Amount.read(budget, "--budget"), stake=Amount.read(stake, "--stake"),
        trainers=trainers, verifiers=verifiers,
    )  # fmt: skip
    text = (
        f"{made.draft}: {made.kind}, {counted(made.rounds, 'round')} with "
        f"{counted(made.validation_rows, 'hidden row')} each, {counted(made.test_rows, 'row')} for the test\n"
        f"look through it, then: deltaproof task check {made.draft}"
    )
    told: TaskDraft = {
        "draft": str(made.draft),
        "kind": made.kind,
        "rounds": made.rounds,
        "validation_rows": made.validation_rows,
        "test_rows": made.test_rows,
    }
    show_result(told, as_json=as_json, text=text)
