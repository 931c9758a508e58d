// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import "../../contracts/interfaces/Types.sol";
import {World} from "./support/World.sol";
import {vm} from "./support/Vm.sol";

interface GasVm {
    function snapshotGasLastCall(string calldata name) external returns (uint256 gasUsed);
}

/// @dev Gas of each call of the normal path, as a transaction of its own, call data included. `forge test` compares it with
/// `snapshots/`; `make gas` writes that anew. Each figure is the call's as made by the second of its kind: the first one also
/// opens words that all share.
contract GasTest is World {
    uint256 private constant PEOPLE = 3;

    /// forge-config: default.isolate = true
    function test_gas_people_asSnapshot() public {
        address newcomer = vm.addr(0x9001);
        token.mint(newcomer, UNIT);
        vm.prank(newcomer);
        token.approve(address(registry), UNIT);
        vm.prank(newcomer);
        registry.deposit(Role.Verifier, uint96(UNIT));
        snapshot("StakeRegistry.deposit, verifier");
        registerKey(newcomer, 15);
        snapshot("StakeRegistry.registerKey");
        uint64 id = createTask(defaultParams());
        snapshot("TaskTerms.createTask");
        for (uint256 i = 0; i < PEOPLE; ++i) {
            enrolTrainer(id, trainers[i]);
        }
        snapshot("TrainerPool.enrol");
        for (uint256 i = 0; i < PEOPLE; ++i) {
            enrolVerifier(id, verifiers[i], uint96(200 * UNIT));
        }
        snapshot("VerifierPool.enrol");
        vm.prank(trainers[0]);
        registry.requestUnbond(Role.Trainer, uint96(UNIT));
        snapshot("StakeRegistry.requestUnbond");
        sleep(7 days);
        vm.prank(trainers[0]);
        registry.withdraw(Role.Trainer);
        snapshot("StakeRegistry.withdraw");
    }

    /// forge-config: default.isolate = true
    function test_gas_round_asSnapshot() public {
        uint64 id = startTask(PEOPLE, PEOPLE);
        playRound(id, PEOPLE, PEOPLE);
        vm.prank(sponsor);
        tasks.openRound(id);
        snapshot("TaskManager.openRound");
        nextBlock();
        nextBlock();
        tasks.advance(id);
        snapshot("TaskManager.advance, order seed");
        each(id, commit, "TrainerPool.commit");
        each(id, reveal, "TrainerPool.reveal");
        nextBlock();
        nextBlock();
        tasks.advance(id);
        snapshot("TaskManager.advance, challenge seed");
        revealValidation(id);
        snapshot("TaskManager.revealValidation");
        each(id, publish, "TrainerPool.openingsPublished");
        SettlementLeaf[] memory leaves = honestLeaves(id, PEOPLE);
        judge(id, leaves);
        settle(id, leaves, PEOPLE, (1 << PEOPLE) - 1);
        snapshot("TaskManager.settle, all sign");
        sleep(PHASE);
        tasks.finalize(id);
        snapshot("TaskManager.finalize");
        collect(id, leaves);
    }

    function judge(uint64 id, SettlementLeaf[] memory leaves) private {
        for (uint256 i = 0; i < PEOPLE; ++i) {
            commitAttestation(id, verifiers[i], leaves);
            if (i == 1) snapshot("VerifierPool.commitAttestation");
        }
        for (uint256 i = 0; i < PEOPLE; ++i) {
            revealAttestation(id, verifiers[i], leaves);
            if (i == 1) snapshot("VerifierPool.revealAttestation");
        }
    }

    function collect(uint64 id, SettlementLeaf[] memory leaves) private {
        for (uint256 i = 0; i < 2; ++i) {
            claim(id, 2, leaves, i);
        }
        snapshot("RewardVault.claim");
        fees.claimFees(id, one(2), verifiers[0]);
        snapshot("VerifierFees.claimFees");
    }

    /// @dev All trainers act; the second is measured.
    function each(uint64 id, function(uint64, address) internal act, string memory name) private {
        for (uint256 i = 0; i < PEOPLE; ++i) {
            act(id, trainers[i]);
            if (i == 1) snapshot(name);
        }
    }

    function snapshot(string memory name) private {
        GasVm(address(vm)).snapshotGasLastCall(name);
    }
}
