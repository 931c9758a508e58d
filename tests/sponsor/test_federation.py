"""A task on a model that its trainers never hold: played on a chain, judged on emulators, valued on the full model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from deltaproof.auditor.audit.case import AuditOptions
from deltaproof.auditor.audit.check import Check, Status
from deltaproof.auditor.auditing import AuditSource, run_audit
from deltaproof.auditor.explain import explain
from deltaproof.auditor.session import open_index
from deltaproof.chain import load_account
from deltaproof.chain.local_node import start_node
from deltaproof.chain.participation import settled_leaves
from deltaproof.errors import SpecError
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.outcome.settlement import SettlementLeaf, Verdict
from deltaproof.protocol.terms.federation import FederationSection
from deltaproof.protocol.types import RoundIndex
from deltaproof.sponsor.drafts import prepare_task
from deltaproof.tuning.base_models.layers import layer_of
from deltaproof.tuning.base_models.loading import resolve_source
from deltaproof.tuning.base_models.presets import minimal_model
from incentives.scoring import RoundScores
from tests.worlds.roles import RoleWorld, build_world

DEPTH = 5
EMULATORS = """
[[federation.emulators]]
name = "small"
recipe = { ratio = 0.1, bits = 8 }
[[federation.emulators]]
name = "large"
recipe = { ratio = 0.5, bits = 16, select = "importance" }
"""


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleWorld]:
    """One round: two honest trainers and a cheat, on two emulators, and a verifier that holds the full model."""
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("federation")
    patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    full = minimal_model(folder / "full", "bert", layers=DEPTH)
    with start_node("anvil", accounts=12) as node:
        people = [load_account(node.private_keys[number]).address for number in (2, 3, 4)]
        assigned = "".join(
            f'[[federation.assignments]]\ntrainer = "{person}"\nemulator = "{name}"\n'
            for person, name in zip(people, ("small", "large", "small"), strict=True)
        )
        server = f'[federation.server]\ntrainer = "{people[1]}"\npaid = true\n'
        tables = EMULATORS + assigned + server
        world = build_world(node, folder, rounds=1, honest=2, verifiers=1, model=full, federation=tables)
        world.play(1)
        yield world
        world.close()
    patch.undo()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleWorld]:
    """The owner trains without pay. In the second round the verifier lies: about another's pay, and the gap."""
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("server")
    patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    full = minimal_model(folder / "full", "bert", layers=DEPTH)
    with start_node("anvil", accounts=12) as node:
        owner = load_account(node.private_keys[2]).address
        tables = EMULATORS + f'[federation.server]\ntrainer = "{owner}"\n'
        world = build_world(node, folder, rounds=2, honest=2, verifiers=1, model=full, federation=tables, floor_bps=0)
        world.play(1)
        verifier, robbed = world.verifiers[0], world.trainers[1].account
        honest = verifier.examiner._score

        def lying(*args: Any) -> RoundScores:
            scores = honest(*args)
            finding = scores.findings[robbed].model_copy(update={"discount_bps": 10_000})
            assert scores.game is not None
            flattered = [score.model_copy(update={"loss": score.loss - 0.01}) for score in scores.game.emulators]
            game = scores.game.model_copy(update={"emulators": tuple(flattered)})
            return replace(scores, findings={**scores.findings, robbed: finding}, game=game)

        patch.setattr(verifier.examiner, "_score", lying)
        world.play(1)
        yield world
        world.close()
    patch.undo()


def leaves_of(world: RoleWorld, number: int = 1) -> dict[str, SettlementLeaf]:
    round_ = RoundIndex(number)
    view = world.gateway.tasks.round(world.task, round_)
    proposal = settled_leaves(world.gateway, world.store, world.task, round_, view)
    assert proposal is not None
    return {leaf.trainer: leaf for leaf in proposal.leaves}


def federation_of(world: RoleWorld) -> FederationSection:
    federation = world.trainers[0].spec.federation
    assert federation is not None
    return federation


def audited(world: RoleWorld, rounds: list[int] | None = None, **options: object) -> list[Check]:
    index, _ = open_index(world.rpc, world.contract)
    source = AuditSource(index, world.store, world.rpc)
    depth = AuditOptions(**{"replays": 2, "rescore": True, **options})  # type: ignore[arg-type]
    return list(run_audit(source, depth, None, rounds).checks)


def own_leaf(world: RoleWorld, trainer: int, number: int = 1) -> SettlementLeaf:
    return leaves_of(world, number)[world.trainers[trainer].account]


def test_audit_without_the_full_model_replays_and_says_what_it_cannot_check(played: RoleWorld) -> None:
    """First, while nothing in this process has loaded the full model for an audit."""
    full = resolve_source(federation_of(played).source)
    away = full.rename(full.with_name("locked away"))
    try:
        checks = audited(played)
    finally:
        away.rename(full)
    assert [str(check) for check in checks if check.status is Status.FAIL] == []
    passed = {check.name for check in checks if check.status is Status.PASS}
    assert {"replay", "rejection", "opening", "score", "emulator loss"} <= passed
    unchecked = [check for check in checks if check.status is Status.NOT_CHECKABLE]
    without = {"coalition players", "coalition values", "losses", "next adapter", "emulator"}
    assert without == {check.name for check in unchecked}
    assert all("full model" in str(check) for check in unchecked)


def test_audit_with_the_full_model_checks_values_as_well(played: RoleWorld) -> None:
    checks = audited(played, official_replays=True)
    assert [str(check) for check in checks if check.status is not Status.PASS] == []
    recomputed = {"coalition values", "next adapter", "official replays", "end loss", "emulator loss", "emulator"}
    assert recomputed <= {check.name for check in checks}


def test_honest_trainers_are_paid_and_the_cheat_is_caught(played: RoleWorld) -> None:
    leaves = [leaves_of(played)[trainer.account] for trainer in played.trainers]
    assert [leaf.verdict for leaf in leaves] == [Verdict.ACCEPTED, Verdict.ACCEPTED, Verdict.REJECTED]
    assert leaves[0].payout + leaves[1].payout > 0
    assert leaves[2].payout == 0


def test_trainers_work_on_what_they_were_assigned(played: RoleWorld) -> None:
    small, large = federation_of(played).emulators
    held = [trainer.workshop.bench.spec.model.weights_digest for trainer in played.trainers]
    assert held == [small.weights_digest, large.weights_digest, small.weights_digest]
    assert len(small.layers) < len(large.layers) <= DEPTH


def test_no_matrix_of_the_middle_is_in_anything_that_trainers_can_reach(played: RoleWorld) -> None:
    """Not in the store, where everything that travels lies, nor in the models that trainers compute on."""
    full = resolve_source(federation_of(played).source)
    secret = {
        name: tensor.numpy().tobytes()
        for name, tensor in load_file(full / "model.safetensors").items()
        if layer_of(name) in range(1, DEPTH - 1) and tensor.ndim == 2
    }
    assert len(secret) >= 6 * (DEPTH - 2)
    held = [path.read_bytes() for path in played.store_folder.rglob("*") if path.is_file()]
    for emulator in federation_of(played).emulators:
        held += [path.read_bytes() for path in resolve_source(emulator.source).glob("*.safetensors")]
    for name, content in secret.items():
        assert not any(content in data for data in held), name


def test_paid_server_is_paid_like_anybody(played: RoleWorld) -> None:
    server = federation_of(played).server
    assert server is not None
    leaf = leaves_of(played)[server.trainer]
    assert (leaf.verdict, leaf.discount_bps) == (Verdict.ACCEPTED, 0)
    assert leaf.payout >= 100_000  # its floor


def test_unpaid_server_is_verified_and_scored_and_others_share_the_pool(served: RoleWorld) -> None:
    assert [str(check) for check in audited(served, [1]) if check.status is not Status.PASS] == []
    server, other = own_leaf(served, 0), own_leaf(served, 1)
    assert (server.verdict, server.discount_bps, server.payout) == (Verdict.ACCEPTED, 10_000, 0)
    assert server.score_nanos > 0
    assert server.stderr_nanos > 0
    assert other.discount_bps == 0
    assert other.payout == (1_000_003 if other.score_nanos > 0 else 200_000)  # the base


def test_unpaid_server_takes_part_in_the_next_adapter(served: RoleWorld) -> None:
    """Its complete discount makes no copy of it."""
    start = served.trainers[0].spec.start_digest
    assert own_leaf(served, 0).score_nanos > 0
    assert served.gateway.tasks.round(served.task, RoundIndex(2)).start_digest != start


def test_verifier_that_takes_a_trainers_pay_as_if_it_were_the_server_is_caught(served: RoleWorld) -> None:
    robbed = own_leaf(served, 1, 2)
    assert (robbed.discount_bps, robbed.payout) == (10_000, 0)
    failures = [check for check in audited(served, [2], models=False) if check.status is Status.FAIL]
    assert {check.name for check in failures} == {"discount"}
    assert all(robbed.trainer in str(check) for check in failures)


def test_verifier_that_tells_another_gap_is_caught(served: RoleWorld) -> None:
    failures = [check for check in audited(served, [2], replays=0, rescore=False) if check.status is Status.FAIL]
    assert {check.name for check in failures} == {"discount", "emulator loss"}
    assert sum(check.name == "emulator loss" for check in failures) == 2


def test_gap_between_emulator_and_full_model_is_told(played: RoleWorld) -> None:
    index, _ = open_index(played.rpc, played.contract)
    told = explain(index, played.store, played.task, 1, played.trainers[0].account)
    scores = told.numbers["emulators"]
    assert [score["emulator"] for score in scores] == ["small", "large"]
    assert all(0.0 < score["loss"] < 10.0 for score in scores)
    assert sum("plugged into the full model" in line for line in told.lines) == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("paid = true", "paid = false", "does not pay"),
        ("ratio = 0.1, bits = 8", "ratio = 0.1", "as they are"),
        ("ratio = 0.1, bits = 8", "ratio = 0.1, bitz = 8", "bitz"),
        ("first = 1", "first = 9", "no middle"),
        ('name = "lora"', 'name = "prefix"', "other tensors|does not fit"),
    ],
)
def test_draft_that_makes_no_emulator_says_why(
    played: RoleWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, message: str
) -> None:
    from deltaproof.errors import DeltaproofError

    folder = played.store_folder.parent
    text = (folder / "draft.toml").read_text().replace("[federation]", "[federation]\nfirst = 1")
    if "prefix" in new:
        text = text.replace("r = 2\nlora_alpha = 4", "num_virtual_tokens = 2")
    assert old in text
    for name in ("validation.jsonl", "test.jsonl", "public.jsonl"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "draft.toml").write_text(text.replace(old, new))
    with pytest.raises(DeltaproofError, match=message):
        prepare_task(tmp_path / "draft.toml", HomeSecret.of(tmp_path / "home"))


def test_draft_without_public_rows_is_refused(played: RoleWorld, tmp_path: Path) -> None:
    draft = tmp_path / "draft.toml"
    draft.write_text((played.store_folder.parent / "draft.toml").read_text().replace('public = "public.jsonl"', ""))
    with pytest.raises(SpecError, match="lacks 'public'"):
        prepare_task(draft, HomeSecret.of(tmp_path / "home"))
