"""The tables of `scoring.py`: our default beside the best public estimator, and what was aimed for."""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.table import Table


def comparison(results: dict) -> list[dict]:
    """One row per game and budget: the default beside the public estimator with the least mean error there."""
    lines = []
    cells: dict[tuple, list[dict]] = {}
    for figure in results["figures"]:
        key = (figure["players"], figure["family"], figure["game"], figure["budget_per_player"])
        cells.setdefault(key, []).append(figure)
    for key, group in sorted(cells.items()):
        auto = next(figure for figure in group if figure["method"] == "auto")
        public = min((f for f in group if f["source"] == "public"), key=lambda f: f["error"], default=None)
        lines.append({"key": key, "auto": auto, "public": public})
    return lines


def cells_of(line: dict) -> list[str]:
    """Text of one comparison row."""
    (players, _, game, budget), auto, public = line["key"], line["auto"], line["public"]
    best = ["-", "-", "-"]
    if public:
        noise = 2 * float(np.hypot(auto["error_noise"], public["error_noise"]))
        worse = auto["error"] > public["error"] + noise
        gain = f"{public['error'] / auto['error']:.1f}x" if public["error"] < 1000 * auto["error"] else "over 1000x"
        best = [
            f"{public['error']:.4f}",
            public["method"],
            "**worse**" if worse else gain,
        ]
    return [
        str(players),
        game,
        f"{budget} N",
        f"{auto['error']:.4f}",
        f"{auto['spearman']:.3f}",
        f"{auto['coverage']:.2f}",
        f"{auto['half_width']:.3f}",
        f"{auto['overhead_ms']:.3f}",
        *best,
    ]


HEADINGS = [
    "N",
    "game",
    "budget",
    "error",
    "rank corr.",
    "coverage",
    "half-width",
    "ms/eval.",
    "best public",
    "which",
    "gain",
]


def aims(results: dict) -> list[list[str]]:
    """What was aimed for, what came out, as text cells."""
    lines = comparison(results)

    def worst(players: int, budget: int, name: str, smooth: bool) -> tuple[float, str]:
        pick = max if name == "error" else min
        chosen = [
            x
            for x in lines
            if x["key"][0] == players
            and x["key"][1] == "averaging"
            and x["key"][3] == budget
            and not (smooth and "accuracy" in x["key"][2])
        ]
        line = pick(chosen, key=lambda x: x["auto"][name], default=None)
        return (float("nan"), "not run") if line is None else (line["auto"][name], line["key"][2])

    rows = []
    for players, budget, name, limit, sign in [
        (10, 20, "error", 0.03, 1),
        (16, 20, "error", 0.05, 1),
        (10, 20, "spearman", 0.98, -1),
        (16, 20, "spearman", 0.98, -1),
        (10, 10, "error", 0.10, 1),
        (16, 10, "error", 0.10, 1),
    ]:
        for smooth in (False, True):
            value, game = worst(players, budget, name, smooth)
            met = "not run" if np.isnan(value) else yes(sign * (value - limit) <= 0)
            relation = "at most" if sign > 0 else "at least"
            which = "of them the losses" if smooth else "averaging games"
            rows.append([f"{name}, {which}, N={players}, {budget} N: {relation} {limit}", f"{value:.4f} ({game})", met])
    coverage = [x["auto"]["coverage"] for x in lines]
    low = min(lines, key=lambda x: x["auto"]["coverage"])
    rows.append(
        ["mean coverage of 95 % intervals at least 0.90", f"{np.mean(coverage):.3f}", yes(np.mean(coverage) >= 0.9)]
    )
    rows.append(
        [
            "coverage at least 0.90 in every row",
            f"least {low['auto']['coverage']:.2f} (N={low['key'][0]}, {low['key'][2]}, {low['key'][3]} N)",
            yes(low["auto"]["coverage"] >= 0.9),
        ]
    )
    worse = [x for x in lines if cells_of(x)[-1] == "**worse**"]
    named = "; ".join(f"N={x['key'][0]} {x['key'][2]} {x['key'][3]} N" for x in worse)
    rows.append(
        [
            "never worse than the best public one by more than noise",
            f"{len(worse)} of {len(lines)} rows {named}",
            yes(not worse),
        ]
    )
    slow = max(lines, key=lambda x: x["auto"]["overhead_ms"])
    typical = float(np.median([x["auto"]["overhead_ms"] for x in lines]))
    rows.append(
        [
            "overhead below 0.02 ms an evaluation",
            f"median {typical:.3f}, most {slow['auto']['overhead_ms']:.3f} (N={slow['key'][0]}, {slow['key'][3]} N)",
            yes(slow["auto"]["overhead_ms"] < 0.02),
        ]
    )
    return rows


def yes(met: bool) -> str:
    """Text of a verdict."""
    return "yes" if met else "no"


def show(results: dict, console: Console) -> None:
    """Print both tables."""
    for title, headings, rows in [
        ("the default beside the best public estimator", HEADINGS, [cells_of(line) for line in comparison(results)]),
        ("aims", ["aim", "measured", "met"], aims(results)),
    ]:
        table = Table(*headings, title=title)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for failure in results["failures"]:
        console.print(f"failed: {failure}")


def page(results: dict) -> str:
    """The results as Markdown."""
    lines = [
        "# Contribution scoring, measured",
        "",
        "Written by `python -m benchmarks.scoring` from `docs/results/data/scoring.json`; do not edit.",
        "",
        "| word | means |",
        "|---|---|",
        "| error | the mean absolute error over players, relative to the mean absolute Shapley value |",
        "| half-width | that of the 95 % interval, on the same scale |",
        "| coverage | the share of players whose interval holds the true value |",
        "| budget | distinct coalitions that were evaluated |",
        "| overhead | CPU time on one thread, without the game itself and without the first call, which fills caches |",
        "| best public | the one of shapiq 1.4.1 or pyDVL 0.10.0 of least mean error in that row, which favours it |",
        "| gain | the best public one's error over ours |",
        "| **worse** | beyond twice the standard error of the difference |",
        "",
        "All figures are means over seeds, and for N=10 over two games each. Of LoRA rounds on MiniLM",
        "(`benchmarks/scoring/lora_games.py`) there is one game for N=8 and one for N=9.",
        "",
        "The surrogate's kernels and the allocation of evaluations were chosen on games of these families, with other",
        "seeds. None was chosen on a LoRA round. The surrogate can represent the averaged quadratic exactly, so its",
        "errors vanish there once the budget is large enough.",
        "Coverage on families never used for design is tested in `tests/incentives/test_auto.py`.",
        "",
    ]
    lines += markdown(["aim", "measured", "met"], aims(results))
    lines += ["", "## Overhead", "", *OVERHEAD, ""]
    lines += markdown(*overheads(results))
    lines += ["", "## The default estimator beside the best public one", ""]
    lines += markdown(HEADINGS, [cells_of(line) for line in comparison(results)])
    lines += ["", "## Every estimator at 20 N", "", "Mean over the games of a family: relative error (coverage).", ""]
    lines += markdown(*every_method(results, 20))
    if results["truth_relative_error"]:
        lines += ["", "## Where the reference is a long run", ""]
        lines += [
            "Errors there include those of the reference, whose own mean relative standard error is below (on the safe",
            "side: two references for N=100, log-loss, differed by less than half of it):",
            "",
        ]
        lines += [f"- {name}: {error:.4f}" for name, error in results["truth_relative_error"].items()]
    if results["failures"]:
        lines += ["", "## What failed", ""]
        lines += [f"- {failure}" for failure in results["failures"]]
    return "\n".join(lines) + "\n"


OVERHEAD = [
    "Milliseconds of CPU time an evaluation that the default estimator adds to the game: median over games (most).",
    "It solves a few symmetric problems with as many unknowns as evaluations, so that the cost an evaluation grows",
    "with their square, up to 2,048; at small budgets some milliseconds of fixed cost are spread over few. Without",
    "the arithmetic whose bits do not depend on BLAS, threads and processor it would be a third less; without the",
    "choice of kernel and ridge, half of what then remains (N=10, 20 N): 0.02 ms is out of reach for such a model.",
]


def overheads(results: dict) -> tuple[list[str], list[list[str]]]:
    """Headings and rows: overhead of the default by number of players and budget."""
    cells: dict[tuple[int, int], list[float]] = {}
    for figure in results["figures"]:
        if figure["method"] == "auto":
            cells.setdefault((figure["players"], figure["budget_per_player"]), []).append(figure["overhead_ms"])
    budgets = sorted({budget for _, budget in cells})
    rows = []
    for players in sorted({players for players, _ in cells}):
        found = [cells.get((players, budget), []) for budget in budgets]
        rows.append([str(players), *(f"{np.median(x):.3f} ({max(x):.3f})" if x else "-" for x in found)])
    return ["N", *(f"{budget} N" for budget in budgets)], rows


def every_method(results: dict, budget: int) -> tuple[list[str], list[list[str]]]:
    """Headings and rows: methods by number of players and family."""
    chosen = [figure for figure in results["figures"] if figure["budget_per_player"] == budget]
    columns = sorted({(figure["players"], figure["family"]) for figure in chosen})
    rows = []
    for source, method in sorted({(figure["source"], figure["method"]) for figure in chosen}):
        cells = [f"{method} ({source})" if source == "deltaproof" else method]
        for column in columns:
            group = [
                f
                for f in chosen
                if (f["players"], f["family"]) == column and f["method"] == method and f["source"] == source
            ]
            covered = [f["coverage"] for f in group if "coverage" in f]
            text = f"{np.mean([f['error'] for f in group]):.3f}" if group else "-"
            cells.append(text + (f" ({np.mean(covered):.2f})" if covered else ""))
        rows.append(cells)
    return ["estimator", *(f"N={players} {family}" for players, family in columns)], rows


def markdown(headings: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table."""
    return [
        "| " + " | ".join(headings) + " |",
        "|" + "---|" * len(headings),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
