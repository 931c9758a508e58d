"""A draft's economics as its sponsor reads them: a table in tokens, and what has to change before somebody cheats."""

from __future__ import annotations

from deltaproof.errors import Problem
from deltaproof.sponsor.amounts import Tokens
from incentives.economics import COALITIONS, Attack, Economics
from incentives.names import TRAINERS, NamesGain

__all__ = ["economics_record", "economics_table", "risk_problems"]


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
    return [*lines, *_names_lines(found.names)]


def _names_lines(names: NamesGain) -> list[str]:
    """What the terms leave to whoever enrols one shard under many names."""
    if names.gain <= 1.0:
        return ["who works under several names gains nothing by them"]
    who = f"one of {TRAINERS} equal trainers who enrols its rows under {names.names} names"
    less = f"; less under {names.remedy}" if names.remedy else ""
    return [f"{who} gets up to {names.gain:.2f} times what it would under one{less}"]


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
        "names": {"gain": found.names.gain, "names": found.names.names, "remedy": found.names.remedy},
    }  # fmt: skip


def _name(attack: Attack) -> str:
    return f"{attack.who}{' *' if attack.own else ''}: {attack.does}"
