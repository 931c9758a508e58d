"""Every single lie is found and called by its name; the untouched history passes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from deltaproof.auditor.audit.case import AuditOptions
from deltaproof.auditor.audit.check import Status
from deltaproof.auditor.auditing import AuditSource, run_audit
from deltaproof.auditor.index.follower import Follower
from deltaproof.auditor.index.reader import Index
from deltaproof.auditor.index.schema import open_database
from deltaproof.protocol.outcome.settlement import Verdict
from tests.auditor.forgery import Answer, Forgery, LyingRpc, flip, one_more, other_digest
from tests.worlds.roles import RoleWorld

Lie = Callable[[Forgery], None]


@pytest.fixture
def forgery(world: RoleWorld, database: Path, tmp_path: Path) -> Forgery:
    return Forgery(world, database, tmp_path)


def test_audit_honest_history_passes(world: RoleWorld, index: Index) -> None:
    source = AuditSource(index, world.store, world.rpc, witness=world.rpc)
    report = run_audit(source, AuditOptions(replays=3, official_replays=True, rescore=True))
    assert [str(check) for check in report.checks if check.status is not Status.PASS] == []
    assert len(report.checks) > 500


def edit(name: str, path: str, value: Any, round_: int | None = 1, nth: int = 0) -> Lie:
    return lambda forgery: forgery.edit(name, path, value, round_, nth)


def drop(name: str, round_: int | None = 1, nth: int = 0) -> Lie:
    return lambda forgery: forgery.drop(name, round_, nth)


def double(name: str, nth: int = 0) -> Lie:
    return lambda forgery: forgery.double(name, 1, nth)


def calldata(name: str, round_: int | None = 1, position: int = -1) -> Lie:
    return lambda forgery: forgery.calldata(name, lambda data: flip(data, position), round_)


def _invented_slash(forgery: Forgery) -> None:
    honest = forgery.args("Claimed")["trainer"]
    forgery.invent("TrainerSlashed", forgery.row("TrainerSlashed"), lambda args: {**args, "trainer": honest})


def _invented_forfeit(forgery: Forgery) -> None:
    like = forgery.row("TrainerSlashed")
    drop_keys = ("fault", "prover")
    forgery.invent("BondForfeited", like, lambda args: {k: v for k, v in args.items() if k not in drop_keys})


EVENT_LIES: dict[str, tuple[Lie, str]] = {
    "commitment altered": (edit("Committed", "commitment", other_digest), "commitment"),
    "commitment missing": (drop("Committed"), "commitment"),
    "commitment doubled": (double("Committed"), "once"),
    "revealed delta altered": (edit("Revealed", "delta_digest", other_digest), "reveal"),
    "revealed transcript altered": (edit("Revealed", "transcript_root", other_digest), "commitment"),
    "reveal doubled": (double("Revealed"), "once"),
    "reveal missing": (drop("Revealed"), "reveal and verdict"),
    "salt altered": (calldata("Revealed"), "commitment"),
    "order seed altered": (edit("OrderSeedDrawn", "order_seed", other_digest), "order seed"),
    "challenge seed altered": (edit("ChallengeSeedDrawn", "challenge_seed", other_digest), "challenge seed"),
    "block behind the order seed altered": (lambda forgery: forgery.seed_block(1), "order seed"),
    "block behind the challenge altered": (lambda forgery: forgery.seed_block(2), "challenge seed"),
    "validation digest altered": (edit("ValidationRevealed", "digest", other_digest), "validation commitment"),
    "validation salt altered": (edit("ValidationRevealed", "salt", other_digest), "validation commitment"),
    "attestation commitment altered": (
        edit("AttestationCommitted", "commitment", other_digest),
        "attestation commitment",
    ),
    "attestation commitment missing": (drop("AttestationCommitted"), "attestation commitment"),
    "attested verdicts altered": (edit("AttestationRevealed", "verdicts_digest", other_digest), "attested verdicts"),
    "attested scores altered": (edit("AttestationRevealed", "scores_root", other_digest), "attested scores"),
    "attestation salt altered": (calldata("AttestationRevealed"), "attestation commitment"),
    "attestation reveal missing": (drop("AttestationRevealed"), "agreeing stake"),
    "phase skipped": (drop("PhaseStarted", nth=3), "phases"),
    "phase renamed": (edit("PhaseStarted", "phase", 7, nth=4), "act in phase"),
    "settlement root altered": (edit("SettlementPosted", "settlement.leaves_root", other_digest), "settlement root"),
    "settlement leaves altered": (edit("SettlementPosted", "settlement.leaf_count", one_more), "settlement leaves"),
    "settlement total altered": (edit("SettlementPosted", "settlement.total_payout", one_more), "settlement total"),
    "settled verdicts altered": (
        edit("SettlementPosted", "settlement.verdicts_digest", other_digest),
        "settled verdicts",
    ),
    "next adapter altered": (
        edit("SettlementPosted", "settlement.next_start_digest", other_digest),
        "next adapter digest",
    ),
    "improvement altered": (edit("SettlementPosted", "settlement.improvement_nanos", one_more), "improvement"),
    "evidence altered": (
        edit("SettlementPosted", "settlement.artifact_digest", other_digest),
        "settlement evidence",
    ),
    "settlement digest altered": (edit("SettlementPosted", "digest", other_digest), "settlement digest"),
    "quorum signature altered": (calldata("SettlementPosted", position=-33), "quorum signature"),
    "settling call malformed": (calldata("SettlementPosted"), "quorum signature"),
    "claim altered": (edit("Claimed", "amount", one_more), "claim"),
    "claim doubled": (double("Claimed"), "once"),
    "fee altered": (edit("FeesClaimed", "fee", one_more), "fee"),
    "fee transfer altered": (edit("FeePaid", "amount", one_more), "fee transfer"),
    "slash reward altered": (edit("FeesClaimed", "slash_reward", lambda value: value + 1000), "slash reward"),
    "fee pot altered": (edit("FeesFixed", "fee", one_more), "fees"),
    "agreeing stake altered": (edit("FeesFixed", "agreeing_weight", one_more), "agreeing stake"),
    "reserve altered": (edit("RoundReserved", "amount", one_more), "reserve"),
    "allocation altered": (edit("RoundAllocated", "payouts", one_more), "allocation"),
    "allocation root altered": (edit("RoundAllocated", "root", other_digest), "allocation root"),
    "paid altered": (edit("RoundEnded", "paid", one_more), "paid"),
    "unearned altered": (edit("RoundEnded", "unearned", one_more), "unearned"),
    "final adapter altered": (edit("RoundEnded", "next_start_digest", other_digest), "next adapter on chain"),
    "outcome altered": (edit("RoundEnded", "outcome", 5), "phases"),
    "slash altered": (edit("TrainerSlashed", "amount", one_more), "slash amount"),
    "slash of an honest trainer": (_invented_slash, "slash"),
    "bond of an honest trainer": (_invented_forfeit, "forfeited bond"),
    "start adapter altered": (edit("RoundOpened", "start_digest", other_digest, 2), "start adapter"),
    "round number altered": (edit("RoundOpened", "round", 4, 2), "rounds"),
    "number of verifiers altered": (edit("RoundOpened", "verifiers", one_more), "verifiers at opening"),
    "data root altered": (edit("TrainerEnrolled", "data_root", other_digest, None), "opening"),
    "rows of a shard altered": (edit("TrainerEnrolled", "data_rows", one_more, None), "opening"),
    "enrolment missing": (drop("TrainerEnrolled", None), "enrolled"),
    "verifier's stake altered": (edit("VerifierActivated", "weight", one_more, None), "agreeing stake"),
    "spec hash altered": (edit("TaskCreated", "params.spec_hash", other_digest, None), "spec"),
    "reward terms altered": (edit("TaskCreated", "params.rewards.floor_bps", one_more, None), "terms: rewards"),
    "stake terms altered": (edit("TaskCreated", "params.stakes.slash_bps", one_more, None), "terms: stakes"),
    "training terms altered": (edit("TaskCreated", "params.training.samples", one_more, None), "terms: training"),
    "constants altered": (
        edit("TaskCreated", "params.constants_root", other_digest, None),
        "terms: constants root",
    ),
    "validation commitments altered": (
        edit("TaskCreated", "validation_commitments", lambda value: value[::-1], None),
        "validation commitments",
    ),
    "key altered": (edit("KeyRegistered", "key_g1.x", one_more, None), "key possession"),
    "proof of possession altered": (calldata("KeyRegistered", None), "key possession"),
}


@pytest.mark.parametrize("what", EVENT_LIES)
def test_audit_forged_event_is_named_without_the_blocks(forgery: Forgery, what: str) -> None:
    lie, expected = EVENT_LIES[what]
    lie(forgery)
    failed = forgery.audit(offline=True)
    assert expected in {check.name for check in failed}, [str(check) for check in failed]


STATE_LIES: dict[str, tuple[Lie, str]] = {
    "claim missing": (drop("Claimed"), "escrow pots"),
    "funding altered": (edit("TaskFunded", "amount", one_more, None), "escrow balance"),
    "deposit altered": (edit("StakeDeposited", "amount", one_more, None), "stake as trainer"),
    "lock missing": (drop("StakeLocked", None), "locked stake as trainer"),
    "credit altered": (edit("CreditMoved", "amount", one_more, None), "slash credit"),
    "opening announcement missing": (drop("OpeningsPublished"), "events in block"),
    "event altered": (edit("PhaseStarted", "deadline", one_more), "events in block"),
    "event doubled": (double("OpeningsPublished"), "events in block"),
}


@pytest.mark.parametrize("what", STATE_LIES)
def test_audit_forged_event_contradicts_state_or_block(forgery: Forgery, what: str) -> None:
    lie, expected = STATE_LIES[what]
    lie(forgery)
    failed = forgery.audit()
    assert expected in {check.name for check in failed}, [str(check) for check in failed]


def _first_artifact(prefix: str, change: Callable[[bytes], bytes] | None) -> Lie:
    return lambda forgery: forgery.artifact(forgery.path_of(prefix), change)


def _delta(change: Callable[[bytes], bytes] | None) -> Lie:
    def lie(forgery: Forgery) -> None:
        honest = forgery.args("Claimed")["trainer"]
        reveals = [forgery.args("Revealed", 1, n) for n in range(4)]
        digest = next(r["delta_digest"] for r in reveals if r["trainer"] == honest)
        forgery.artifact(f"tensors/{digest[2:]}", change)

    return lie


def _opening(change: Callable[[bytes], bytes] | None) -> Lie:
    def lie(forgery: Forgery) -> None:
        honest = forgery.args("Claimed")["trainer"]
        reveals = [forgery.args("Revealed", 1, n) for n in range(4)]
        root = next(r["transcript_root"] for r in reveals if r["trainer"] == honest)
        forgery.artifact(f"openings/{root[2:]}/{honest.lower()}/0", change)

    return lie


def _next_adapter(forgery: Forgery) -> None:
    digest = forgery.args("SettlementPosted")["settlement"]["next_start_digest"]
    forgery.artifact(f"tensors/{digest[2:]}", flip)


def _first_value(data: bytes) -> int:
    """Where the tensors of a safetensors file begin; the gradient comes first."""
    return 8 + int.from_bytes(data[:8], "little")


def _other_word(data: bytes) -> bytes:
    """The first word of the first row's text the other way. Digests are hex beside it, where "bad" is a number too."""
    return re.sub(rb"(text\W+)(\w+)", lambda found: found[1] + found[2][::-1], data, count=1)


ARTIFACT_LIES: dict[str, tuple[Lie, str]] = {
    "spec altered": (_first_artifact("blob", flip), "spec"),
    "spec missing": (_first_artifact("blob", None), "spec"),
    "delta altered": (_delta(flip), "delta"),
    "delta missing": (_delta(None), "delta"),
    "next adapter altered": (_next_adapter, "next adapter"),
    "validation set altered": (_first_artifact("validation", flip), "validation set"),
    "validation set missing": (_first_artifact("validation", None), "validation set"),
    "attestation altered": (_first_artifact("attestations", flip), "attestation document"),
    "attestation missing": (_first_artifact("attestations", None), "attestation document"),
    "opening missing": (_opening(None), "opening"),
    "opening cut short": (_opening(lambda data: data[:-4]), "opening"),
    "opened gradient altered": (
        _opening(lambda data: flip(data, 10 + int.from_bytes(data[:8], "little"))),
        "opening",
    ),
    "opened values altered": (_opening(lambda data: flip(data, -4)), "opening"),
    "opened row altered": (_opening(_other_word), "opening"),
}


@pytest.mark.parametrize("what", ARTIFACT_LIES)
def test_audit_forged_artifact_is_named(forgery: Forgery, what: str) -> None:
    lie, expected = ARTIFACT_LIES[what]
    lie(forgery)
    failed = [check for check in forgery.audit(offline=True) if check.name == expected]
    assert failed
    assert failed[0].artifact is not None


def _drop_step(document: dict[str, Any]) -> None:
    """The verifier did not replay a step that it had to."""
    finding = next(f for f in document["findings"] if f["verdict"] == Verdict.ACCEPTED)
    finding["checks"] = finding["checks"][1:]


def _accept_the_cheat(document: dict[str, Any]) -> None:
    finding = next(f for f in document["findings"] if f["verdict"] == Verdict.REJECTED)
    finding["verdict"] = int(Verdict.ACCEPTED)


def _reject_without_reason(document: dict[str, Any]) -> None:
    finding = next(f for f in document["findings"] if f["verdict"] == Verdict.ACCEPTED)
    finding["verdict"] = int(Verdict.REJECTED)


def _better_score(document: dict[str, Any]) -> None:
    next(f for f in document["findings"] if f["verdict"] == Verdict.ACCEPTED)["score_nanos"] += 1


def _smaller_error(document: dict[str, Any]) -> None:
    document["findings"] = [{**f, "stderr_nanos": 0} for f in document["findings"]]
    document["game"]["coalitions"] = document["game"]["coalitions"][:-1]


def _other_value(document: dict[str, Any]) -> None:
    document["game"]["coalitions"][-1]["value_nanos"] += 10**9


def _other_improvement(document: dict[str, Any]) -> None:
    document["improvement_nanos"] += 1


def _other_round(document: dict[str, Any]) -> None:
    document["round"] = 2


ATTESTATION_LIES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "a drawn step was not replayed": (_drop_step, "samples"),
    "accepted against its own check": (_accept_the_cheat, "finding"),
    "rejected without a failed check": (_reject_without_reason, "finding"),
    "score does not follow from the values": (_better_score, "score"),
    "a coalition is missing": (_smaller_error, "scores"),
    "a coalition's value was altered": (_other_value, "score"),
    "improvement does not follow from the losses": (_other_improvement, "attested improvement"),
    "attestation of another round": (_other_round, "attestation document"),
}


@pytest.mark.parametrize("what", ATTESTATION_LIES)
def test_audit_lying_verifier_is_named(forgery: Forgery, what: str) -> None:
    change, expected = ATTESTATION_LIES[what]
    forgery.attestation(change)
    failed = forgery.audit(offline=True)
    assert expected in {check.name for check in failed}, [str(check) for check in failed]


def test_audit_rescore_false_coalition_value_is_named(forgery: Forgery) -> None:
    def shift(document: dict[str, Any]) -> None:
        for coalition in document["game"]["coalitions"]:
            coalition["value_nanos"] += len(coalition["members"]) * 10**8

    forgery.attestation(shift)
    assert "coalition values" in {check.name for check in forgery.audit(offline=True, rescore=True)}


def _altered_header(method: str, params: list[Any], answer: Any) -> Any:
    if method == "eth_getBlockByNumber" and answer and int(answer["number"], 16) == 40:
        return {**answer, "timestamp": hex(int(answer["timestamp"], 16) + 1)}
    return answer


def _other_block_hash(method: str, params: list[Any], answer: Any) -> Any:
    if method == "eth_getBlockByNumber" and answer and int(answer["number"], 16) == 40:
        return {**answer, "hash": other_digest(answer["hash"])}
    return answer


def _hidden_log(method: str, params: list[Any], answer: Any) -> Any:
    if method == "eth_getBlockReceipts":
        return [{**receipt, "logs": receipt["logs"][1:]} for receipt in answer]
    return answer


def _richer_vault(method: str, params: list[Any], answer: Any) -> Any:
    if method == "eth_call" and answer != "0x":
        return answer[:-1] + ("0" if answer[-1] != "0" else "1")
    return answer


NODE_LIES: dict[str, tuple[Answer, str]] = {
    "altered header": (_altered_header, "block proof"),
    "other block hash": (_other_block_hash, "block proof"),
    "hidden log": (_hidden_log, "block proof"),
    "other state": (_richer_vault, "escrow reserve"),
}


@pytest.mark.parametrize("what", NODE_LIES)
def test_audit_lying_node_is_named(forgery: Forgery, what: str) -> None:
    lie, expected = NODE_LIES[what]
    forgery.lie(lie)
    failed = forgery.audit()
    assert expected in {check.name for check in failed}, [str(check) for check in failed]


def test_index_node_hides_events_audit_misses_them_in_the_block(world: RoleWorld, tmp_path: Path) -> None:
    """The index is built from a node that leaves one event out; an honest node's blocks show it."""

    def hide(method: str, _params: list[Any], answer: Any) -> Any:
        return answer[:60] + answer[61:] if method == "eth_getLogs" else answer

    index = Index(_synced(world, hide, tmp_path))
    report = run_audit(AuditSource(index, world.store, world.rpc), AuditOptions(replays=0))
    failed = {check.name for check in report.checks if check.status is Status.FAIL}
    assert "events in block" in failed


def test_audit_second_endpoint_on_another_chain_is_named(index: Index, world: RoleWorld) -> None:
    def other(method: str, _params: list[Any], answer: Any) -> Any:
        return {**answer, "hash": other_digest(answer["hash"])} if method == "eth_getBlockByNumber" else answer

    witness = LyingRpc(world.node.rpc_url, other)
    report = run_audit(AuditSource(index, None, None, witness), AuditOptions(replays=0))
    assert [check.name for check in report.checks if check.status is Status.FAIL] == ["second endpoint"]


def _synced(world: RoleWorld, lie: Answer, folder: Path) -> Engine:
    engine = open_database(str(folder / "lied.sqlite"))
    Follower(engine, LyingRpc(world.node.rpc_url, lie), world.contract).sync()
    return engine
