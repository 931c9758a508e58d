"""A home loses what no deadline needs any more, and nothing that a demand could still ask for: on real rounds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from deltaproof.agent.homes import marked_folders, size_on_disk, task_folder
from deltaproof.agent.loop import Moment
from deltaproof.agent.pruning import Pruner
from deltaproof.chain import TransactionSender, deploy_all, load_account
from deltaproof.chain.abi.dispute_structs import CourtParams, Work
from deltaproof.chain.abi.enums import Component, Phase, Role
from deltaproof.chain.abi.structs import CommitmentRef
from deltaproof.chain.contracts.deployment import DeployParams
from deltaproof.chain.contracts.disputes import DisputeCourt
from deltaproof.chain.local_node import Node, start_node
from deltaproof.chain.participation import lock_stake
from deltaproof.chain.rpc.connection import connect
from deltaproof.errors import ContractRevert, UsageError
from deltaproof.protocol.types import RoundIndex, TaskId, TokenAmount
from deltaproof.reporting import Once
from tests.cli.conftest import run as run_command
from tests.worlds.roles import RoleWorld, build_world, silent
from trainer.life import Trainer

run = run_command

FIRST, SECOND = RoundIndex(1), RoundIndex(2)
ROUNDS = RoundIndex(6)
ANSWER_SECONDS = 3600
SLASH_SECONDS = 86_400
FEEDBACK = 'name = "two_bit"\noptions = { error_feedback = true }'


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with start_node("anvil", accounts=8) as running:
        yield running


@dataclass
class Ended:
    """Two rounds of a world, both ended; more may follow."""

    world: RoleWorld
    folder: Path

    @property
    def trainer(self) -> Trainer:
        return self.world.trainers[0]

    def works(self, home: Path) -> list[str]:
        names = (path.name for path in (home / f"task-{self.world.task}").iterdir())
        return sorted("-".join(name.split("-")[:2]) for name in names if "." not in name)

    def home(self, role: str) -> Path:
        return self.folder / role

    def ended_at(self, round_: RoundIndex) -> int:
        return self.world.gateway.tasks.round(self.world.task, round_).ended_at

    def go_to(self, seconds: int) -> None:
        """The chain's clock only goes forward; each test goes further than those before it."""
        if seconds > self.world.gateway.connection.timestamp():
            self.world.raw("evm_setNextBlockTimestamp", seconds)
            self.world.raw("evm_mine")

    def past(self, round_: RoundIndex) -> None:
        """Nobody can ask for the round any more, and the running roles look at a block of then."""
        self.go_to(self.ended_at(round_) + SLASH_SECONDS + 1)
        self.look()

    def look(self) -> None:
        """What the running roles do at each block."""
        for role in (*self.world.trainers, *self.world.verifiers):
            duty = next(duty for duty in role.duties() if duty.name == "pruning")
            block = role.gateway.connection.head()
            with role.gateway.connection.reading_at(block):
                duty.act(Moment(block, role.gateway.tasks.phase(role.task_id), False, block.timestamp))


@pytest.fixture(scope="module")
def ended(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    folder = tmp_path_factory.mktemp("pruning")
    connection = connect(node.rpc_url)
    with TransactionSender(connection, load_account(node.private_keys[0]), state_folder=folder / "state") as deployer:
        court = CourtParams(demand_bond=TokenAmount(100), winner_bps=5_000, answer_seconds=ANSWER_SECONDS)
        deployment = deploy_all(connection, deployer, DeployParams(deployer.address, court=court))
    world = build_world(
        node, folder, rounds=ROUNDS, honest=1, verifiers=1, codec=FEEDBACK, deployment=deployment, steps=4
    )
    world.play(2)
    yield Ended(world, folder)
    world.close()


@pytest.fixture
def copied(ended: Ended, tmp_path: Path) -> Path:
    """The trainer's home as it is, to try things with."""
    return Path(shutil.copytree(ended.home("trainer-0"), tmp_path / "home"))


def demand(ended: Ended, round_: RoundIndex, step: int) -> int:
    """Anybody asks for a chunk of the trainer's work."""
    world, trainer = ended.world, ended.trainer
    gateway = world.gateway
    gateway.token(gateway.registry.token()).mint(gateway.account, TokenAmount(100))
    lock_stake(gateway, Role.CHALLENGER, TokenAmount(100))
    done = trainer._work_of(round_)
    assert done is not None
    work = Work(world.task, round_, trainer.account, trainer._reveal_data(round_, done), CommitmentRef())
    return gateway.court.demand_opening(work, step, Component.THETA, 0)[0]


def pruner_of(ended: Ended, home: Path) -> Pruner:
    return Pruner(ended.trainer.gateway, ended.world.task, home / f"task-{ended.world.task}", silent)


def test_files_of_others_are_no_work(ended: Ended, tmp_path: Path) -> None:
    folder = tmp_path / f"task-{ended.world.task}"
    folder.mkdir()
    for name in ("round-x", "rounds-1", "round-1-short", "notes-1.txt", "round-1 copy", "memory-1-2"):
        (folder / name).write_text("mine")
    assert pruner_of(ended, tmp_path).needless(2**40) == []


def test_end_that_a_reorganisation_took_back_is_read_again_before_anything_goes(ended: Ended, copied: Path) -> None:
    pruner = pruner_of(ended, copied)
    pruner._until[FIRST] = pruner._until[SECOND] = 1  # as read at a block that is no more
    assert pruner.prune(ended.ended_at(FIRST) + 10) == []
    assert ended.works(copied) == ["memory-1", "memory-2", "round-1", "round-2"]


def test_long_answers_outlast_a_short_slash_period(ended: Ended, monkeypatch: pytest.MonkeyPatch) -> None:
    """A demand made just before the end has all of its time to answer."""
    params = ended.trainer.gateway.court.params()
    slow = CourtParams(params.demand_bond, params.winner_bps, 10 * SLASH_SECONDS)
    monkeypatch.setattr(DisputeCourt, "params", lambda self: slow)
    assert ended.trainer.pruner.needed_until(FIRST) == ended.ended_at(FIRST) + 10 * SLASH_SECONDS


def test_trainer_of_an_ended_task_stays_while_its_work_can_be_demanded_and_no_longer(
    ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its stake pays for every demand that nobody answers, however long ago the task has ended."""
    trainer, told = ended.trainer, list[str]()
    monkeypatch.setattr(trainer, "_once", Once(lambda event, message, **_: told.append(f"{event}: {message}")))
    head, view = trainer.gateway.connection.head(), trainer.gateway.tasks.phase(trainer.task_id)

    def finished(seconds: int) -> bool:
        return trainer.finished(Moment(replace(head, timestamp=seconds), view, True, seconds))

    last = ended.ended_at(SECOND) + SLASH_SECONDS - ANSWER_SECONDS
    assert (finished(last - 100), finished(last - 1), finished(last)) == (False, False, True)
    (line,) = told
    assert line.startswith("answering: stays until ")
    number = demand(ended, SECOND, 1)
    give = trainer.desk._give
    trainer.desk._give = lambda *_: None  # its disk is away, say
    trainer.desk.mind(head.timestamp)
    assert not finished(last + 1)
    trainer.desk._give = give
    for _ in range(2):
        trainer.desk.mind(head.timestamp)
    assert ended.world.gateway.court.demand(number).closed
    assert finished(last + 1)


def test_trainer_whose_answers_may_take_longer_than_its_stake_is_slashable_ends_with_the_task(
    ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with the default times: no demand is taken after a round's end."""
    trainer, params = ended.trainer, ended.trainer.gateway.court.params()
    monkeypatch.setattr(DisputeCourt, "params", lambda self: replace(params, answer_seconds=SLASH_SECONDS))
    head = trainer.gateway.connection.head()
    later = replace(head, timestamp=ended.ended_at(SECOND))
    assert trainer.finished(Moment(later, trainer.gateway.tasks.phase(trainer.task_id), True, later.timestamp))


def test_demand_of_the_last_moment_is_answered_from_a_home_that_is_pruned_all_the_time(ended: Ended) -> None:
    ended.look()
    ended.go_to(ended.ended_at(FIRST) + SLASH_SECONDS - ANSWER_SECONDS - 30)
    number = demand(ended, FIRST, 2)
    deadline = ended.world.gateway.court.demand(number).deadline
    ended.go_to(deadline - 5)
    ended.look()
    assert "round-1" in ended.works(ended.home("trainer-0"))
    ended.trainer.desk.mind(deadline - 5)
    assert ended.world.gateway.court.demand(number).closed, "the answer came out of the kept transcript"
    assert ended.world.gateway.trainers.enrolments(ended.world.task)[ended.trainer.account].stake == 100


def test_command_tells_before_it_prunes(ended: Ended, node: Node, run: Callable[..., Any], copied: Path) -> None:
    options = ["--rpc", node.rpc_url, "--contract", ended.world.contract, "--home", str(copied)]
    code, out, err = run("agent", "prune", *options)
    assert (code, out.strip()) == (0, "every file may still be needed"), err
    ended.go_to(ended.ended_at(FIRST) + SLASH_SECONDS + 1)
    code, out, _ = run("agent", "prune", "--dry-run", "--json", *options)
    (work,) = (told := json.loads(out))["removed"]
    assert (work["task"], work["round"], Path(work["path"]).is_dir()) == (1, 1, True)
    assert told["bytes"] == size_on_disk(Path(work["path"])) > 0
    code, out, _ = run("agent", "prune", *options)
    assert (code, out.splitlines()[-1].endswith("MiB removed")) == (0, True)
    # Round 2 may still be asked for what it went on from.
    assert ended.works(copied) == ["memory-1", "memory-2", "round-2"]


def test_home_of_another_deployment_is_refused_and_left_alone(
    ended: Ended, node: Node, run: Callable[..., Any], copied: Path, tmp_path: Path
) -> None:
    gateway, mark = ended.trainer.gateway, copied / "task-1" / "deployment.json"
    ended.go_to(ended.ended_at(FIRST) + SLASH_SECONDS + 1)
    mark.write_text(json.dumps(json.loads(mark.read_text()) | {"contract": "0x" + 40 * "1"}))
    options = ["--rpc", node.rpc_url, "--contract", ended.world.contract, "--home", str(copied)]
    code, _, err = run("agent", "prune", *options)
    assert (code, "no role has worked in" in err) == (1, True)
    assert "round-1" in ended.works(copied)
    with pytest.raises(UsageError, match="a --home of its own"):
        task_folder(copied, gateway, TaskId(1))
    mark.write_text("{")
    assert marked_folders(copied, gateway) == {}, "a damaged mark fits no contract"
    fresh = tmp_path / "fresh"
    assert task_folder(fresh, gateway, TaskId(3)) == marked_folders(fresh, gateway)[TaskId(3)]


def test_what_nobody_can_ask_for_any_more_is_removed_and_the_rest_stays(ended: Ended) -> None:
    trainer, verifier = ended.home("trainer-0"), ended.home("verifier-0")
    until, before = ended.ended_at(FIRST) + SLASH_SECONDS, size_on_disk(trainer)
    assert pruner_of(ended, trainer).needless(until) == []
    ended.go_to(until + 1)
    ended.look()
    assert ended.works(trainer) == ["memory-1", "memory-2", "round-2"]
    assert ended.works(verifier) == ["attestation-2", "proposal-2", "signed-2"]
    with pytest.raises(ContractRevert, match="DisputesNotAccepted"):
        demand_unsalted(ended)
    ended.past(SECOND)
    assert (ended.works(trainer), ended.works(verifier)) == (["memory-2"], []), "nobody has trained round 3 yet"
    assert (trainer / "secret").is_file()
    assert size_on_disk(trainer) < before / 2


def test_homes_are_no_larger_after_many_rounds_than_after_one(ended: Ended) -> None:
    """Logs apart, which nobody writes here: tests/agent/test_watching.py holds them to their limit."""
    homes = [ended.home(role) for role in ("sponsor", "trainer-0", "verifier-0")]
    sizes = []
    for round_ in range(ended.world.gateway.tasks.phase(ended.world.task).round + 1, ROUNDS):
        ended.world.play(1)
        assert any(f"round-{round_}-" in path.name for path in homes[1].rglob("*"))
        ended.past(RoundIndex(round_))
        left = [path.name for home in homes for path in home.rglob("*-*") if "." not in path.name]
        of_rounds = [name for name in left if name.startswith(("round-", "memory-", "attestation-"))]
        assert {name.split("-")[0] for name in of_rounds} == {"memory"}, "the next round goes on from it"
        assert all(name.startswith(f"memory-{round_}") for name in of_rounds), of_rounds
        sizes.append([size_on_disk(home) for home in homes])
    assert len(sizes) >= 3
    assert all(size == sizes[0] for size in sizes), sizes


def test_round_that_runs_may_be_asked_for_and_after_a_task_nothing(ended: Ended) -> None:
    trainer, last = ended.home("trainer-0"), ROUNDS
    while (before := RoundIndex(ended.world.gateway.tasks.phase(ended.world.task).round)) < last - 1:
        ended.world.play(1)
    ended.past(before)
    ended.world.open_round()
    ended.trainer.commit(last)
    ended.go_to(ended.ended_at(before) + 90 * SLASH_SECONDS)
    ended.look()
    assert ended.works(trainer) == [f"memory-{before}", f"memory-{last}", f"round-{last}"]
    ended.world.until(Phase.IDLE)
    ended.past(last)
    assert ended.works(trainer) == [], "the task has ended: nothing goes on from anything"


def test_role_of_another_task_of_the_home_removes_what_an_ended_process_left(ended: Ended, copied: Path) -> None:
    gateway = ended.trainer.gateway
    work = copied / "task-1" / "round-1-0123456789abcdef"
    work.mkdir(exist_ok=True)
    ended.go_to(ended.ended_at(FIRST) + SLASH_SECONDS + 1)
    told: list[str] = []
    other = Pruner(gateway, TaskId(2), task_folder(copied, gateway, TaskId(2)), lambda _, text, **__: told.append(text))
    block = gateway.connection.head()
    other.mind(moment := Moment(block, gateway.tasks.phase(ended.world.task), False, block.timestamp))
    assert not work.exists()
    assert told[0].startswith("task 1: removed work of round 1")
    work.mkdir()
    other.mind(moment)
    assert work.exists(), "it looks after other tasks now and then, not at every block"


def demand_unsalted(ended: Ended) -> None:
    """The transcript is gone, and so is the right to ask for it: the contract says so before it looks at the work."""
    ended.trainer.log.refresh(FIRST)
    data = ended.trainer.log.reveals(FIRST)[ended.trainer.account]
    work = Work(ended.world.task, FIRST, ended.trainer.account, data, CommitmentRef())
    ended.world.gateway.court.demand_opening(work, 0, Component.THETA, 0)
