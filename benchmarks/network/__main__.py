"""What a network of strangers costs: a gateway instead of a folder or bucket, sealed openings instead of open ones.

    python -m benchmarks.network

Sealing is measured in processor time on MiniLM as the demo tunes it. Serving is measured in wall time, all ways in turn
in one process: a folder, an S3 service (moto), a gateway before each. Then the whole demo is played both ways, for
half an hour. What was measured stays in build/benchmarks/network, from where an interrupted run goes on; remove it to
start anew. Results: docs/results/network.md.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.network.demos import WAYS, demo_sets
from benchmarks.network.sealing import sealing
from benchmarks.network.serving import LARGE_BYTES, READERS, serving_figures
from benchmarks.shared.cells import cell
from benchmarks.shared.places import BUILD
from benchmarks.shared.replay_tasks import machine_facts, table, write_results


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    kept = BUILD / "network"
    facts = {
        "machine": machine_facts(),
        "sealing": cell(kept, "sealing", sealing),
        "serving": cell(kept, "serving", _served),
        "demos": demo_sets(kept),
    }
    write_results("network", facts, markdown(facts))


def _served() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        figures = serving_figures(Path(folder))
    return {**figures, "load": os.getloadavg()[2], "nice": os.nice(0)}


def markdown(facts: dict[str, Any]) -> str:
    sealed, served, machine = facts["sealing"], facts["serving"], facts["machine"]
    seconds, opening, round_ = sealed["seconds"], sealed["opening_bytes"], sealed["round_bytes"]
    adapter, base = sealed["adapter_bytes"], served["through"]["folder"]
    through = [
        (name, _ms(t["write"]), _ms(t["read"]), _ms(t["write"] + t["read"] - base["write"] - base["read"]))
        for name, t in served["through"].items()
    ]
    hostile = served["hostile"]
    beside = [
        (name, _ms(hostile[name]["median"]), _ms(hostile[name]["slowest of a hundred"])) for name in ("alone", "beside")
    ]
    large = [(name, _mib(rate["one"]), _mib(rate["many"])) for name, rate in served["large"].items()]
    return f"""# What a network of strangers costs

Made by `python -m benchmarks.network` on {machine["processor"]}, {machine["cores"]} cores, {
        machine["day"]
    }. Serving was measured at a mean load of {served["load"]:.1f} and nice {served["nice"]}.
What is compared was measured in turn.

## Sealing
MiniLM-L6 as the demo tunes it: {sealed["values"]:,} values, {sealed["steps"]} steps of 8 rows, {
        sealed["readers"]
    } readers. Processor time of one thread.

{table(("what", "ms"), ((name, _ms(value)) for name, value in seconds.items()))}

{table(("share of sealing", "%"), ((name, f"{100 * value:.3f}") for name, value in sealed["shares"].items()))}

The trainer's shares are of training its round. The verifier's are of its replays, and count that it makes every
reader's envelope again. Private adapters add the round's start, the delta and the next adapter. The aim was below 2 %.

{
        table(
            ("bytes", "open", "sealed", "more"),
            (
                ("an opening", f"{opening['open']:,}", f"{opening['sealed']:,}", _more(opening)),
                ("an adapter", f"{adapter['open']:,}", f"{adapter['sealed']:,}", _more(adapter)),
                (
                    "a round's openings and envelopes, one trainer",
                    f"{round_['open']:,}",
                    f"{round_['sealed']:,}",
                    _more(round_),
                ),
            ),
        )
    }

## A round through a gateway
{served["artifacts"]} artifacts, {served["bytes"]:,} bytes: everything that two trainers, a verifier
and a sponsor publish in a round of a tiny model, rows and adapters
sealed. Each writes what it made, then one reader reads all of it. The
least of three. Playing the round in one process took {
        served["round_seconds"]:.1f} s; its phases last minutes on a real chain.

{table(("store", "write, ms", "read, ms", "more than a folder, ms"), through)}

A write through the gateway is signed, its role is asked of the chain, its content is checked, and it is on the disk
before it is answered.

## A thousand hostile connections
{hostile["files"]:,} more open files and {hostile["bytes"] / 2**20:.0f} MiB in the one process that holds both ends; {
        hostile["files_left"]
    } files more than before when they were gone. An honest reader of a small file, ms:

{table(("reader", "median", "99 of 100 below"), beside)}

## Large reads
One artifact of {LARGE_BYTES // 2**20} MiB, MiB/s, read by one and by {
        READERS
    } at once, all in one Python process with the servers. The median of three. Python's own file server stands for
plain HTTP without checks.

{table(("store", "one reader", f"{READERS} readers"), large)}

## The demo among strangers
`deltaproof demo --folder`, where everybody writes into one folder; `deltaproof demo`, through a gateway whose URL
stands on chain; and `deltaproof demo --network`, where rows are sealed for the verifiers and adapters for who takes
part, too. Seconds from the start until the last process has ended. Each set has its own data; every second one was
played in the other order.

{_demos(facts["demos"])}

The aim for the default way was below 15 %.
"""


def _demos(sets: list[dict[str, dict[str, Any]]]) -> str:
    def more(way: str, played: dict[str, dict[str, Any]]) -> float:
        return 100 * float(played[way]["seconds"] / played["one folder"]["seconds"] - 1)

    ways = [way for way in WAYS if way != "one folder"]
    rows = [
        (
            number,
            *(f"{played[way]['seconds']:.0f}" for way in WAYS),
            *(f"{more(way, played):+.1f}" for way in ways),
            "yes" if all(one["kept"] for one in played.values()) else "no",
        )
        for number, played in enumerate(sets, 1)
    ]
    means = ("mean", *("" for _ in WAYS), *(f"{mean(more(way, each) for each in sets):+.1f}" for way in ways), "")
    header = ("set", *(f"{way}, s" for way in WAYS), *(f"{way}: more, %" for way in ways), "promises kept")
    return table(header, (*rows, means))


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.2f}" if seconds < 0.1 else f"{1000 * seconds:,.0f}"


def _mib(rate: float) -> str:
    return f"{rate / 2**20:,.0f}"


def _more(sizes: dict[str, int]) -> str:
    return f"{100 * (sizes['sealed'] / sizes['open'] - 1):.2f} %"


if __name__ == "__main__":
    main()
