"""Rounds played by the roles' own code in one process, on Anvil with the contracts and a tiny model."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from deltaproof.auditor.index.rpc import Rpc
from deltaproof.chain import (
    Deployment,
    DeployParams,
    Gateway,
    TransactionSender,
    connect,
    deploy_all,
    load_account,
)
from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.abi.structs import BeaconNetwork
from deltaproof.chain.contracts.tasks import task_params
from deltaproof.chain.local_node import Node
from deltaproof.chain.seeds import bring_seed
from deltaproof.demo.cheat import SkipHalf
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.evidence.rows import canonical_row, parse_row, write_shard
from deltaproof.protocol.types import Address, RoundIndex, TaskId, TokenAmount
from deltaproof.sponsor.drafts import prepare_task
from deltaproof.sponsor.keeping import publish_task
from deltaproof.sponsor.life import Sponsor, create_task
from deltaproof.store import ArtifactStore, open_store
from deltaproof.tuning.base_models.presets import minimal_model
from deltaproof.tuning.training.optimizers import constants_root, constants_table
from trainer.conduct import Conduct, Honest
from trainer.life import Trainer
from verifier.life import Verifier

DRAFT = """
[task]
name = "minimal"
[model]
kind = "sequence-classification"
{source}
num_labels = 2
max_tokens = 24
{method}
[optimizer]
name = "adam"
learning_rate = 5e-3
[training]
steps = {steps}
batch_size = 4
{training}
[data]
{data}
[codec]
byte_limit = 1_000_000
{codec}
[scoring]
budget = 16
{scoring}
[aggregation]
{aggregation}
[validation]
rows = 12
[rewards]
rounds = {rounds}
budget_per_round = "1000003"
verifier_fee_bps = 1_000
floor_bps = {floor_bps}
[verification]
samples = {samples}
commit_bond = "10"
slash_bps = 5_000
min_trainer_stake = "100"
min_verifier_stake = "100"
max_trainers = {max_trainers}
{verification}
[phases]
commit = {phase_seconds}
reveal = {phase_seconds}
opening = {phase_seconds}
attest_commit = {phase_seconds}
attest_reveal = {phase_seconds}
settle = {phase_seconds}
window = {window_seconds}
{phases}
[sponsor]
validation = "validation.jsonl"
test = "test.jsonl"
{shards}
{public}
{federation}
"""
LORA = """
[method]
name = "lora"
[method.options]
r = 2
lora_alpha = 4
"""
FUND = 10**9
PASSES = 4
TURNS_SECONDS = 60.0
"""Whoever is absent has its turn to post as well; the others wait for it."""
WORDS = {0: ("bad", "poor", "awful", "sad"), 1: ("good", "fine", "great", "glad")}


@dataclass(frozen=True)
class TaskDraft:
    """What differs between the tasks of tests: TOML of some tables, numbers, the full model, the named shards."""

    rounds: int = 2
    method: str = LORA
    codec: str = ""
    """Keys of the spec's table, as are `training`, `data`, `scoring` and `aggregation`."""
    training: str = ""
    data: str = ""
    scoring: str = ""
    aggregation: str = ""
    steps: int = 6
    federation: str = ""
    floor_bps: int = 1_000
    max_trainers: int = 64
    verification: str = ""
    samples: int = 1
    phase_seconds: int = 600
    window_seconds: int = 10
    phases: str = ""
    """Other keys of that table."""
    model: Path | None = None
    named: tuple[tuple[bytes, ...], ...] = ()


def silent(_event: str, _message: str, **_fields: object) -> None:
    """Nobody listens."""


@dataclass
class RoleWorld:
    """A deployment with one task and everybody who takes part in it."""

    node: Node
    gateway: Gateway
    store: ArtifactStore
    store_folder: Path
    task: TaskId
    sponsor: Sponsor
    trainers: list[Trainer]
    verifiers: list[Verifier]
    senders: list[TransactionSender]

    @property
    def contract(self) -> Address:
        return self.gateway.tasks.address

    @property
    def rpc(self) -> Rpc:
        return Rpc(self.node.rpc_url)

    def raw(self, method: str, *params: Any) -> Any:
        return self.rpc.call(method, *params)

    def skip_time(self, seconds: int) -> None:
        self.raw("evm_increaseTime", seconds)
        self.raw("evm_mine")

    def play(self, rounds: int) -> None:
        """Whole rounds, each role's own code in each phase."""
        for _ in range(rounds):
            self.open_round()
            self.work()
            self.attest()
            self.settle()

    def open_round(self) -> RoundIndex:
        self.sponsor.admissions.mind()
        for role in (*self.trainers, *self.verifiers):
            assert role.entrance.is_open(), "the sponsor admits everybody to a private task"
        self.gateway.tasks.open_round(self.task)
        self.until(Phase.COMMIT)
        return self.gateway.tasks.phase(self.task).round

    def work(self) -> None:
        round_ = self.gateway.tasks.phase(self.task).round
        for trainer in self.trainers:
            trainer.commit(round_)
        self.until(Phase.REVEAL)
        for trainer in self.trainers:
            trainer.reveal(round_)
        self.until(Phase.OPENING)
        self.sponsor.reveal(round_)
        for trainer in self.trainers:
            trainer.opening(round_)
        self.until(Phase.ATTEST_COMMIT)

    def attest(self) -> None:
        round_ = self.gateway.tasks.phase(self.task).round
        for _ in range(PASSES):  # where committees replay, each waits for what the others sealed
            for verifier in self.verifiers:
                verifier.attest_commit(round_)
            if self.gateway.tasks.phase(self.task).phase is not Phase.ATTEST_COMMIT:
                break
        self.until(Phase.ATTEST_REVEAL)
        for verifier in self.verifiers:
            verifier.attest_reveal(round_)
        self.until(Phase.SETTLE)

    def post(self) -> None:
        """A settlement is signed and posted; the dispute window opens."""
        round_ = self.gateway.tasks.phase(self.task).round
        patience = time.monotonic() + TURNS_SECONDS
        while time.monotonic() < patience:
            for verifier in self.verifiers:
                if self.gateway.tasks.phase(self.task).phase is Phase.WINDOW:
                    return
                verifier.settle(round_)
        raise AssertionError("no settlement was posted")

    def settle(self, before_end: Callable[[], None] = lambda: None) -> None:
        """`before_end` is called in the dispute window."""
        round_ = self.gateway.tasks.phase(self.task).round
        self.post()
        before_end()
        self.skip_time(11)
        self.gateway.tasks.finalize(self.task)
        for trainer in self.trainers:
            trainer.collect(round_)
            trainer.mind_stake()
        for verifier in self.verifiers:
            verifier.close_rounds(round_)

    def until(self, phase: Phase) -> None:
        for _ in range(20):
            view = self.gateway.tasks.phase(self.task)
            if view.phase is phase:
                return
            if view.phase in (Phase.DRAW, Phase.CHALLENGE):
                self.bring_seed()
            else:
                self.skip_time(601)
            self.gateway.tasks.advance(self.task)
        raise AssertionError(f"never came to {phase.name}, stuck in {view.phase.name}")

    def bring_seed(self) -> None:
        """As a role does: from blocks at once, from drand when its round has come."""
        request = self.gateway.tasks.seed_request(self.task)
        for _ in range(10):
            if bring_seed(self.gateway, request, self.gateway.connection.timestamp()):
                return
            self.skip_time(2)
        raise AssertionError("the round of drand never came")

    def close(self) -> None:
        for sender in self.senders:
            sender.close()


def build_world(
    node: Node,
    folder: Path,
    *,
    rounds: int = 2,
    honest: int = 3,
    verifiers: int = 3,
    method: str = LORA,
    codec: str = "",
    federation: str = "",
    model: Path | None = None,
    floor_bps: int = 1_000,
    max_trainers: int = 64,
    verification: str = "",
    samples: int = 1,
    training: str = "",
    data: str = "",
    scoring: str = "",
    aggregation: str = "",
    steps: int = 6,
    cheat: Conduct | None = None,
    shards: Sequence[int] | None = None,
    named: bool = True,
    unread: bool = False,
    deployment: Deployment | None = None,
    drand: BeaconNetwork | None = None,
    window_seconds: int = 10,
    phases: str = "",
    stores: str = "",
) -> RoleWorld:
    """Deploy, fund a task, and enrol `honest` trainers, one cheat and the verifiers.

    `method`, `codec`, `training`, `data`, `scoring`, `aggregation`, `verification` and `federation` are TOML: the
    spec's tables of the method, keys of its tables of codec, training, data, scoring, aggregation and verification, the
    tables of a federation whose full model `model` is. `cheat` is what the last trainer does.
    With `shards` each trainer, the cheat last, takes the one of its number, and if they are `named` the task takes no
    others; else all have data of their own. `unread`: who has a shard that another one has enrols it with other words
    behind what the model reads. With a `deployment` the same people meet again on it, in the same
    `folder`. `drand`: a network whose rounds are seeds. `phases`: keys of that table. `stores`: what the sponsor
    announces on chain.
    """
    torch.set_num_threads(1)
    connection = connect(node.rpc_url)
    senders: list[TransactionSender] = []

    def gateway(number: int, deployment: Deployment) -> Gateway:
        sender = TransactionSender(connection, load_account(node.private_keys[number]), state_folder=folder / "state")
        senders.append(sender)
        return Gateway(connection, deployment, sender)

    deployer = TransactionSender(connection, load_account(node.private_keys[0]), state_folder=folder / "state")
    senders.append(deployer)
    deployment = deployment or deploy_all(connection, deployer, DeployParams(deployer.address, drand=drand))
    token = Gateway(connection, deployment, deployer)
    money = token.token(token.registry.token())
    count = 1 + honest + 1 + verifiers
    for number in range(1, 1 + count):
        money.mint(Address(load_account(node.private_keys[number]).address), TokenAmount(10 * FUND))

    store = open_store(str(folder / "store"))
    rows = [
        shard_rows(20, seed=n, flipped=shards is None and n == honest - 1, unlike=not named)
        for n in shards or range(honest + 1)
    ]
    if unread:
        rows = [with_unread(own, n) if own in rows[:n] else own for n, own in enumerate(rows)]
    sponsor_gateway = gateway(1, deployment)
    draft = TaskDraft(
        rounds=rounds, method=method, codec=codec, training=training, data=data, scoring=scoring,
        aggregation=aggregation, steps=steps, federation=federation,
        window_seconds=window_seconds, phases=phases, floor_bps=floor_bps, max_trainers=max_trainers,
        verification=verification, samples=samples, model=model,
        named=tuple(dict.fromkeys(rows)) if shards and named else (),
    )  # fmt: skip
    task = fund_task(sponsor_gateway, store, folder, draft, stores)
    sponsor = Sponsor(
        sponsor_gateway, store, task, folder / "sponsor", silent, trainers=honest + 1, verifiers=verifiers
    )
    trainers = []
    for number in range(honest + 1):
        conduct = Honest() if number < honest else cheat or SkipHalf()
        home = folder / f"trainer-{number}"
        own = gateway(2 + number, deployment)
        trainers.append(Trainer(own, store, task, rows[number], home, conduct, silent, top_up=True, poll_seconds=0.01))
    judges = [
        Verifier(gateway(3 + honest + n, deployment), store, task, folder / f"verifier-{n}", silent, poll_seconds=0.01)
        for n in range(verifiers)
    ]
    for role in (*trainers, *judges):
        role.join()
    return RoleWorld(node, sponsor_gateway, store, folder / "store", task, sponsor, trainers, judges, senders)


def fund_task(gateway: Gateway, store: ArtifactStore, folder: Path, draft: TaskDraft, stores: str = "") -> TaskId:
    """A funded task of a tiny model; its files, and the sponsor's home, lie in the folder."""
    model = draft.model or minimal_model(folder / "model", "bert")
    write_shard(folder / "validation.jsonl", shard_rows(12 * draft.rounds, seed=100))
    write_shard(folder / "test.jsonl", shard_rows(12, seed=101))
    files = [f"shard-{number}.jsonl" for number in range(len(draft.named))]
    for file, rows in zip(files, draft.named, strict=True):
        write_shard(folder / file, rows)
    source, public, federation = f'source = "path:{model}"', "", ""
    if draft.federation:
        write_shard(folder / "public.jsonl", shard_rows(6, seed=102))
        federation = f"[federation]\n{source}\n{draft.federation}"
        source, public = "", 'public = "public.jsonl"'
    keys = {
        **{field.name: getattr(draft, field.name) for field in fields(draft)},
        # What a draft that does not say so would leave to `deltaproof.sponsor.open_pay`.
        "scoring": draft.scoring if "index" in draft.scoring else f'index = "shapley"\n{draft.scoring}',
        "source": source,
        "public": public,
        "federation": federation,
        "shards": f"shards = {json.dumps(files)}" if files else "",
    }
    (folder / "draft.toml").write_text(DRAFT.format(**keys))
    prepared = prepare_task(folder / "draft.toml", HomeSecret.of(folder / "sponsor"))
    params = task_params(
        prepared.spec,
        token=gateway.registry.token(),
        parameters=len(prepared.start),
        constants_root=constants_root(constants_table(prepared.spec.optimizer, prepared.spec.training.steps)),
    )
    task, _ = create_task(gateway, prepared, params, TokenAmount(FUND), folder / "sponsor", stores)
    publish_task(folder / "sponsor", params.spec_hash, len(prepared.start), store)
    return task


def shard_rows(count: int, *, seed: int, flipped: bool = False, unlike: bool = False) -> tuple[bytes, ...]:
    """Rows whose words tell their label, or, `flipped`, the other one. Each once: judges refuse a row twice.

    `unlike`: no two are near one another, nor near those of another seed.
    """
    draw = random.Random(seed)
    words = 3 if count <= 100 else 6  # there are 64 texts of three words
    rows: dict[bytes, None] = {}
    while len(rows) < count:
        label = len(rows) % 2
        text = " ".join(draw.choice(WORDS[label]) for _ in range(words)) + f" {seed}n{len(rows)}" * unlike
        rows[canonical_row({"text": text, "label": 1 - label if flipped else label})] = None
    return tuple(rows)


def with_unread(rows: Sequence[bytes], number: int) -> tuple[bytes, ...]:
    """The rows with words behind `max_tokens`, which no model reads; the tokeniser's tokens are bytes."""
    parsed = [parse_row(row) for row in rows]
    tails = (" ".join(f"unread{number}n{i}n{j}" for j in range(12)) for i in range(len(rows)))
    return tuple(
        canonical_row({**row, "text": f"{row['text']!s:24} {tail}"}) for row, tail in zip(parsed, tails, strict=True)
    )
