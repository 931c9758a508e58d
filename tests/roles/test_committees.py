"""Committees in processes: verifiers who share a gateway and nothing else replay a part each, one is killed between its
seal and its report, and the round is settled, paid and audited."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from deltaproof.protocol.evidence.rows import canonical_row, write_shard
from tests.roles.test_lives import files, kill, settled_round, supervised
from tests.worlds.market import Market

VERIFIERS = ("vera", "vito", "vic")
TRAINERS = {"ann": 1, "ben": 2, "cleo": 6, "dan": 7}
"""With the number of each one's key."""


def test_verifiers_in_processes_share_the_replays_and_one_is_killed_after_its_seal(tmp_path: Path) -> None:
    files(tmp_path, steps=8)
    for name in ("cleo", "dan"):
        write_shard(
            tmp_path / f"{name}.jsonl", [canonical_row({"text": f"{name} {i}", "label": i % 2}) for i in range(12)]
        )
    draft = (tmp_path / "task.toml").read_text()
    (tmp_path / "task.toml").write_text(draft.replace("[verification]\n", "[verification]\ncommittee = 2\n"))
    with supervised(tmp_path) as commands:
        market = Market.open(
            commands, tmp_path, gateway=("--store", str(tmp_path / "kept"), "--home", str(tmp_path / "gateway"))
        )
        judges = {name: market.role(name, number, "verifier") for number, name in enumerate(VERIFIERS, start=3)}
        trainers = [market.trainer(name, number) for name, number in TRAINERS.items()]
        sponsor = market.role("sponsor", 0, "sponsor", "--trainers", "4", "--verifiers", "3")

        market.wait(judges["vera"], "report")
        kill(judges["vera"], signal.SIGKILL)
        judges["vera"] = market.role("vera", 3, "verifier")
        for worker in (*judges.values(), *trainers, sponsor):
            assert market.ended(worker) == 0, worker.tail(20)

        round_ = settled_round(market)
        assert [leaf["verdict"] for leaf in round_["trainers"]] == ["accepted"] * 4
        assert len({verifier["fee"] for verifier in round_["verifiers"]}) == 1
        shown = market.run("audit", "audit", "--task", market.task, "--full")
        names = [check["name"] for check in shown["checks"]]  # type: ignore[attr-defined]
        assert shown["failed"] == 0, json.dumps(shown)
        assert "committee" in names, "four trainers have four outsiders among three verifiers: one takes two over"
