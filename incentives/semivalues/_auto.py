"""The default estimator: a surrogate of the game, the sampled values put in, and what the residuals say of the rest.

1. Ask for a stratified design of complementary pairs (`_design`). Where the budget allows, ask for a part of it first,
   and for the rest where a surrogate of that part errs (`_refinement`).
2. Fit a surrogate (`_surrogate`). Its left-out residuals are what it errs by on coalitions it has not seen.
3. phi = index of the surrogate, with the true value wherever it was asked for, + gamma D. D weighs the left-out
   residuals up to the coalitions never asked for (difference estimator: Saerndal, Swensson and Wretman 1992). With
   gamma = 1 the surrogate's bias is gone in expectation, at the price of D's noise. gamma is the positive-part
   James-Stein weight: how far the mean square of D over players exceeds that of its noise.
4. Errors. The estimate is linear in the sampled values, so leaving a pair out moves it by weight times left-out
   residual. The sum of the squares is the jackknife's variance (HC3; MacKinnon and White 1985). The scatter of
   residuals never asked for is added, and the bias that gamma < 1 leaves. Nothing here takes the surrogate's word for
   its own precision.

docs/protocol/scores.md states all of it as a rule, docs/protocol/constants.md what the constants are for.
"""

from __future__ import annotations

import numpy as np

from deltaproof.protocol.rules import (
    AUTO_CHOOSE_FROM,
    AUTO_FINALISTS,
    AUTO_FIRST_PER_PLAYER,
    AUTO_FIRST_SHARE,
    AUTO_FIT,
    AUTO_LEAST,
    AUTO_RANK_FROM,
    AUTO_ROUNDING,
)
from incentives.semivalues._design import Design, pair_design
from incentives.semivalues._index import Semivalue
from incentives.semivalues._integrate import expanded
from incentives.semivalues._kernel_index import kernel_index
from incentives.semivalues._kernels import KERNELS, points
from incentives.semivalues._linalg import product
from incentives.semivalues._oracle import Oracle
from incentives.semivalues._refinement import refined
from incentives.semivalues._result import Estimate, Floats
from incentives.semivalues._stream import Stream
from incentives.semivalues._surrogate import Sample, choices, fit


def auto(oracle: Oracle, index: Semivalue, weights: Floats, seed: bytes) -> Estimate:
    """See the module. Raises BudgetError if the budget does not pay for a design."""
    part = int(AUTO_FIRST_SHARE * oracle.budget)
    staged = part >= AUTO_FIRST_PER_PLAYER * index.players
    design = pair_design(index, part if staged else oracle.budget, Stream(seed, "auto/design"))
    values = oracle.ask(design.coalitions)
    sample, _ = _sample(design, index, weights, values)
    rows, shown = sample.part(AUTO_RANK_FROM if staged else AUTO_CHOOSE_FROM)
    ranked, whole = choices(shown, KERNELS), len(sample)
    if staged:
        least = max(AUTO_ROUNDING * float(np.abs(values - values[0]).max()), AUTO_LEAST)
        more = Stream(seed, "auto/refinement")
        design = refined(design, index, oracle.budget, rows + 1, ranked[0].left_out, least, more)
        values = np.concatenate([values, oracle.ask(design.coalitions[len(values) :])])
        sample, _ = _sample(design, index, weights, values)
        finalists = [choice.kernel for choice in ranked[: AUTO_FINALISTS if len(shown) == whole else None]]
        ranked = choices(sample.part(AUTO_CHOOSE_FROM)[1], finalists)
    return _estimate(oracle, index, weights, design, values, ranked[0].kernel, ranked[0].ridge)


def _sample(design: Design, index: Semivalue, weights: Floats, values: Floats) -> tuple[Sample, Floats]:
    """What a surrogate is fitted to, and c_i(S) / probability(S) of it: float64 [n, players].

    The mean of no deltas does not exist: v(none) is known, not modelled.
    """
    expansion = expanded(design, index)[1:]
    importance = (expansion**2).sum(axis=1) * (1.0 - design.probability[1:])
    if not importance.any():
        importance = np.ones(len(importance))
    return Sample(points(design.coalitions[1:], weights), values[1:], importance, design.pairs), expansion


def _estimate(
    oracle: Oracle, index: Semivalue, weights: Floats, design: Design, known: Floats, kernel: str, ridge: float
) -> Estimate:
    sample, expansion = _sample(design, index, weights, known)
    values, unseen = sample.values, 1.0 - design.probability[1:, None]
    direct = expansion * design.probability[1:, None]  # c_i(S)

    fitted, shown = sample.part(AUTO_FIT)
    surrogate = fit(shown, kernel, ridge)
    columns, rule_error = kernel_index(surrogate, index, weights)
    # The functional that is left to the surrogate: coalitions never asked for.
    near = surrogate.near(sample.points)
    functional = columns - product(direct.T, near)
    of_constant = index.join[0] - direct.sum(axis=0)  # index of the game 1[S not empty] is p(0)
    modelled = surrogate.value_weights(functional, of_constant)  # [players, fitted]
    # Of fitted coalitions the residual without them; the fit itself would flatter the surrogate.
    left_out = values - surrogate.constant - product(near, surrogate.coefficients[:, None])[:, 0]
    left_out[fitted] = surrogate.left_out

    residual = left_out[:, None]
    correction = (expansion * unseen * residual).sum(axis=0)
    noise = _over_pairs(expansion * np.sqrt(unseen) * residual, sample.pairs)
    jackknife = _over_pairs(modelled.T * surrogate.left_out[:, None], shown.pairs)
    scatter = _over_pairs(expansion * np.sqrt(unseen * design.probability[1:, None]) * residual, sample.pairs)
    signal = float((correction**2).mean())
    gamma = max(0.0, 1.0 - float((noise**2).mean()) / signal) if signal > 0 else 0.0
    variance = np.maximum(jackknife**2 + scatter**2, gamma**2 * noise**2) + gamma * (1.0 - gamma) ** 2 * signal
    # Small samples: two parameters a player (in the mean, in the set) is what every surrogate spends.
    variance *= 1.0 + 2.0 * index.players / len(values)
    put_in = (direct * values[:, None]).sum(axis=0) - index.join[0] * known[0]
    return Estimate(
        (modelled * values[fitted]).sum(axis=1) + put_in + gamma * correction,
        np.sqrt(variance + rule_error**2),
        oracle.evaluations,
        "auto",
        {
            "kernel": surrogate.kernel,
            "ridge": surrogate.ridge,
            "residual_weight": gamma,
            "integration_error": float(rule_error.max()),
        },
    )


def _over_pairs(terms: Floats, pairs: int) -> Floats:
    """Root of the summed squares, float64 [players], of pair totals and of rows that stand alone."""
    alone = 1 + 2 * pairs
    totals = terms[1:alone].reshape(pairs, 2, terms.shape[1]).sum(axis=1)
    return np.asarray(np.sqrt((totals**2).sum(axis=0) + terms[0] ** 2 + (terms[alone:] ** 2).sum(axis=0)))
