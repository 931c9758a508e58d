"""A fast part of benchmarks.attacks.full_rounds: attackers over whole rounds, judged as verifiers judge them."""

from __future__ import annotations

import pytest

from benchmarks.attacks.attacker import MODES, Made
from benchmarks.attacks.full_rounds import Challenged, Length, Scene, outcome_of, refused_tasks
from benchmarks.attacks.on_deltas import on_deltas
from benchmarks.attacks.on_pushes import on_pushes
from benchmarks.attacks.on_rows import on_rows
from benchmarks.attacks.on_steps import on_steps

LENGTH = Length(steps=12, samples=4, trials=4)
EVERYBODY = {attacker.name: attacker for group in (on_steps, on_rows, on_pushes) for attacker in group()}
CAUGHT = {
    "half of the batch's rows computed": "gradient",
    "no weight decay on the head": "optimizer",
    "factors rescaled, A by 4 and B by a quarter, in the last step": "optimizer",
    "first moments start at minus zero": "start",
    "every loss told a tenth lower": "loss",
    "every row enrolled under two indices": "repeated row",
    "other rows shown, their digests alike in the first byte": "rows",
    "every step but the two that are always sampled": "drift",
    "rows that cancel widen the bound, push to a backdoor, steady": "drift",
    "every value one float32 step towards a backdoor (lora)": "gradient",
}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scene]:
    work = tmp_path_factory.mktemp("attacks")
    return {mode: Scene("lora", mode, work, LENGTH) for mode in MODES}


@pytest.mark.parametrize("name", CAUGHT)
def test_attacker_over_a_whole_round_is_caught_by_the_check_that_is_for_it(scenes: dict[str, Scene], name: str) -> None:
    attacker = EVERYBODY[name]
    row = scenes[attacker.modes[-1]].row(attacker)
    assert (row["outcome"], row["by"]) == ("caught", [CAUGHT[name]])


@pytest.mark.parametrize("mode", MODES)
def test_honest_round_passes_every_challenge(scenes: dict[str, Scene], mode: str) -> None:
    scene = scenes[mode]
    court = Challenged(scene.arena, Made(scene.honest))
    assert [court.catches(drawn) for drawn in scene.drawn("honest")] == [None] * LENGTH.trials
    assert court.refused() == []


def test_honest_work_on_turned_labels_passes_and_is_scored_below_honest_rows(scenes: dict[str, Scene]) -> None:
    row = scenes["bounded"].row(EVERYBODY["all labels turned over"])
    assert (row["caught"], row["outcome"]) == (0, "scored")
    assert row["improvement_change"] < 0


def test_gain_that_nobody_sees_counts_as_a_success() -> None:
    row = {"caught": 0, "trials": 100, "honest": False, "pay_change": 0.0, "backdoor_change": 0.5}
    assert outcome_of(row) == "SUCCEEDS"
    assert outcome_of({**row, "caught": 50}) == "priced by stake"
    assert outcome_of({**row, "backdoor_change": 0.0}) == "harmless"
    assert outcome_of({**row, "backdoor_change": 0.0, "pay_change": 0.01}) == "SUCCEEDS"


def test_tasks_that_let_pushes_through_are_refused(scenes: dict[str, Scene]) -> None:
    assert len(refused_tasks(scenes["exact"].arena.bench.spec)) == 5


def test_benchmark_has_more_than_forty_attackers_in_both_modes_and_eight_families() -> None:
    assert len(EVERYBODY) + sum(1 for _ in on_deltas()) > 40
    modes = {mode for attacker in EVERYBODY.values() for mode in attacker.modes}
    places = {attacker.place for attacker in EVERYBODY.values()}
    assert modes == set(MODES)
    assert {"lora", "prefix", "pfeiffer", "layer_norm", "shira", "adalora", "dora", "diff_pruning"} <= places
