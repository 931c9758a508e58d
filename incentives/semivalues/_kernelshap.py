"""Paired KernelSHAP: the Shapley value as a weighted least-squares fit (Lundberg and Lee 2017; Covert and Lee 2021).

Coalitions are drawn by the Shapley kernel, each with its complement, and fitted by v(none) + sum_i phi_i z_i under
efficiency. The error is the sandwich over pairs. It exists for the Shapley value alone.
"""

from __future__ import annotations

import numpy as np

from deltaproof.protocol.rules import KERNELSHAP_RIDGE
from incentives.semivalues._linalg import inverse_root, product
from incentives.semivalues._oracle import Oracle
from incentives.semivalues._result import Bools, BudgetError, Estimate, Floats
from incentives.semivalues._stream import Stream


def kernelshap(oracle: Oracle, stream: Stream) -> Estimate:
    """Draw pairs while the budget lasts, then fit."""
    players = oracle.players
    if players < 2 or oracle.budget < 2 * players + 2:
        raise BudgetError(f"kernelshap needs 2 N + 2 = {2 * players + 2} evaluations, the budget is {oracle.budget}")
    none, everyone = oracle.ask(np.array([[False] * players, [True] * players]))
    pairs = _draw(oracle, stream)
    values = oracle.ask(pairs) - none
    features = pairs.astype(np.float64)
    return _fit(features, values, float(everyone - none), oracle)


def _draw(oracle: Oracle, stream: Stream) -> Bools:
    """Pairs with repetition (a repeated pair counts twice), bool [2 * pairs, players]."""
    players = oracle.players
    sizes = np.arange(1, players)
    kernel = 1.0 / (sizes * (players - sizes))
    drawn: list[Bools] = []
    while oracle.left > 1 and len(drawn) < oracle.budget:
        half = stream.coalitions(sizes[stream.choices(kernel, max(1, oracle.left // 2))], players)
        pairs = np.stack([half, ~half], axis=1).reshape(-1, players)
        pairs = pairs[: 2 * oracle.affordable_prefix(pairs, 2)]
        oracle.ask(pairs)
        drawn.append(pairs)
        if len(pairs) < 2 * len(half):
            break
    return np.concatenate(drawn)


def _fit(features: Floats, values: Floats, total: float, oracle: Oracle) -> Estimate:
    players = features.shape[1]
    # Eliminate the last player by efficiency: phi_last = total - sum of the others.
    last = features[:, -1]
    design = features[:, :-1] - last[:, None]
    target = values - last * total
    root = inverse_root(product(design.T, design) + KERNELSHAP_RIDGE * len(values) * np.eye(players - 1))
    head = product(root.T, product(root, product(design.T, target[:, None])))[:, 0]
    residual = target - (design * head[None, :]).sum(axis=1)
    # Sandwich over pairs: rows of a pair are not independent.
    scores = (design * residual[:, None]).reshape(-1, 2, players - 1).sum(axis=1)
    shift = product(root.T, product(root, scores.T))  # [players - 1, pairs]
    shift = np.vstack([shift, -shift.sum(axis=0)])
    correction = len(shift[0]) / max(1, len(shift[0]) - players + 1)
    errors = np.sqrt((shift**2).sum(axis=1) * correction)
    return Estimate(
        np.append(head, total - head.sum()), errors, oracle.evaluations, "kernelshap", {"pairs": len(values) // 2}
    )
