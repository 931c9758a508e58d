"""A task on a model that its trainers never hold: played on a chain, judged on emulators, valued on the full model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parents[1] / "auditor"))

from world import World, build_world

from auditor.audit.case import AuditOptions
from auditor.audit.check import Check, Status
from auditor.auditing import AuditSource, run_audit
from auditor.session import open_index
from deltaproof.chain_node import start_node
from deltaproof.drafts import prepare_task
from deltaproof.errors import UsageError
from protocol.chain import load_account
from protocol.chain.participation import settled_leaves
from protocol.federation import FederationSection
from protocol.secrets import HomeSecret
from protocol.settlement import SettlementLeaf, Verdict
from protocol.types import RoundIndex
from tuning.emulators.layers import layer_of
from tuning.models import resolve_source
from tuning.presets import minimal_model

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
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
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
        world = build_world(node, folder, rounds=1, honest=2, verifiers=1, model=full, federation=EMULATORS + assigned)
        world.play(1)
        yield world
        world.close()
    patch.undo()


def leaves_of(world: World) -> dict[str, SettlementLeaf]:
    view = world.gateway.tasks.round(world.task, RoundIndex(1))
    verifiers = world.gateway.verifiers.enrolments(world.task)
    proposal = settled_leaves(world.store, world.task, RoundIndex(1), view.settlement, verifiers)
    assert proposal is not None
    return {leaf.trainer: leaf for leaf in proposal.leaves}


def federation_of(world: World) -> FederationSection:
    federation = world.trainers[0].spec.federation
    assert federation is not None
    return federation


def audited(world: World, **options: object) -> list[Check]:
    index, _ = open_index(world.rpc, world.contract)
    source = AuditSource(index, world.store, world.rpc)
    return list(run_audit(source, AuditOptions(**{"replays": 2, "rescore": True, **options})).checks)  # type: ignore[arg-type]


def test_audit_without_the_full_model_replays_and_says_what_it_cannot_check(played: World) -> None:
    """First, while nothing in this process has loaded the full model for an audit."""
    full = resolve_source(federation_of(played).source)
    away = full.rename(full.with_name("locked away"))
    try:
        checks = audited(played)
    finally:
        away.rename(full)
    assert [str(check) for check in checks if check.status is Status.FAIL] == []
    passed = {check.name for check in checks if check.status is Status.PASS}
    assert {"replay", "rejection", "opened rows", "score"} <= passed
    unchecked = [check for check in checks if check.status is Status.NOT_CHECKABLE]
    assert {"coalition values", "next adapter"} == {check.name for check in unchecked}
    assert all("full model" in str(check) for check in unchecked)


def test_audit_with_the_full_model_checks_values_as_well(played: World) -> None:
    checks = audited(played, official_replays=True)
    assert [str(check) for check in checks if check.status is not Status.PASS] == []
    assert {"coalition values", "next adapter", "official replays"} <= {check.name for check in checks}


def test_honest_trainers_are_paid_and_the_cheat_is_caught(played: World) -> None:
    leaves = [leaves_of(played)[trainer.account] for trainer in played.trainers]
    assert [leaf.verdict for leaf in leaves] == [Verdict.ACCEPTED, Verdict.ACCEPTED, Verdict.REJECTED]
    assert leaves[0].payout + leaves[1].payout > 0
    assert leaves[2].payout == 0


def test_trainers_work_on_what_they_were_assigned(played: World) -> None:
    small, large = federation_of(played).emulators
    held = [trainer.bench.spec.model.weights_digest for trainer in played.trainers]
    assert held == [small.weights_digest, large.weights_digest, small.weights_digest]
    assert len(small.layers) < len(large.layers) <= DEPTH


def test_no_matrix_of_the_middle_is_in_anything_that_trainers_can_reach(played: World) -> None:
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


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ratio = 0.1, bits = 8", "ratio = 0.1", "as they are"),
        ("ratio = 0.1, bits = 8", "ratio = 0.1, bitz = 8", "bitz"),
        ("first = 1", "first = 9", "no middle"),
        ('name = "lora"', 'name = "prefix"', "other tensors|does not fit"),
    ],
)
def test_draft_that_makes_no_emulator_says_why(
    played: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, message: str
) -> None:
    from protocol.errors import DeltaproofError

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


def test_draft_without_public_rows_is_refused(played: World, tmp_path: Path) -> None:
    draft = tmp_path / "draft.toml"
    draft.write_text((played.store_folder.parent / "draft.toml").read_text().replace('public = "public.jsonl"', ""))
    with pytest.raises(UsageError, match="lacks 'public'"):
        prepare_task(draft, HomeSecret.of(tmp_path / "home"))
