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

    struct State {
        uint96 a;
        uint96 b;
        uint96 payouts;
        uint96 fees;
        bytes32 root;
        bool settled;
        bool blocked;
    }

    /// @dev A claim; `pair` and `right` say where its leaf stands.
    struct Call {
        bool base;
        bool ofAnn;
        uint128 payout;
        bytes32 node;
        bool pair;
        bool right;
    }

    DemoToken private token;
    RewardVault private vault;
    bool private entitled;
    bool private ended;
    uint256 private other;

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

    /// @dev A leaf of a tree of one leaf or of two; numbers and places are tried one by one.
    function _claim(uint64 task, address who, Call memory one, bool returns_) private {
        SettlementLeaf memory leaf = SettlementLeaf(who, 1, 0, 0, 0, one.payout);
        uint32 count = 1;
        uint32 index = 0;
        bytes32[] memory proof = new bytes32[](0);
        if (one.pair) {
            count = 2;
            proof = new bytes32[](1);
            proof[0] = one.node;
            if (one.right) index = 1;
        }
        if (returns_) vault.returnBlocked(task, 1, index, count, leaf, proof);
        else vault.claim(task, 1, index, count, leaf, proof);
    }

    function _pay(Call memory one) private {
        address who = one.ofAnn ? ANN : BEN;
        if (one.base) vault.claimBase(A, 1, who);
        else _claim(A, who, one, false);
    }

    // What the vault owes it holds. From any state of two funded tasks with an ended round, one entry point at a time: what it
    // holds and what it owes change by the same, and nothing of the other task's.

    function _start(State memory s) private {
        (entitled, ended) = (true, true);
        _funded(s.a, s.b, s.payouts, s.fees, s.root, s.settled);
        if (s.blocked) vault.block_(A, 1, ANN);
        assert(token.balanceOf(address(vault)) == _owed(A) + _owed(B));
        other = _owed(B);
    }

    function _assertSound() private view {
        assert(_owed(B) == other);
        assert(token.balanceOf(address(vault)) == _owed(A) + other);
    }

    function check_sound_afterFunding(State memory s, uint96 amount) public {
        s.blocked = false; // reads no closed claim
        _start(s);
        vault.fund(A, amount);
        _assertSound();
    }

    function check_sound_afterWithdrawal(State memory s) public {
        _start(s);
        vault.withdraw(A);
        _assertSound();
    }

    function check_sound_afterAClaim(State memory s, Call memory one) public {
        (s.settled, s.blocked) = (true, false);
        _start(s);
        _claim(A, ANN, one, false);
        _assertSound();
    }

    function check_sound_afterAClaimOfTheBase(State memory s, bool ofAnn) public {
        s.settled = false;
        _start(s);
        vault.claimBase(A, 1, ofAnn ? ANN : BEN);
        _assertSound();
    }

    function check_sound_afterBlockedPayReturned(State memory s, Call memory one) public {
        (s.settled, s.blocked) = (true, true);
        _start(s);
        _claim(A, ANN, one, true);
        _assertSound();
    }

    function check_sound_afterExpiry(State memory s) public {
        s.blocked = false; // reads no closed claim
        _start(s);
        vault.expire(A, 1);
        _assertSound();
    }

    function check_sound_afterAFee(State memory s, uint96 amount) public {
        s.blocked = false; // reads no closed claim
        _start(s);
        vault.payFee(A, 1, BEN, amount);
        _assertSound();
    }

    function check_sound_afterAnotherReserve(State memory s, uint96 amount) public {
        s.blocked = false; // reads no closed claim
        _start(s);
        vault.reserve(A, 2, amount);
        _assertSound();
    }

    function check_sound_afterHoldsAndBlocks(State memory s, bool hold, bool ofAnn) public {
        _start(s);
        address who = ofAnn ? ANN : BEN;
        if (hold) vault.hold(A, 1, who);
        else vault.block_(A, 1, who);
        _assertSound();
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
        (first.ofAnn, second.ofAnn) = (true, true);
        uint256 before = token.balanceOf(ANN);
        _pay(first);
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
        claim.ofAnn = true;
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
        try this.once(claim) {
            assert(false);
        } catch {}
    }

    function once(Call memory call) external {
        _pay(call);
    }
}
