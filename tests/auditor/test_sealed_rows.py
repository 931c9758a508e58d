"""A whole round whose openings are sealed, on a real chain: judged and paid as any other, read by whom it is for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deltaproof.chain.abi.enums import Outcome
from deltaproof.chain.local_node import start_node
from deltaproof.chain.reading import publish_reading_key
from deltaproof.cli import app
from deltaproof.protocol.commit.sealing import ReadingKey
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.types import RoundIndex, hex_of
from deltaproof.store.paths import envelope_path
from tests.worlds.roles import RoleWorld, build_world

ROUND = RoundIndex(1)
NAMED = ReadingKey(b"\x21" * 32)
"""An auditor whom the spec names."""
SEALED = f'visibility = "verifiers"\nauditors = ["{hex_of(NAMED.public)}"]'


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleWorld]:
    with start_node("anvil", accounts=12) as node:
        built = build_world(node, tmp_path_factory.mktemp("sealed"), rounds=1, honest=2, verifiers=2, data=SEALED)
        built.play(1)
        yield built
        built.close()


def run(*arguments: object) -> dict[str, Any]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def audit(world: RoleWorld, *arguments: object) -> dict[str, Any]:
    place = ("--rpc", world.node.rpc_url, "--contract", world.contract, "--store", world.store_folder)
    return run("audit", *place, "--replay", 2, "--json", *arguments)


def key_file(path: Path, key: ReadingKey) -> Path:
    path.write_text(hex_of(key.secret))
    return path


def test_sealed_round_is_judged_settled_and_paid(world: RoleWorld) -> None:
    view = world.gateway.tasks.round(world.task, ROUND)
    assert view.outcome is Outcome.SETTLED
    proposal = world.store.get_proposal(world.task, ROUND, world.verifiers[0].account)
    verdicts = {leaf.trainer: leaf.verdict for leaf in proposal.leaves}
    honest, cheat = world.trainers[:-1], world.trainers[-1]
    assert {verdicts[trainer.account] for trainer in honest} == {Verdict.ACCEPTED}
    assert verdicts[cheat.account] is Verdict.REJECTED


def test_no_row_lies_in_the_store(world: RoleWorld) -> None:
    """Besides the validation set, whose rows are made of the same few words."""
    files = [file for file in world.store_folder.rglob("*") if file.is_file() and file.parent.name != "validation"]
    assert {"openings", "envelopes"} <= {file.parent.parent.name for file in files}
    everything = b"".join(file.read_bytes() for file in files)
    rows = {json.loads(row)["text"].encode() for trainer in world.trainers for row in trainer.shard.rows}
    assert rows
    assert not [row for row in rows if row in everything]


def drawn_rows(world: RoleWorld) -> int:
    """Rows of drawn steps of accepted trainers: what an audit looks at."""
    view = world.gateway.tasks.round(world.task, ROUND)
    batch = world.trainers[0].spec.training.batch_size
    return sum(len(trainer._drawn_steps(ROUND, view.challenge_seed)) * batch for trainer in world.trainers[:-1])


def test_audit_without_a_key_says_how_many_rows_it_did_not_see(world: RoleWorld) -> None:
    report = audit(world)
    assert report["failures"] == []
    assert report["sealedRows"] == drawn_rows(world) > 0
    reasons = {check["reason"] for check in report["unchecked"] if check["name"] == "sealed rows"}
    assert all("no reading key is held here" in reason for reason in reasons)
    assert {check["name"] for check in report["unchecked"]} >= {"sealed rows", "receipt", "replay"}


@pytest.mark.parametrize("reader", ["auditor", "member"])
def test_audit_with_a_key_sees_everything(world: RoleWorld, tmp_path: Path, reader: str) -> None:
    key = key_file(tmp_path / "key", NAMED) if reader == "auditor" else world.verifiers[0].home
    report = audit(world, "--full", "--reading-key", key)
    assert (report["failures"], report["unchecked"], report["sealedRows"]) == ([], [], 0)
    envelopes = [check for check in report["checks"] if check["name"] == "envelope"]
    assert len(envelopes) == (len(world.trainers) - 1) * (len(world.verifiers) + 1)


def test_bundle_of_a_sealed_round_is_audited_offline_with_a_key(world: RoleWorld, tmp_path: Path) -> None:
    bundle, key = tmp_path / "round.zip", key_file(tmp_path / "key", NAMED)
    place = ("--rpc", world.node.rpc_url, "--contract", world.contract, "--store", world.store_folder)
    run("export", world.task, ROUND, "--out", bundle, *place, "--json")
    assert run("audit", "--bundle", bundle, "--reading-key", key, "--json")["sealedRows"] == 0
    assert run("audit", "--bundle", bundle, "--json")["sealedRows"] == drawn_rows(world)


def test_invited_auditor_sees_the_work_of_who_invited_it(world: RoleWorld, tmp_path: Path) -> None:
    file, host = tmp_path / "auditor.key", world.trainers[0]
    public = run("keys", "new", file, "--json")["public"]
    signing = world.node.private_keys[2]
    place = ("--rpc", world.node.rpc_url, "--contract", world.contract, "--store", world.store_folder)
    invited = run(
        "keys", "invite", public, *place, "--key", signing, "--home", host.home, "--task", world.task, "--json"
    )
    assert invited["rounds"] == [1]
    report = audit(world, "--reading-key", file)
    assert report["failures"] == []
    view = world.gateway.tasks.round(world.task, ROUND)
    own = len(host._drawn_steps(ROUND, view.challenge_seed)) * host.spec.training.batch_size
    assert report["sealedRows"] == drawn_rows(world) - own
    assert {check["participant"] for check in report["unchecked"] if check["name"] == "sealed rows"} == {
        world.trainers[1].account
    }


def test_wrong_envelope_is_named_by_an_audit_with_a_key_only(world: RoleWorld, tmp_path: Path) -> None:
    """A trainer seals garbage for one verifier, and a quorum accepts it all the same."""
    trainer, victim = world.trainers[0], world.verifiers[1]
    root = world.gateway.trainers.work(world.task, ROUND, trainer.account)
    assert root.revealed
    (record,) = world.store.get_keys(victim.gateway.permit_domain, victim.account)
    revealed = trainer._work_of(ROUND)
    assert revealed is not None
    path = world.store_folder / envelope_path(revealed.trained.transcript_root, record.key)
    good = path.read_bytes()
    path.write_bytes(bytes(len(good)))
    try:
        told = audit(world)
        assert told["failures"] == []
        place = ("--rpc", world.node.rpc_url, "--contract", world.contract, "--store", world.store_folder)
        key = key_file(tmp_path / "key", NAMED)
        done = CliRunner().invoke(app, [str(a) for a in ("audit", *place, "--reading-key", key, "--json")])
        failures = json.loads(done.stdout)["failures"]
    finally:
        path.write_bytes(good)
    assert done.exit_code == 1
    assert [(check["name"], check["participant"]) for check in failures] == [("envelope", trainer.account)]
    assert victim.account in failures[0]["reason"]


def test_rotated_key_is_the_one_to_seal_for_and_old_ones_still_open(world: RoleWorld) -> None:
    verifier = world.verifiers[0]
    gateway, domain = verifier.gateway, verifier.gateway.permit_domain
    (first,) = world.store.get_keys(domain, verifier.account)
    again = publish_reading_key(gateway, world.store, verifier.secret)
    assert again == first, "the newest key is kept until it is rotated"
    second = publish_reading_key(gateway, world.store, verifier.secret, rotate=True)
    assert second.epoch == 1
    assert [record.key for record in world.store.get_keys(domain, verifier.account)] == [first.key, second.key]
    assert audit(world, "--reading-key", verifier.home)["sealedRows"] == 0
