// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DemoToken} from "../../contracts/DemoToken.sol";
import {StakeRegistry} from "../../contracts/StakeRegistry.sol";
import {IStakeRegistry} from "../../contracts/interfaces/IStakeRegistry.sol";
import "../../contracts/interfaces/Types.sol";
import {vm} from "../forge/support/Vm.sol";
import {OtherModules, PlacedRegistry} from "./Symbolic.sol";

/// @dev Stake: what the registry owes it holds, and only locked stake can be slashed, whatever modules and callers do.
contract RegistrySymbolic is OtherModules {
    address private constant ANN = address(0xA11);
    address private constant BEN = address(0xB22);
    /// @dev Of `StakeRegistry._credits`.
    uint256 private constant CREDITS_SLOT = 3;

    DemoToken private token;
    StakeRegistry private registry;

    function setUp() public {
        token = new DemoToken();
        registry = new PlacedRegistry(allButOne(), address(token), 1 days);
        vm.warp(1 days);
        _equip(ANN);
        _equip(BEN);
        token.approve(address(registry), type(uint256).max);
        token.mint(address(this), 1 << 120);
    }

    function _equip(address who) private {
        token.mint(who, 1 << 120);
        vm.prank(who);
        token.approve(address(registry), type(uint256).max);
    }

    function _start(uint96 ann, uint96 ben, uint96 locked, uint96 unbonding) private {
        registry.depositFor(ANN, Role.Verifier, ann);
        registry.depositFor(BEN, Role.Verifier, ben);
        registry.lock(ANN, Role.Verifier, locked);
        if (unbonding == 0) return;
        vm.prank(ANN);
        registry.requestUnbond(Role.Verifier, unbonding);
    }

    // What the registry owes it holds. From any such state, with a credit of somebody, one entry point at a time: what it
    // holds and what it owes change by the same, and nobody's stake is promised twice.

    /// @dev `credit` is written where an earlier slash would have put it.
    function _startWithCredit(uint96 ann, uint96 locked, uint96 unbonding, uint96 credit) private {
        _start(ann, 1, locked, unbonding);
        vm.store(address(registry), keccak256(abi.encode(BEN, CREDITS_SLOT)), bytes32(uint256(credit)));
        assert(registry.creditOf(BEN) == credit);
        token.mint(address(registry), credit);
        _assertSound();
    }

    function _owed() private view returns (uint256) {
        return uint256(registry.stakeOf(ANN, Role.Verifier).total) + registry.stakeOf(BEN, Role.Verifier).total
            + registry.creditOf(ANN) + registry.creditOf(BEN) + registry.creditOf(address(0));
    }

    function _assertSound() private view {
        assert(token.balanceOf(address(registry)) == _owed());
        IStakeRegistry.StakeAccount memory stake = registry.stakeOf(ANN, Role.Verifier);
        assert(uint256(stake.locked) + stake.unbonding <= stake.total);
    }

    function check_sound_afterADeposit(uint96 ann, uint96 locked, uint96 unbonding, uint96 credit, uint96 amount) public {
        _startWithCredit(ann, locked, unbonding, credit);
        registry.depositFor(ANN, Role.Verifier, amount);
        _assertSound();
    }

    function check_sound_afterALock(uint96 ann, uint96 locked, uint96 unbonding, uint96 credit, uint96 amount) public {
        _startWithCredit(ann, locked, unbonding, credit);
        registry.lock(ANN, Role.Verifier, amount);
        _assertSound();
    }

    function check_sound_afterAnUnlock(uint96 ann, uint96 locked, uint96 unbonding, uint96 credit, uint96 amount)
        public
    {
        _startWithCredit(ann, locked, unbonding, credit);
        registry.unlock(ANN, Role.Verifier, amount);
        _assertSound();
    }

    function check_sound_afterASlash(
        uint96 ann,
        uint96 locked,
        uint96 unbonding,
        uint96 credit,
        uint96 amount,
        uint16 rewardBps,
        bool rewarded
    ) public {
        vm.assume(rewardBps <= 10_000);
        _startWithCredit(ann, locked, unbonding, credit);
        registry.slash(ANN, Role.Verifier, amount, rewarded ? BEN : address(0), rewardBps);
        _assertSound();
    }

    function check_sound_afterAFine(uint96 ann, uint96 locked, uint96 unbonding, uint96 credit, uint96 amount) public {
        _startWithCredit(ann, locked, unbonding, credit);
        registry.fine(ANN, Role.Verifier, amount);
        _assertSound();
    }

    function check_sound_afterUnbonding(uint96 ann, uint96 locked, uint96 unbonding, uint96 credit, uint96 amount)
        public
    {
        _startWithCredit(ann, locked, unbonding, credit);
        vm.prank(ANN);
        registry.requestUnbond(Role.Verifier, amount);
        _assertSound();
    }

    function check_sound_afterAWithdrawal(uint96 ann, uint96 locked, uint96 unbonding, uint96 credit) public {
        _startWithCredit(ann, locked, unbonding, credit);
        vm.warp(3 days);
        vm.prank(ANN);
        registry.withdraw(Role.Verifier);
        _assertSound();
    }

    function check_sound_afterACreditMoves(
        uint96 ann,
        uint96 locked,
        uint96 unbonding,
        uint96 credit,
        uint96 amount,
        bool burned,
        bool toItself
    ) public {
        _startWithCredit(ann, locked, unbonding, credit);
        vm.prank(BEN);
        if (burned) registry.burnCredit(amount);
        else registry.transferCredit(toItself ? BEN : ANN, amount);
        _assertSound();
    }

    function check_sound_afterACreditIsPaid(uint96 ann, uint96 locked, uint96 unbonding, uint96 credit) public {
        _startWithCredit(ann, locked, unbonding, credit);
        vm.prank(BEN);
        registry.withdrawCredit();
        _assertSound();
    }

    /// @dev A slash takes what it names from the locked stake, from nobody else, and never more than is locked.
    function check_slash_reachesLockedStakeOnly(
        uint96 ann,
        uint96 ben,
        uint96 locked,
        uint96 unbonding,
        uint96 amount,
        uint16 rewardBps
    ) public {
        vm.assume(rewardBps <= 10_000);
        _start(ann, ben, locked, unbonding);
        registry.slash(ANN, Role.Verifier, amount, BEN, rewardBps);
        assert(amount <= locked);
        IStakeRegistry.StakeAccount memory stake = registry.stakeOf(ANN, Role.Verifier);
        assert(stake.total == ann - amount && stake.locked == locked - amount && stake.unbonding == unbonding);
        assert(registry.stakeOf(BEN, Role.Verifier).total == ben);
        assert(registry.creditOf(BEN) + token.balanceOf(registry.BURN_ADDRESS()) == amount);
    }

    /// @dev A juror's fine touches nothing that a module holds.
    function check_fine_leavesLockedStake(uint96 ann, uint96 ben, uint96 locked, uint96 unbonding, uint96 amount)
        public
    {
        _start(ann, ben, locked, unbonding);
        uint96 taken = registry.fine(ANN, Role.Verifier, amount);
        IStakeRegistry.StakeAccount memory stake = registry.stakeOf(ANN, Role.Verifier);
        assert(taken <= amount && stake.total == ann - taken);
        assert(stake.locked == locked && stake.total >= locked);
    }
}
