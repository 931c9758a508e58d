"""A draft's economics as its sponsor reads them: a table in tokens, and what has to change before somebody cheats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

from deltaproof.errors import Problem
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.reporting import counted
from deltaproof.sponsor.amounts import Tokens
from incentives.economics import COALITIONS, Attack, Economics, economics
from incentives.names import TRAINERS, MeasuredGain, NamesGain

__all__ = ["economics_record", "economics_table", "objections", "risk_problems"]

SHOWN = 0.005
"""Least difference that two decimals show."""


def economics_table(found: Economics, tokens: Tokens) -> list[str]:
    """What each kind of attack wins, less what it loses, by the corrupt part of the verifiers' stake."""
    columns = ["", *(f"{percent} %" for percent in COALITIONS)]
    rows = [columns, *([_name(attack), *map(tokens.reward.number, attack.nets)] for attack in found.attacks)]
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(len(columns))]
    unit = f" ({tokens.reward.symbol})" if tokens.reward.symbol else ""
    lines = [f"won in a round{unit}, less what is lost, by who attacks with so much of the verifiers' stake:"]
    for name, *cells in rows:
        padded = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=False))
        lines.append("  " + "  ".join([name.ljust(widths[0]), *padded]))
    lines.append("  * the sponsor's own power, which the terms show to everybody; assumptions: docs/economics.md")
    return [*lines, *_names_lines(found.names), *_measured_lines(found.measured)]


def _names_lines(names: NamesGain) -> list[str]:
    """What the terms leave to whoever enrols one shard under many names."""
    if max(names.gain, names.idle_gain) < 1.0 + SHOWN:
        return ["who enrols its rows under several names gains nothing by them"]
    who = f"one of {TRAINERS} equal trainers who enrols its rows under {names.names} names"
    idle = f" ({names.idle_gain:.2f} in a round that improves nothing)" if names.idle_gain >= names.gain + SHOWN else ""
    less = f"; less under {names.remedy}" if names.remedy else ""
    return [f"{who} gets up to {names.gain:.2f} times what it would under one{idle}{less}"]


def _measured_lines(measured: Sequence[MeasuredGain]) -> Iterator[str]:
    """The largest gains that were measured under the task's rule, by kind of game."""
    if not measured:
        return
    yield "measured under this rule, pay of so many names over that of one (docs/results/names.md; 95 % intervals):"
    width = max(len(found.kind) for found in measured)
    for found in measured:
        unit, scale = ("% of all pay", 100) if found.share else ("times", 1)
        apart = f" ± {scale * found.interval:.2f}" if found.interval is not None else ""
        games, names = counted(found.worlds, "world"), counted(found.names, "name")
        yield f"  {found.kind.ljust(width)}  {names.rjust(9)}  {scale * found.gain:.2f}{apart} {unit}, {games}"


def objections(
    tokens: Tokens, tell: Callable[[str], None], *, accept_risk: bool
) -> Callable[[TaskSpec], Sequence[Problem]]:
    """Finds the attacks that pay under complete terms, and tells the whole table then; nothing if they are accepted."""

    def found(spec: TaskSpec) -> Sequence[Problem]:
        terms = economics(spec)
        if accept_risk or not terms.risks:
            return ()
        tell("\n".join(economics_table(terms, tokens)))
        return risk_problems(terms, tokens)

    return found


def risk_problems(found: Economics, tokens: Tokens) -> list[Problem]:
    """One for each attack that pays, with the values that end it."""
    remedy = "; ".join(f"{key} = {tokens.written(key, value)}" for key, value in found.better.items())
    return [
        Problem(
            attack.key,
            f"a {attack.who} that {attack.does} gains up to {tokens.reward.text(max(attack.nets))} a round",
            (f"better: {remedy}" if remedy else "change the terms") + "; or pass --accept-risk",
        )
        for attack in found.risks
    ]


def economics_record(found: Economics) -> dict[str, object]:
    """The same for a script; amounts in smallest units, as text."""
    return {
        "verifier_stake_percent": list(COALITIONS),
        "attacks": [
            {
                "who": attack.who, "does": attack.does, "nets": [str(net) for net in attack.nets],
                "pays": attack.pays, "own": attack.own, "key": attack.key,
            }
            for attack in found.attacks
        ],
        "better": {key: str(value) for key, value in found.better.items()},
        "names": {
            "gain": found.names.gain, "names": found.names.names, "remedy": found.names.remedy,
            "idle_gain": found.names.idle_gain, "measured": [asdict(measured) for measured in found.measured],
        },
    }  # fmt: skip


def _name(attack: Attack) -> str:
    return f"{attack.who}{' *' if attack.own else ''}: {attack.does}"
