// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DemoToken} from "../../contracts/DemoToken.sol";
import {RewardVault} from "../../contracts/RewardVault.sol";
import {IRewardVault} from "../../contracts/interfaces/IRewardVault.sol";
import "../../contracts/interfaces/Types.sol";
import {OtherModules, PlacedVault} from "./Symbolic.sol";

/// @dev Escrow: what the vault owes it holds, and nobody is paid twice, whatever quorum, modules and callers do.
contract VaultSymbolic is OtherModules {
    uint64 private constant A = 1;
    uint64 private constant B = 2;
    address private constant ANN = address(0xA11);
    address private constant BEN = address(0xB22);

    /// @dev One call of anybody or of a module; `what` says which, `pair` and `right` where its leaf stands.
    struct Call {
        uint8 what;
        bool toA;
        bool ofAnn;
        uint96 amount;
        uint128 payout;
        bytes32 node;
        bool pair;
        bool right;
    }

    DemoToken private token;
    RewardVault private vault;
    bool private entitled;
    bool private ended;

    function setUp() public {
        token = new DemoToken();
        vault = new PlacedVault(allButOne());
        token.approve(address(vault), type(uint256).max);
        token.mint(address(this), 1 << 120);
    }

    // What the other modules answer.

    function hasRevealed(uint64, uint32, address) external view returns (bool) {
        return entitled;
    }

    function hasOpened(uint64, uint32, address) external view returns (bool) {
        return entitled;
    }

    function sponsorOf(uint64) external view returns (address) {
        return address(this);
    }

    function isEnded(uint64) external view returns (bool) {
        return ended;
    }

    /// @dev Two funded tasks, each with a round that ended in any way.
    function _funded(uint96 a, uint96 b, uint96 payouts, uint96 fees, bytes32 root, bool settled) private {
        vault.open(A, address(token), address(this), a);
        vault.open(B, address(token), address(this), b);
        vault.prepare(A, ANN);
        vault.prepare(B, ANN);
        vault.prepare(A, BEN);
        vault.reserve(A, 1, a / 2);
        if (settled) vault.allocate(A, 1, root, payouts, fees, 1);
        else vault.allocateBase(A, 1, payouts, 2, 1);
    }

    function _owed(uint64 task) private view returns (uint256) {
        IRewardVault.Account memory account = vault.accountOf(task);
        IRewardVault.RoundPot memory pot = vault.potOf(task, 1);
        return uint256(account.balance) + account.reserved + pot.remaining + pot.fees;
    }

    function _one(Call memory one) private {
        uint64 task = one.toA ? A : B;
        address who = one.ofAnn ? ANN : BEN;
        SettlementLeaf memory leaf = SettlementLeaf(who, 1, 0, 0, 0, one.payout);
        // Numbers of leaves and places are tried one by one: trees of one leaf and of two.
        uint32 count = 1;
        uint32 index = 0;
        bytes32[] memory proof = new bytes32[](0);
        if (one.pair) {
            count = 2;
            proof = new bytes32[](1);
            proof[0] = one.node;
            if (one.right) index = 1;
        }
        if (one.what == 0) vault.fund(task, one.amount);
        else if (one.what == 1) vault.withdraw(task);
        else if (one.what == 2) vault.claim(task, 1, index, count, leaf, proof);
        else if (one.what == 3) vault.claimBase(task, 1, who);
        else if (one.what == 4) vault.returnBlocked(task, 1, index, count, leaf, proof);
        else if (one.what == 5) vault.expire(task, 1);
        else if (one.what == 6) vault.payFee(task, 1, who, one.amount);
        else if (one.what == 7) vault.block_(task, 1, who);
        else if (one.what == 8) vault.hold(task, 1, who);
        else vault.reserve(task, 2, one.amount);
    }

    /// @dev From any such state, any call leaves the vault with what it owes, and one task's money alone.
    function check_vault_holdsWhatItOwes(
        uint96 a,
        uint96 b,
        uint96 payouts,
        uint96 fees,
        bytes32 root,
        bool settled,
        bool entitled_,
        bool ended_,
        bool blocked,
        Call memory any
    ) public {
        (entitled, ended) = (entitled_, ended_);
        _funded(a, b, payouts, fees, root, settled);
        if (blocked) vault.block_(A, 1, ANN);
        assert(token.balanceOf(address(vault)) == _owed(A) + _owed(B));
        uint256 other = any.toA ? _owed(B) : _owed(A);
        _one(any);
        assert(token.balanceOf(address(vault)) == _owed(A) + _owed(B));
        assert((any.toA ? _owed(B) : _owed(A)) == other);
    }

    /// @dev A second claim of the same trainer and round fails, with whatever leaf and proof, and so does the base.
    function check_claim_twice_refused(
        uint96 a,
        uint96 payouts,
        uint96 fees,
        bytes32 root,
        bool settled,
        Call memory first,
        Call memory second
    ) public {
        entitled = true;
        _funded(a, 0, payouts, fees, root, settled);
        (first.what, second.what) = (first.what == 0 ? 2 : 3, second.what == 0 ? 2 : 3);
        (first.toA, second.toA, first.ofAnn, second.ofAnn) = (true, true, true, true);
        uint256 before = token.balanceOf(ANN);
        _one(first);
        uint256 after_ = token.balanceOf(ANN);
        assert(after_ > before);
        try this.once(second) {
            assert(false);
        } catch {}
        assert(token.balanceOf(ANN) == after_);
    }

    /// @dev While a claim is held or blocked, nothing pays it; a hold that is resumed pays once more.
    function check_claim_whileClosed_refused(
        uint96 a,
        uint96 payouts,
        uint96 fees,
        bytes32 root,
        bool settled,
        bool blocked,
        Call memory claim
    ) public {
        entitled = true;
        _funded(a, 0, payouts, fees, root, settled);
        if (blocked) vault.block_(A, 1, ANN);
        else assert(vault.hold(A, 1, ANN));
        (claim.what, claim.toA, claim.ofAnn) = (claim.what == 0 ? 2 : 3, true, true);
        uint256 before = token.balanceOf(ANN);
        try this.once(claim) {
            assert(false);
        } catch {}
        assert(token.balanceOf(ANN) == before);
    }

    /// @dev No claim without what the chain knows of the trainer's reveal, whatever a quorum signed.
    function check_claim_ofAStranger_refused(
        uint96 a,
        uint96 payouts,
        uint96 fees,
        bytes32 root,
        bool settled,
        Call memory claim
    ) public {
        entitled = false;
        _funded(a, 0, payouts, fees, root, settled);
        (claim.what, claim.toA) = (claim.what == 0 ? 2 : 3, true);
        try this.once(claim) {
            assert(false);
        } catch {}
    }

    function once(Call memory call) external {
        _one(call);
    }
}
