"""The browser's arithmetic against Python's: the same quorum signature, from fields to pairing, in both."""

from __future__ import annotations

import copy
import json
import random
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deltaproof.pages.render import script
from deltaproof.pages.rounds import quorum_record
from deltaproof.protocol.commit.bls import SETTLEMENT_DOMAIN, PublicKey, SecretKey, aggregate_signatures
from deltaproof.protocol.commit.commitments import RoundDomain
from deltaproof.protocol.outcome.settlement import Settlement
from deltaproof.protocol.rules import NANOS, PATH_NODES, PATH_PASSES
from deltaproof.protocol.types import Digest32, RoundIndex, TaskId, TokenAmount, address
from incentives._coalitions import nanos
from incentives.path import PathPass, path_values, values_of_passes
from incentives.semivalues import estimate
from scripts.bundle_pages import BUNDLE, bundled, esbuild

DOMAIN = RoundDomain(31337, address("0x" + "12" * 20), TaskId(3), RoundIndex(2))
SETTLEMENT = Settlement(
    leaves_root=Digest32(bytes([1]) * 32), leaf_count=4, total_payout=TokenAmount(10**20),
    verdicts_digest=Digest32(bytes([2]) * 32), next_start_digest=Digest32(bytes([3]) * 32),
    improvement_nanos=-5, artifact_digest=Digest32(bytes([4]) * 32),
)  # fmt: skip
KEYS = [SecretKey.from_seed(bytes([number]) * 32) for number in (1, 2, 3)]


def in_javascript(records: list[dict[str, Any]], tmp_path: Path, check: str = "Verify.quorum") -> list[Any]:
    """What a check of the pages says of each record: whether it holds, or the message."""
    program = tmp_path / "check.js"
    checks = """
const check = CHECK;
const told = JSON.parse(require("fs").readFileSync(0, "utf8")).map((record) => {
  try {
    const {computed, expected} = check(record);
    return computed === expected;
  } catch (error) {
    return error.message;
  }
});
console.log(JSON.stringify(told));"""
    sources = script("noble.js", "verify.js", "arithmetic.js")
    program.write_text(sources + checks.replace("CHECK", check), encoding="utf-8")
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


def passes_of(draw: random.Random, *, stay: bool) -> list[PathPass]:
    """A record of three players as the rule makes one, with slopes that nobody measured."""
    members: tuple[int, ...] = (0, 1, 2)
    found: list[PathPass] = []
    while members:
        slopes = tuple(tuple(draw.randint(-(10**6), 3 * 10**6) for _ in PATH_NODES) for _ in members)
        found.append(PathPass(members, (1,) * len(members), slopes, draw.randint(-(10**6), 4 * 10**6)))
        values = path_values(found[-1])
        following = tuple(i for i, value in zip(members, values, strict=True) if value > 0)
        if stay or following == members or len(found) == PATH_PASSES:
            return found
        members = following
    return found


def game_of_passes(draw: random.Random, *, stay: bool) -> dict[str, Any]:
    """An Aumann-Shapley record; the last player shares its value with another."""
    passes = passes_of(draw, stay=stay)
    values = values_of_passes(passes, 3, stay=stay)
    shares = [
        {
            "gainNanos": one.gain_nanos,
            "shares": [
                {"player": member, "slopesNanos": list(slopes)}
                for member, slopes in zip(one.members, one.slopes_nanos, strict=True)
            ],
        }
        for one in passes
    ]
    players = [["a"], ["b"], ["c", "d"]]
    scores = dict(zip("abcd", (*values[:2], values[2] // 2, values[2] // 2), strict=True))
    told = {"index": "aumann_shapley", "stay": stay, "players": players, "coalitions": [], "passes": shares}
    return {**told, "scores": scores}


def game_of_table(draw: random.Random, index: str, players: int) -> dict[str, Any]:
    """A complete table of coalitions, and what Python makes of it."""
    table = np.arange(2**players)[:, None] >> np.arange(players) & 1
    values = [0, *(draw.randint(-(10**9), 10**9) for _ in table[1:])]
    found = estimate(
        lambda asked: np.array([values[int(row @ (1 << np.arange(players)))] for row in asked]) / NANOS,
        n_players=players, budget=2**players, seed=b"x", index=index, method="exact",
    )  # fmt: skip
    coalitions = [
        {"members": np.flatnonzero(row).tolist(), "valueNanos": str(value)}
        for row, value in zip(table, values, strict=True)
    ]
    names = [f"0x{number:040x}" for number in range(players)]
    scores = {name: nanos(value) for name, value in zip(names, found.values.tolist(), strict=True)}
    unions = [[name] for name in names]
    return {"index": index, "stay": True, "players": unions, "coalitions": coalitions, "passes": [], "scores": scores}


def test_scores_in_javascript_are_those_of_python_and_every_change_is_seen(tmp_path: Path) -> None:
    draw = random.Random(20)
    honest = [game_of_table(draw, index, players) for index in ("shapley", "banzhaf") for players in (1, 2, 3, 5)]
    honest += [game_of_passes(draw, stay=stay) for stay in (True, False) for _ in range(12)]
    forged = []
    for game in map(copy.deepcopy, honest):
        name = draw.choice(list(game["scores"]))
        forged.append({**game, "scores": {**game["scores"], name: game["scores"][name] + 3}})
        if game["coalitions"]:
            changed = copy.deepcopy(game)
            changed["coalitions"][-1]["valueNanos"] = str(int(changed["coalitions"][-1]["valueNanos"]) + 10**3)
            forged += [changed, {**game, "coalitions": game["coalitions"][:-1]}]
        else:
            changed = copy.deepcopy(game)
            changed["passes"][-1]["gainNanos"] += 10**5
            changed["passes"][-1]["shares"].pop()
            forged += [changed, {**game, "passes": game["passes"][:-1]}]
    told = in_javascript([*honest, *forged], tmp_path, "Arithmetic.scores")
    assert told[: len(honest)] == [True] * len(honest)
    assert all(one is not True for one in told[len(honest) :])


def test_bundle_is_what_the_pinned_packages_make() -> None:
    program = esbuild()
    assert program is not None, "npm ci --ignore-scripts"
    assert bundled(program) == BUNDLE.read_text("utf-8"), "python scripts/bundle_pages.py"
