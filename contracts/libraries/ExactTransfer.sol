// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// @title Taking tokens in, to the unit
/// @notice Refuses tokens that charge a fee on transfer, return false, or report a balance that does not move.
/// @dev Attack: a token that calls back. Anything that the callback moves in or out of the same contract changes the
/// difference that is checked here, so the outer call reverts.
library ExactTransfer {
    /// @notice The token moved another amount than it was asked to, in its smallest unit.
    error InexactTransfer(uint256 expected, uint256 received);

    function take(IERC20 token, address payer, uint256 amount) internal {
        uint256 before = token.balanceOf(address(this));
        // Every caller passes its own `msg.sender` as payer (`createTask` through the vault's `open`).
        // slither-disable-next-line arbitrary-send-erc20
        SafeERC20.safeTransferFrom(token, payer, address(this), amount);
        uint256 received = token.balanceOf(address(this)) - before;
        // Exactness is the point: whoever sends tokens along in a callback only makes the call revert.
        // slither-disable-next-line incorrect-equality
        require(received == amount, InexactTransfer(amount, received));
    }
}
