"""Histories as records that a data frame takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from deltaproof.api.network import Network
from deltaproof.auditor.explain import Explanation
from deltaproof.auditor.explain import explain as explained_numbers
from deltaproof.auditor.facts.loading import load_task
from deltaproof.auditor.history import Historian, rows_of
from deltaproof.chain import Gateway
from deltaproof.protocol.types import Address, address

__all__ = ["TaskHistory", "explained", "read_history"]


@dataclass(frozen=True)
class TaskHistory:
    """What `history --json` prints, and the same as flat rows."""

    document: dict[str, Any]
    decimals: dict[str, int | None]
    """Of each token, by its address; None for one that does not say."""
    stake_token: str

    def records(self) -> list[dict[str, Any]]:
        """One row for each trainer's round, for `pandas.DataFrame(history.records())`.

        The columns of `history --csv`: amounts in smallest units and scores in nano-nats, exact integers. Besides,
        as floats for plots: `score` and `stderr` in nats, `pay`, `claimedTokens` and `slashedTokens` in tokens (None
        where the token does not say its decimals).
        """
        paid = {task["task"]: self.decimals[task["token"]] for task in self.document["tasks"]}
        staked = self.decimals[self.stake_token]
        return [
            {
                **row,
                "score": _scaled(row["scoreNanos"], 9),
                "stderr": _scaled(row["stderrNanos"], 9),
                "pay": _scaled(row["payout"], paid[row["task"]]),
                "claimedTokens": _scaled(row["claimed"], paid[row["task"]]),
                "slashedTokens": _scaled(row["slashed"], staked),
            }
            for row in rows_of(self.document)
        ]

    def rounds(self) -> list[dict[str, Any]]:
        """One row for each round: outcome, held-out loss and accuracy before and after, pay of all trainers."""
        kept = (
            "round", "outcome", "improvementNanos", "totalPayout", "startLoss", "startAccuracy", "endLoss",
            "endAccuracy", "openedAt", "endedAt",
        )  # fmt: skip
        return [
            {"task": task["task"], **{name: entry[name] for name in kept}, "trainers": len(entry["trainers"])}
            for task in self.document["tasks"]
            for entry in task["history"]
        ]

    def participants(self) -> list[dict[str, Any]]:
        """One row for everybody who appears: rounds, payouts, claims, fees, slashes; smallest units."""
        return [dict(entry) for entry in self.document["participants"]]


def read_history(
    network: Network, tasks: Sequence[int] | None, rounds: Sequence[int] | None, account: Address | None, index: str
) -> TaskHistory:
    """Histories of tasks (None: all). Verdicts, scores and pay need a task's store; where none is known, or none
    answers, they are None."""
    found = network.index(index)
    store = network.artifacts() if network.store else network.announced(found)
    document = Historian(found, store).history(tasks, rounds, account)
    gateway = network.gateway()
    stake = gateway.registry.token()
    tokens = {str(task["token"]) for task in document["tasks"]} | {str(stake)}
    return TaskHistory(document, {token: _decimals(gateway, token) for token in tokens}, str(stake))


def explained(network: Network, task: int, round_: int, trainer: Address, index: str) -> Explanation:
    """Why a trainer got what it got, with amounts in tokens."""
    found, gateway = network.index(index), network.gateway()
    paid, staked = gateway.money(load_task(found, task).params.token), gateway.money(gateway.registry.token())
    return explained_numbers(found, network.artifacts(task), task, round_, trainer, paid=paid, staked=staked)


def _decimals(gateway: Gateway, token: str) -> int | None:
    return gateway.money(address(token)).decimals


def _scaled(value: int | None, decimals: int | None) -> float | None:
    return None if value is None or decimals is None else float(Fraction(value, 10**decimals))
