"""Seconds and calls until a role's command has seen its task, on a chain of twenty million blocks and on a short one.

    python -m benchmarks.startup.long_chain [--runs 3]

Anvil begins at the height; a proxy before it answers for the blocks below as an archive node of a chain would on which
nothing of ours had happened yet. The round that runs was opened five hundred blocks ago. Each start is a fresh
process: once with an empty cache, once with what the first left in its home. Writes docs/results/long_chain.md and
docs/results/data/long_chain.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eth_utils.crypto import keccak

from benchmarks.shared.places import FIGURES, PAGES, ROOT
from deltaproof.chain.local_node import Node, start_node
from deltaproof.protocol.evidence.rows import write_shard
from deltaproof.sponsor.life import Sponsor
from tests.chain.rpc_proxy import Request, RpcProxy
from tests.chaos.chaos_world import ChaosWorld, chaos_world, distinct_rows

HEIGHTS = {"20 million blocks": 20_000_000, "a short chain": 0}
SINCE, AT_ONCE = 500, 50
"""Blocks since the round was opened, and how many of them Anvil makes at a request."""
BLOCK_SECONDS = 12
PHASE_SECONDS = 7 * 86_400
PATIENCE = 120.0
ROLES = ("sponsor", "trainer", "verifier", "watch")


class Past:
    """The blocks below the height that a node began at: they exist, and hold nothing of ours."""

    def __init__(self, base: int) -> None:
        self.base, self.calls = base, Counter[str]()
        self._blocks: dict[Any, int] = {}
        self._empty: set[Any] = set()

    def ask(self, request: Request) -> None:
        """Counts a request, and lets a node that has only newer blocks answer it."""
        method, parameters = request["method"], request["params"]
        self.calls[method] += 1
        if method == "eth_getLogs":
            if int(parameters[0]["toBlock"], 16) < self.base:
                self._empty.add(id(request))
                parameters[0] |= {"fromBlock": "latest", "toBlock": "latest"}
            else:
                parameters[0]["fromBlock"] = hex(max(self.base, int(parameters[0]["fromBlock"], 16)))
        elif method in ("eth_getBlockByNumber", "eth_getCode", "eth_call"):
            place = parameters[0 if method == "eth_getBlockByNumber" else 1]
            if isinstance(place, str) and place.startswith("0x") and int(place, 16) < self.base:
                self._blocks[id(request)] = int(place, 16)

    def answer(self, request: Request, value: dict[str, Any]) -> None:
        """What stands there instead of the node's answer."""
        if id(request) in self._empty:
            self._empty.discard(id(request))
            value["result"] = []
        number = self._blocks.pop(id(request), None)
        if number is None:
            return
        value.pop("error", None)
        if request["method"] == "eth_getBlockByNumber":
            before = int(time.time()) - 86_400 - BLOCK_SECONDS * (self.base - number)
            known = {"number": hex(number), "hash": "0x" + keccak(number.to_bytes(8, "big")).hex()}
            value["result"] = {**known, "timestamp": hex(before)}
        else:
            value["result"] = "0x"


@contextmanager
def chain_at(height: int, folder: Path) -> Iterator[tuple[Node, Past]]:
    """A node behind a proxy that shows it as the end of a chain of that height."""
    binary = folder / "anvil"
    anvil = ROOT / "node_modules" / ".bin" / "anvil"
    binary.write_text(f'#!/bin/sh\nexec "{anvil}" "$@"{f" --number {height}" if height else ""}\n')
    binary.chmod(0o755)
    os.environ["DELTAPROOF_ANVIL"] = str(binary)
    with start_node("anvil", accounts=12) as node, RpcProxy(node.rpc_url) as proxy:
        past = Past(height)
        proxy.fault, proxy.alter = past.ask, past.answer
        yield dataclasses.replace(node, rpc_url=proxy.url), past


def arguments(world: ChaosWorld, folder: Path, role: str) -> tuple[list[str], str]:
    """A role's command line, and the key that it acts with."""
    number = {"sponsor": 1, "trainer": 2, "verifier": 3, "watch": 6}[role]
    home = folder / {"trainer": "trainer-0", "verifier": "verifier-0"}.get(role, role)
    options = [role, *(["run"] if role != "watch" else []), "--task", str(world.task), "--home", str(home), "--json"]
    if role == "sponsor":
        options += ["--trainers", "1", "--verifiers", "1"]
    if role == "trainer":
        write_shard(folder / "rows.jsonl", distinct_rows(0))
        options += ["--data", str(folder / "rows.jsonl")]
    return options, world.node.private_keys[number]


def started(world: ChaosWorld, folder: Path, role: str, past: Past) -> dict[str, Any]:
    """Seconds from the start of the process until it tells in which phase its task is, and its calls until then."""
    options, key = arguments(world, folder, role)
    settings = {
        "DELTAPROOF_RPC": world.node.rpc_url, "DELTAPROOF_CONTRACT": world.gateway.tasks.address,
        "DELTAPROOF_STORE": str(world.store_folder), "DELTAPROOF_KEY": key, "DELTAPROOF_STATE": str(folder / "states"),
        "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    past.calls.clear()
    began, worked = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(
        [sys.executable, "-m", "deltaproof", *options], env=os.environ | settings, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        said = []
        try:
            for line in process.stdout:
                said.append(line)
                if '"event": "phase"' in line:
                    took, calls = time.monotonic() - began, Counter(past.calls)
                    break
            else:
                raise SystemExit(f"{role} ended: {''.join(said)[-2000:]}")
        finally:
            process.kill()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime - worked.ru_utime - worked.ru_stime
    return {"seconds": round(took, 2), "cpu": round(cpu, 2), "calls": sum(calls.values()), "logs": calls["eth_getLogs"]}


def measured(height: int, runs: int) -> dict[str, list[dict[str, Any]]]:
    """Every role's starts on a chain of a height, the first with an empty cache."""
    found: dict[str, list[dict[str, Any]]] = {role: [] for role in ROLES}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            chain_at(height, folder) as (node, past),
            chaos_world(node, folder, trainers=1, verifiers=1, rounds=1, seconds=PHASE_SECONDS) as world,
        ):
            for role in world.roles:
                role.agent.join()
            (sponsor,) = world.of(Sponsor)
            sponsor.agent.gateway.tasks.open_round(world.task)
            world.raw("anvil_mine", hex(2))
            sponsor.agent.gateway.tasks.advance(world.task)
            assert world.phase() == "COMMIT"
            for closer in world.closers[:-1]:  # their keys are for the commands now
                closer()
            world.closers[:-1] = []
            for _ in range(SINCE // AT_ONCE):
                world.raw("anvil_mine", hex(AT_ONCE))
            for _ in range(1 + runs):
                for role in ROLES:
                    found[role].append(started(world, folder, role, past))
    return found


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="starts with a cache, beside the one without")
    runs = parser.parse_args().runs
    load = os.getloadavg()[0]
    figures = {name: measured(height, runs) for name, height in HEIGHTS.items()}
    lines = [
        "| role | chain | first start, s | of processor | calls | for logs | later starts, s | of processor | calls |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]  # fmt: skip
    for role in ROLES:
        for name, found in figures.items():
            first, *later = found[role]
            again = statistics.median(start["seconds"] for start in later)
            calls = statistics.median(start["calls"] for start in later)
            cpu = statistics.median(start["cpu"] for start in later)
            begun = f"{first['seconds']:.1f} | {first['cpu']:.1f} | {first['calls']} | {first['logs']}"
            lines.append(f"| {role} | {name} | {begun} | {again:.1f} | {cpu:.1f} | {calls:.0f} |")
    slowest = max(start["seconds"] for start in (s for found in figures[next(iter(HEIGHTS))].values() for s in found))
    page = f"""# Start on a long chain

`python -m benchmarks.startup.long_chain`

From the start of the process until the role has read its task and says in which phase it is: Python, libraries, keys,
contracts' code, the task's terms, and for trainer and verifier a tiny model. Medians of {runs} later starts, on
{os.cpu_count()} cores with a load of {load:.0f} before; *of processor* is what the process itself computed until then.
The round that runs was opened {SINCE:,} blocks ago. The slowest start on the long chain took {slowest:.1f} s; the aim
is 10 s. The height costs no logs and few calls: a task's first block is found by bisection and remembered.

{chr(10).join(lines)}

The chain is Anvil begun at the height, behind a proxy that answers for the {HEIGHTS["20 million blocks"]:,} blocks
below as a node would that keeps all states of a chain on which nothing of ours had happened.
"""
    (FIGURES / "long_chain.json").write_text(json.dumps(figures, indent=1) + "\n")
    (PAGES / "long_chain.md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
