"""The closing tables of the demo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deltaproof.demo.expectations import Promise
from deltaproof.demo.plan import ROUNDS, Scenario
from deltaproof.reporting import counted

__all__ = ["print_summary"]

UNIT = 10**18
STYLES = {"accepted": "green", "rejected": "bold red", "withheld": "red", "unrevealed": "red"}


def print_summary(
    console: Console, summary: Mapping[str, Any], promises: Sequence[Promise], scenario: Scenario
) -> None:
    """Trainers, verifiers, accuracy, audit, promises."""
    console.print()
    console.print(_trainers(summary, scenario))
    if scenario.names:
        console.print(_names(summary, scenario))
    console.print(_verifiers(summary, scenario))
    console.print(_accuracy(summary))
    if "gaps" in summary:
        console.print(_gaps(summary))
    audit = summary["audit"]
    console.print(
        f"audit: {counted(audit['passed'], 'check')} passed, {audit['failed']} failed, {audit['notCheckable']} "
        f"not checkable"
    )
    if outside := summary.get("audit_outside"):
        console.print(
            f"audit without the full model: {counted(outside['passed'], 'check')} passed, {outside['failed']} failed, "
            f"{outside['notCheckable']} not checkable"
        )
    console.print(f"report to look at: {summary['report']}", soft_wrap=True)
    console.print(f"final adapter: {summary['adapter']} (PeftModel.from_pretrained loads it)", soft_wrap=True)
    console.print()
    for promise in promises:
        console.print(
            Text("  kept   " if promise.kept else "  BROKEN ", style="green" if promise.kept else "bold red")
            + promise.text
        )
    if not scenario.judges_value:
        console.print(f"  not asked: what pay and quality promise, which takes {ROUNDS} rounds", style="dim")
    if not summary["continued"]:
        console.print(f"\n{summary['seconds']:.0f} s from start to the end of round {max(_rounds(summary))}")


def _trainers(summary: Mapping[str, Any], scenario: Scenario) -> Table:
    table = _table("trainers: verdict, score ± standard error (milli-nats), pay (DEMO)")
    rounds = _rounds(summary)
    table.add_column("trainer", no_wrap=True)
    for number in rounds:
        table.add_column(f"round {number}", justify="right", no_wrap=True)
    table.add_column("total", justify="right", no_wrap=True)
    for participant in scenario.trainers:
        mine = {o["round"]: o for o in summary["outcomes"] if o["trainer"] == participant.name}
        cells = [_outcome(mine[number]) if number in mine else Text("-", style="dim") for number in rounds]
        total = Text(f"{sum(o['payout'] for o in mine.values()) / UNIT:.2f}", style="bold")
        if lost := summary["slashed"][participant.name]:
            total.append(f"\nslashed\n{lost / UNIT:.2f}", style="red")
        name = Text(participant.name, style="bold").append(f"\n{participant.about}\n", style="dim")
        table.add_row(name, *cells, total)
    return table


def _outcome(outcome: Mapping[str, Any]) -> Text:
    verdict = outcome["verdict"]
    text = Text(verdict, style=STYLES.get(verdict, ""))
    if verdict == "accepted":
        text.append(f"\n{outcome['score_nanos'] / 1e6:+.1f} ± {outcome['stderr_nanos'] / 1e6:.1f}", style="default")
    return text.append(f"\n{outcome['payout'] / UNIT:.2f}\n", style="default")


def _names(summary: Mapping[str, Any], scenario: Scenario) -> Table:
    """What several names of one person got together, and what the best paid got, which is what one would get."""
    who = ", ".join(p.name for p in scenario.names)
    table = _table(f"one person on one shard as {who}: pay (DEMO)")
    paid = {int(number): found for number, found in summary["names"].items()}
    for column in ("", *(f"round {number}" for number in paid), "total"):
        table.add_column(column, justify="right" if column else "left", style="" if column else "bold")
    together, one = [sum(found) for found in paid.values()], [found[0] for found in paid.values()]
    for name, amounts in ((f"{len(scenario.names)} names", together), ("one name", one)):
        table.add_row(name, *(f"{amount / UNIT:.2f}" for amount in (*amounts, sum(amounts))))
    gains = [f"{a / b:.2f}" if b else "-" for a, b in zip((*together, sum(together)), (*one, sum(one)), strict=True)]
    table.add_row("gain", *gains)
    return table


def _verifiers(summary: Mapping[str, Any], scenario: Scenario) -> Table:
    table = _table("verifiers: fees (DEMO)")
    rounds = _rounds(summary)
    table.add_column("verifier", style="bold")
    for number in rounds:
        table.add_column(f"round {number}", justify="right")
    table.add_column("total", justify="right")
    for participant in scenario.verifiers:
        fees = {int(number): fee for number, fee in summary["verifier_fees"][participant.name].items()}
        row = [f"{fees.get(number, 0) / UNIT:.2f}" for number in rounds]
        table.add_row(participant.name, *row, f"{sum(fees.values()) / UNIT:.2f}")
    return table


def _accuracy(summary: Mapping[str, Any]) -> Table:
    table = _table("accuracy on the held-out test set")
    table.add_column("adapter", style="bold")
    table.add_column("accuracy", justify="right")
    names = {"start": "start", "final": "final, all rounds"}
    for name, accuracy in summary["accuracy"].items():
        table.add_row(names.get(name, f"{name} alone, last round"), f"{accuracy:.3f}")
    return table


def _gaps(summary: Mapping[str, Any]) -> Table:
    table = _table("accuracy of each round's adapter on its validation rows")
    table.add_column("round", style="bold")
    for column in ("in the full model", "on the emulator", "gap"):
        table.add_column(column, justify="right")
    for gap in summary["gaps"]:
        full, emulator = gap["full"], gap["emulator"]
        table.add_row(str(gap["round"]), f"{full:.3f}", f"{emulator:.3f}", f"{full - emulator:+.3f}")
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1))


def _rounds(summary: Mapping[str, Any]) -> list[int]:
    return sorted({outcome["round"] for outcome in summary["outcomes"]})
