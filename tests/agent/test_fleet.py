"""Many tasks by one process on a real chain: what is joined, dropped, taken up, left, and what a quiet minute asks."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deltaproof.agent import fleet as fleets
from deltaproof.agent.fleet import Fleet
from deltaproof.agent.lookout import Lookout
from deltaproof.agent.loop import Agent
from deltaproof.agent.policy import TEMPLATE, TaskPolicy, load_policy
from deltaproof.agent.watching import Observed
from deltaproof.api import living
from deltaproof.api.lives import quiet
from deltaproof.chain import Deployment, DeployParams, Gateway, TransactionSender, connect, deploy_all, load_account
from deltaproof.chain.abi.enums import Role
from deltaproof.chain.free_share import FREE_SHARE, beside
from deltaproof.chain.local_node import Node, start_node
from deltaproof.chain.offers import Offer, read_offer
from deltaproof.cli import agent as agent_commands
from deltaproof.cli import app, task_list
from deltaproof.errors import SigningKeyError, TaskRefused, UsageError
from deltaproof.protocol.types import Address, TaskId, TokenAmount
from deltaproof.replaying.estimate import weights_bytes
from deltaproof.reporting import Reporter
from deltaproof.store import ArtifactStore, open_store, waiting
from tests.chain.rpc_proxy import RpcProxy
from tests.chaos.chaos_world import distinct_rows
from tests.store.test_waiting import STARTS, tarpit
from tests.worlds.roles import FUND, TaskDraft, fund_task
from trainer.conduct import Honest
from trainer.life import Trainer
from verifier.life import Verifier

STAKE = 100
"""Of each task, as `fund_task` makes them."""


@dataclass
class Place:
    """A deployment, its sponsor, and a trainer's gateway behind a proxy that counts."""

    node: Node
    folder: Path
    sponsor: Gateway
    deployment: Deployment
    store: ArtifactStore

    def fund(self) -> TaskId:
        return fund_task(self.sponsor, self.store, self.folder, TaskDraft(rounds=1, window_seconds=1))


@dataclass
class Lived:
    """A fleet of trainers on a thread of its own."""

    gateway: Gateway
    fleet: Fleet
    events: list[tuple[str, str]]
    observed: Observed
    thread: threading.Thread | None = None
    error: list[BaseException] = field(default_factory=list)

    def start(self) -> None:
        def run() -> None:
            try:
                self.fleet.live()
            except BaseException as error:
                self.error.append(error)

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """As a signal does, which a thread cannot get."""
        self.fleet._failure = self.fleet._failure or KeyboardInterrupt()  # type: ignore[assignment]
        self.fleet._awake.set()
        if self.thread is not None:
            self.thread.join(20)
            assert not self.thread.is_alive()

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < deadline, "\n".join(f"{event}: {text}" for event, text in self.events[-30:])
            time.sleep(0.05)

    def told(self, event: str) -> list[str]:
        return [text for kind, text in self.events if kind == event]

    def stake_in(self, task: TaskId) -> int:
        pool = self.gateway.trainers if self.fleet.role is Role.TRAINER else self.gateway.verifiers
        return pool.enrolment(task, self.gateway.account).stake


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("fleet")
    with start_node("anvil", accounts=9) as node:
        connection = connect(node.rpc_url)
        deployer = TransactionSender(connection, load_account(node.private_keys[0]), state_folder=folder / "state")
        deployment = deploy_all(connection, deployer, DeployParams(deployer.address))
        own = Gateway(connection, deployment, deployer)
        money = own.token(own.registry.token())
        for key in node.private_keys[:9]:
            money.mint(Address(load_account(key).address), TokenAmount(100 * FUND))
        with deployer:
            yield Place(node, folder, own, deployment, open_store(str(folder / "store")))


@pytest.fixture
def proxy(place: Place) -> Iterator[RpcProxy]:
    with RpcProxy(place.node.rpc_url) as proxy:
        yield proxy


Hire = Callable[..., Lived]


@pytest.fixture
def hire(place: Place, proxy: RpcProxy, tmp_path: Path) -> Iterator[Hire]:
    """Makes trainers' fleets, all with the same key, one after the other."""
    made: list[Lived] = []
    closers: list[Callable[[], None]] = []

    def make_fleet(
        key: int,
        *,
        role: Role = Role.TRAINER,
        poll: float = 0.1,
        make: Callable[[Gateway, TaskId, Reporter], Agent] | None = None,
        between: Callable[[int], None] = lambda now: None,
        **limits: Any,
    ) -> Lived:
        connection = connect(proxy.url)
        sender = TransactionSender(
            connection, load_account(place.node.private_keys[key]), state_folder=place.folder / "state"
        )
        closers.append(sender.close)
        gateway = Gateway(connection, place.deployment, sender)
        events: list[tuple[str, str]] = []
        home = place.folder / f"home-{key}"
        observed = Observed(lambda event, message, **fields: events.append((event, message)), "trainer", home)

        def trainer(task: TaskId, report: Reporter) -> Agent:
            if make is not None:
                return make(gateway, task, report)
            if role is Role.VERIFIER:
                return Verifier(gateway, place.store, task, home, report, poll_seconds=poll)
            return Trainer(gateway, place.store, task, distinct_rows(key), home, Honest(), report, poll_seconds=poll)

        fleet = Fleet(
            gateway, lambda _: place.store, role, policy(place, tmp_path, **limits), trainer, observed,
            Lookout(connection), poll_seconds=poll, between=between,
        )  # fmt: skip
        made.append(Lived(gateway, fleet, events, observed))
        return made[-1]

    yield make_fleet
    for lived in made:
        lived.stop()
    for close in closers:
        close()


def policy(place: Place, folder: Path, *, tasks: int = 8, in_all: int = 10 * STAKE, methods: str = "*") -> TaskPolicy:
    path = folder / "policy.toml"
    path.write_text(
        f'most_tasks = {tasks}\n[pay]\n"{place.sponsor.registry.token()}" = "1wei"\n[stake]\n'
        f'most_per_task = "{STAKE}wei"\nmost_in_all = "{in_all}wei"\n'
        f'[work]\nmodels = ["*"]\nmethods = ["{methods}"]\n'
    )
    return load_policy(path)


def test_task_that_fails_hopelessly_is_dropped_and_the_others_and_new_ones_go_on(place: Place, hire: Hire) -> None:
    bad, good = place.fund(), place.fund()

    def make(gateway: Gateway, task: TaskId, report: Reporter) -> Agent:
        if task == bad:
            raise TaskRefused("its rows are none of ours")
        home = place.folder / "home-1"
        return Trainer(gateway, place.store, task, distinct_rows(1), home, Honest(), report, poll_seconds=0.1)

    lived = hire(1, make=make)
    lived.start()
    lived.until(lambda: lived.stake_in(good))
    assert "its rows are none of ours; the other tasks go on" in lived.told("dropped")[0]
    new = place.fund()
    lived.until(lambda: lived.stake_in(new))
    assert not lived.stake_in(bad)
    assert lived.fleet.working == [good, new]
    lived.until(lambda: {row["task"] for row in lived.observed.status()["tasks"]} == {good, new})  # type: ignore[attr-defined]
    others = {row["task"]: row["state"] for row in lived.observed.status()["others"]}  # type: ignore[attr-defined]
    assert others[bad] == "dropped"


def test_fleet_without_a_task_minds_what_the_account_still_owes_at_the_chains_time(place: Place, hire: Hire) -> None:
    """A juror's votes outlive the tasks it worked in."""
    told: list[int] = []
    lived = hire(4, methods="none", between=told.append)
    began = lived.gateway.connection.timestamp()
    lived.start()
    lived.until(lambda: told)
    assert lived.fleet.working == []
    assert told[0] >= began


def test_stakes_in_all_never_pass_the_limit_and_a_restart_resumes_what_is_staked(place: Place, hire: Hire) -> None:
    first, second, third = place.fund(), place.fund(), place.fund()
    lived = hire(2, in_all=2 * STAKE)
    lived.start()
    lived.until(lambda: len(lived.told("joined")) == 2)
    taken = [task for task in range(1, third + 1) if lived.stake_in(TaskId(task))]
    lived.until(lambda: any("would be locked in all" in text for text in lived.told("not-taken")))
    assert len(taken) == 2
    assert lived.gateway.registry.stake_of(lived.gateway.account, Role.TRAINER).locked == 2 * STAKE
    lived.stop()
    lived.gateway.sender.close()  # type: ignore[union-attr]

    again = hire(2, tasks=1, in_all=STAKE, methods="adalora")  # nothing fits any more
    again.start()
    again.until(lambda: again.fleet.working == taken and len(again.observed.status()["tasks"]) == 2)  # type: ignore[arg-type]
    assert len(again.told("resumed")) == 2
    assert again.told("taken") == []
    assert {first, second} & set(range(1, third + 1)) == {first, second}


@pytest.mark.parametrize("role", [Role.TRAINER, Role.VERIFIER])
def test_stake_of_a_task_that_is_over_is_freed_and_staked_in_the_next(
    place: Place, hire: Hire, monkeypatch: pytest.MonkeyPatch, role: Role
) -> None:
    monkeypatch.setattr(fleets, "RECHECK_SECONDS", 0.2)
    monkeypatch.setattr(fleets, "LAG_SECONDS", 0.0)
    place.fund()
    place.fund()
    in_all = STAKE + (beside(STAKE, FREE_SHARE) if role is Role.VERIFIER else 0)  # not one unit more
    lived = hire(3 + int(role), role=role, tasks=1, in_all=in_all)
    lived.start()
    lived.until(lambda: lived.told("joined"))
    (task,) = lived.fleet.working
    balance = lived.gateway.token(lived.gateway.registry.token()).balance_of(lived.gateway.account)
    place.sponsor.tasks.cancel_task(task)
    slash = place.sponsor.terms.params(task).phases.slash
    lived.until(lambda: lived.told("done"))
    place.sponsor.connection.web3.provider.make_request("evm_increaseTime", [slash + 1])  # type: ignore[arg-type]
    place.sponsor.connection.web3.provider.make_request("evm_mine", [])  # type: ignore[arg-type]
    lived.until(lambda: len(lived.told("joined")) == 2)
    (following,) = lived.fleet.working
    assert following != task
    assert lived.stake_in(task) == 0
    assert lived.stake_in(following) == STAKE
    after = lived.gateway.token(lived.gateway.registry.token()).balance_of(lived.gateway.account)
    assert after == balance, "the freed stake was enough"


def test_tasks_whose_stores_answer_nothing_keep_no_other_from_being_joined(
    place: Place, hire: Hire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: tasks of one's own whose stores let everybody wait, beside one that somebody wants to work in."""
    monkeypatch.setattr(waiting, "GRACE_SECONDS", 4.0)
    tarpits, good = [place.fund() for _ in range(4)], place.fund()
    lived = hire(6, tasks=1)
    with tarpit(STARTS["silent"]) as url:
        lived.fleet.stores = lambda task: open_store(url) if task in tarpits else place.store
        lived.fleet._known = tarpits[0] - 1
        began = time.monotonic()
        lived.start()
        lived.until(lambda: good in lived.fleet._members)
        assert time.monotonic() - began < 12, "it waited for one after the other"
        lived.until(lambda: set(tarpits) <= set(lived.fleet._away))
        lived.stop()


def test_tasks_whose_stores_answer_nothing_make_no_list_of_tasks_wait_for_one_after_the_other(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: a hundred tasks of one's own, and whoever looks what there is to do waits for an hour."""
    monkeypatch.setattr(waiting, "GRACE_SECONDS", 3.0)
    made = [place.fund() for _ in range(5)]
    contract = ("--rpc", place.node.rpc_url, "--contract", place.deployment.modules.tasks)
    (place.folder / "asked.toml").write_text(TEMPLATE.replace("0x" + 40 * "0", place.sponsor.registry.token()))
    with tarpit(STARTS["silent"]) as url:
        for module in (task_list, agent_commands):
            monkeypatch.setattr(module, "stores", lambda *_: lambda task: open_store(url))
        for command in (
            ("task", "list", "--limit", len(made), "--all"),
            ("agent", "policy", place.folder / "asked.toml"),
        ):
            began = time.monotonic()
            done = CliRunner().invoke(app, [str(word) for word in (*command, *contract, "--json")])
            assert done.exit_code == 0, done.output
            assert len(json.loads(done.stdout)["tasks"]) >= len(made)
            assert time.monotonic() - began < 12, "it waited for one after the other"


def test_model_that_takes_hours_to_come_is_in_no_other_tasks_way(place: Place, hire: Hire) -> None:
    """Attack: name a model of a hub that takes hours, or an emulator in a store of one's own that gives it slowly: who
    takes tasks by a policy computes for none meanwhile, and is charged as absent."""
    slow, good = place.fund(), place.fund()
    lived = hire(8, tasks=2)
    lived.fleet._known = slow - 1
    fetched: list[tuple[TaskId, bool]] = []
    came = threading.Event()

    def fetch(offer: Offer, joins: bool, report: Reporter) -> None:
        fetched.append((offer.number, joins))
        if offer.number == slow:
            came.wait(120)

    lived.fleet._fetch = fetch
    lived.start()
    try:
        lived.until(lambda: lived.stake_in(good))
        assert not lived.stake_in(slow)
    finally:
        came.set()
    lived.until(lambda: lived.stake_in(slow))
    assert sorted(fetched) == [(slow, True), (good, True)]
    lived.stop()


@pytest.mark.parametrize("joins", [True, False])
def test_model_larger_than_the_policy_takes_is_not_fetched_for_a_task_that_is_not_joined(
    place: Place, joins: bool
) -> None:
    """Attack: name the largest model of a hub, and fill the disk and the memory of whoever takes tasks by a policy."""
    offer = read_offer(place.sponsor, lambda task: place.store, place.fund())
    assert offer.spec is not None
    size = weights_bytes(offer.spec) / 1e9
    living._fetching(lambda task: place.store, None, size)(offer, joins, quiet)
    fetch = living._fetching(lambda task: place.store, None, size / 2)
    if joins:
        with pytest.raises(UsageError, match="at most: raise most_model_gb"):
            fetch(offer, joins, quiet)
    else:
        fetch(offer, joins, quiet)


def test_wrong_key_ends_the_whole_process(place: Place, hire: Hire) -> None:
    place.fund()

    def make(gateway: Gateway, task: TaskId, report: Reporter) -> Agent:
        raise SigningKeyError("the signer refuses")

    lived = hire(6, make=make)
    lived.start()
    lived.until(lambda: lived.error)
    assert isinstance(lived.error[0], SigningKeyError)


def test_quiet_tasks_together_ask_no_more_than_one(place: Place, hire: Hire, proxy: RpcProxy) -> None:
    """One question a look for all tasks; one more, or two where there are many, in a new block."""
    for _ in range(3):
        place.fund()
    poll = 0.5
    lived = hire(7, poll=poll)
    lived.start()
    lived.until(lambda: len(lived.fleet.working) >= 3 and len(lived.told("joined")) == len(lived.fleet.working))
    time.sleep(3.0)
    proxy.seen.clear()
    seconds = 6.0
    time.sleep(seconds)
    asked = list(proxy.seen)
    assert set(asked) <= {"eth_getBlockByNumber"}, asked
    assert len(asked) <= seconds / (0.9 * poll) + 2
    for _ in range(3):
        place.sponsor.connection.web3.provider.make_request("evm_mine", [])  # type: ignore[arg-type]
        time.sleep(2 * poll)
    assert proxy.seen.count("eth_call") <= 3 * (1 + len(lived.fleet.working) // 8)
