// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Optimizer} from "../interfaces/Types.sol";
import {Float32} from "./Float32.sol";

/// @title One element's optimiser update, bit for bit as float32 hardware computes it
/// @notice docs/protocol.md, section 2; Python twin: deltaproof/tuning/training/optimizers.py. All values are float32 bit patterns. One
/// rounding per operation, in this order; shared vectors: tests/vectors/optimizer_steps.json.
library OptimizerStep {
    using Float32 for uint256;

    /// @dev A row of the constants table: sixteen little-endian float32 values.
    uint256 internal constant ROW_BYTES = 64;

    struct Element {
        uint256 theta;
        uint256 m;
        uint256 v;
    }

    struct Constants {
        uint256 lr;
        uint256 beta1;
        uint256 oneMinusBeta1;
        uint256 beta2;
        uint256 oneMinusBeta2;
        uint256 ib1;
        uint256 ib2;
        uint256 eps;
        uint256 l2;
        uint256 decay;
        uint256 momentum;
    }

    function update(Optimizer optimizer, Constants memory k, Element memory state, uint256 gradient, uint256 clipScale)
        internal
        pure
        returns (Element memory next)
    {
        uint256 g = gradient.mul(clipScale).add(state.theta.mul(k.l2));
        uint256 decayed = state.theta.mul(k.decay);
        if (optimizer == Optimizer.Sgd) {
            next.theta = decayed.sub(g.mul(k.lr));
        } else if (optimizer == Optimizer.Momentum) {
            next.m = state.m.mul(k.momentum).add(g);
            next.theta = decayed.sub(next.m.mul(k.lr));
        } else {
            next.m = state.m.mul(k.beta1).add(g.mul(k.oneMinusBeta1));
            next.v = state.v.mul(k.beta2).add(g.mul(g).mul(k.oneMinusBeta2));
            uint256 denominator = next.v.mul(k.ib2).sqrt().add(k.eps);
            // Floating point: the order of operations is the specification.
            // slither-disable-next-line divide-before-multiply
            next.theta = decayed.sub(next.m.mul(k.ib1).div(denominator).mul(k.lr));
        }
    }

    /// @notice State components that the optimiser keeps besides `theta`.
    function moments(Optimizer optimizer) internal pure returns (uint256) {
        return uint256(optimizer);
    }
}
