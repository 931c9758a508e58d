"""The commands as people use them, on the honest history: history files, signed reports, bundles, explanations."""

from __future__ import annotations

import csv
import json
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from eth_account import Account
from typer.testing import CliRunner, Result

from deltaproof.auditor.audit import case
from deltaproof.auditor.audit.case import AuditOptions
from deltaproof.auditor.audit.check import Check
from deltaproof.auditor.audit.journal import AuditJournal
from deltaproof.auditor.audit.report import signer_of
from deltaproof.auditor.audit.run import Audit, Progress, one_process
from deltaproof.auditor.audit.signatures import Equation
from deltaproof.auditor.auditing import AuditSource, run_audit
from deltaproof.auditor.bundle import Bundle, BundleError
from deltaproof.auditor.index.reader import Index
from deltaproof.cli import app
from deltaproof.cli.common import console, shortened
from deltaproof.errors import CryptoError, UsageError
from deltaproof.protocol.types import Digest32
from tests.worlds.roles import RoleWorld

KEY = "0x" + "42" * 32


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture
def place(world: RoleWorld) -> list[object]:
    return ["--rpc", world.node.rpc_url, "--contract", world.contract, "--store", world.store_folder]


def test_history_json_csv_and_parquet_agree(place: list[object], world: RoleWorld, tmp_path: Path) -> None:
    told = json.loads(run("history", *place, "--json").stdout)
    (task,) = told["tasks"]
    assert [entry["outcome"] for entry in task["history"]] == ["settled", "settled"]
    first = {line["trainer"]: line for line in task["history"][0]["trainers"]}
    cheat = world.trainers[-1].account
    assert first[cheat]["verdict"] == "rejected"
    assert [slash["account"] for slash in task["history"][0]["slashes"]] == [cheat]
    honest = [line for trainer, line in first.items() if trainer != cheat]
    assert all(line["verdict"] == "accepted" and line["claimed"] == line["payout"] > 0 for line in honest)
    verifiers = task["history"][0]["verifiers"]
    assert all(v["agreed"] and v["feeClaimed"] == v["fee"] > 0 for v in verifiers)

    table, parquet = tmp_path / "h.csv", tmp_path / "h.parquet"
    assert run("history", *place, "--csv", table, "--parquet", parquet).exit_code == 0
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert [row["payout"] for row in rows] == pq.read_table(parquet)["payout"].to_pylist()
    assert sum(int(row["payout"]) for row in rows) == sum(entry["totalPayout"] for entry in task["history"])


def test_history_fits_eighty_columns_and_wide_terminals_show_whole_addresses(
    place: list[object], world: RoleWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_width", 80)
    lines = run("history", *place).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    trainer = world.trainers[0].account
    mine = [line for line in lines if shortened(trainer) in line]
    assert len(mine) == 2  # rounds; a cell that were cut into lines would be missing here
    assert all("accepted" in line and " ± " in line and "yes" in line for line in mine)
    monkeypatch.setattr(console, "_width", 200)
    assert trainer in run("history", *place).stdout


def test_history_of_account_and_round_filters(place: list[object], world: RoleWorld) -> None:
    trainer = world.trainers[0].account
    told = json.loads(run("history", *place, "--account", trainer, "--rounds", "2", "--json").stdout)
    (entry,) = told["tasks"][0]["history"]
    assert entry["round"] == 2
    assert [line["trainer"] for line in entry["trainers"]] == [trainer]
    assert trainer in run("explain", 1, 1, trainer, *place, "--json").stdout


def test_audit_signed_report_verifies_and_altered_is_refused(place: list[object], tmp_path: Path) -> None:
    path, draw = tmp_path / "report.json", "ab" * 32
    options = ["--rounds", "1", "--draw", draw, "--key", KEY, "--report", path]
    assert run("audit", *place, *options).exit_code == 0
    report, signer = signer_of(path.read_bytes())
    assert report.passed
    assert signer == Account.from_key(KEY).address

    again = json.loads(run("audit", *place, "--rounds", "1", "--draw", draw, "--json").stdout)
    assert again["digest"] == "0x" + report.digest().hex()  # a second person comes to the same report

    document = json.loads(path.read_text())
    document["checks"][0]["status"] = "fail"
    with pytest.raises(CryptoError, match=r"totals|altered"):
        signer_of(json.dumps(document).encode())


def test_history_without_a_store_says_what_it_does_not_know(
    place: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DELTAPROOF_STORE", raising=False)
    told = run("history", *place[:4], "--csv", "/dev/null")
    reason = "task 1: verdicts, scores and pay are not known: no store was given, and none is announced on chain: say"
    assert (told.exit_code, reason in told.stderr) == (0, True)
    assert "not known" not in run("history", *place, "--csv", "/dev/null").stderr


def test_audit_of_a_task_that_announces_no_store_checks_what_the_chain_tells(
    place: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DELTAPROOF_STORE", raising=False)
    told = json.loads(run("audit", *place[:4], "--json").stdout)
    assert told["failures"] == []
    assert {"quorum signature", "escrow balance"} <= {check["name"] for check in told["checks"]}
    reasons = {check["reason"] for check in told["unchecked"] if check["name"] in ("spec", "artifacts")}
    assert reasons == {"no store was given, and none is announced on chain: say --store URL"}
    refused = CliRunner().invoke(app, ["audit", *map(str, place[:4]), "--task", "1"])
    assert refused.exit_code != 0, "whoever names one task is told that it needs a store"


def test_audit_without_the_model_checks_the_rest_and_says_what_it_does_not_see(
    place: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_: object) -> None:
        raise AssertionError("the model was asked for")

    monkeypatch.setattr(case, "_judges", nobody)
    monkeypatch.setattr(case, "_bench", nobody)
    told = json.loads(run("audit", *place, "--without-model", "--json").stdout)
    assert told["failures"] == []
    assert {"settlement root", "payout", "quorum signature"} <= {check["name"] for check in told["checks"]}
    assert not {"replay", "start loss"} & {check["name"] for check in told["checks"]}
    assert any("no --without-model" in blind for blind in told["blindTo"])
    with pytest.raises(UsageError, match="leave --without-model out"):
        run("audit", *place, "--without-model", "--full")


def test_audit_failure_exits_with_one(place: list[object], world: RoleWorld, tmp_path: Path) -> None:
    copy = tmp_path / "store"
    shutil.copytree(world.store_folder, copy)
    delta = next((copy / "attestations").iterdir())
    delta.write_bytes(delta.read_bytes()[:-1] + b" ")
    result = run("audit", *place[:4], "--store", copy, "--json")
    assert result.exit_code == 1
    failures = json.loads(result.stdout)["failures"]
    assert "attestation document" in {failure["name"] for failure in failures}
    assert any(delta.name in (failure["artifact"] or "") for failure in failures)


def test_audit_parallel_same_report_as_one_process(place: list[object], tmp_path: Path) -> None:
    options = ["--index", tmp_path / "i.sqlite", "--draw", "cd" * 32, "--replay", 0, "--json"]
    one = json.loads(run("audit", *place, *options).stdout)
    two = json.loads(run("audit", *place, *options, "--workers", 2).stdout)

    def unordered(document: dict[str, Any]) -> list[str]:
        return sorted(json.dumps(check) for check in document["checks"])

    assert unordered(one) == unordered(two)


def test_bundle_audited_offline_and_any_altered_member_found(place: list[object], tmp_path: Path) -> None:
    path = tmp_path / "round.zip"
    assert run("export", 1, 1, *place, "--out", path).exit_code == 0
    result = run("audit", "--bundle", path, "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["failed"]) == (0, 0)
    assert told["passed"] > 200
    assert run("audit", "--bundle", path, "--witness", place[1]).exit_code == 0

    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for name in [n for n in members if n.startswith(("store/attestations", "store/tensors"))][:3]:
        forged = tmp_path / "forged.zip"
        with zipfile.ZipFile(forged, "w") as archive:
            for member, data in members.items():
                archive.writestr(member, data[:-1] + bytes([data[-1] ^ 1]) if member == name else data)
        assert run("audit", "--bundle", forged, "--json").exit_code in (0, 1)
    blocks = json.loads(members["blocks.json"])
    blocks[0]["header"]["timestamp"] = "0x1"
    forged = tmp_path / "forged.zip"
    with zipfile.ZipFile(forged, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, json.dumps(blocks) if member == "blocks.json" else data)
    failures = json.loads(run("audit", "--bundle", forged, "--json").stdout)["failures"]
    assert "block proof" in {failure["name"] for failure in failures}
    (tmp_path / "junk.zip").write_bytes(b"junk")
    with pytest.raises(BundleError, match="cannot be read"):
        Bundle(tmp_path / "junk.zip")


def test_audit_stopped_goes_on_from_journal(
    place: list[object], world: RoleWorld, index: Index, tmp_path: Path
) -> None:
    source = AuditSource(index, world.store, world.rpc)
    options = AuditOptions(replays=0)
    whole = run_audit(source, options)
    audited: list[int] = []

    def stopping(audit: Audit, task: int, numbers: Sequence[int], progress: Progress) -> Iterator[Check | Equation]:
        audited.extend(numbers)
        if 2 in numbers and len(audited) <= 2:
            raise KeyboardInterrupt
        return one_process(audit, task, numbers, progress)

    journal = AuditJournal(tmp_path / "report.partial", stopping, rounds_at_once=1)
    with pytest.raises(KeyboardInterrupt):
        run_audit(source, options, pool=journal)
    with journal.path.open("a") as file:
        file.write('{"mark": "half a li')
    again = run_audit(source, options, pool=journal)
    assert audited == [1, 2, 2]
    assert sorted(map(str, again.checks)) == sorted(map(str, whole.checks))
    run_audit(source, AuditOptions(replays=0, draw_seed=Digest32(b"x" * 32)), pool=journal)
    assert audited == [1, 2, 2, 1, 2]  # other options, other work
