// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IBeacon} from "./interfaces/IBeacon.sol";
import {IDisputeCourt} from "./interfaces/IDisputeCourt.sol";
import {IFaultProver} from "./interfaces/IFaultProver.sol";
import {IRewardVault} from "./interfaces/IRewardVault.sol";
import {IStakeRegistry} from "./interfaces/IStakeRegistry.sol";
import {ITaskManager} from "./interfaces/ITaskManager.sol";
import {ITrainerPool} from "./interfaces/ITrainerPool.sol";
import {IVerifierPool} from "./interfaces/IVerifierPool.sol";
import {Modules} from "./interfaces/Types.sol";

/// @title The addresses of one deployment, fixed for ever
/// @notice They are computed from the deployer's nonces before the first contract exists. Nobody, the deployer included,
/// can rewire a deployed set: there is no owner over funds and no upgrade.
abstract contract ModuleSet {
    IStakeRegistry internal immutable REGISTRY;
    IBeacon internal immutable BEACON;
    ITaskManager internal immutable TASKS;
    ITrainerPool internal immutable TRAINERS;
    IVerifierPool internal immutable VERIFIERS;
    IRewardVault internal immutable VAULT;
    IDisputeCourt internal immutable COURT;
    IFaultProver internal immutable FAULTS;

    /// @notice An address of the set is zero, or `actual` is not the place that the set gives this contract.
    error WrongModuleSet(address expected, address actual);

    constructor(Modules memory set, address self) {
        require(self == address(this), WrongModuleSet(self, address(this)));
        REGISTRY = IStakeRegistry(set.registry);
        BEACON = IBeacon(set.beacon);
        TASKS = ITaskManager(set.tasks);
        TRAINERS = ITrainerPool(set.trainers);
        VERIFIERS = IVerifierPool(set.verifiers);
        VAULT = IRewardVault(set.vault);
        COURT = IDisputeCourt(set.court);
        FAULTS = IFaultProver(set.faults);
    }

    /// @notice The whole set, for anyone who wants to check that all contracts agree on it.
    function modules() external view returns (Modules memory) {
        return Modules(
            address(REGISTRY),
            address(BEACON),
            address(TASKS),
            address(TRAINERS),
            address(VERIFIERS),
            address(VAULT),
            address(COURT),
            address(FAULTS)
        );
    }
}
