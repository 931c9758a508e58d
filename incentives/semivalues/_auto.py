"""The default estimator: a surrogate of the game, the sampled values put in, and what the residuals say of the rest.

1. Ask for a stratified design of complementary pairs (`_design`).
2. Fit a surrogate; its leave-one-out residuals are what it would have erred by on a coalition it had not seen.
3. phi = index of (surrogate, with the true value where it was asked for) + gamma * D. D weighs the left-out residuals up
   to the coalitions never asked for (difference estimator: Saernden, Swensson and Wretman 1992): with gamma = 1 the
   surrogate's bias is gone in expectation, at the price of D's noise; with gamma = 0 it stays. gamma is the positive-part
   James-Stein weight, how much larger D is over all players than its own noise.
4. Standard errors: those of D (design-based: they do not believe the surrogate), over pairs.
"""

from __future__ import annotations

import numpy as np

from incentives.semivalues._design import Design, mass, pair_design
from incentives.semivalues._index import Index
from incentives.semivalues._integrate import surrogate_index
from incentives.semivalues._kernels import points
from incentives.semivalues._oracle import Oracle
from incentives.semivalues._result import Estimate, Floats
from incentives.semivalues._stream import Stream
from incentives.semivalues._surrogate import fit

_WIDEN = 1.15
"""Left-out residuals are a little optimistic, because the ridge was chosen to make them small."""


def auto(oracle: Oracle, index: Index, weights: Floats, seed: bytes) -> Estimate:
    """See the module. Raises BudgetError if the budget does not pay for a design."""
    design = pair_design(index, oracle.budget, Stream(seed, "auto/design"))
    values = oracle.ask(design.coalitions)
    expansion = _expansion(design, index)
    fitted = slice(1, None)  # the mean of no deltas does not exist; v(none) is known and put in
    centres = points(design.coalitions[fitted], weights)
    importance = (expansion**2).sum(axis=1) * (1.0 - design.probability)
    surrogate = fit(centres, values[fitted], importance[fitted] if importance.any() else np.ones(len(values) - 1))
    modelled = np.concatenate([[0.0], surrogate.predict(centres)])
    left_out = np.concatenate([[0.0], surrogate.left_out])

    whole = surrogate_index(surrogate, index, weights, Stream(seed, "auto/nodes"))
    # The model knows nothing of no coalition at all; `whole` takes it as 0 there.
    put_in = whole.values + ((expansion * design.probability[:, None]) * (values - modelled)[:, None]).sum(axis=0)
    unseen = expansion * ((1.0 - design.probability) * left_out)[:, None]
    correction = unseen.sum(axis=0)
    noise = _over_pairs(expansion * (np.sqrt(1.0 - design.probability) * left_out)[:, None])
    signal = float((correction**2).sum())
    gamma = max(0.0, 1.0 - float((noise**2).sum()) / signal) if signal > 0 else 0.0
    return Estimate(
        put_in + gamma * correction,
        np.sqrt((_WIDEN * noise) ** 2 + whole.standard_errors**2),
        oracle.evaluations,
        "auto",
        {"kernel": surrogate.kernel, "ridge": surrogate.ridge, "residual_weight": gamma},
    )


def _expansion(design: Design, index: Index) -> Floats:
    """c_i(S) / probability(S): float64 [n, players]."""
    member, outsider = mass(index)
    sizes = design.coalitions.sum(axis=1)
    return np.where(design.coalitions, member[sizes, None], -outsider[sizes, None]) / design.expected[:, None]


def _over_pairs(terms: Floats) -> Floats:
    """Root of the summed squares of pair totals, float64 [players]; rows 0 and 1 are none and all."""
    pairs = terms.reshape(-1, 2, terms.shape[1]).sum(axis=1)
    return np.sqrt((pairs**2).sum(axis=0))
