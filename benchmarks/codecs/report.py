"""docs/results/codecs.md from measured cells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["write"]

FIRST_COMPARED = 2
"""Round 1 finds the classification head: there is no accuracy to lose yet."""
ADAPTER_BYTES = 4 * 74_498
"""Of the adapter in float32, and so of a memory that is fed back."""
FULL_FINE_TUNING_BYTES = 4 * 22_713_986
"""MiniLM's own values and the classification head's, float32."""
AIM = 100
INTRODUCTION = """# Exchange codecs: bytes against quality

The demo's task, measured by `python -m benchmarks.codecs`: LoRA of rank 8 on MiniLM, three trainers (imdb, yelp,
amazon), 12 steps a round, Adam; the demo has three rounds. Bytes are of everything that one trainer publishes in one
round: the delta with its header, and with error feedback the memory, which is as large as the adapter. Openings of
sampled steps are evidence and come on top. Fewer means against the same adapter in float32; full fine-tuning would
send {full:,} bytes.

Intervals are over held-out rows of this one task. On other tasks it is worse: an independent run of `low_rank|two_bit`
without `keep_norm` lost 0.7 to 4.3 points on two of them.

Rows of `low_rank`, `int4` and `int8` are of 2026-11-26, before matrices had blocks of their own and scales 16
significant bits. With `keep_norm`, `low_rank|two_bit` (one seed, 2,707 bytes, 110 times fewer) reached 0.477, 0.823,
0.807 and 0.917 in rounds 1 to 4: better than without in the second, worse in the third.
"""
PUBLISHED = """
## Published

| who | what | saved |
|---|---|---|
| Aji and Heafield 2017 | dropping the smallest gradients, with feedback | 99 % of the exchange at equal quality |
| Sarfi et al. 2025, SparseLoCo | top-k with 2-bit values, chunk by chunk, over many outer steps | 146 times |
| Tang et al. 2021, 1-bit Adam | signs after a warm-up in full precision | 5 times |

They save on full models over thousands of exchanges; here a few exchanges carry an adapter that is small already.
"""


def write(values: Mapping[str, Any], path: Path) -> None:
    """Write the page. `values` are cells by key: codec / feedback / rounds x steps / seed."""
    full = INTRODUCTION.format(full=FULL_FINE_TUNING_BYTES)
    path.write_text(full + _by_round(values) + _short(values) + PUBLISHED)


def _by_round(values: Mapping[str, Any]) -> str:
    groups: dict[tuple[str, str, str], dict[str, Any]] = defaultdict(dict)
    for key, cell in values.items():
        name, feedback, length, seed = key.split(" / ")
        if "rounds" in cell:
            groups[length, name, feedback.split()[1]][seed] = cell
    lines = []
    for length in sorted({group[0] for group in groups}):
        rounds = int(length.split(" x ")[0])
        first = next(cell for group, seeds in groups.items() if group[0] == length for cell in seeds.values())
        lines += [
            "",
            f"## {length.replace(' x ', ' rounds of ')} steps",
            "",
            f"Accuracy on {first['held_out']} held-out rows after each round, mean over seeds; the standard error of",
            f"one seed is about {_error(first):.1f} points. The last columns: points against float32 after each round",
            f"from round {FIRST_COMPARED} on, with the 95 % interval over paired rows.",
            "",
            "| codec | feedback | seeds | bytes published | times fewer | "
            + " | ".join(f"{n}" for n in range(1, rounds + 1))
            + "".join(f" | points at {n}" for n in range(FIRST_COMPARED, rounds + 1))
            + " |",
            "|---" * (5 + rounds + rounds - FIRST_COMPARED + 1) + "|",
        ]
        chosen = sorted(
            ((g, seeds) for g, seeds in groups.items() if g[0] == length),
            key=lambda item: (-_published(item[0], item[1]), item[0]),
        )
        plain = groups.get((length, "float32", "-"), {})
        for group, seeds in chosen:
            _, name, feedback = group
            curves = np.array([[r["accuracy"] for r in cell["rounds"]] for cell in seeds.values()])
            size = _published(group, seeds)
            mark = name.replace("|", "\\|")
            lines.append(
                f"| {mark} | {feedback} | {len(seeds)} | {size:,.0f} | {ADAPTER_BYTES / size:.1f} | "
                + " | ".join(f"{value:.3f}" for value in curves.mean(axis=0))
                + "".join(f" | {_points(seeds, plain, n)}" for n in range(FIRST_COMPARED, rounds + 1))
                + " |"
            )
        lines += ["", _verdict(chosen, plain, rounds)]
    return "\n".join(lines) + "\n"


def _difference(seeds: Mapping[str, Any], plain: Mapping[str, Any], round_: int) -> tuple[float, float | None] | None:
    """Points of accuracy against float32 on the same seeds, and half of the interval over held-out rows."""
    shared = [seed for seed in seeds if seed in plain]
    if not shared:
        return None
    pairs = [(seeds[s]["rounds"][round_ - 1], plain[s]["rounds"][round_ - 1]) for s in shared]
    mean = 100 * float(np.mean([mine["accuracy"] - theirs["accuracy"] for mine, theirs in pairs]))
    if not all("right" in mine and "right" in theirs for mine, theirs in pairs):
        return mean, None
    size = seeds[shared[0]]["held_out"]
    rows = np.mean([_right(mine, size) - _right(theirs, size) for mine, theirs in pairs], axis=0)
    return mean, 196 * float(rows.std(ddof=1)) / float(np.sqrt(size))


def _right(round_: Mapping[str, Any], size: int) -> Any:
    return np.unpackbits(np.frombuffer(bytes.fromhex(round_["right"]), np.uint8))[:size].astype(np.float64)


def _error(cell: Mapping[str, Any]) -> float:
    """Standard error of the last accuracy, in points."""
    share = cell["rounds"][-1]["accuracy"]
    return 100 * float(np.sqrt(share * (1 - share) / cell["held_out"]))


def _points(seeds: Mapping[str, Any], plain: Mapping[str, Any], round_: int) -> str:
    found = _difference(seeds, plain, round_)
    if found is None or seeds is plain:
        return "-"
    mean, half = found
    return f"{mean:+.1f}" if half is None else f"{mean:+.1f} ± {half:.1f}"


def _verdict(chosen: list[Any], plain: Mapping[str, Any], rounds: int) -> str:
    """Whether the aim was met, codec by codec."""
    said = []
    for group, seeds in chosen:
        _, name, feedback = group
        fewer = ADAPTER_BYTES / _published(group, seeds)
        compared = range(FIRST_COMPARED, rounds + 1)
        ends = [_difference(seeds, plain, at) for at in compared]
        if fewer < AIM or any(end is None for end in ends):
            continue
        lost = [-end[0] for end in ends if end is not None]
        met = ", ".join(
            f"{'met' if loss <= 1.0 + 1e-9 else 'missed'} at round {at} ({-loss:+.1f} points)"
            for loss, at in zip(lost, compared, strict=True)
        )
        said.append(f"`{name}`, feedback {feedback}, {fewer:.0f} times fewer, seeds {len(seeds)}: {met}.")
    said.append("With feedback on no codec saves anything, for its memory is published.")
    if len(plain) < 2:
        said.append("One seed cannot tell a point from chance.")
    return f"Aim, {AIM} times fewer bytes for at most one point of accuracy from round 2 on: " + " ".join(said)


def _published(group: tuple[str, str, str], seeds: Mapping[str, Any]) -> float:
    """Bytes that a trainer publishes a round, the memory of error feedback included."""
    delta = float(np.mean([cell["bytes"] for cell in seeds.values()]))
    return delta + (ADAPTER_BYTES if group[2] == "on" else 0)


def _short(values: Mapping[str, Any]) -> str:
    kept = [(key.split(" / "), cell) for key, cell in values.items() if "rounds" not in cell]
    if not kept:
        return ""
    lines = [
        "",
        "## Shorter rounds, more codecs",
        "",
        "Three rounds of 8 steps, 210 to 300 held-out rows of up to 48 tokens, one seed: a standard error of about two",
        "points. So few steps leave sparse codecs without most values sent once.",
        "",
        "| codec | feedback | bytes published | times fewer | accuracy | loss |",
        "|---|---|---|---|---|---|",
    ]
    for (name, feedback, _, _), cell in sorted(kept, key=lambda item: -item[1]["bytes"]):
        mark = name.replace("|", "\\|")
        lines.append(
            f"| {mark} | {feedback.split()[1]} | {_published(('', '', feedback.split()[1]), {'': cell}):,.0f} | "
            f"{ADAPTER_BYTES / _published(('', '', feedback.split()[1]), {'': cell}):.1f} | "
            f"{cell['accuracy']:.3f} | {cell['loss']:.4f} |"
        )
    return "\n".join(lines) + "\n"
