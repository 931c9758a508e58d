"""A whole round whose openings and adapters are sealed, on a real chain: judged and paid as any other, and read by
whom it is for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from deltaproof.agent.loop import Moment
from deltaproof.auditor.session import open_index
from deltaproof.chain import Gateway, TransactionSender, connect, load_account
from deltaproof.chain.abi.enums import Outcome, Phase
from deltaproof.chain.abi.structs import PhaseView
from deltaproof.chain.admissions import AdmissionDesk, givers_of, task_view
from deltaproof.chain.local_node import start_node
from deltaproof.chain.participation import settled_leaves
from deltaproof.chain.reading import publish_reading_key
from deltaproof.cli import app
from deltaproof.disputing.watching import Watcher
from deltaproof.errors import ArtifactSealed
from deltaproof.gateway.server import GatewayOptions
from deltaproof.pages.data import PageData
from deltaproof.protocol.commit.sealing import ReadingKey, weights_header
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.rules import MAX_SEALED_COPIES
from deltaproof.protocol.types import Digest32, RoundIndex, TokenAmount, hex_of
from deltaproof.replaying.judging import judge_submission
from deltaproof.sponsor.life import Sponsor
from deltaproof.sponsor.results import export_adapter
from deltaproof.store import open_store
from deltaproof.store.paths import Kind, addressed_path, admission_path, envelope_path, sealed_path
from deltaproof.store.readers import Keyring
from tests.gateway.conftest import scene_of, serving
from tests.worlds.roles import RoleWorld, build_world, shard_rows, silent
from trainer.conduct import Honest
from trainer.life import Trainer
from verifier.facts import read_case

ROUND = RoundIndex(1)
NAMED = ReadingKey(b"\x21" * 32)
"""An auditor whom the spec names."""
SEALED = f'visibility = "verifiers"\nauditors = ["{hex_of(NAMED.public)}"]\n[adapter]\nvisibility = "participants"'


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleWorld]:
    with start_node("anvil", accounts=12) as node:
        built = build_world(node, tmp_path_factory.mktemp("sealed"), rounds=2, honest=2, verifiers=2, data=SEALED)
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
    proposal = settled_leaves(world.gateway, world.store, world.task, ROUND, view)
    assert proposal is not None
    verdicts = {leaf.trainer: leaf.verdict for leaf in proposal.leaves}
    honest, cheat = world.trainers[:-1], world.trainers[-1]
    assert {verdicts[trainer.account] for trainer in honest} == {Verdict.ACCEPTED}
    assert verdicts[cheat.account] is Verdict.REJECTED


def test_no_row_lies_in_the_store(world: RoleWorld) -> None:
    """Besides the validation set, whose rows are made of the same few words."""
    files = [file for file in world.store_folder.rglob("*") if file.is_file() and file.parent.name != "validation"]
    assert {"openings", "envelopes"} <= {file.relative_to(world.store_folder).parts[0] for file in files}
    everything = b"".join(file.read_bytes() for file in files)
    rows = {json.loads(row)["text"].encode() for trainer in world.trainers for row in trainer.shard.rows}
    assert rows
    assert not [row for row in rows if row in everything]


def test_no_weight_lies_in_the_store(world: RoleWorld) -> None:
    kinds = {file.relative_to(world.store_folder).parts[0] for file in world.store_folder.rglob("*") if file.is_file()}
    assert {"sealed", "admissions"} <= kinds
    assert "tensors" not in kinds
    (spec,) = (file for file in (world.store_folder / "blob").iterdir())  # a task's deltas are no blobs either
    assert world.sponsor.spec.digest().hex() == spec.name
    everything = b"".join(file.read_bytes() for file in (world.store_folder / "sealed").rglob("*") if file.is_file())
    size = world.trainers[0].workshop.bench.layout.size
    start = world.sponsor.store.get_tensors(world.sponsor.spec.start_digest, size)
    assert start.tobytes()[:256] not in everything


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
    assert {check["name"] for check in report["unchecked"]} >= {
        "sealed rows", "receipt", "replay", "delta", "starting adapter", "next adapter", "losses"
    }  # fmt: skip
    deltas = {done.delta_digest for trainer in world.trainers[:-1] if (done := trainer._work_of(ROUND))}
    view = world.gateway.tasks.round(world.task, ROUND)
    assert report["sealedAdapters"] == len({view.start_digest, *deltas, view.settlement.next_start_digest})


@pytest.mark.parametrize("reader", ["auditor", "member"])
def test_audit_with_a_key_sees_everything(world: RoleWorld, tmp_path: Path, reader: str) -> None:
    key = key_file(tmp_path / "key", NAMED) if reader == "auditor" else world.verifiers[0].home
    report = audit(world, "--full", "--reading-key", key)
    assert (report["failures"], report["unchecked"], report["sealedRows"]) == ([], [], 0)
    assert report["sealedAdapters"] == 0
    envelopes = [check for check in report["checks"] if check["name"] == "envelope"]
    assert len(envelopes) == (len(world.trainers) - 1) * (len(world.verifiers) + 1)


def test_bundle_of_a_sealed_round_is_audited_offline_with_a_key(world: RoleWorld, tmp_path: Path) -> None:
    bundle, key = tmp_path / "round.zip", key_file(tmp_path / "key", NAMED)
    place = ("--rpc", world.node.rpc_url, "--contract", world.contract, "--store", world.store_folder)
    run("export", world.task, ROUND, "--out", bundle, *place, "--json")
    told = run("audit", "--bundle", bundle, "--reading-key", key, "--json")
    assert (told["sealedRows"], told["sealedAdapters"]) == (0, 0)
    assert run("audit", "--bundle", bundle, "--json")["sealedRows"] == drawn_rows(world)


def test_invited_auditor_sees_the_work_of_who_invited_it(world: RoleWorld, tmp_path: Path) -> None:
    file, host = tmp_path / "auditor.key", world.trainers[0]
    public = run("keys", "new", file, "--json")["public"]
    signing = world.node.private_keys[2]
    place = ("--rpc", world.node.rpc_url, "--contract", world.contract, "--store", world.store_folder)
    invited = run(
        "keys", "invite", public, *place, "--key", signing, "--home", host.home, "--task", world.task, "--json"
    )
    assert (invited["rounds"], invited["adapters"]) == ([1], True)
    report = audit(world, "--reading-key", file)
    assert (report["failures"], report["sealedAdapters"]) == ([], 0)
    view = world.gateway.tasks.round(world.task, ROUND)
    own = len(host._drawn_steps(ROUND, view.challenge_seed)) * host.spec.training.batch_size
    assert report["sealedRows"] == drawn_rows(world) - own
    assert {check["participant"] for check in report["unchecked"] if check["name"] == "sealed rows"} == {
        world.trainers[1].account
    }


def test_audit_tells_a_person_what_is_not_visible_in_three_sentences(world: RoleWorld) -> None:
    place = ("--rpc", world.node.rpc_url, "--contract", world.contract, "--store", world.store_folder)
    done = CliRunner().invoke(app, [str(word) for word in ("audit", *place, "--replay", 0)])
    assert done.exit_code == 0, done.output
    told = " ".join(done.stdout.split())
    assert told.count(", sealed for") == 2
    assert f"this audit does not see: {drawn_rows(world)} rows of drawn steps" in told
    assert "no fault of anybody: " in told
    assert "are sealed, for its participants" not in told, "every such check alone is for --json"


def test_pages_of_a_private_round_say_not_visible_and_not_failed(world: RoleWorld) -> None:
    """They hold no key: deltas of others are looked for where sealed ones lie, and nothing of it is anybody's fault."""
    index, _ = open_index(world.rpc, world.contract, "sqlite://")
    pages = PageData(index, world.store, world.rpc)
    shown = pages.at(f"round/{world.task}/{ROUND}")
    assert not [check for check in shown["checks"] if check["status"] == "fail"]
    deltas = [check for check in shown["checks"] if check["name"] == "delta"]
    assert {check["status"] for check in deltas} == {"not_checkable"}
    assert all(check["artifact"].startswith("sealed/") for check in deltas)
    assert f"{drawn_rows(world)} rows of drawn steps" in shown["unseen"][0]
    terms = pages.at(f"task/{world.task}")["terms"]
    assert (terms["drawn rows"][:6], terms["deltas and adapters"][:6]) == ("sealed", "sealed")
    why = pages.at(f"why/{world.task}/{ROUND}/{world.trainers[0].account}")["lines"]
    assert "the delta is sealed for who takes part in the task" in why
    reading = PageData(index, world.store.reading_with(Keyring([NAMED])), world.rpc)
    assert reading.at(f"round/{world.task}/{ROUND}")["unseen"] == []


def test_wrong_envelope_is_named_by_an_audit_with_a_key_only(world: RoleWorld, tmp_path: Path) -> None:
    """A trainer seals garbage for one verifier, and a quorum accepts it all the same."""
    trainer, victim = world.trainers[0], world.verifiers[1]
    root = world.gateway.trainers.work(world.task, ROUND, trainer.account)
    assert root.revealed
    (record,) = world.store.get_keys(victim.gateway.permit_domain, victim.account)
    revealed = trainer._work_of(ROUND)
    assert revealed is not None
    path = world.store_folder / envelope_path(revealed.trained.transcript_root, trainer.account, record.key)
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


def late_trainer(world: RoleWorld, home: Path, number: int = 9) -> tuple[Trainer, list[str]]:
    """Somebody who enrols for the second round; and what it tells."""
    connection, told = connect(world.node.rpc_url), list[str]()
    sender = TransactionSender(connection, load_account(world.node.private_keys[number]), state_folder=home / "state")
    world.senders.append(sender)
    gateway = Gateway(connection, world.gateway.deployment, sender)
    gateway.token(gateway.registry.token()).mint(gateway.account, TokenAmount(10**9))
    newcomer = Trainer(
        gateway, world.store, world.task, shard_rows(20, seed=77), home, Honest(),
        lambda event, message, **_: told.append(event), poll_seconds=0.01,
    )  # fmt: skip
    newcomer.join()
    return newcomer, told


def moment(world: RoleWorld, view: PhaseView) -> Moment:
    return Moment(world.gateway.connection.read_block, view, ended=False, now=0)


def start_of(reader: Trainer | Sponsor, world: RoleWorld) -> Vector:
    """The adapter that the next round starts from, as a participant reads it."""
    digest = world.gateway.task(world.task).adapter_digest
    return reader.store.get_tensors(digest, world.trainers[0].workshop.bench.layout.size)


def test_late_joiner_whom_the_sponsor_leaves_out_is_admitted_by_another_participant(
    world: RoleWorld, tmp_path: Path
) -> None:
    newcomer, told = late_trainer(world, tmp_path / "late")
    assert not newcomer.entrance.is_open()
    assert told[-1] == "outside"
    with pytest.raises(ArtifactSealed, match="nobody has admitted"):
        start_of(newcomer, world)
    newcomer.play(moment(world, world.gateway.tasks.phase(world.task)))  # does nothing, and harms nothing

    clock, host = [0.0], world.verifiers[0]
    desk = AdmissionDesk(
        host.gateway, host.store, world.task, host.spec, silent, patience_seconds=60, clock=lambda: clock[0]
    )
    desk.mind()
    assert not enters(newcomer), "it is left to the sponsor for a while"
    clock[0] = 61.0
    desk.mind()
    assert enters(newcomer)
    assert np.array_equal(start_of(newcomer, world), start_of(world.sponsor, world))


def test_who_has_left_still_reads_what_comes_later(world: RoleWorld, tmp_path: Path) -> None:
    """A leak that the threat model tells: the secret of a task's adapters is one, and nobody can take it back."""
    leaver, _ = late_trainer(world, tmp_path / "leaver", number=8)
    AdmissionDesk(world.gateway, world.sponsor.store, world.task, world.sponsor.spec, silent).mind()
    leaver.gateway.trainers.resign(world.task)
    later = start_of(world.sponsor, world) + np.float32(1)
    digest = world.sponsor.store.put_tensors(later)
    keyring = Keyring(ReadingKey.all_of_home(HomeSecret.of(tmp_path / "leaver")))
    view = task_view(leaver.gateway, world.store.reading_with(keyring), leaver.spec, world.task)
    assert np.array_equal(view.get_tensors(digest, len(later)), later)


def enters(role: Trainer) -> bool:
    assert role.store.private is not None
    return role.store.private.enter(givers_of(role.gateway, role.task_id))


def test_participant_that_lost_its_home_is_admitted_anew_by_its_next_key(world: RoleWorld, tmp_path: Path) -> None:
    """Its old keys are gone; the account says so with the next epoch, and who is inside seals for that one."""
    trainer = world.trainers[1]
    lost = HomeSecret.of(tmp_path / "new-home")
    store = world.store.reading_with(Keyring(ReadingKey.all_of_home(lost))).of_task(trainer.spec)
    assert store.private is not None
    assert not store.private.enter(givers_of(trainer.gateway, world.task))
    assert publish_reading_key(trainer.gateway, store, lost).epoch == 1
    fresh = AdmissionDesk(world.gateway, world.sponsor.store, world.task, world.sponsor.spec, silent)
    fresh.mind()
    assert store.private.enter(givers_of(trainer.gateway, world.task))


def test_store_that_withholds_admissions_keeps_out_until_a_mirror_has_them(world: RoleWorld, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    shutil.copytree(world.store_folder / "admissions", mirror / "admissions")
    shutil.copytree(world.store_folder, tmp_path / "withholding", ignore=shutil.ignore_patterns("admissions"))
    keyring = Keyring(ReadingKey.all_of_home(world.verifiers[1].secret))
    alone = open_store(str(tmp_path / "withholding")).reading_with(keyring).of_task(world.sponsor.spec).private
    both = open_store(f"{tmp_path / 'withholding'},{mirror}").reading_with(keyring).of_task(world.sponsor.spec).private
    assert alone is not None
    assert both is not None
    assert not alone.enter(givers_of(world.gateway, world.task))
    assert both.enter(givers_of(world.gateway, world.task))


def test_sealed_delta_that_opens_for_nobody_is_withheld_by_all(world: RoleWorld) -> None:
    """A trainer cannot deceive one verifier: all open with one secret, or none does."""
    trainer = world.trainers[0]
    done = trainer._work_of(ROUND)
    assert done is not None
    path = world.store_folder / sealed_path(done.delta_digest, 0)
    good, findings = path.read_bytes(), []
    path.write_bytes(bytes(len(good)))
    try:
        for verifier in world.verifiers:
            verifier.log.refresh(ROUND)
            case = read_case(verifier.gateway, verifier.store, verifier.log, verifier.spec, world.task, ROUND)
            submission = next(s for s in case.submissions if s.trainer == trainer.account)
            steps = case.sample_of(trainer.account, verifier.spec)
            judges = verifier.examiner.judges
            findings.append(judge_submission(judges, verifier.store, case.drawn, submission, steps).finding)
    finally:
        path.write_bytes(good)
    assert [finding.verdict for finding in findings] == [Verdict.WITHHELD] * len(world.verifiers)
    assert {finding.failure().check for finding in findings if finding.failure()} == {"delta"}


def test_watch_without_a_reading_key_says_what_it_does_not_see(world: RoleWorld) -> None:
    """It looks at the round all the same, and with a key at everything."""
    view = replace(world.gateway.tasks.phase(world.task), phase=Phase.WINDOW, round=ROUND)
    for keyring, expected in ((Keyring(), ["sealed"]), (Keyring([NAMED]), [])):
        told: list[str] = []
        watcher = Watcher(
            world.gateway, world.store.reading_with(keyring), world.task,
            lambda event, message, told=told, **_: told.append(event), prove=False,
        )  # fmt: skip
        watcher.works.mind(moment(world, view))
        assert [event for event in told if event == "sealed"] == expected


def test_gateway_takes_of_a_private_task_what_is_sealed_and_from_whom_it_may_come(
    world: RoleWorld, tmp_path: Path
) -> None:
    scene = scene_of(world)
    scene.keys["mallory"] = world.node.private_keys[10]  # here who has no role
    secret = world.sponsor.spec.adapter.secret
    start = world.sponsor.spec.start_digest
    sealed, plain = sealed_path(start, 0), addressed_path(Kind.TENSORS, start)
    good, size = scene.files[sealed], 4 * world.trainers[0].workshop.bench.layout.size
    admission = admission_path(secret, NAMED.public, scene.account("ben"))
    garbage, short = weights_header(secret) + bytes(len(good) - 61), weights_header(secret) + bytes(size // 2)
    writes = [
        ("sponsor", sealed, good, 201),
        ("sponsor", sealed_path(start, 1), b"x" * len(good), 422),
        ("sponsor", plain, bytes(size), 403),
        ("ann", plain, bytes(size), 403),
        ("ann", sealed_path(start, 1), garbage, 201),  # it cannot be told from the right one
        ("ann", sealed_path(start, MAX_SEALED_COPIES), good, 403),
        ("ann", sealed_path(start, 2), short, 422),
        ("ann", sealed_path(start, 2), good + bytes(2**20), 413),
        ("mallory", sealed_path(start, 2), good, 403),
        ("ben", admission, bytes(80), 201),
        ("ben", admission.rpartition("/")[0] + f"/{scene.account('ann').lower()}", bytes(80), 403),
        ("ben", admission_path(Digest32(bytes(32)), NAMED.public, scene.account("ben")), bytes(80), 403),
        ("mallory", admission_path(secret, NAMED.public, scene.account("mallory")), bytes(80), 403),
    ]
    options = GatewayOptions(str(tmp_path / "store"), tmp_path / "home", "test")
    with serving(scene, options) as served:
        served.publish_spec()
        answers = [(who, path, served.put(who, path, data).status_code) for who, path, data, _ in writes]
    assert answers == [(who, path, status) for who, path, _, status in writes]


def test_results_are_for_participants_until_the_sponsor_publishes_them(world: RoleWorld, tmp_path: Path) -> None:
    """The sponsor reads with its home; a stranger not before it decides so."""
    size = world.trainers[0].workshop.bench.layout.size
    digest = world.gateway.task(world.task).adapter_digest
    for keys in ((), ReadingKey.all_of_home(HomeSecret.of(tmp_path / "stranger"))):
        stranger = task_view(world.gateway, world.store.reading_with(Keyring(keys)), world.sponsor.spec, world.task)
        with pytest.raises(ArtifactSealed):
            stranger.get_tensors(digest, size)
    export_adapter(
        world.gateway, world.store.reading_with(Keyring.load(world.sponsor.home)), world.task, tmp_path / "a"
    )
    assert (tmp_path / "a" / "adapter_config.json").is_file()
    place = ("--rpc", world.node.rpc_url, "--contract", world.contract, "--store", world.store_folder)
    signing = world.node.private_keys[1]
    run("keys", "publish", *place, "--key", signing, "--home", world.sponsor.home, "--task", world.task, "--json")
    try:
        anybody = task_view(world.gateway, world.store.reading_with(Keyring()), world.sponsor.spec, world.task)
        assert np.array_equal(anybody.get_tensors(digest, size), start_of(world.sponsor, world))
        report = audit(world)
        assert (report["failures"], report["sealedAdapters"]) == ([], 0)
        assert report["sealedRows"] > 0, "rows stay with their readers"
    finally:  # other tests look at a task that is not published
        public = ReadingKey.everybodys().public
        place_of = admission_path(world.sponsor.spec.adapter.secret, public, world.sponsor.account)
        (world.store_folder / place_of).unlink()
