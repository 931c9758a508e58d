"""All tasks of a contract, read by somebody who names no store: each from the gateways that its sponsor announced."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deltaproof.api.histories import read_history
from deltaproof.api.network import Network
from deltaproof.auditor.audit import case
from deltaproof.auditor.audit.case import AuditOptions
from deltaproof.auditor.audit.check import Status
from deltaproof.auditor.auditing import AuditSource, run_audit
from deltaproof.auditor.facts import stores
from deltaproof.auditor.facts.stores import AnnouncedStores
from deltaproof.auditor.index.rpc import Rpc
from deltaproof.auditor.session import open_index
from deltaproof.chain.announced import announcement
from deltaproof.chain.local_node import free_port, start_node
from deltaproof.cli import app
from deltaproof.errors import ChainError, ChainUnavailable, StoreUnavailable
from deltaproof.gateway.server import GatewayOptions, StoreServer
from deltaproof.pages.data import PageData
from deltaproof.protocol.types import TokenAmount
from deltaproof.store import brief
from deltaproof.store.brief import BrieflyAsked, LostTime
from deltaproof.store.http import HttpBackend
from deltaproof.store.profiles import Profile
from tests.worlds.roles import RoleWorld, build_world
from trainer.conduct import Honest

PATIENCE = 20.0
UNKNOWN = "verdicts, scores and pay are not known"


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RoleWorld]]:
    """Tasks 1 and 2 with a settled round each, and a gateway each; task 3 announces none."""
    with start_node("anvil") as node:
        built: list[RoleWorld] = []
        folder = tmp_path_factory.mktemp("world")
        for _ in range(2):
            world = build_world(
                node, folder, rounds=1, honest=1, cheat=Honest(), verifiers=1,
                steps=2, deployment=built[0].gateway.deployment if built else None,
                stores=f"http://127.0.0.1:{free_port('127.0.0.1')}",
            )  # fmt: skip
            built.append(world)
            with closing(world):  # its people meet again in the next task
                world.play(1)
                if len(built) == 2:
                    sponsor, task = world.gateway, world.task
                    told = sponsor.terms.validation_commitments(task)
                    sponsor.terms.create_task(sponsor.task(task).params, told, TokenAmount(0), announcement(""))
                    person = world.trainers[0].gateway
                    assert person.sender is not None
                    said = Profile(account=person.account, name="Ada", issued=1)
                    world.store.put_profile(said.signed(person.sender.sign_message, person.permit_domain))
        yield built


@contextmanager
def gateway_of(world: RoleWorld, home: Path) -> Iterator[None]:
    """The gateway that a task's sponsor announced."""
    index, _ = open_index(world.rpc, world.contract)
    url = AnnouncedStores(index, world.rpc).announced(world.task)
    options = GatewayOptions(str(world.store_folder), home, "test")
    server = StoreServer(world.gateway, options, "127.0.0.1", int(url.rpartition(":")[2]))
    ready = threading.Event()
    thread = threading.Thread(target=server.serve, args=(lambda _: ready.set(),), daemon=True)
    thread.start()
    assert ready.wait(PATIENCE)
    try:
        yield
    finally:
        server.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.fixture
def place(worlds: list[RoleWorld], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An RPC URL and one address: all that somebody knows."""
    monkeypatch.delenv("DELTAPROOF_STORE", raising=False)
    monkeypatch.delenv("DELTAPROOF_TASK", raising=False)
    return ["--rpc", worlds[0].node.rpc_url, "--contract", str(worlds[0].contract)]


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def verdicts(history: dict[str, Any]) -> dict[int, set[str | None]]:
    return {
        task["task"]: {line["verdict"] for entry in task["history"] for line in entry["trainers"]}
        for task in history["tasks"]
    }


def names_of(checks: list[dict[str, Any]], task: int) -> set[str]:
    return {check["name"] for check in checks if check["task"] == task}


def test_everything_is_known_to_who_has_an_rpc_url_and_an_address(
    worlds: list[RoleWorld], place: list[str], tmp_path: Path
) -> None:
    person = worlds[1].trainers[0]
    with gateway_of(worlds[0], tmp_path / "one"), gateway_of(worlds[1], tmp_path / "two"):
        told = run("history", *place, "--json")
        assert verdicts(json.loads(told.stdout)) == {1: {"accepted"}, 2: {"accepted"}, 3: set()}
        assert UNKNOWN not in told.stderr

        database, page = tmp_path / "index.sqlite", tmp_path / "page.html"
        options = ["--workers", 2, "--index", database, "--html", page, "--json"]
        audited = json.loads(run("audit", *place, *options).stdout)
        assert audited["failures"] == []
        assert {(check["task"], check["name"]) for check in audited["unchecked"]} >= {(3, "spec")}
        for task in (1, 2):
            assert {"spec", "delta", "settlement root", "replay"} <= names_of(audited["checks"], task)
            assert "artifacts" not in names_of(audited["unchecked"], task)
        reason = next(check["reason"] for check in audited["unchecked"] if check["task"] == 3)
        assert "announced on chain: say --store" in reason
        assert page.stat().st_size > 10_000

        index, _ = open_index(worlds[0].rpc, worlds[0].contract)
        pages = PageData(index, AnnouncedStores(index, worlds[0].rpc), worlds[0].rpc)
        assert [task["name"] for task in pages.at("overview")["tasks"]] == ["minimal"] * 3
        assert [one["name"] for one in pages.at("people")["people"] if one["account"] == person.account] == ["Ada"]
        assert pages.at(f"account/{person.account}")["profile"]["name"] == "Ada"
        for task in (1, 2):
            assert {check["status"] for check in pages.at(f"round/{task}/1")["checks"]} <= {"pass", "not_checkable"}
            assert pages.at(f"why/{task}/1/{person.account}")["lines"][1:]
    assert [task["name"] for task in pages.at("overview")["tasks"]] == ["minimal"] * 3


def test_gateway_that_is_away_takes_nothing_from_other_tasks(
    worlds: list[RoleWorld], place: list[str], tmp_path: Path
) -> None:
    with gateway_of(worlds[0], tmp_path / "one"):
        began = time.monotonic()
        told = run("history", *place, "--json")
        assert verdicts(json.loads(told.stdout)) == {1: {"accepted"}, 2: {None}, 3: set()}
        (line,) = [line for line in told.stderr.splitlines() if UNKNOWN in line]
        assert line.startswith("task 2:")
        assert "did not answer in time" in line
        network = Network(rpc=worlds[0].node.rpc_url, contract=str(worlds[0].contract), store="")
        assert verdicts(read_history(network, None, None, None, "sqlite://").document)[2] == {None}

        audited = json.loads(run("audit", *place, "--json", "--without-model").stdout)
        assert time.monotonic() - began < 6 * PATIENCE
    assert audited["failures"] == []
    lost = [check for check in audited["unchecked"] if check["task"] == 2]
    assert {"spec", "attestation document"} <= {check["name"] for check in lost}
    assert {"spec", "delta", "settlement root"} <= names_of(audited["checks"], 1) - names_of(audited["unchecked"], 1)


def test_task_whose_model_is_nowhere_ends_no_audit(worlds: list[RoleWorld], tmp_path: Path) -> None:
    """Attack: create a task of a model that is on no machine but one's own."""
    world = worlds[0]
    model = world.store_folder.parent / "model"
    model.rename(tmp_path / "model")
    for kept in (case._judges, case._bench):
        kept.cache_clear()
    try:
        index, _ = open_index(world.rpc, world.contract)
        done = run_audit(AuditSource(index, world.store, world.rpc), AuditOptions(official_replays=True, rescore=True))
    finally:
        (tmp_path / "model").rename(model)
    assert [str(check) for check in done.checks if check.status is Status.FAIL] == []
    assert {"replay", "next adapter"} <= {c.name for c in done.checks if c.status is Status.NOT_CHECKABLE}
    assert max(check.task for check in done.checks) == 3


class Forgetful(Rpc):
    """A node that keeps no old transactions, or refuses to say so."""

    problem: Exception | None = None

    def call(self, method: str, *params: Any) -> Any:
        if self.problem:
            raise self.problem
        return None


def test_node_that_does_not_tell_what_was_announced_is_named(worlds: list[RoleWorld]) -> None:
    index, _ = open_index(worlds[0].rpc, worlds[0].contract)
    node = Forgetful(worlds[0].node.rpc_url)
    known = AnnouncedStores(index, node)
    told = "the node does not tell which store is announced on chain: "
    for problem, reason in (
        (None, "it has no transaction"), (ChainError("pruned"), "pruned"), (ChainUnavailable("away"), "away"),
    ):  # fmt: skip
        node.problem = problem
        assert known.of(1) is None
        assert f"{told}{reason}" in known.trouble(1)
    node.problem = AssertionError("nobody asks a node again and again that is away")
    assert known.of(2) is None
    assert f"{told}it did not answer before" in known.trouble(2)
    assert known.of(99) is None


def test_few_stores_are_kept_open(worlds: list[RoleWorld], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "KEPT_STORES", 1)
    index, _ = open_index(worlds[0].rpc, worlds[0].contract)
    known = AnnouncedStores(index, worlds[0].rpc)
    first = known.of(1)
    assert known.of(1) is first
    assert known.of(2) is not None
    assert known.of(1) is not first


class Slow:
    """A place that is late, or away."""

    def __init__(self) -> None:
        self.late, self.away, self.asked = 0.0, False, 0

    def read(self, path: str, max_bytes: int) -> bytes:
        self.asked += 1
        time.sleep(self.late)
        if self.away:
            raise StoreUnavailable(path, "away")
        return b"x"

    def write(self, path: str, data: bytes) -> None:
        raise AssertionError("nobody writes")

    def exists(self, path: str) -> bool:
        return bool(self.read(path, 1))

    def published(self, path: str) -> float | None:
        return float(len(self.read(path, 1)))


def test_nobody_waits_for_a_place_that_is_away_or_always_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brief, "FREE_SECONDS", 0.01)
    monkeypatch.setattr(brief, "FIRST_PAUSE_SECONDS", 0.2)
    away, late, shared = Slow(), Slow(), LostTime(0.25)
    first, second = (BrieflyAsked(each, "http://there", LostTime(0.0), shared) for each in (away, late))
    assert (first.read("a", 1), first.exists("a"), first.published("a")) == (b"x", True, 1.0)
    away.away = True
    for _ in range(5):
        with pytest.raises(StoreUnavailable):
            first.read("a", 1)
    assert away.asked == 4, "once it did not answer, nobody asks"
    assert second.read("a", 1) == b"x", "the other place of the task is asked"
    late.late = 0.2
    assert [second.read("a", 1), second.read("a", 1)] == [b"x", b"x"]
    for place in (first, second):
        with pytest.raises(StoreUnavailable, match="http://there did not answer in time"):
            place.read("a", 1)
    time.sleep(0.3)
    late.late = 0.0
    assert second.read("a", 1) == b"x"
    with pytest.raises(StoreUnavailable, match="only read"):
        second.write("a", b"")


@pytest.mark.parametrize("url", ["http://a..b", f"http://{'a' * 70}.example", "http://x:99999", "http://[v1.x]"])
def test_url_that_no_library_takes_is_a_store_that_is_away(url: str) -> None:
    """Attack: announce one, and end whoever looks at all tasks."""
    with pytest.raises(StoreUnavailable):
        HttpBackend(url, attempts=1).exists("blob/ab")
