"""The default estimator: a surrogate of the game, the sampled values put in, and what the residuals say of the rest.

1. Ask for a stratified design of complementary pairs (`_design`).
2. Fit a surrogate (`_surrogate`). Its left-out residuals are what it errs by on coalitions it has not seen.
3. phi = index of the surrogate, with the true value wherever it was asked for, + gamma D. D weighs the left-out
   residuals up to the coalitions never asked for (difference estimator: Saerndal, Swensson and Wretman 1992): with
   gamma = 1 the surrogate's bias is gone in expectation, at the price of D's noise. gamma is the positive-part
   James-Stein weight: how far the mean square of D over players exceeds that of its noise.
4. Errors. The estimate is linear in the sampled values, so leaving a pair out moves it by weight times left-out
   residual: the sum of squares is the jackknife's variance (HC3; MacKinnon and White 1985). To it comes the scatter
   of residuals never asked for, and the bias that gamma < 1 leaves. None of this takes the surrogate's word for its
   own precision.
"""

from __future__ import annotations

import numpy as np

from incentives.semivalues._design import pair_design
from incentives.semivalues._index import Index
from incentives.semivalues._integrate import expanded
from incentives.semivalues._kernel_index import kernel_index
from incentives.semivalues._kernels import points
from incentives.semivalues._linalg import product
from incentives.semivalues._oracle import Oracle
from incentives.semivalues._result import Estimate, Floats
from incentives.semivalues._stream import Stream
from incentives.semivalues._surrogate import fit, spread_pairs

_FIT = 2048
"""A surrogate is fitted to at most so many coalitions, spread over the design; the others only correct it."""


def auto(oracle: Oracle, index: Index, weights: Floats, seed: bytes) -> Estimate:
    """See the module. Raises BudgetError if the budget does not pay for a design."""
    design = pair_design(index, oracle.budget, Stream(seed, "auto/design"))
    values = oracle.ask(design.coalitions)
    none, values = values[0], values[1:]  # the mean of no deltas does not exist: v(none) is known, not modelled
    asked = design.coalitions[1:]
    unseen = 1.0 - design.probability[1:, None]
    expansion = expanded(design, index)[1:]
    direct = expansion * design.probability[1:, None]  # c_i(S)

    importance = (expansion**2 * unseen).sum(axis=1)
    if not importance.any():
        importance = np.ones(len(values))
    everyone = points(asked, weights)
    fitted = spread_pairs(len(values), _FIT)
    surrogate = fit(everyone[fitted], values[fitted], importance[fitted])
    columns, rule_error = kernel_index(surrogate, index, weights)
    # The functional that is left to the surrogate: coalitions never asked for.
    near = surrogate.near(everyone)
    functional = columns - product(direct.T, near)
    of_constant = index.join[0] - direct.sum(axis=0)  # index of the game 1[S not empty] is p(0)
    modelled = surrogate.value_weights(functional, of_constant)  # [players, fitted]
    left_out = values - surrogate.constant - product(near, surrogate.coefficients[:, None])[:, 0]
    left_out[fitted] = surrogate.left_out

    residual = left_out[:, None]
    correction = (expansion * unseen * residual).sum(axis=0)
    noise = _over_pairs(expansion * np.sqrt(unseen) * residual)
    jackknife = _over_pairs(modelled.T * surrogate.left_out[:, None])
    scatter = _over_pairs(expansion * np.sqrt(unseen * design.probability[1:, None]) * residual)
    signal = float((correction**2).mean())
    gamma = max(0.0, 1.0 - float((noise**2).mean()) / signal) if signal > 0 else 0.0
    variance = np.maximum(jackknife**2 + scatter**2, gamma**2 * noise**2) + gamma * (1.0 - gamma) ** 2 * signal
    # Small samples: two parameters a player (in the mean, in the set) is what every surrogate spends.
    variance *= 1.0 + 2.0 * index.players / len(values)
    put_in = (direct * values[:, None]).sum(axis=0) - index.join[0] * none
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


def _over_pairs(terms: Floats) -> Floats:
    """Root of the summed squares of pair totals, float64 [players]; row 0 (all) stands alone."""
    pairs = terms[1:].reshape(-1, 2, terms.shape[1]).sum(axis=1)
    return np.asarray(np.sqrt((pairs**2).sum(axis=0) + terms[0] ** 2))
