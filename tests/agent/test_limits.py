"""What an operator allows holds: disk on real rounds, memory in real processes, and each refusal says what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deltaproof.agent.homes import MIB, size_on_disk
from deltaproof.agent.limits import GIB, DiskLimit
from deltaproof.agent.loop import Moment
from deltaproof.agent.patience import owner_of
from deltaproof.agent.watching import MOST_LOG_BYTES
from deltaproof.chain.local_node import Node, start_node
from deltaproof.errors import OverLimit, UsageError
from deltaproof.protocol.types import RoundIndex
from tests.agent.test_watching import Told
from tests.worlds.roles import RoleWorld, build_world
from trainer.life import Trainer

FIRST, SECOND = RoundIndex(1), RoundIndex(2)


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with start_node("anvil", accounts=8) as running:
        yield running


@pytest.fixture(scope="module")
def world(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleWorld]:
    built = build_world(
        node,
        tmp_path_factory.mktemp("limits"),
        honest=1,
        verifiers=1,
        codec='name = "two_bit"\noptions = { error_feedback = true }',
    )
    built.open_round()
    yield built
    built.close()


def at_most(home: Path, size: int) -> DiskLimit:
    """A limit for what is in the home and so many bytes more, logs as large as they may grow."""
    return DiskLimit(home, (size_on_disk(home) + size + MOST_LOG_BYTES) / GIB)


def wanted(trainer: Trainer, round_: RoundIndex) -> int:
    return trainer.workshop.missing_bytes(trainer.context(round_))


def test_round_that_might_not_fit_waits_and_is_trained_when_there_is_room(world: RoleWorld) -> None:
    trainer, told = world.trainers[0], Told()
    filler = trainer.home / "filler"
    filler.write_bytes(bytes(MIB))
    trainer.disk = at_most(trainer.home, wanted(trainer, FIRST) - 1)
    before, trainer.report = size_on_disk(trainer.home), told
    block = trainer.gateway.connection.head()
    moment = Moment(block, trainer.gateway.tasks.phase(world.task), False, block.timestamp)
    round_duty = next(duty for duty in trainer.duties() if duty.name == "round")
    trainer._perform(round_duty, moment)
    (line,) = told.of("delayed")
    assert "round waits: training round 1 takes up to" in line
    assert "at stake: this round's pay" in line
    assert size_on_disk(trainer.home) == before, "nothing was begun"

    filler.unlink()
    trainer._patience["round"].succeeded()
    most = size_on_disk(trainer.home)
    watch(trainer, lambda: most_seen.append(size_on_disk(trainer.home)))
    most_seen: list[int] = [most]
    trainer._perform(round_duty, moment)
    assert told.of("committed"), told.lines
    assert max(most_seen) + MOST_LOG_BYTES <= trainer.disk._most  # type: ignore[operator]
    assert wanted(trainer, FIRST) == 0, "a trained round is found again whatever the limit"
    trainer.disk = at_most(trainer.home, 0)
    trainer._done.clear()
    assert trainer._work_of(FIRST) is not None


def watch(trainer: Trainer, look: Any) -> None:
    """Look at every step of training."""
    train = trainer.workshop.train

    def watched(context: Any, _between: Any, *rest: Any) -> Any:
        return train(context, look, *rest)

    trainer.workshop.train = watched  # type: ignore[method-assign]


def test_attestation_waits_for_room_as_well(world: RoleWorld) -> None:
    for trainer in world.trainers:
        trainer.commit(FIRST)
    world.work()
    verifier = world.verifiers[0]
    verifier.disk = at_most(verifier.home, 100)
    with pytest.raises(OverLimit, match="the attestation of round 1 takes up to"):
        verifier.attest_commit(FIRST)
    assert not list(verifier._folder.glob("attestation-*"))
    verifier.disk = at_most(verifier.home, MIB)
    verifier.attest_commit(FIRST)
    assert list(verifier._folder.glob("attestation-1-*"))


def test_limit_that_no_round_fits_into_is_refused_before_anything_is_staked(world: RoleWorld) -> None:
    trainer = world.trainers[0]
    most = trainer.workshop.bytes_of_a_round()
    trainer.disk = DiskLimit(trainer.home, (most + MOST_LOG_BYTES - 1) / GIB)
    with pytest.raises(UsageError, match=r"is too little for this task, it needs 0\.03 GiB at least"):
        trainer.disk.require_ever(most, "training a round of this task")
    DiskLimit(trainer.home, (most + MOST_LOG_BYTES + 1) / GIB).require_ever(most, "training")
    with pytest.raises(UsageError, match="logs alone"):
        DiskLimit(trainer.home, 0.01)


def test_owner_of_a_limit_is_the_operator() -> None:
    assert owner_of(OverLimit("enough")) == "operator"
    assert owner_of(RuntimeError("DefaultCPUAllocator: can't allocate memory")) == "machine"
    assert owner_of(RuntimeError("shapes do not fit")) == "program"


IN_A_PROCESS = """
import json, resource, subprocess, sys
import numpy, torch
from deltaproof.agent.limits import Limits, limit_memory
from deltaproof.api.living import _made
from deltaproof.errors import UsageError, is_out_of_memory

limit_memory({most}, {processes})
told = {{}}
def greedy(kind):
    kept = []
    make = {{"torch": lambda: torch.ones(2**22), "numpy": lambda: numpy.ones(2**22)}}
    make["python"] = lambda: bytearray(2**24)
    try:
        while True:
            kept.append(make[kind]())
    except Exception as error:
        return is_out_of_memory(error)
told["refused"] = {{kind: greedy(kind) for kind in ("torch", "numpy", "python")}}
try:
    _made(lambda: torch.ones(2**28), Limits(memory={most}))
except UsageError as error:
    told["start"] = str(error)
asked = "import resource; print(resource.getrlimit(resource.RLIMIT_DATA)[0])"
told["child"] = int(subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True).stdout)
lines = open("/proc/self/status").read().splitlines()
# Not ru_maxrss, which the process that started this one hands down.
told["peak"] = 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))
told["code"] = 1024 * int(next(line.split()[1] for line in lines if line.startswith("RssFile:")))
told["still"] = float(torch.ones(1000).sum())
print(json.dumps(told))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other kernels have no such limit")
def test_kernel_holds_the_memory_limit_in_the_process_and_in_what_it_starts() -> None:
    most, processes = 2.0, 2
    script = IN_A_PROCESS.format(most=most, processes=processes)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    told = json.loads(ended.stdout)
    part = int(most * GIB) // processes
    assert told["refused"] == {"torch": True, "numpy": True, "python": True}
    assert part / 2 < told["peak"] - told["code"] < part + 100 * MIB, "code of shared libraries is not counted"
    assert told["child"] == part
    assert told["still"] == 1000, "it goes on with what it has"
    assert "does not fit into --max-memory 2" in told["start"]
