"""The browser's arithmetic against Python's: the same quorum signature, from fields to pairing, in both."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deltaproof.pages.render import script
from deltaproof.pages.rounds import quorum_record
from deltaproof.protocol.commit.bls import SETTLEMENT_DOMAIN, PublicKey, SecretKey, aggregate_signatures
from deltaproof.protocol.commit.commitments import RoundDomain
from deltaproof.protocol.outcome.settlement import Settlement
from deltaproof.protocol.types import Digest32, RoundIndex, TaskId, TokenAmount, address
from scripts.bundle_pages import BUNDLE, bundled, esbuild

DOMAIN = RoundDomain(31337, address("0x" + "12" * 20), TaskId(3), RoundIndex(2))
SETTLEMENT = Settlement(
    leaves_root=Digest32(bytes([1]) * 32), leaf_count=4, total_payout=TokenAmount(10**20),
    verdicts_digest=Digest32(bytes([2]) * 32), next_start_digest=Digest32(bytes([3]) * 32),
    improvement_nanos=-5, artifact_digest=Digest32(bytes([4]) * 32),
)  # fmt: skip
KEYS = [SecretKey.from_seed(bytes([number]) * 32) for number in (1, 2, 3)]


def in_javascript(records: list[dict[str, Any]], tmp_path: Path) -> list[Any]:
    """What `Verify.quorum` says of each record: whether it holds, or the message."""
    program = tmp_path / "check.js"
    checks = """
const told = JSON.parse(require("fs").readFileSync(0, "utf8")).map((record) => {
  try {
    const {computed, expected} = Verify.quorum(record);
    return computed === expected;
  } catch (error) {
    return error.message;
  }
});
console.log(JSON.stringify(told));"""
    program.write_text(script("noble.js", "verify.js") + checks, encoding="utf-8")
    finished = subprocess.run(
        ["node", str(program)], input=json.dumps(records), capture_output=True, text=True, check=True
    )
    return list(json.loads(finished.stdout))


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    digest = SETTLEMENT.signing_digest(DOMAIN, 1)
    signature = aggregate_signatures(key.sign(SETTLEMENT_DOMAIN, digest) for key in KEYS)
    keys: list[PublicKey] = [key.public_key() for key in KEYS]
    return quorum_record(DOMAIN, 1, SETTLEMENT, signature.point, {str(n): key.g2 for n, key in enumerate(keys)})


def test_quorum_signature_holds_in_javascript_and_every_change_is_seen(record: dict[str, Any], tmp_path: Path) -> None:
    x, y = record["signature"]
    other = SecretKey.from_seed(bytes([9]) * 32).public_key().g2
    forged = [
        {**record, "attempt": 0},
        {**record, "round": "3"},
        {**record, "settlement": [*record["settlement"][:2], "7", *record["settlement"][3:]]},
        {**record, "settlement": ["0x" + "77" * 32, *record["settlement"][1:]]},
        {**record, "keys": record["keys"][:2]},
        {**record, "keys": [*record["keys"][:2], [str(part) for part in other]]},
        {**record, "domain": "0x" + "00" * 32},
        {**record, "signature": [x, str(int(y) + 1)]},
        {**record, "keys": [*record["keys"][:2], ["1", "2", "3", "4"]]},
    ]
    honest, *others = in_javascript([record, *forged], tmp_path)
    assert honest is True
    assert [told is True for told in others] == [False] * len(forged)
    assert all(isinstance(told, str) for told in others[-2:]), "points that are not on the curve are named"


def test_bundle_is_what_the_pinned_packages_make() -> None:
    program = esbuild()
    assert program is not None, "npm ci --ignore-scripts"
    assert bundled(program) == BUNDLE.read_text("utf-8"), "python scripts/bundle_pages.py"
