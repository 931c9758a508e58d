"""The short profile of `benchmarks.reliability`: faults of many kinds in one round each, which cost nobody anything."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from benchmarks.reliability import of_processes
from benchmarks.reliability.kinds import Kind, Stage, Undo
from benchmarks.reliability.of_chain import CHAIN
from benchmarks.reliability.of_machine import MACHINE
from benchmarks.reliability.of_network import NETWORK
from benchmarks.reliability.page import page
from benchmarks.reliability.playing import Played, play
from benchmarks.reliability.soaking import Sample, Soaked

SEED = 1
KINDS = {kind.name: kind for kind in [*NETWORK, *CHAIN, *MACHINE]}
OF_NETWORK = (
    "status 429", "store away", "cut answers", "hanging", "lying store", "pruned", "partial logs", "short ranges",
    "empty store", "dropped", "latency",
)  # fmt: skip
OF_MACHINES = ("two machines", "full disk", "read-only disk", "wrong clock", "fee spikes", "swallowed transactions")


def in_turn(name: str, kinds: tuple[str, ...], lasts: tuple[float, float], at_once: int) -> Kind:
    """A kind whose faults are those of others, one after the other."""
    following: Iterator[str] = itertools.cycle(kinds)

    def begin(stage: Stage) -> Undo:
        chosen = KINDS[next(following)].begin
        assert chosen is not None
        return chosen(stage)

    return Kind(name, "soak", "several in turn", begin, lasts=lasts, gap=(0.2, 0.8), at_once=at_once, verifiers=2)


@pytest.mark.parametrize(
    "kind",
    [in_turn("network", OF_NETWORK, (0.5, 2.0), 2), in_turn("machines", OF_MACHINES, (0.5, 1.5), 1)],
    ids=["network", "machines"],
)
def test_faults_in_turn_cost_nobody_anything(kind: Kind) -> None:
    found = play(kind, SEED, rounds=1)
    assert found.faults >= 3, found  # how many there is time for is the machine's affair
    assert (found.ended, found.stuck, found.unforeseen) == ([], [], []), found
    assert found.losses["settled"] == 1, found
    assert not found.losses["unpaid"], found
    assert all(not found.losses[key] for key in ("slashes", "stake", "bonds", "absences", "double_payments")), found
    assert f"| {kind.name} | several in turn | {found.faults} |" in page([kind], [dataclasses.asdict(found)])


def test_process_that_ends_while_it_is_frozen_does_not_end_the_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        monkeypatch.setattr(of_processes, "running", lambda stage: SimpleNamespace(process=process))
        thaw = of_processes.freeze(cast(Stage, None))
        process.kill()
        process.wait()
        thaw()


def test_page_tells_what_did_not_go_well() -> None:
    losses = {
        "slashes": 1, "stake": 50, "bonds": 2, "absences": 0, "double_payments": 0, "settled": 1,
        "lost": {"no_quorum": 1}, "unpaid": {"withheld": 1},
    }  # fmt: skip
    kind = KINDS["hanging"]
    cell = Played(
        kind=kind.name, seed=3, rounds=3, commit="abc", faults=40, phases={"COMMIT": 40}, seconds=90.0,
        ended=["verifier-0: exit"], stuck=["trainer-1: []"], felt=7, unforeseen=["Traceback\nKeyError: 'x'"],
        memory_mib=[500.0, 501.0], disk_kib=[10.0, 11.0], losses=losses,
    )  # fmt: skip
    soaked = Soaked(
        seed=4, commit="def", minutes=2.0, faults={"SIGKILL": 3, "frozen": 2}, rounds=5, losses=losses,
        samples=[Sample(0.0, 0, 0, 0, 400.0, 10.0, 20.0), Sample(2.0, 5, 5, 3, 401.0, 11.0, 90.0, 7.0)],
    )  # fmt: skip
    text = page([kind], [dataclasses.asdict(cell)], [dataclasses.asdict(soaked)])
    assert "| 0 | 0 | 0 | 0 | 400 | 10 | - | 20 |" in text
    assert "| 2 | 5 | 5 | 3 | 401 | 11 | 7 | 90 |" in text
    assert "code def: 2.0 minutes, 5 faults (SIGKILL 3, frozen 2)" in text
    assert "| slashes of honest people | 1 | 40 |" in text
    assert "| bonds of honest people | 2 | 40 |" in text
    for told in ("gave up: `verifier-0: exit`", "KeyError", "1 no_quorum", "1 withheld", "| hanging | 3 | 500, 501 |"):
        assert told in text
