// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title Play money for local chains: anyone may mint
contract DemoToken is ERC20 {
    constructor() ERC20("deltaproof demo token", "DEMO") {}

    /// @notice Create `amount` units (18 decimals) for `to`.
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}
