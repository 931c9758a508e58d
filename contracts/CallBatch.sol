// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Many views at one block, asked in one `eth_call`
/// @notice Never deployed: a node runs this constructor in an `eth_call` without a recipient, and what would become the
/// contract's code is the answer. So it works on every chain, whatever is deployed there.
contract CallBatch {
    /// @param target contract that is asked
    /// @param data selector and arguments
    struct Call {
        address target;
        bytes data;
    }

    /// @param success whether the view answered; else `data` is its revert
    /// @param data what it returned
    struct Answer {
        bool success;
        bytes data;
    }

    constructor(Call[] memory calls) {
        Answer[] memory answers = new Answer[](calls.length);
        for (uint256 i = 0; i < calls.length; i++) {
            (answers[i].success, answers[i].data) = calls[i].target.staticcall(calls[i].data);
        }
        bytes memory encoded = abi.encode(answers);
        assembly ("memory-safe") {
            return(add(encoded, 32), mload(encoded))
        }
    }
}
