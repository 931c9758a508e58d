// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Optimizer, SettlementLeaf} from "../../../contracts/interfaces/Types.sol";
import {OptimizerStep} from "../../../contracts/libraries/OptimizerStep.sol";
import {PayoutRule} from "../../../contracts/libraries/PayoutRule.sol";
import {PayoutReference} from "../../../tests/forge/support/PayoutReference.sol";

/// @title The contracts' rules, many cases a call
contract Differential {
    /// @notice Payouts of rounds with `each` leaves each.
    function payouts(PayoutRule.Terms[] calldata terms, SettlementLeaf[] calldata leaves, uint256 each)
        external
        pure
        returns (uint256[] memory all)
    {
        all = new uint256[](leaves.length);
        for (uint256 i = 0; i < terms.length; ++i) {
            uint256[] memory some = PayoutReference.compute(terms[i], leaves[i * each:(i + 1) * each]);
            for (uint256 j = 0; j < each; ++j) {
                all[i * each + j] = some[j];
            }
        }
    }

    /// @param elements theta, m, v and gradient of each
    /// @return next theta, m and v of each, float32 bit patterns
    function steps(Optimizer optimizer, uint256[11] calldata k, uint256 scale, uint256[4][] calldata elements)
        external
        pure
        returns (uint256[3][] memory next)
    {
        OptimizerStep.Constants memory constants =
            OptimizerStep.Constants(k[0], k[1], k[2], k[3], k[4], k[5], k[6], k[7], k[8], k[9], k[10]);
        next = new uint256[3][](elements.length);
        for (uint256 i = 0; i < elements.length; ++i) {
            uint256[4] calldata e = elements[i];
            OptimizerStep.Element memory state = OptimizerStep.Element(e[0], e[1], e[2]);
            OptimizerStep.Element memory made = OptimizerStep.update(optimizer, constants, state, e[3], scale);
            next[i] = [made.theta, made.m, made.v];
        }
    }
}
