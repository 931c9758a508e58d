"""What the page of the methods says against its own figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.methods.caveats import caveats, failures, fusion, shared_seeds
from benchmarks.methods.cells import FUSED, METHODS
from benchmarks.methods.plain_loop import STARTED
from benchmarks.methods.quality import Quality
from benchmarks.methods.rates import DEV_TASKS, dev_task
from benchmarks.methods.results import KINDS
from benchmarks.methods.settings import missing
from benchmarks.shared.tuning_tasks import TASKS
from tests.benchmarks.made_cells import DIGITS, Cells


@pytest.fixture
def cells(tmp_path: Path) -> Cells:
    return Cells(tmp_path)


def test_seeds_that_move_all_tasks_alike_are_told_from_chance(cells: Cells) -> None:
    def quality(shift: Callable[[int, int], float]) -> Quality:
        for number, task in enumerate(DIGITS):
            cells.write(task, cells.task(task, 2, lora=lambda seed, n=number: 0.5 + shift(n, seed)))
        return Quality(cells.read(), "digits")

    alike = quality(lambda number, seed: 0.1 * seed + 0.001 * ((number + seed) % 2))
    assert (shared_seeds(alike) or 0.0) > 100
    apart = quality(lambda number, seed: 0.1 * ((number + seed) % 2))
    assert shared_seeds(apart) == pytest.approx(0.0), "what one task gains another loses"
    assert shared_seeds(Quality(cells.read(), "text")) is None
    for task in DIGITS:
        cells.write(task, cells.task(task, 1))
    text = "\n".join(caveats({"digits": Quality(cells.read(), "digits")}))
    assert "how much that is, is not known" in text


def test_methods_that_end_no_better_than_the_untouched_model_are_named(cells: Cells) -> None:
    cells.write("odd digits", cells.task("odd digits", lora=0.1, dora=0.05))
    cells.write("large digits", cells.task("large digits", **dict.fromkeys(METHODS, 0.1)))
    cells.write("movie language", cells.task("movie language", **{**dict.fromkeys(METHODS, 1.0), "ia3": 0.6}))
    measured = cells.read()
    text = "\n".join(failures({kind: Quality(measured, kind) for kind in KINDS}))
    assert "odd digits (vision transformer): `lora`, `dora`;" in text
    assert "large digits (vision transformer): 20 of 21;" in text
    assert "movie language (SmolLM2): `ia3`." in text


def test_rate_is_judged_on_a_task_that_no_adapter_of_the_method_has_learnt() -> None:
    for kind in KINDS:
        assert dev_task(kind, "fusion") not in {*FUSED[kind], *TASKS}
        assert dev_task(kind, "lora") == DEV_TASKS[kind] not in TASKS
        assert f"{dev_task(kind, 'fusion')} on {KINDS[kind]}" in fusion()[0]


def test_page_says_where_peft_has_not_begun_where_our_rounds_do(cells: Cells) -> None:
    for task in ("odd digits", "large digits"):
        made = cells.task(task)
        if task == "odd digits":
            started = [key for key in made if key.startswith("ours") and key.split(" / ")[1] in STARTED]
            made |= {key.replace("ours", "same start"): made[key] for key in started if "refused" not in made[key]}
        cells.write(task, made)
    measured = cells.read()
    lines = [line for line in missing(measured, {}) if "same start" in line]
    (line,) = lines
    assert line.endswith("wholly or in part, on 1 of 2 tasks of vision transformer: large digits.")
