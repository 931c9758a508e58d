"""Every method and every codec in a whole round on a chain, with a cheat that is caught; the last ones audited."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deltaproof.chain import Deployment, Gateway
from deltaproof.chain.abi.enums import Role
from deltaproof.chain.abi.structs import RoundView
from deltaproof.chain.local_node import Node, start_node
from deltaproof.chain.participation import settled_leaves
from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.outcome.settlement import SettlementLeaf, Verdict
from deltaproof.protocol.types import ZERO_DIGEST, RoundIndex, TaskId
from deltaproof.store import ArtifactStore
from deltaproof.tuning.codecs import EncodedDelta, Mask
from deltaproof.tuning.methods.low_rank import tensors_of
from deltaproof.tuning.training.workbench import Workbench
from tests.tuning.method_cases import CASES, method_section
from tests.worlds.roles import RoleWorld, build_world
from trainer.life import Trainer
from verifier.facts import read_case

CODECS: tuple[dict[str, Any], ...] = (
    {"name": "float16"},
    {"name": "bfloat16"},
    {"name": "int8"},
    {"name": "int4", "options": {"block": 32}},
    {"name": "dorefa", "options": {"bits": 2, "block": 256}},
    {"name": "dorefa", "options": {"bits": 1, "block": 64}},
    {"name": "sign", "options": {"block": 64}},
    {"name": "two_bit", "options": {"block": 64}},
    {"name": "top_k|two_bit", "options": {"fraction": 0.1}},
    {"name": "threshold|int8", "options": {"threshold": 1.5}},
    {"name": "dropout", "options": {"fraction": 0.5}},
    {"name": "low_rank|int8", "options": {"rank": 2}},
    {"name": "float32"},
)
PAIRINGS = [(name, CODECS[number % len(CODECS)]) for number, name in enumerate(sorted(CASES))]


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with start_node("anvil", accounts=12) as started:
        yield started


Play = Callable[..., RoleWorld]


@pytest.fixture(scope="module")
def play(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Play:
    """A task of its own for each method, on one deployment, with the same people."""
    folder = tmp_path_factory.mktemp("on-chain")
    deployments: list[Deployment] = []

    def played(method: str, codec: dict[str, Any]) -> RoleWorld:
        section = method_section(method, folder / "bert")
        world = build_world(
            node, folder, rounds=1, honest=1, verifiers=1, model=folder / "bert",
            method=_toml("method", section), codec=_toml("codec", codec).removeprefix("[codec]\n"),
            deployment=deployments[0] if deployments else None,
        )  # fmt: skip
        deployments.append(world.gateway.deployment)
        try:
            world.play(1)
        finally:
            world.close()
        return world

    return played


def leaves_of(world: RoleWorld, number: int) -> dict[str, SettlementLeaf]:
    round_ = RoundIndex(number)
    view = world.gateway.tasks.round(world.task, round_)
    proposal = settled_leaves(world.gateway, world.store, world.task, round_, view)
    assert proposal is not None
    return {leaf.trainer: leaf for leaf in proposal.leaves}


@pytest.mark.parametrize(("method", "codec"), PAIRINGS, ids=[f"{m}-{c['name']}" for m, c in PAIRINGS])
def test_round_is_verified_scored_and_paid(play: Play, method: str, codec: dict[str, Any]) -> None:
    world = play(method, codec)
    honest, cheat = (leaves_of(world, 1)[trainer.account] for trainer in world.trainers)
    assert honest.verdict is Verdict.ACCEPTED
    assert honest.score_nanos != 0
    assert honest.payout > 0
    assert world.gateway.vault.has_claimed(world.task, RoundIndex(1), honest.trainer)
    assert cheat.verdict is Verdict.REJECTED
    assert cheat.payout == 0
    assert world.gateway.registry.stake_of(cheat.trainer, Role.TRAINER).free == 0, "and slashed"


def sent_by(trainer: Trainer, round_: RoundIndex) -> EncodedDelta:
    """The delta of a round, found again in the trainer's home."""
    done = trainer.workshop.train(trainer.context(round_), lambda: None)
    assert done.delta is not None
    return done.delta


def test_feedback_goes_on_over_rounds_and_the_audit_agrees(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deltaproof.auditor.audit.run import Audit, one_process
    from deltaproof.auditor.facts.loading import load_round
    from deltaproof.auditor.session import open_index

    codec = {"name": "top_k|two_bit", "options": {"fraction": 0.05, "error_feedback": True}}
    section = method_section("adalora", tmp_path / "bert")
    world = build_world(
        node, tmp_path, rounds=2, honest=2, verifiers=1, model=tmp_path / "bert",
        method=_toml("method", section), codec=_toml("codec", codec).removeprefix("[codec]\n"),
    )  # fmt: skip
    world.play(2)
    trainer = world.trainers[0]
    context = trainer.context(RoundIndex(2))
    assert context.error_root != ZERO_DIGEST, "what the first round lost goes into the second"
    assert world.trainers[-1].context(RoundIndex(2)).error_root == ZERO_DIGEST, "a cheat's memory is void"
    memory = trainer.workshop.memory(context)
    assert memory is not None
    assert np.count_nonzero(memory)
    assert leaves_of(world, 2)[trainer.account].verdict is Verdict.ACCEPTED
    sent = len(sent_by(trainer, RoundIndex(2)).data)
    assert sent < 4 * trainer.workshop.bench.layout.size / 10
    leaves_before_are_read_once(world, monkeypatch)
    read: list[int] = []
    monkeypatch.setattr(
        "deltaproof.auditor.audit.case.load_round", lambda *about: read.append(about[2]) or load_round(*about)
    )
    audit(world, Audit, one_process, open_index)
    assert read == [1], "an audit reads the round before once, not once for each opening"
    world.close()


def leaves_before_are_read_once(world: RoleWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A verifier's case of round 2 looks up whose memory counts once, not once a trainer; each gets its own root."""
    asked: list[int] = []

    def counted(gateway: Gateway, store: ArtifactStore, task: TaskId, round_: RoundIndex, view: RoundView) -> object:
        asked.append(round_)
        return settled_leaves(gateway, store, task, round_, view)

    monkeypatch.setattr("deltaproof.chain.memory.settled_leaves", counted)
    judge = world.verifiers[0]
    case = read_case(judge.gateway, judge.store, judge.log, judge.spec, world.task, RoundIndex(2))
    assert asked == [1]
    roots = {one.trainer: one.error_root for one in case.submissions}
    assert len(set(roots.values())) == len(roots) == 2, "of two honest trainers; the cheat was slashed and is gone"
    assert roots == {one.account: one.context(RoundIndex(2)).error_root for one in world.trainers[:2]}


def test_dropout_of_ranks_is_aggregated_by_who_tuned_what_and_the_audit_agrees(node: Node, tmp_path: Path) -> None:
    from deltaproof.auditor.audit.run import Audit, one_process
    from deltaproof.auditor.session import open_index

    codec = {"name": "dropout|int8", "options": {"fraction": 0.5}}
    section = method_section("lora", tmp_path / "bert")
    world = build_world(
        node, tmp_path, rounds=2, honest=2, verifiers=1, model=tmp_path / "bert",
        method=_toml("method", section), codec=_toml("codec", codec).removeprefix("[codec]\n"),
        aggregation='include = "accepted"',  # chance decides whose delta of a tiny model helps; here both count
    )  # fmt: skip
    world.play(2)
    bench, first = world.trainers[0].workshop.bench, RoundIndex(1)
    leaves = leaves_of(world, 1)
    included = [trainer for trainer in world.trainers if leaves[trainer.account].verdict is Verdict.ACCEPTED]
    assert len(included) == 2
    masks = [bench.codec.mask(trainer.context(first).key) for trainer in included]
    sent = [tensors_of(bench.layout, sent_by(trainer, first).theta) for trainer in included]
    after = tensors_of(bench.layout, trainer_start(world, 2))
    # The challenge seed decides who tunes which ranks: a pair in which they differ.
    by_pair = [(pair, tuners_of(bench, masks, pair.a)) for pair in bench.pairs]
    pair, tuners = next((pair, tuners) for pair, tuners in by_pair if 1 in map(len, tuners))
    expected = np.zeros((len(sent[0][pair.b]), sent[0][pair.a].shape[1]))
    for rank, who in enumerate(tuners):
        products = [np.outer(sent[i][pair.b][:, rank], sent[i][pair.a][rank]) for i in who or range(2)]
        expected += np.mean(products, axis=0)
    lost = np.linalg.norm(after[pair.b] @ after[pair.a] - expected) / np.linalg.norm(expected)
    assert lost < 1e-5
    audit(world, Audit, one_process, open_index)
    world.close()


def tuners_of(bench: Workbench, masks: list[Mask], factor: str) -> list[list[int]]:
    """By rank of the factor A of this name: which of the masks hold it."""
    where = bench.layout.slices[factor]
    ranks = [mask[where].reshape(bench.layout.shapes[bench.layout.names.index(factor)])[:, 0] for mask in masks]
    return [[i for i, held in enumerate(by_mask) if held] for by_mask in zip(*ranks, strict=True)]


def audit(world: RoleWorld, audit_class: Any, pool: Any, open_index: Any) -> None:
    from deltaproof.auditor.audit.case import AuditOptions

    index, _ = open_index(world.rpc, world.contract)
    options = AuditOptions(replays=2, rescore=True)
    checks = list(
        audit_class(index, world.store, world.rpc, options, whole=False).run([world.task], None, lambda _: None, pool)
    )
    failed = [check for check in checks if check.status.value == "fail"]
    assert not failed, failed[:3]
    names = {check.name for check in checks}
    assert {"delta", "replay", "next adapter", "coalition values"} <= names


def trainer_start(world: RoleWorld, number: int) -> Vector:
    """The adapter that a round starts from."""
    view = world.gateway.tasks.round(world.task, RoundIndex(number))
    return world.store.get_tensors(view.start_digest, world.trainers[0].workshop.bench.layout.size)


def _toml(section: str, value: dict[str, Any]) -> str:
    lines = [f"[{section}]"]
    lines += [f"{key} = {json.dumps(item)}" for key, item in value.items() if key != "options"]
    lines += [f"[{section}.options]"]
    lines += [f"{key} = {json.dumps(item)}" for key, item in value.get("options", {}).items()]
    return "\n".join(lines)
