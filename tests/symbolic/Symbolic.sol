// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DemoToken} from "../../contracts/DemoToken.sol";
import {RewardVault} from "../../contracts/RewardVault.sol";
import {StakeRegistry} from "../../contracts/StakeRegistry.sol";
import {TrainerPool} from "../../contracts/TrainerPool.sol";
import {VerifierPool} from "../../contracts/VerifierPool.sol";
import "../../contracts/interfaces/Types.sol";

/// @dev Symbolic tests: halmos runs `check_` functions for every argument at once (https://github.com/a16z/halmos), through
/// `make symbolic`. One real contract at a time; the test stands for all other modules, and what they answer is arbitrary.
contract OtherModules {
    function allButOne() internal view returns (Modules memory) {
        address other = address(this);
        return Modules(other, other, other, other, other, other, other, other, other, other, other, other);
    }
}

// A module refuses a set that gives it another place; these know theirs.

contract PlacedVault is RewardVault {
    constructor(Modules memory set) RewardVault(placed(set, address(this))) {}

    function placed(Modules memory set, address self) private pure returns (Modules memory) {
        set.vault = self;
        return set;
    }
}

contract PlacedRegistry is StakeRegistry {
    constructor(Modules memory set, address token, uint64 unbonding)
        StakeRegistry(placed(set, address(this)), token, unbonding)
    {}

    function placed(Modules memory set, address self) private pure returns (Modules memory) {
        set.registry = self;
        return set;
    }
}

contract PlacedTrainers is TrainerPool {
    constructor(Modules memory set) TrainerPool(placed(set, address(this))) {}

    function placed(Modules memory set, address self) private pure returns (Modules memory) {
        set.trainers = self;
        return set;
    }
}

contract PlacedVerifiers is VerifierPool {
    constructor(Modules memory set) VerifierPool(placed(set, address(this))) {}

    function placed(Modules memory set, address self) private pure returns (Modules memory) {
        set.verifiers = self;
        return set;
    }
}
