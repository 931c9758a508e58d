"""The page of the figures: aims, every call before and after, proofs and disputes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.chain.gas.claims import CLAIMED_TOGETHER, LEAF_COUNTS, together_label
from benchmarks.chain.gas.reasons import MOVED, SLACK, reason_of
from benchmarks.chain.gas.rounds import BATCH, VERIFIER_COUNTS

__all__ = ["Figures", "render"]

# Uniswap/merkle-distributor, test/MerkleDistributor.spec.ts: average gas of claims in a tree of 100,000 leaves.
UNISWAP_RANDOM, UNISWAP_SEQUENTIAL = 78_600, 62_300
COMMIT_AIM, BATCH_AIM = 50_000, 10_000
TRANSACTION_LIMIT = 2**24
CODE_LIMIT = 24_576


@dataclass(frozen=True)
class Figures:
    """What gas.json holds."""

    calls: dict[str, int]
    ecrecover_loop: dict[str, int]
    proofs_and_disputes: dict[str, dict[str, int]]
    code: dict[str, int]


def render(now: Figures, before: Mapping[str, Any]) -> str:
    """The page. Raises ValueError if a call got over 5 % dearer and nothing says why."""
    parts = [_head(), _aims(now), _quorum(now), _calls(now.calls, before["calls"]), _disputes(now, before)]
    return "\n".join(line for part in parts for line in part)


def _head() -> list[str]:
    return [
        "# Gas",
        "",
        "Measured by `python -m benchmarks.chain.gas` on a private Anvil (rules of Paris), compiler and optimiser as",
        "in `brownie-config.yaml`. Whole transactions, call data included; real BLS signatures. `before` is the same",
        "benchmark before the contracts of version 2 ([figures](data/gas_v1.json)).",
        "",
    ]


def _aims(now: Figures) -> list[str]:
    gas, largest = now.calls, max(LEAF_COUNTS)
    batch = gas[f"TrainerPool.commitBatch of {BATCH} (round 2, batch from 0)"]
    single = gas["TrainerPool.commitBatch of 1 (round 1, batch from 0)"]
    reveals = gas[f"TrainerPool.revealBatch of {BATCH} (round 2, batch from 0)"]
    code = max(now.code.items(), key=lambda item: item[1])
    dearest = max((item for item in gas.items() if not item[0].startswith("deploy")), key=lambda item: item[1])
    commit = max(value for label, value in gas.items() if label.startswith("TrainerPool.commit ("))
    first, later = (gas[f"RewardVault.claim, {order} ({largest} leaves)"] for order in ("first", "next"))
    return [
        "## Aims",
        "",
        "| what | measured | aim | |",
        "|---|--:|--:|---|",
        _aim("commit, one trainer", commit, COMMIT_AIM, "at most"),
        _aim(
            f"commit in a batch of {BATCH}, each beyond the first", (batch - single) // (BATCH - 1), BATCH_AIM, "less"
        ),
        _aim(f"claim, first of a trainer, {largest:,} leaves", first, UNISWAP_RANDOM, "Uniswap, random claims"),
        _aim(f"claim, later rounds, {largest:,} leaves", later, UNISWAP_SEQUENTIAL, "Uniswap, sequential claims"),
        *(
            _aim(
                f"claim, {rounds} rounds at once, each, {largest:,} leaves",
                gas[together_label(rounds)] // rounds,
                UNISWAP_SEQUENTIAL,
                "Uniswap, sequential claims",
            )
            for rounds in CLAIMED_TOGETHER
        ),
        _aim(f"dearest call ({dearest[0]})", dearest[1], TRANSACTION_LIMIT, "EIP-7825"),
        _aim(f"largest contract, bytes ({code[0]})", code[1], CODE_LIMIT, "EIP-170"),
        "",
        f"A reveal in a batch of {BATCH} costs {reveals // BATCH:,} a trainer. Uniswap's figures are what tests of its",
        "MerkleDistributor assert for a tree of 100,000 leaves; their payee already holds the token, and so do ours",
        "in these rows. A claim by itself pays for what a distributor of one fixed token and tree does not have: the",
        "round's root, what its pot still holds, and whether the payee revealed. Whoever claims often claims several",
        "rounds at once, which costs less than Uniswap's cheapest claim.",
        "A tree of more than three leaves is put into the vault in the place of the settled one: the cost of a claim",
        "depends on the length of its proof alone.",
        "",
    ]


def _quorum(now: Figures) -> list[str]:
    rows = []
    for count in VERIFIER_COUNTS:
        start = f"TaskManager.settle ({count} verifiers,"
        absent = next(value for label, value in now.calls.items() if label.startswith(start) and "absent" in label)
        everyone, loop = now.calls[f"{start} all sign)"], now.ecrecover_loop[str(count)]
        rows.append(f"| {count} | {everyone:,} | {absent:,} | {loop:,} |")
    return [
        "## Settlement and quorum",
        "",
        "| verifiers | settle, all sign | settle, a third absent | the same signers one by one (`ecrecover`) |",
        "|--:|--:|--:|--:|",
        *rows,
        "",
        "Settling also writes the settlement and starts the dispute window; the `ecrecover` column checks signatures",
        "and stakes only. Every round has its own record, so a later settlement costs what the first one does.",
        "",
    ]


def _calls(now: Mapping[str, int], before: Mapping[str, int]) -> list[str]:
    rows, unexplained = [], []
    for label, value in sorted(now.items()):
        old = before.get(_old_label(label))
        change = "" if old is None else f"{value / old - 1:+.1%}"
        dearer = old is not None and value > old * (1 + SLACK) and not label.startswith("deploy")
        why = reason_of(label) if dearer else ""
        if why is None:
            unexplained.append(f"{label} {change}")
        rows.append(f"| {label} | {'' if old is None else f'{old:,}'} | {value:,} | {change} | {why or ''} |")
    if unexplained:
        raise ValueError(f"dearer by over {SLACK:.0%}, and reasons.py does not say why: {'; '.join(unexplained)}")
    return [
        "## Every call",
        "",
        f"A row says why where a call costs over {SLACK:.0%} more than before.",
        "",
        "| call | before | now | change | why |",
        "|---|--:|--:|--:|---|",
        *rows,
        "",
    ]


def _old_label(label: str) -> str:
    for new, old in MOVED.items():
        if label.startswith(new):
            return old + label[len(new) :]
    return label


def _disputes(now: Figures, before: Mapping[str, Any]) -> list[str]:
    rows = []
    for name, figures in now.proofs_and_disputes.items():
        old = before["proofs_and_disputes"].get(name)
        known = f"{old['median']:,} | {old['max']:,}" if old else " | "
        rows.append(f"| {name} | {known} | {figures['median']:,} | {figures['max']:,} |")
    return [
        "## Proofs and disputes",
        "",
        "From forge's report of the tests of faults, settlements and attacks (execution without call data; a chunk",
        "adds about 17,000 gas of call data). Medians and maxima of two sets of tests: read them as sizes.",
        "",
        "| call | median before | largest before | median | largest |",
        "|---|--:|--:|--:|--:|",
        *rows,
        "",
    ]


def _aim(what: str, measured: int, aim: int, against: str) -> str:
    verdict = "yes" if measured <= aim else f"no, {measured / aim - 1:+.1%}"
    return f"| {what} | {measured:,} | {aim:,} ({against}) | {verdict} |"
