// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {StakeRegistry} from "../../contracts/StakeRegistry.sol";
import {IStakeRegistry} from "../../contracts/interfaces/IStakeRegistry.sol";
import "../../contracts/interfaces/Types.sol";
import {BN254} from "../../contracts/libraries/BN254.sol";
import {Commitments} from "../../contracts/libraries/Commitments.sol";
import {ExactTransfer} from "../../contracts/libraries/ExactTransfer.sol";
import {G2Multiples} from "./support/G2Multiples.sol";
import {OddToken} from "./support/OddToken.sol";
import {vm} from "./support/Vm.sol";
import {World} from "./support/World.sol";

/// @dev Stakes, keys and credits.
contract RegistryTest is World {
    using BN254 for G1Point;

    address private newcomer = vm.addr(0x7001);

    function test_deposit_forSomebody_countsForThem() public {
        token.mint(address(this), 5 * UNIT);
        token.approve(address(registry), 5 * UNIT);
        registry.depositFor(newcomer, Role.Trainer, uint96(5 * UNIT));
        vm.assertEq(registry.stakeOf(newcomer, Role.Trainer).total, 5 * UNIT);
        vm.assertEq(registry.freeStakeOf(newcomer, Role.Verifier), 0, "roles are apart");
        vm.expectRevert(IStakeRegistry.ZeroAmount.selector);
        registry.deposit(Role.Trainer, 0);
    }

    function test_unbond_delay_thenPaysOnce() public {
        address t = trainers[0];
        vm.startPrank(t);
        vm.expectRevert(IStakeRegistry.ZeroAmount.selector);
        registry.requestUnbond(Role.Trainer, 0);
        vm.expectPartialRevert(IStakeRegistry.InsufficientFreeStake.selector);
        registry.requestUnbond(Role.Trainer, uint96(10_001 * UNIT));
        vm.expectPartialRevert(IStakeRegistry.NothingToWithdraw.selector);
        registry.withdraw(Role.Trainer);
        registry.requestUnbond(Role.Trainer, uint96(1_000 * UNIT));
        sleep(7 days - 1);
        vm.expectPartialRevert(IStakeRegistry.StillUnbonding.selector);
        registry.withdraw(Role.Trainer);
        sleep(1);
        uint256 before = token.balanceOf(t);
        registry.withdraw(Role.Trainer);
        vm.assertEq(token.balanceOf(t) - before, 1_000 * UNIT);
        vm.expectPartialRevert(IStakeRegistry.NothingToWithdraw.selector);
        registry.withdraw(Role.Trainer);
        vm.stopPrank();
    }

    function test_unbond_again_restartsDelay() public {
        vm.startPrank(trainers[0]);
        registry.requestUnbond(Role.Trainer, uint96(1 * UNIT));
        sleep(6 days);
        registry.requestUnbond(Role.Trainer, uint96(1 * UNIT));
        sleep(6 days);
        vm.expectPartialRevert(IStakeRegistry.StillUnbonding.selector);
        registry.withdraw(Role.Trainer);
        sleep(1 days);
        vm.assertEq(registry.withdraw(Role.Trainer), 2 * UNIT);
        vm.stopPrank();
    }

    function test_unbond_challenger_noDelay() public {
        vm.startPrank(outsider);
        registry.requestUnbond(Role.Challenger, uint96(1 * UNIT));
        vm.assertEq(registry.withdraw(Role.Challenger), 1 * UNIT);
        vm.stopPrank();
    }

    function test_lockedStake_cannotUnbond() public {
        startTask(1, 0);
        vm.startPrank(trainers[0]);
        vm.expectPartialRevert(IStakeRegistry.InsufficientFreeStake.selector);
        registry.requestUnbond(Role.Trainer, uint96(9_901 * UNIT));
        registry.requestUnbond(Role.Trainer, uint96(9_900 * UNIT));
        vm.stopPrank();
    }

    function test_modules_onlyModules() public {
        vm.expectPartialRevert(IStakeRegistry.NotModule.selector);
        registry.lock(trainers[0], Role.Trainer, 1);
        vm.expectPartialRevert(IStakeRegistry.NotModule.selector);
        registry.unlock(trainers[0], Role.Trainer, 1);
        vm.expectPartialRevert(IStakeRegistry.NotModule.selector);
        registry.slash(trainers[0], Role.Trainer, 1, outsider, 0);
    }

    function test_slash_beyondLocked_reverts() public {
        vm.startPrank(address(court));
        vm.expectPartialRevert(IStakeRegistry.InsufficientLockedStake.selector);
        registry.slash(trainers[0], Role.Trainer, 1, outsider, 0);
        vm.expectPartialRevert(IStakeRegistry.InsufficientLockedStake.selector);
        registry.unlock(trainers[0], Role.Trainer, 1);
        vm.stopPrank();
    }

    function test_slash_splitsBetweenProverAndFire() public {
        vm.startPrank(address(court));
        registry.lock(trainers[0], Role.Trainer, 1_000);
        uint256 burnedBefore = token.balanceOf(registry.BURN_ADDRESS());
        vm.assertEq(registry.slash(trainers[0], Role.Trainer, 1_000, newcomer, 2_000), 200);
        vm.stopPrank();
        vm.assertEq(registry.creditOf(newcomer), 200);
        vm.assertEq(token.balanceOf(registry.BURN_ADDRESS()) - burnedBefore, 800);
        vm.assertEq(registry.stakeOf(trainers[0], Role.Trainer).total, 10_000 * UNIT - 1_000);
    }

    function test_credit_movesAndPays() public {
        vm.startPrank(address(court));
        registry.lock(trainers[0], Role.Trainer, 1_000);
        registry.slash(trainers[0], Role.Trainer, 1_000, newcomer, 10_000);
        vm.stopPrank();
        vm.startPrank(newcomer);
        vm.expectPartialRevert(IStakeRegistry.InsufficientCredit.selector);
        registry.transferCredit(outsider, 1_001);
        registry.transferCredit(outsider, 400);
        registry.burnCredit(100);
        registry.withdrawCredit();
        vm.assertEq(token.balanceOf(newcomer), 500);
        vm.expectRevert(IStakeRegistry.ZeroAmount.selector);
        registry.withdrawCredit();
        vm.stopPrank();
        vm.assertEq(registry.creditOf(outsider), 400);
    }

    // Keys.

    function test_registerKey_roguesAndDuplicates_refused() public {
        bytes32 domain = Commitments.POSSESSION_DOMAIN;
        G1Point memory key = BN254.generator().multiply(3);
        G2Point memory twin = G2Multiples.times(3);
        G1Point memory possession = blsSign(3, domain, registry.possessionDigest(newcomer));
        G1Point memory other = BN254.generator().multiply(5);
        G1Point memory stolen = blsSign(3, domain, registry.possessionDigest(outsider));
        vm.startPrank(newcomer);
        // Somebody else's proof.
        vm.expectPartialRevert(IStakeRegistry.InvalidProofOfPossession.selector);
        registry.registerKey(key, twin, stolen);
        // Parts of different keys.
        vm.expectPartialRevert(IStakeRegistry.InvalidProofOfPossession.selector);
        registry.registerKey(other, twin, possession);
        // Infinity, unreduced coordinates, a point off the curve.
        vm.expectRevert(IStakeRegistry.InvalidKey.selector);
        registry.registerKey(G1Point(0, 0), twin, possession);
        vm.expectRevert(IStakeRegistry.InvalidKey.selector);
        registry.registerKey(G1Point(key.x + BN254.P, key.y), twin, possession);
        vm.expectPartialRevert(BN254.PrecompileFailed.selector);
        registry.registerKey(G1Point(4, 3), twin, possession);
        vm.expectPartialRevert(BN254.PrecompileFailed.selector);
        twin.x[0] += 1;
        registry.registerKey(key, twin, possession);
        twin.x[0] -= 1;
        registry.registerKey(key, twin, possession);
        vm.expectPartialRevert(IStakeRegistry.KeyAlreadyRegistered.selector);
        registry.registerKey(key, twin, possession);
        vm.stopPrank();
        vm.prank(outsider);
        vm.expectPartialRevert(IStakeRegistry.KeyAlreadyUsed.selector);
        registry.registerKey(key, twin, stolen);
        (G1Point memory g1, G2Point memory g2) = registry.keyOf(newcomer);
        vm.assertEq(keccak256(abi.encode(g1, g2)), keccak256(abi.encode(key, twin)));
    }

    function test_isSignedBy_onlyTheOwner() public view {
        bytes32 domain = Commitments.SETTLEMENT_DOMAIN;
        G1Point memory signature = blsSign(2, domain, "message");
        vm.assertTrue(registry.isSignedBy(verifiers[1], domain, "message", signature));
        vm.assertFalse(registry.isSignedBy(verifiers[1], domain, "another", signature));
        vm.assertFalse(registry.isSignedBy(verifiers[0], domain, "message", signature));
        vm.assertFalse(registry.isSignedBy(trainers[0], domain, "message", signature));
        vm.assertFalse(registry.isSignedBy(verifiers[1], Commitments.POSSESSION_DOMAIN, "message", signature));
    }

    // What votes are weighed by.

    function test_verifierStake_isRememberedByTheSecond() public {
        uint64 start = uint64(vm.getBlockTimestamp());
        vm.assertEq(registry.totalVerifierStakeAt(start - 1), VERIFIERS * 10_000 * UNIT);
        equip(newcomer, Role.Verifier, uint96(100 * UNIT));
        equip(newcomer, Role.Verifier, uint96(50 * UNIT));
        vm.expectPartialRevert(IStakeRegistry.NotPast.selector);
        registry.verifierStakeAt(newcomer, start);
        sleep(10);
        vm.assertEq(registry.verifierStakeAt(newcomer, start - 1), 0);
        vm.assertEq(registry.verifierStakeAt(newcomer, start), 150 * UNIT);
        vm.prank(newcomer);
        registry.requestUnbond(Role.Verifier, uint96(120 * UNIT));
        sleep(10);
        vm.assertEq(registry.verifierStakeAt(newcomer, start + 9), 150 * UNIT);
        vm.assertEq(registry.verifierStakeAt(newcomer, start + 10), 30 * UNIT, "on its way out");
        vm.assertEq(registry.totalVerifierStakeAt(start + 19), VERIFIERS * 10_000 * UNIT + 30 * UNIT);
    }

    function test_fine_reachesUnbondingButNotWhatIsHeld() public {
        startTask(1, 1); // holds 200 of verifier 0
        vm.prank(verifiers[0]);
        registry.requestUnbond(Role.Verifier, uint96(9_800 * UNIT));
        vm.expectPartialRevert(IStakeRegistry.NotModule.selector);
        registry.fine(verifiers[0], Role.Verifier, 1);
        vm.startPrank(address(jury));
        vm.assertEq(registry.fine(verifiers[0], Role.Verifier, uint96(9_000 * UNIT)), 9_000 * UNIT);
        vm.assertEq(registry.stakeOf(verifiers[0], Role.Verifier).unbonding, 800 * UNIT);
        vm.assertEq(registry.fine(verifiers[0], Role.Verifier, uint96(9_000 * UNIT)), 800 * UNIT);
        vm.assertEq(registry.fine(verifiers[0], Role.Verifier, 1), 0);
        vm.stopPrank();
        vm.assertEq(registry.stakeOf(verifiers[0], Role.Verifier).total, 200 * UNIT);
    }

    // Odd tokens.

    function test_deposit_oddToken_refused() public {
        OddToken odd = new OddToken();
        Modules memory set = moduleSet(vm.getNonce(address(this)));
        StakeRegistry strict =
            StakeRegistry(vm.deployCode("StakeRegistry.sol", abi.encode(set, address(odd), uint64(1))));
        odd.mint(address(this), 1_000);
        odd.approve(address(strict), 1_000);
        odd.setFee(1);
        vm.expectPartialRevert(ExactTransfer.InexactTransfer.selector);
        strict.deposit(Role.Trainer, 100);
        odd.setFee(0);
        odd.setSilentFailure(true);
        vm.expectRevert();
        strict.deposit(Role.Trainer, 100);
        odd.setSilentFailure(false);
        odd.setCallback(address(strict), abi.encodeCall(strict.deposit, (Role.Trainer, 50)));
        odd.allow(address(odd), address(strict), 1_000);
        vm.expectPartialRevert(ExactTransfer.InexactTransfer.selector);
        strict.deposit(Role.Trainer, 100);
    }
}
