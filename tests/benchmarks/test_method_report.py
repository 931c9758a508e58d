"""The page of the methods: which tasks count, what fits a budget, and what is pooled and corrected."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmarks.methods.beside_peft import beside_peft, pooled
from benchmarks.methods.cells import METHODS, ON
from benchmarks.methods.comparing import beside_reference
from benchmarks.methods.equal import budgets, on_the_line
from benchmarks.methods.plot import Point, plot
from benchmarks.methods.quality import Quality
from benchmarks.methods.rates import rate_of
from benchmarks.methods.report import page
from benchmarks.methods.results import KINDS, ROWS
from benchmarks.methods.settings import rates, rounds
from benchmarks.methods.tables import gains
from tests.benchmarks.made_cells import DIGITS, NO_IMAGES, Cells


@pytest.fixture
def cells(tmp_path: Path) -> Cells:
    return Cells(tmp_path)


def test_plot_says_what_its_accuracy_is_of() -> None:
    assert "held-out accuracy: text<" in plot([Point("lora", "reparameterisation", 1e5, 0.8)], "text")


def test_cells_of_a_gpu_are_counted_and_in_no_time(cells: Cells) -> None:
    made = cells.task("tweets")
    for name, cell in made.items():
        if "train_seconds" in cell and "lora" not in name:
            del cell["train_seconds"]
            cell[ON] = "NVIDIA H200"
    cells.write("tweets", made)
    measured = cells.read()
    on_gpu = sum(ON in cell for cell in made.values())
    assert f"{on_gpu} of them were measured on NVIDIA H200, without times." in "\n".join(page(measured, cells.folder))
    assert (Quality(measured, "text").time("lora"), Quality(measured, "text").time("ia3")) == (1.0, None)


def row_of(lines: list[str], name: str) -> list[str]:
    (row,) = [line for line in lines if line.startswith(f"| {name} |")]
    return [column.strip() for column in row.strip("| ").split("|")]


def test_task_that_lacks_a_method_is_in_no_mean_but_one_without_full_is(cells: Cells) -> None:
    cells.write("tweets", cells.task("tweets", lora=0.8))
    without_full = cells.task("imdb", lora=0.6)
    del without_full["plain / full / 0"]
    cells.write("imdb", without_full)
    stale = cells.task("yelp", lora=0.1)
    stale["ours / ia3 / 0"]["rate"] *= 4
    cells.write("yelp", stale)
    measured = cells.read()
    quality = Quality(measured, "text")
    assert quality.tasks == ["tweets", "imdb"]
    assert quality.mean("lora") == pytest.approx(0.7)
    assert quality.mean("full") is None
    assert "full" not in quality.ranking
    assert "lora" in quality.ranking
    text = "\n".join(page(measured, cells.folder))
    assert "- yelp, seed 0: not in the means, for it lacks `ia3`." in text
    assert "were measured on" not in text
    assert "- `full` was not measured with every seed on imdb." in text
    assert "**MiniLM**: 2 tasks, 1 seed each. How far two seeds of one method differ is not known" in text
    assert "yelp *" in text


def test_task_with_more_seeds_weighs_as_much_as_another(cells: Cells) -> None:
    cells.write("rotated digits", cells.task("rotated digits", 3, lora=lambda seed: 0.7 + 0.1 * seed))
    cells.write("odd digits", cells.task("odd digits", 1, lora=0.2))
    quality = Quality(cells.read(), "digits")
    assert quality.mean("lora") == pytest.approx(0.5), "0.8 and 0.2, not four runs"
    pooled_variance = 100.0 / len([m for m in ROWS if m not in NO_IMAGES])
    assert quality.seed_spread == pytest.approx(math.sqrt(pooled_variance)), "of all methods, one of which varies"
    text = "\n".join(page(quality.measured, cells.folder))
    assert "**vision transformer**: 2 tasks, 1 to 3 seeds each." in text
    assert "(standard deviation, 1 task)" in text


def test_gains_are_over_a_head_alone_and_over_the_untouched_language_model(cells: Cells) -> None:
    for task, lora in zip(DIGITS[:3], (0.6, 0.7, 0.8), strict=True):
        cells.write(task, cells.task(task, lora=lora, head=0.4))
    for task, prefix in (("movie language", 0.1), ("tweet language", 0.3)):
        others = dict.fromkeys(METHODS, 1.0)
        cells.write(task, cells.task(task, **{**others, "prefix": prefix, "ia3": 0.5}))
    measured = cells.read()
    lines = gains(measured, {kind: Quality(measured, kind) for kind in KINDS})
    half = stats.t.ppf(0.975, 2) * 10 / math.sqrt(3)
    lora, prefix = row_of(lines, "`lora`"), row_of(lines, "`prefix`")
    assert lora[4:] == ["0.700", f"+30.0 ± {half:.1f}", "5.000", "+0.40 ± 0.00"]
    assert prefix[6:] == ["5.800", "-0.40 ± 1.27"]
    text = "\n".join(lines)
    assert "On SmolLM2 a round leaves `prefix`, `ia3` worse than the untouched model on average." in text
    assert "Intervals without zero, not corrected for one another: `ia3`." in text, "-0.40 ± 1.27 holds zero"
    assert "Learnt vectors before the text (of these: `prefix`) make training begin at another model" in text


def test_prose_says_nothing_of_prefixes_that_are_no_worse_than_the_model(cells: Cells) -> None:
    for task in ("movie language", "tweet language"):
        cells.write(task, cells.task(task, **dict.fromkeys(METHODS, 1.0)))
    measured = cells.read()
    text = "\n".join(gains(measured, {kind: Quality(measured, kind) for kind in KINDS}))
    assert "worse than" not in text
    assert "another model" not in text


def sized(cells: Cells, values: Mapping[str, int], accuracy: Mapping[str, float]) -> Quality:
    for number, task in enumerate(DIGITS):
        made = cells.task(task, **{method: level + 0.001 * number for method, level in accuracy.items()})
        for method in ROWS:
            cell = made.get(f"ours / {method} / 0") or made[f"plain / {method} / 0"]
            cell["values"] = values.get(method, 10**6)
        cells.write(task, made)
    return Quality(cells.read(), "digits")


def test_budget_ranks_what_fits_and_nothing_else(cells: Cells) -> None:
    sizes = {"ia3": 1000, "lora": 2000, "shira": 2000, "dora": 50_000}
    quality = sized(cells, sizes, {"ia3": 0.6, "lora": 0.8, "shira": 0.7, "dora": 0.9, "full": 0.95})
    small, middle, large, everything = budgets(quality, quality.size, (100.0, 4e3, 8e3, 9e3, 2e5, math.inf))
    assert (small.fitting, small.best, small.alike) == (("ia3",), "ia3", ())
    assert math.isinf(small.critical)
    assert (set(middle.fitting), middle.most) == ({"ia3", "shira", "lora"}, 8e3)
    assert (middle.best, middle.rank) == ("lora", 1.0)
    critical = 2.343 * math.sqrt(3 * 4 / (6 * len(DIGITS)))
    assert middle.critical == pytest.approx(critical, rel=1e-3)
    assert middle.alike == ("shira",), "ranks 1, 2 and 3 with a critical difference of 1.4"
    assert (large.most, large.best) == (2e5, "dora")
    assert everything.best == "full"
    assert on_the_line(quality, quality.size) == ["ia3", "lora", "dora", "full"]


def test_equal_cost_takes_memory_above_bare_and_time_over_the_same_run_of_lora(cells: Cells) -> None:
    cells.memory = {"digits / bare": {"peak_mib": 100.0}, "digits / ia3": {"peak_mib": 130.0}}
    for task, busy in zip(DIGITS, (1.0, 1.0, 2.0, 4.0, 1.0, 1.0), strict=True):
        made = cells.task(task)
        made["ours / lora / 0"]["train_seconds"] = 2.0 * busy
        made["ours / ia3 / 0"]["train_seconds"] = 3.0 * busy
        cells.write(task, made)
    quality = Quality(cells.read(), "digits")
    assert (quality.memory("ia3"), quality.memory("lora")) == (30.0, None)
    assert quality.time("ia3") == pytest.approx(1.5), "what the machine did besides cancels"
    assert quality.time("head") is None
    assert [budget.fitting for budget in budgets(quality, quality.memory, (20.0, 40.0))] == [("ia3",)]


def test_beside_lora_counts_tasks_and_corrects_for_all_comparisons(cells: Cells) -> None:
    for number, task in enumerate((*DIGITS, "overturned digits", "covered digits")):
        cells.write(task, cells.task(task, lora=0.6, dora=0.7 + 0.01 * number, ia3=0.6, vera=0.6 + 0.001 * number))
    measured = cells.read()
    lines = beside_reference({kind: Quality(measured, kind) for kind in KINDS})
    dora, ia3, vera = (row_of(lines, f"`{method}`") for method in ("dora", "ia3", "vera"))
    assert (dora[2], ia3[2], vera[2]) == ("8 / 0 / 0", "0 / 8 / 0", "7 / 1 / 0")
    assert float(dora[5]) == pytest.approx(2 / 2**8, abs=1e-4), "exact: all eight signs alike"
    assert float(dora[6]) > 0.05, "one of twenty comparisons"
    assert (float(ia3[5]), float(ia3[6])) == (1.0, 1.0)
    assert "better none;" in "\n".join(lines)
    assert "ends no better than the untouched model" not in "\n".join(lines)


def test_beside_lora_says_by_how_much_and_what_one_task_moves(cells: Cells) -> None:
    """On one of many tasks the reference learns nothing: a median says what a mean cannot."""
    for number, task in enumerate((*DIGITS, "overturned digits", "covered digits", "transposed digits")):
        cells.write(task, cells.task(task, lora=0.6, dora=0.61 + 0.0001 * number, vera=0.6))
    cells.write("faint digits", cells.task("faint digits", lora=0.1, dora=0.61, vera=0.8))
    for number, task in enumerate(("movie language", "tweet language", "yelp language")):
        cells.write(task, cells.task(task, ia3=0.7 + 0.001 * number, lora=0.5))
    measured = cells.read()
    lines = beside_reference({kind: Quality(measured, kind) for kind in KINDS})
    accuracy = lines[: next(i for i, line in enumerate(lines) if line.startswith("Language on"))]
    dora, vera = (row_of(accuracy, f"`{method}`")[3:5] for method in ("dora", "vera"))
    assert (dora[0][:4], dora[1]) == ("+6.0", "+1.0")
    assert (vera[0][:4], vera[1]) == ("+7.0", "+0.0")
    text = "\n".join(lines)
    assert "worse none." in text
    assert "better `dora` by 6.0 points;" in text, "ten signs alike: 2 / 2**10 is found among 20"
    assert "better `ia3` by 0.201 nats;" in text
    found = "on faint digits: `vera` leads by 70 points there, and its mean is +7.0 with this task, +0.0 without it."
    assert f"`lora` ends no better than the untouched model {found}" in text


def test_pooled_methods_of_a_task_count_as_one(cells: Cells) -> None:
    """The shift of a task is common to its methods: an interval that took them for independent would be too narrow."""
    shifts = (-2.0, 0.0, 1.0, 3.0, -1.0, 2.0)
    for task, shift in zip(DIGITS, shifts, strict=True):
        made = cells.task(task, 2)
        for method in ("lora", "dora", "vera"):
            for seed in range(2):
                plain = dict(made[f"ours / {method} / {seed}"])
                plain["accuracy"] -= (shift + {"lora": 0.3, "dora": -0.3, "vera": 0.0}[method]) / 100
                made[f"plain / {method} / {seed}"] = plain
        cells.write(task, made)
    measured = cells.read()
    found = pooled(measured, ("lora", "dora", "vera", "miss"), ["digits"])
    assert found is not None
    half = stats.t.ppf(0.975, 5) * np.std(shifts, ddof=1) / math.sqrt(6)
    assert (found.mean, found.half) == (pytest.approx(np.mean(shifts)), pytest.approx(half))
    assert (found.sets, found.runs) == (6, 36)
    assert pooled(measured, ("miss",), ["digits"]) is None
    lines = [line for line in beside_peft(measured) if line.startswith("| reparameterisation |")]
    assert len(lines) == 2
    assert lines[0].startswith("| reparameterisation | 3 | vision transformer | 6 | 36 | +0.50 ±")
    assert "not excluded" in lines[0]
    assert int(lines[0].strip("| ").split("|")[-1]) > 50


def test_loss_of_half_a_point_is_excluded_or_found_where_the_interval_says_so(cells: Cells) -> None:
    for number, task in enumerate(DIGITS):
        made = cells.task(task)
        for method, shift in (("lora", 0.001), ("oft", -0.02)):
            plain = dict(made[f"ours / {method} / 0"])
            plain["accuracy"] -= shift + 0.0001 * number
            made[f"plain / {method} / 0"] = plain
        cells.write(task, made)
    lines = beside_peft(cells.read())
    assert row_of(lines, "`lora`")[5:] == ["excluded", "-"]
    assert row_of(lines, "`oft`")[5:] == ["**found**", "-"]


def test_rounds_of_another_rate_are_not_shown(tmp_path: Path) -> None:
    found = {"accuracy": [0.1, 0.5], "loss": [2.0, 1.0], "lost": 0.0, "rounds": 1, "steps": 15}
    rate = rate_of("digits", "lora")
    cells = {
        "rotated digits / lora": {**found, "rate": rate},
        "rotated digits / ia3": {**found, "rate": 4 * rate_of("digits", "ia3")},
        "odd digits / lora": found,
    }
    (tmp_path / "rounds.json").write_text(json.dumps(cells))
    text = "\n".join(rounds(tmp_path))
    assert "`lora`" in text
    assert "`ia3`" not in text
    assert "odd digits" not in text
    (tmp_path / "rounds.json").write_text(json.dumps({"odd digits / lora": found}))
    assert rounds(tmp_path) == []


def test_search_of_rates_tells_trials_and_where_the_best_is_an_edge(tmp_path: Path) -> None:
    lora, ia3 = rate_of("digits", "lora"), rate_of("digits", "ia3")
    tried = {f"digits / lora / {lora * factor:g}": {"loss": 1.0} for factor in (0.25, 1.0, 4.0)}
    tried |= {f"digits / ia3 / {ia3 * factor:g}": {"loss": 1.0} for factor in (1 / 256, 1 / 64, 1 / 16, 1 / 4, 1.0)}
    tried |= {"digits / prefix / 0.01": {"refused": "no tokens"}}
    path = tmp_path / "trials.json"
    path.write_text(json.dumps(tried))
    text = "\n".join(rates(path))
    assert "vision transformer: 3 to 5 trials of each of 2 methods; the best is the last one tried of `ia3`." in text
    assert "MiniLM: " not in text


def test_rates_at_which_rounding_decides_are_marked_and_the_calmer_one_is_told(tmp_path: Path) -> None:
    def look(rate: float, moved: float | None) -> dict[str, float | None]:
        return {"learning_rate": rate, "steps": 60, "moved": moved, "loss": 0.5}

    lora, ia3, dora = (rate_of("digits", method) for method in ("lora", "ia3", "dora"))
    played = {
        "digits / lora": {"of": f"{lora:g}", "looks": [look(lora, 0.25), look(lora / 2, 3e-4)]},
        "digits / ia3": {"of": f"{ia3:g}", "looks": [look(ia3, 9e-3)]},
        "digits / dora": {"of": f"{dora * 4:g}", "looks": [look(dora * 4, 0.9)]},
        "text / lora": {"of": f"{rate_of('text', 'lora'):g}", "looks": [look(0.1, None), look(0.05, None)]},
    }
    path = tmp_path / "played.json"
    path.write_text(json.dumps(played))
    text = "\n".join(rates(tmp_path / "none.json", path))
    assert f"vision transformer (2 methods looked at): `lora` 0.25 of the way, 0.0003 at {lora / 2:g}." in text
    assert "MiniLM (1 method looked at): `lora` training diverges, still decides at 0.05." in text
    (row,) = [line for line in text.splitlines() if line.startswith("| `lora`")]
    assert row == f"| `lora` | {rate_of('text', 'lora'):g} ‡ | {lora:g} ‡ | {rate_of('language', 'lora'):g} |"
    assert "‡" not in next(line for line in text.splitlines() if line.startswith("| `ia3`")), "it moves less"
    assert "‡" not in next(line for line in text.splitlines() if line.startswith("| `dora`")), "of another rate"


def test_search_without_looks_at_rounding_says_nothing_of_it(tmp_path: Path) -> None:
    assert "‡" not in "\n".join(rates(tmp_path / "none.json", tmp_path / "nothing.json"))
