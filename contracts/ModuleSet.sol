// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IBeacon} from "./interfaces/IBeacon.sol";
import {IDisputeCourt} from "./interfaces/IDisputeCourt.sol";
import {IFaultProver} from "./interfaces/IFaultProver.sol";
import {IJury} from "./interfaces/IJury.sol";
import {IRewardVault} from "./interfaces/IRewardVault.sol";
import {ISettlementProver} from "./interfaces/ISettlementProver.sol";
import {IStakeRegistry} from "./interfaces/IStakeRegistry.sol";
import {ITaskManager} from "./interfaces/ITaskManager.sol";
import {ITaskTerms} from "./interfaces/ITaskTerms.sol";
import {ITrainerPool} from "./interfaces/ITrainerPool.sol";
import {IVerifierFees} from "./interfaces/IVerifierFees.sol";
import {IVerifierPool} from "./interfaces/IVerifierPool.sol";
import {Modules} from "./interfaces/Types.sol";

/// @title The addresses of one deployment, fixed for ever
/// @notice They are computed from the deployer's nonces before the first contract exists. Nobody, the deployer included,
/// can rewire a deployed set: there is no owner over funds and no upgrade.
abstract contract ModuleSet {
    /// @notice Version of the contracts' surface and encodings, not of the package; 1 had no `VERSION`.
    uint32 public constant VERSION = 2;

    IStakeRegistry internal immutable REGISTRY;
    IBeacon internal immutable BEACON;
    ITaskTerms internal immutable TERMS;
    ITaskManager internal immutable TASKS;
    ITrainerPool internal immutable TRAINERS;
    IVerifierPool internal immutable VERIFIERS;
    IRewardVault internal immutable VAULT;
    IVerifierFees internal immutable FEES;
    IDisputeCourt internal immutable COURT;
    IJury internal immutable JURY;
    IFaultProver internal immutable FAULTS;
    ISettlementProver internal immutable SETTLEMENTS;

    /// @notice An address of the set is zero, or `actual` is not the place that the set gives this contract.
    error WrongModuleSet(address expected, address actual);

    /// @notice `keccak256(abi.encode(modules))` of the set; the set itself is at `TaskManager.modules`.
    bytes32 public immutable modulesHash;

    constructor(Modules memory set, address self) {
        require(self == address(this), WrongModuleSet(self, address(this)));
        REGISTRY = IStakeRegistry(set.registry);
        BEACON = IBeacon(set.beacon);
        TERMS = ITaskTerms(set.terms);
        TASKS = ITaskManager(set.tasks);
        TRAINERS = ITrainerPool(set.trainers);
        VERIFIERS = IVerifierPool(set.verifiers);
        VAULT = IRewardVault(set.vault);
        FEES = IVerifierFees(set.fees);
        COURT = IDisputeCourt(set.court);
        JURY = IJury(set.jury);
        FAULTS = IFaultProver(set.faults);
        SETTLEMENTS = ISettlementProver(set.settlements);
        modulesHash = keccak256(abi.encode(set));
    }

    function _modules() internal view returns (Modules memory) {
        return Modules(
            address(REGISTRY),
            address(BEACON),
            address(TERMS),
            address(TASKS),
            address(TRAINERS),
            address(VERIFIERS),
            address(VAULT),
            address(FEES),
            address(COURT),
            address(JURY),
            address(FAULTS),
            address(SETTLEMENTS)
        );
    }
}
