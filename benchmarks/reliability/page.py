"""The page of results, from the cells that were played."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks.attacks.rates import clopper_pearson
from benchmarks.reliability.kinds import Kind

__all__ = ["page", "soak_lines"]

Cell = dict[str, Any]
LOST = {"slashes": "slashes of honest people", "bonds": "bonds of honest people", "double_payments": "double payments"}
BEFORE = "to 38cb533"
"""Code of cells that do not say it: commits up to this one, of the same day."""
GIVEN_UP = "processes that gave up"
FOUND = [
    "Found by these plays, and mended since: a verifier whose enrolment a reorganisation had taken away raised",
    "`ValueError` whenever it might have been its turn to move the task on (`tests/chaos/test_traffic.py`). Under 338",
    "faults of status 500 a trainer missed a commit phase of two minutes, between pauses of up to one: pauses are a",
    "tenth of a phase now (`tests/chaos/test_accidents.py`), and the cell was played anew. Anvil showed another first",
    "block after a restart, so that roles took it for another chain (`tests/chain/test_local_node.py`). A role that",
    "was killed, and whose node failed in the middle of its new start, took the contract for a wrong one and ended:",
    "the verifier of the soak that gave up (`tests/chain/test_deployment.py`). On a disk that was full every other",
    "moment, a round of fewer steps than a checkpoint has began anew each time and was lost: training goes on from",
    "the newest state on disk now (`tests/tuning/test_training.py`). Verifiers on threads of one process that loaded",
    "their models at the same moment left one without data, and took that for the trainer's fault: an honest trainer",
    "was rejected and slashed. One thread loads at a time now, and a judge that does not load is waited for",
    "(`tests/tuning/test_lean_loading.py`, `tests/replaying/test_judging.py`). The cells of these last two, *full",
    "disk* and *store away*, were played anew.",
]


def page(kinds: Sequence[Kind], cells: Sequence[Cell], soaks: Sequence[Cell] = ()) -> str:
    """Markdown."""
    by_kind = {kind.name: [cell for cell in cells if cell["kind"] == kind.name] for kind in kinds}
    rows = [_row(kind, found) for kind in kinds if (found := by_kind[kind.name])]
    parts = [_opening(cells), _table(rows), _totals(cells), _growth(cells), soak_lines(soaks)]
    parts += [_unflattering([*cells, *soaks]), _left_out(by_kind)]
    return "\n".join(line for part in parts for line in part) + "\n"


def _opening(cells: Sequence[Cell]) -> list[str]:
    faults = sum(cell["faults"] for cell in cells)
    hours = sum(cell["seconds"] for cell in cells) / 3600
    return [
        f"""# What accidents and enemies cost honest people

Written by `python -m benchmarks.reliability`. Each cell is a task of two honest trainers and three honest verifiers
with a tiny model on a private chain. The roles run by themselves while faults of one kind come one after the other,
each on one role or on all. What, whom and how long is drawn from the cell's seed. When it strikes depends on the
machine. {faults} faults in {len(cells)} cells, {hours:.1f} hours on two cores that did other work, too.

Losses are read from the chain's events.

- *waits*: lines in which roles said that something failed and that they try again
- *rounds lost*: rounds that ended without a settlement, by outcome
- *unpaid*: rounds of honest trainers that were settled without an accepted verdict for them, by what was found instead
- *slashes*, *bonds*: those of honest trainers and verifiers
- *absences*: rounds in which an honest verifier was charged because it did not attest
- *gave up*: honest processes that ended before their task
- *code*: commits that the cells of the kind were played at; see each cell's in [the figures](data/reliability.json)
"""
    ]


def _row(kind: Kind, cells: Sequence[Cell]) -> list[str]:
    losses = [cell["losses"] for cell in cells]
    rounds = sum(cell["rounds"] for cell in cells)
    lost, unpaid = _summed(losses, "lost"), _summed(losses, "unpaid")
    return [
        kind.name, kind.what, str(sum(cell["faults"] for cell in cells)), str(sum(cell["felt"] for cell in cells)),
        f"{sum(each['settled'] for each in losses)} of {rounds}", _named(lost), _named(unpaid),
        *(str(sum(each[key] for each in losses)) for key in ("slashes", "bonds", "absences", "double_payments")),
        str(sum(len(cell["ended"]) for cell in cells)),
        ", ".join(sorted({_code(cell) for cell in cells})),
    ]  # fmt: skip


def _code(cell: Cell) -> str:
    return str(cell.get("commit", BEFORE))


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    head = [
        "kind", "what happens", "faults", "waits", "rounds settled", "rounds lost", "unpaid", "slashes", "bonds",
        "absences", "double payments", "gave up", "code",
    ]  # fmt: skip
    return [f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]]


def _totals(cells: Sequence[Cell]) -> list[str]:
    faults = sum(cell["faults"] for cell in cells)
    counts = {LOST[key]: sum(cell["losses"][key] for cell in cells) for key in LOST}
    counts[GIVEN_UP] = sum(len(cell["ended"]) for cell in cells)
    lines = ["", "## In all", "", "| | seen | of faults | 95 % interval of the rate |", "|---|---|---|---|"]
    for what, count in counts.items():
        low, high = clopper_pearson(min(count, faults), faults, 0.95)
        lines.append(f"| {what} | {count} | {faults} | {low:.4f} to {high:.4f} |")
    phases = Counter[str]()
    for cell in cells:
        phases.update({name.lower(): count for name, count in cell["phases"].items()})
    told = ", ".join(f"{name} {count}" for name, count in sorted(phases.items()))
    lines += [
        "",
        "The interval takes each fault for a trial of its own; those of one cell share a round, so it is too narrow.",
    ]
    return [
        *lines,
        "",
        f"Faults by the phase that they began in, or by what a hostile role did: {told}.",
        "",
    ]


def _growth(cells: Sequence[Cell]) -> list[str]:
    lines = [
        "## Memory and disk", "",
        "Of cells with more than two rounds: after each round, the resident size of the process with all roles, MiB,",
        "and the homes of all roles together, KiB.", "",
        "| kind | seed | MiB | KiB |", "|---|---|---|---|",
    ]  # fmt: skip
    for cell in cells:
        if cell["rounds"] > 2:
            memory, disk = (", ".join(f"{value:.0f}" for value in cell[key]) for key in ("memory_mib", "disk_kib"))
            lines.append(f"| {cell['kind']} | {cell['seed']} | {memory} | {disk} |")
    return [*lines, ""]


def soak_lines(soaks: Sequence[Cell]) -> list[str]:
    """What soaks saw, as Markdown."""
    if not soaks:
        return []
    lines = [
        "## Soak", "",
        "`python -m benchmarks.reliability --soak MINUTES`: the mixture *everything and SIGKILL* in one long task. Its",
        "roles are commands, killed and frozen while nodes and chain fail, and started again. *Memory* is what all",
        "roles together take (PSS), *homes* their files, pruned of what nobody can ask for any more, *logs* the part",
        "of them that grows, up to 25 MiB a role (`-`: not looked at), *store* all that was ever published. Not",
        "counted is the memory of a role that is down at the moment.", "",
    ]  # fmt: skip
    for soak in soaks:
        faults = ", ".join(f"{name} {count}" for name, count in sorted(soak["faults"].items()))
        lines += [
            f"Seed {soak['seed']}, code {soak['commit']}: {soak['minutes']} minutes, "
            f"{sum(soak['faults'].values())} faults ({faults}).", "",
            "| minute | rounds begun | faults | kills | memory, MiB | homes, KiB | logs, KiB | store, KiB |",
            "|--:|--:|--:|--:|--:|--:|--:|--:|",
        ]  # fmt: skip
        samples = soak["samples"]
        step = max(1, -(-len(samples) // 12))
        lines += [
            f"| {s['minute']:.0f} | {s['round']} | {s['faults']} | {s['kills']} | {s['memory_mib']:.0f} | "
            f"{s['homes_kib']:.0f} | {_or_dash(s.get('logs_kib'))} | {s['store_kib']:.0f} |"
            for s in [*samples[:-1:step], samples[-1]]
        ]
        lines += ["", _of_soak(soak), ""]
    return lines


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _of_soak(soak: Cell) -> str:
    losses = soak["losses"]
    if not losses:
        return "Interrupted: what it cost was not counted."
    return (
        f"Rounds settled {losses['settled']}, lost {_named(losses['lost'])}, unpaid {_named(losses['unpaid'])}; "
        f"slashes of honest people {losses['slashes']}, bonds {losses['bonds']}, absences {losses['absences']}, "
        f"double payments {losses['double_payments']}; waits {soak['felt']}."
    )


def _unflattering(cells: Sequence[Cell]) -> list[str]:
    lines = ["## What did not go well", ""]
    for cell in (cell for cell in cells if cell["losses"]):
        place = f"{cell.get('kind', 'soak')}, seed {cell['seed']}"
        lines += [f"- {place}: gave up: {_short(text)}" for text in cell["ended"]]
        lines += [f"- {place}: not done when patience ended: {_short(text)}" for text in cell.get("stuck", ())]
        lines += [f"- {place}: nobody foresaw: {_short(trace)}" for trace in cell["unforeseen"]]
        if lost := cell["losses"]["lost"]:
            lines.append(f"- {place}: rounds lost: {_named(lost)}")
        if unpaid := cell["losses"]["unpaid"]:
            lines.append(f"- {place}: honest trainers unpaid: {_named(unpaid)}")
        lines += [f"- {place}: {what}: {count}" for key, what in LOST.items() if (count := cell["losses"][key])]
        if absences := cell["losses"]["absences"]:
            lines.append(
                f"- {place}: honest verifiers charged for absence {absences} times: away longer than the phase"
            )
    return [*(lines if len(lines) > 2 else [*lines, "Nothing was seen in these cells."]), "", *FOUND]


def _left_out(by_kind: dict[str, list[Cell]]) -> list[str]:
    missing = [name for name, cells in by_kind.items() if not cells]
    return ["", f"Not played in this run: {', '.join(missing)}."] if missing else []


def _summed(losses: Sequence[dict[str, Any]], key: str) -> dict[str, int]:
    total = Counter[str]()
    for each in losses:
        total.update(each[key])
    return dict(total)


def _named(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "0"


def _short(text: str) -> str:
    return f"`{text.strip().splitlines()[-1][-200:].replace('`', chr(39))}`" if text.strip() else "`nothing said`"
