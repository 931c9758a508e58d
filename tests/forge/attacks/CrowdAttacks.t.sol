// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJury} from "../../../contracts/interfaces/IJury.sol";
import {ITaskTerms} from "../../../contracts/interfaces/ITaskTerms.sol";
import {ITrainerPool} from "../../../contracts/interfaces/ITrainerPool.sol";
import {IVerifierPool} from "../../../contracts/interfaces/IVerifierPool.sol";
import "../../../contracts/interfaces/Types.sol";
import {BN254} from "../../../contracts/libraries/BN254.sol";
import {vm} from "../support/Vm.sol";
import {World} from "../support/World.sol";

/// @dev So many that a transaction cannot hold them (EIP-7825): silent verifiers, trainers, rounds. Gas is that of the call
/// with nothing warm, and of its call data, 16 a byte.
contract CrowdAttacksTest is World {
    using BN254 for G1Point;

    uint256 private constant TRANSACTION = 1 << 24;
    uint256 private constant MEMBERS = 1_024;
    /// @dev Slots of mappings: `StakeRegistry._keys`, `TrainerPool._progress`.
    uint256 private constant KEYS_SLOT = 1;
    uint256 private constant PROGRESS_SLOT = 3;

    uint64 private id;
    /// @dev By ascending address, without the one who signs.
    address[] private silent;

    /// @dev A verifier with more than two thirds of the stake, and as many others as fit.
    function fillQuorum() private {
        equip(verifiers[0], Role.Verifier, uint96(990_000 * UNIT));
        id = createTask(defaultParams());
        for (uint256 i = 0; i < 3; ++i) {
            enrolTrainer(id, trainers[i]);
        }
        enrolVerifier(id, verifiers[0], uint96(500_000 * UNIT));
        crowd(MEMBERS - 1, 200);
    }

    function crowd(uint256 count, uint256 stake) private {
        G1Point memory key = BN254.generator().multiply(100);
        for (uint256 i = 0; i < count; ++i) {
            address account = address(uint160((1 << 150) + i));
            silent.push(account);
            key = key.add(BN254.generator());
            newVerifier(account, key, stake);
        }
    }

    function newVerifier(address account, G1Point memory key, uint256 stake) private {
        equip(account, Role.Verifier, uint96(stake * UNIT));
        // Written into storage: nobody here knows the secret, and a proof of it would take minutes for a thousand.
        bytes32 slot = keccak256(abi.encode(account, KEYS_SLOT));
        vm.store(address(registry), slot, bytes32(key.x));
        vm.store(address(registry), bytes32(uint256(slot) + 1), bytes32(key.y));
        vm.assertEq(registry.keyG1Of(account).y, key.y, "slot of the keys");
        enrolVerifier(id, account, uint96(stake * UNIT));
    }

    function cool() private {
        vm.cool(address(tasks));
        vm.cool(address(terms));
        vm.cool(address(trainerPool));
        vm.cool(address(verifierPool));
        vm.cool(address(registry));
        vm.cool(address(jury));
    }

    function measured(address sender, address target, bytes memory data) private returns (uint256 used) {
        cool();
        vm.prank(sender);
        uint256 before = gasleft();
        (bool done, bytes memory answer) = target.call(data);
        used = before - gasleft() + 21_000 + 16 * data.length;
        if (done) return used;
        assembly ("memory-safe") {
            revert(add(answer, 0x20), mload(answer))
        }
    }

    /// @dev Everybody but one is silent, and the settlement names them all.
    function test_E17_fullQuorumOfSilentIdentities_roundStillSettles() public {
        fillQuorum();
        playToOpening(id, 3);
        expirePhase(id);
        SettlementLeaf[] memory leaves = honestLeaves(id, 3);
        commitAttestation(id, verifiers[0], leaves);
        expirePhase(id);
        revealAttestation(id, verifiers[0], leaves);
        Settlement memory s = settlementFor(id, leaves);
        QuorumProof memory proof = quorumProof(id, s, 1, 1);
        proof.nonSigners = silent;
        uint256 used = measured(outsider, address(tasks), abi.encodeCall(tasks.settle, (id, s, proof)));
        vm.assertLe(used, TRANSACTION, "settle does not fit into a transaction");
        sleep(2 days);
        assertPhase(id, Phase.Window);
        tasks.finalize(id);
        assertOutcome(id, 1, Outcome.Settled);
        fees.claimFees(id, one(1), verifiers[0]);
        vm.assertEq(token.balanceOf(verifiers[0]), BUDGET / 10, "the whole fee");
    }

    /// @dev Full, the quorum is the stronger stake's; with room, nobody has to leave.
    function test_E18_fullQuorum_moreStakeTakesTheSeatOfLess() public {
        fillQuorum();
        address strong = vm.addr(0x7100);
        G1Point memory key = BN254.generator().multiply(9_999);
        newVerifier(strong, key, 201);
        vm.assertEq(verifierPool.enrolmentOf(id, strong).activeFrom, 0, "waits");
        vm.prank(strong);
        vm.expectPartialRevert(IVerifierPool.QuorumIsFull.selector);
        verifierPool.activate(id, strong);
        vm.prank(strong);
        vm.expectPartialRevert(IVerifierPool.NotWeaker.selector);
        verifierPool.replace(id, strong, verifiers[0]);
        vm.prank(strong);
        vm.expectPartialRevert(IVerifierPool.NotWeaker.selector);
        verifierPool.replace(id, strong, strong);
        openRound(id);
        vm.prank(strong);
        verifierPool.replace(id, strong, silent[5]);
        vm.assertTrue(verifierPool.inQuorum(id, 1, silent[5]), "the running round's quorum is as it was");
        vm.assertFalse(verifierPool.inQuorum(id, 2, silent[5]));
        vm.assertTrue(verifierPool.inQuorum(id, 2, strong));
        IVerifierPool.Checkpoint memory set = verifierPool.checkpointOf(id, verifierPool.versionOf(id));
        vm.assertEq(set.members, MEMBERS);
        vm.assertEq(set.weight, 500_000 * UNIT + (MEMBERS - 2) * 200 * UNIT + 201 * UNIT);
        address equal = vm.addr(0x7101);
        newVerifier(equal, key.add(BN254.generator()), 200);
        vm.prank(equal);
        vm.expectPartialRevert(IVerifierPool.NotWeaker.selector);
        verifierPool.replace(id, equal, silent[6]);
        vm.prank(silent[7]);
        verifierPool.resign(id);
        vm.prank(equal);
        vm.expectPartialRevert(IVerifierPool.NotWeaker.selector);
        verifierPool.replace(id, equal, silent[8]);
        vm.prank(equal);
        verifierPool.activate(id, equal);
    }

    /// @dev An attacker fills the quorum with dust and then gives its larger stakes the seats of honest members instead of
    /// the dust's: with 48 % of all stake it would have 63 % of the quorum.
    function test_E23_fullQuorumOfDust_honestMembersKeepTheirSeats() public {
        TaskParams memory p = defaultParams();
        p.stakes.verifierStake = uint96(UNIT);
        id = startTask(p, 1, 0);
        equip(verifiers[0], Role.Verifier, uint96(2_000 * UNIT));
        equip(verifiers[2], Role.Verifier, uint96(UNIT));
        enrolVerifier(id, verifiers[0], uint96(12_000 * UNIT));
        enrolVerifier(id, verifiers[1], uint96(10_000 * UNIT));
        enrolVerifier(id, verifiers[3], uint96(9_000 * UNIT)); // the attacker's, as is the dust
        crowd(MEMBERS - 3, 1);
        enrolVerifier(id, verifiers[2], uint96(10_001 * UNIT)); // the attacker's, waits
        vm.prank(verifiers[2]);
        vm.expectPartialRevert(IVerifierPool.NotWeaker.selector);
        verifierPool.replace(id, verifiers[2], verifiers[1]);
        vm.prank(verifiers[2]);
        verifierPool.replace(id, verifiers[2], silent[0]);
        openRound(id);
        vm.assertTrue(verifierPool.inQuorum(id, 1, verifiers[0]) && verifierPool.inQuorum(id, 1, verifiers[1]));
        vm.assertLe(verifierPool.quorumOf(id, 1).weight, 2 * 22_000 * UNIT, "honest verifiers are not the majority");
    }

    /// @dev More commitments than a settlement may have leaves would leave nobody able to write one.
    function test_E19_roomForMoreTrainersThanLeaves_isRefused() public {
        TaskParams memory p = defaultParams();
        bytes32 field = "maxTrainers";
        p.quorum.maxTrainers = 4_097;
        bytes32[] memory commitments = validationCommitments(p.training.rounds + 1);
        vm.expectRevert(abi.encodeWithSelector(ITaskTerms.InvalidParameter.selector, field, 4_097));
        terms.createTask(p, commitments, 0);
        (p.quorum.minTrainers, p.quorum.maxTrainers) = (3, 2);
        vm.expectRevert(abi.encodeWithSelector(ITaskTerms.InvalidParameter.selector, field, 2));
        terms.createTask(p, commitments, 0);
    }

    function test_E20_longestTask_isMadeInOneTransaction() public {
        TaskParams memory p = defaultParams();
        p.training.rounds = 513;
        bytes32[] memory commitments = validationCommitments(514);
        vm.expectPartialRevert(ITaskTerms.InvalidParameter.selector);
        terms.createTask(p, commitments, 0);
        p.training.rounds = 512;
        commitments = validationCommitments(513);
        bytes memory call = abi.encodeCall(terms.createTask, (p, commitments, 0));
        vm.assertLe(measured(sponsor, address(terms), call), TRANSACTION, "createTask does not fit into a transaction");
    }
}
