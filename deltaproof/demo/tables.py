"""The closing tables of the demo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from deltaproof.demo.expectations import Promise
from deltaproof.demo.plan import TRAINERS, VERIFIERS

__all__ = ["print_summary"]

UNIT = 10**18
STYLES = {"accepted": "green", "rejected": "bold red", "withheld": "red", "unrevealed": "red"}


def print_summary(console: Console, summary: Mapping[str, Any], promises: Sequence[Promise]) -> None:
    """Trainers, verifiers, accuracy, audit, promises."""
    console.print()
    console.print(_trainers(summary))
    console.print(_verifiers(summary))
    console.print(_accuracy(summary))
    audit = summary["audit"]
    console.print(
        f"audit: {audit['passed']} checks passed, {audit['failed']} failed, {audit['notCheckable']} not checkable"
    )
    console.print(f"final adapter: {summary['adapter']} (PeftModel.from_pretrained loads it)")
    console.print()
    for promise in promises:
        console.print(
            Text("  kept   " if promise.kept else "  BROKEN ", style="green" if promise.kept else "bold red")
            + promise.text
        )
    console.print(f"\n{summary['seconds']:.0f} s for deployment and {len(_rounds(summary))} rounds")


def _trainers(summary: Mapping[str, Any]) -> Table:
    table = Table(title="trainers: verdict, score ± standard error (milli-nats), pay (DEMO)", title_justify="left")
    rounds = _rounds(summary)
    table.add_column("trainer", style="bold")
    table.add_column("data and conduct", no_wrap=True)
    for number in rounds:
        table.add_column(f"round {number}", justify="right", no_wrap=True)
    table.add_column("total pay", justify="right")
    table.add_column("slashed", justify="right")
    for participant in TRAINERS:
        mine = {o["round"]: o for o in summary["outcomes"] if o["trainer"] == participant.name}
        cells = [_outcome(mine[number]) if number in mine else Text("-", style="dim") for number in rounds]
        total = sum(o["payout"] for o in mine.values())
        lost = summary["slashed"][participant.name]
        table.add_row(
            participant.name,
            participant.about,
            *cells,
            f"{total / UNIT:.2f}",
            Text(f"{lost / UNIT:.2f}", style="red" if lost else "dim"),
        )
    return table


def _outcome(outcome: Mapping[str, Any]) -> Text:
    verdict = outcome["verdict"]
    text = Text(verdict + "\n", style=STYLES.get(verdict, ""))
    if verdict == "accepted":
        text.append(f"{outcome['score_nanos'] / 1e6:+.1f} ± {outcome['stderr_nanos'] / 1e6:.1f}\n", style="default")
    text.append(f"{outcome['payout'] / UNIT:.2f}", style="default")
    return text


def _verifiers(summary: Mapping[str, Any]) -> Table:
    table = Table(title="verifiers: fees (DEMO)", title_justify="left")
    rounds = _rounds(summary)
    table.add_column("verifier", style="bold")
    for number in rounds:
        table.add_column(f"round {number}", justify="right")
    table.add_column("total", justify="right")
    for participant in VERIFIERS:
        fees = {int(number): fee for number, fee in summary["verifier_fees"][participant.name].items()}
        row = [f"{fees.get(number, 0) / UNIT:.2f}" for number in rounds]
        table.add_row(participant.name, *row, f"{sum(fees.values()) / UNIT:.2f}")
    return table


def _accuracy(summary: Mapping[str, Any]) -> Table:
    table = Table(title="accuracy on the held-out test set", title_justify="left")
    table.add_column("adapter", style="bold")
    table.add_column("accuracy", justify="right")
    names = {"start": "start", "final": "final, all rounds"}
    for name, accuracy in summary["accuracy"].items():
        table.add_row(names.get(name, f"{name} alone, last round"), f"{accuracy:.3f}")
    return table


def _rounds(summary: Mapping[str, Any]) -> list[int]:
    return sorted({outcome["round"] for outcome in summary["outcomes"]})
