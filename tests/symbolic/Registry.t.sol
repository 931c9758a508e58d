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

    /// @dev One call of an account or of a module; `what` says which.
    struct Call {
        uint8 what;
        bool byAnn;
        bool rewarded;
        uint96 amount;
        uint16 rewardBps;
    }

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

    function _one(Call memory one) private {
        address who = one.byAnn ? ANN : BEN;
        address other = one.rewarded ? BEN : address(0);
        if (one.what == 0) registry.depositFor(who, Role.Verifier, one.amount);
        else if (one.what == 1) registry.lock(who, Role.Verifier, one.amount);
        else if (one.what == 2) registry.unlock(who, Role.Verifier, one.amount);
        else if (one.what == 3) registry.slash(who, Role.Verifier, one.amount, other, one.rewardBps);
        else if (one.what == 4) registry.fine(who, Role.Verifier, one.amount);
        else _ofAnAccount(one, who);
    }

    function _ofAnAccount(Call memory one, address who) private {
        vm.prank(who);
        if (one.what == 5) registry.requestUnbond(Role.Verifier, one.amount);
        else if (one.what == 6) registry.withdraw(Role.Verifier);
        else if (one.what == 7) registry.withdrawCredit();
        else if (one.what == 8) registry.transferCredit(BEN, one.amount);
        else registry.burnCredit(one.amount);
    }

    function _start(uint96 ann, uint96 ben, uint96 locked, uint96 unbonding) private {
        registry.depositFor(ANN, Role.Verifier, ann);
        registry.depositFor(BEN, Role.Verifier, ben);
        registry.lock(ANN, Role.Verifier, locked);
        vm.prank(ANN);
        registry.requestUnbond(Role.Verifier, unbonding);
    }

    function _owed() private view returns (uint256) {
        return uint256(registry.stakeOf(ANN, Role.Verifier).total) + registry.stakeOf(BEN, Role.Verifier).total
            + registry.creditOf(ANN) + registry.creditOf(BEN) + registry.creditOf(address(0));
    }

    function _assertSound() private view {
        assert(token.balanceOf(address(registry)) >= _owed());
        IStakeRegistry.StakeAccount memory stake = registry.stakeOf(ANN, Role.Verifier);
        assert(uint256(stake.locked) + stake.unbonding <= stake.total);
        stake = registry.stakeOf(BEN, Role.Verifier);
        assert(uint256(stake.locked) + stake.unbonding <= stake.total);
    }

    /// @dev From any such state, with rewards of an earlier slash, any call leaves the registry with what it owes, and
    /// nobody's stake promised twice.
    function check_registry_holdsWhatItOwes(
        uint96 ann,
        uint96 ben,
        uint96 locked,
        uint96 unbonding,
        uint96 slashed,
        Call memory any
    ) public {
        vm.assume(any.rewardBps <= 10_000);
        _start(ann, ben, locked, unbonding);
        registry.slash(ANN, Role.Verifier, slashed, BEN, 5_000);
        _assertSound();
        _one(any);
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
