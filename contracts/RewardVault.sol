// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ModuleSet} from "./ModuleSet.sol";
import {IRewardVault} from "./interfaces/IRewardVault.sol";
import {Modules, SettlementLeaf} from "./interfaces/Types.sol";
import {ExactTransfer} from "./libraries/ExactTransfer.sol";
import {LeafTree} from "./libraries/LeafTree.sol";

/// @title Escrow of the tasks' reward money, and claims on it
/// @notice See `IRewardVault`.
/// @dev INVARIANT: per token, balance >= sum over its tasks of balance + reserved + remaining + fees. Every payment lowers
/// one of these numbers first and cannot exceed it, whatever a settlement tree says.
contract RewardVault is IRewardVault, ModuleSet {
    using ExactTransfer for IERC20;
    using SafeERC20 for IERC20;

    /// @dev Two slots for what a claim reads; the fees have their own.
    struct Pot {
        bytes32 root;
        address token;
        uint96 remaining;
        uint96 fees;
        uint64 expiresAt;
        uint96 baseEach;
    }

    mapping(uint64 taskId => Account) private _accounts;
    mapping(uint64 taskId => mapping(uint32 round => Pot)) private _pots;
    /// @dev One bit per round: paid, or closed for the reason in `_closures`; so an open claim costs no second look. Round 0
    /// does not exist: its bit makes the first word nonzero at enrolment.
    mapping(uint64 taskId => mapping(address trainer => mapping(uint32 word => uint256))) private _claimed;

    mapping(uint64 taskId => mapping(uint32 round => mapping(address trainer => Closure))) private _closures;

    constructor(Modules memory set) ModuleSet(set, set.vault) {}

    modifier only(address module) {
        require(msg.sender == module, NotModule(msg.sender));
        _;
    }

    // Funding.

    /// @inheritdoc IRewardVault
    function fund(uint64 taskId, uint96 amount) external {
        require(amount != 0, ZeroAmount());
        _fund(taskId, msg.sender, amount);
    }

    /// @inheritdoc IRewardVault
    function withdraw(uint64 taskId) external returns (uint96 amount) {
        Account storage account = _account(taskId);
        require(msg.sender == TERMS.sponsorOf(taskId), NotSponsor(taskId, msg.sender));
        // Attack: take the money away from under enrolled trainers. It is bound until the task is over.
        require(TASKS.isEnded(taskId), TaskStillRunning(taskId));
        amount = account.balance;
        require(amount != 0, ZeroAmount());
        account.balance = 0;
        emit SponsorWithdrew(taskId, msg.sender, amount);
        IERC20(account.token).safeTransfer(msg.sender, amount);
    }

    // Claims.

    /// @inheritdoc IRewardVault
    function claim(
        uint64 taskId,
        uint32 round,
        uint32 index,
        uint32 count,
        SettlementLeaf calldata leaf,
        bytes32[] calldata proof
    ) external {
        address token = _debit(taskId, round, index, count, leaf, proof);
        IERC20(token).safeTransfer(leaf.trainer, leaf.payout);
    }

    /// @inheritdoc IRewardVault
    function claimBase(uint64 taskId, uint32 round, address trainer) external {
        Pot storage pot = _pots[taskId][round];
        uint96 amount = pot.baseEach;
        require(amount != 0, ZeroAmount());
        require(TRAINERS.hasOpened(taskId, round, trainer), NotEntitled(taskId, round, trainer));
        _markPaid(taskId, round, trainer);
        require(amount <= pot.remaining, PotExhausted(taskId, round, pot.remaining, amount));
        pot.remaining -= amount;
        emit Claimed(taskId, round, trainer, amount);
        IERC20(pot.token).safeTransfer(trainer, amount);
    }

    /// @inheritdoc IRewardVault
    function returnBlocked(
        uint64 taskId,
        uint32 round,
        uint32 index,
        uint32 count,
        SettlementLeaf calldata leaf,
        bytes32[] calldata proof
    ) external {
        Pot storage pot = _pots[taskId][round];
        Closure storage closure = _closures[taskId][round][leaf.trainer];
        require(closure.blocked && !closure.returned, NotBlocked(taskId, round, leaf.trainer));
        _checkLeaf(pot.root, index, count, leaf, proof);
        require(leaf.payout <= pot.remaining, PotExhausted(taskId, round, pot.remaining, leaf.payout));
        closure.returned = true;
        uint96 amount = uint96(leaf.payout);
        pot.remaining -= amount;
        _accounts[taskId].balance += amount;
        emit BlockedPayReturned(taskId, round, leaf.trainer, amount);
    }

    /// @inheritdoc IRewardVault
    function claimBatch(Claim[] calldata claims) external {
        require(claims.length != 0, ZeroAmount());
        address payee = claims[0].leaf.trainer;
        address token;
        uint256 total;
        for (uint256 i = 0; i < claims.length; ++i) {
            Claim calldata one = claims[i];
            // Attack: claim one of somebody's list before it, so that the whole list is refused.
            if (_isMarked(one.taskId, one.round, one.leaf.trainer)) continue;
            address itsToken = _debit(one.taskId, one.round, one.index, one.count, one.leaf, one.proof);
            if (total == 0) token = itsToken;
            require(itsToken == token && one.leaf.trainer == payee, MixedClaims(itsToken, one.leaf.trainer));
            total += one.leaf.payout;
        }
        require(total != 0, AlreadyClaimed(claims[0].taskId, claims[0].round, payee));
        IERC20(token).safeTransfer(payee, total);
    }

    /// @inheritdoc IRewardVault
    function expire(uint64 taskId, uint32 round) external {
        Pot storage pot = _pots[taskId][round];
        uint64 expiresAt = pot.expiresAt;
        require(expiresAt != 0 && block.timestamp >= expiresAt, NotExpired(taskId, round, expiresAt));
        uint96 amount = pot.remaining + pot.fees;
        require(amount != 0, ZeroAmount());
        pot.remaining = 0;
        pot.fees = 0;
        _accounts[taskId].balance += amount;
        emit RoundExpired(taskId, round, amount);
    }

    // Modules.

    /// @inheritdoc IRewardVault
    function open(uint64 taskId, address token, address payer, uint96 amount) external only(address(TERMS)) {
        _accounts[taskId].token = token;
        if (amount != 0) _fund(taskId, payer, amount);
    }

    /// @inheritdoc IRewardVault
    function prepare(uint64 taskId, address trainer) external only(address(TRAINERS)) {
        _claimed[taskId][trainer][0] |= 1;
    }

    /// @inheritdoc IRewardVault
    function reserve(uint64 taskId, uint32 round, uint96 amount) external only(address(TASKS)) {
        Account storage account = _account(taskId);
        require(amount <= account.balance, InsufficientBalance(taskId, account.balance, amount));
        account.balance -= amount;
        account.reserved = amount;
        emit RoundReserved(taskId, round, amount);
    }

    /// @inheritdoc IRewardVault
    function allocate(uint64 taskId, uint32 round, bytes32 root, uint96 payouts, uint96 fees, uint64 expiresAt)
        external
        only(address(TASKS))
    {
        Account storage account = _accounts[taskId];
        // INVARIANT: what a round pays was reserved when it opened.
        account.balance += account.reserved - payouts - fees;
        account.reserved = 0;
        _pots[taskId][round] = Pot(root, account.token, payouts, fees, expiresAt, 0);
        emit RoundAllocated(taskId, round, root, payouts, fees, expiresAt);
    }

    /// @inheritdoc IRewardVault
    function allocateBase(uint64 taskId, uint32 round, uint96 each, uint32 count, uint64 expiresAt)
        external
        only(address(TASKS))
    {
        Account storage account = _accounts[taskId];
        uint96 amount = each * count;
        uint96 returned = account.reserved - amount;
        account.balance += returned;
        account.reserved = 0;
        if (amount != 0) _pots[taskId][round] = Pot(0, account.token, amount, 0, expiresAt, each);
        emit BaseAllocated(taskId, round, each, amount, returned);
    }

    /// @inheritdoc IRewardVault
    function hold(uint64 taskId, uint32 round, address trainer) external only(address(COURT)) returns (bool held) {
        Closure storage closure = _closures[taskId][round][trainer];
        if (closure.holds == 0 && !closure.blocked) {
            if (_isMarked(taskId, round, trainer)) return false;
            _mark(taskId, round, trainer, true);
        }
        emit ClaimHeld(taskId, round, trainer, ++closure.holds);
        return true;
    }

    /// @inheritdoc IRewardVault
    function resume(uint64 taskId, uint32 round, address trainer) external only(address(COURT)) {
        Closure storage closure = _closures[taskId][round][trainer];
        uint32 holds = --closure.holds;
        if (holds == 0 && !closure.blocked) _mark(taskId, round, trainer, false);
        emit ClaimResumed(taskId, round, trainer, holds);
    }

    /// @inheritdoc IRewardVault
    function block_(uint64 taskId, uint32 round, address trainer) external only(address(TRAINERS)) {
        Closure storage closure = _closures[taskId][round][trainer];
        if (closure.blocked) return;
        // Paid before the fault was known: the slash is all that is left.
        if (closure.holds == 0 && _isMarked(taskId, round, trainer)) return;
        _mark(taskId, round, trainer, true);
        closure.blocked = true;
        emit ClaimBlocked(taskId, round, trainer);
    }

    /// @inheritdoc IRewardVault
    function payFee(uint64 taskId, uint32 round, address verifier, uint96 amount)
        external
        only(address(FEES))
        returns (uint96 paid)
    {
        Pot storage pot = _pots[taskId][round];
        paid = amount < pot.fees ? amount : pot.fees;
        if (paid == 0) return 0;
        pot.fees -= paid;
        emit FeePaid(taskId, round, verifier, paid);
        IERC20(pot.token).safeTransfer(verifier, paid);
    }

    // Views.

    /// @inheritdoc IRewardVault
    function accountOf(uint64 taskId) external view returns (Account memory) {
        return _accounts[taskId];
    }

    /// @inheritdoc IRewardVault
    function potOf(uint64 taskId, uint32 round) external view returns (RoundPot memory) {
        Pot storage pot = _pots[taskId][round];
        return RoundPot(pot.root, pot.remaining, pot.fees, pot.expiresAt, pot.baseEach);
    }

    /// @inheritdoc IRewardVault
    function hasClaimed(uint64 taskId, uint32 round, address trainer) external view returns (bool) {
        Closure storage closure = _closures[taskId][round][trainer];
        return round != 0 && _isMarked(taskId, round, trainer) && closure.holds == 0 && !closure.blocked;
    }

    /// @inheritdoc IRewardVault
    function closureOf(uint64 taskId, uint32 round, address trainer) external view returns (Closure memory) {
        return _closures[taskId][round][trainer];
    }

    /// @inheritdoc IRewardVault
    function leafHash(SettlementLeaf calldata leaf) external pure returns (bytes32) {
        return LeafTree.hash(leaf);
    }

    function _fund(uint64 taskId, address payer, uint96 amount) private {
        Account storage account = _account(taskId);
        IERC20(account.token).take(payer, amount);
        account.balance += amount;
        emit TaskFunded(taskId, payer, amount);
    }

    /// @dev Everything of a claim but the transfer, which comes last: a token that calls back finds the claim made.
    function _debit(
        uint64 taskId,
        uint32 round,
        uint32 index,
        uint32 count,
        SettlementLeaf calldata leaf,
        bytes32[] calldata proof
    ) private returns (address token) {
        Pot storage pot = _pots[taskId][round];
        _checkLeaf(pot.root, index, count, leaf, proof);
        // Attack: a quorum hides a leaf that pays a stranger. The chain itself knows who committed and revealed.
        require(TRAINERS.hasRevealed(taskId, round, leaf.trainer), NotEntitled(taskId, round, leaf.trainer));
        _markPaid(taskId, round, leaf.trainer);
        uint96 remaining = pot.remaining;
        require(leaf.payout != 0, ZeroAmount());
        require(leaf.payout <= remaining, PotExhausted(taskId, round, remaining, leaf.payout));
        pot.remaining = remaining - uint96(leaf.payout);
        emit Claimed(taskId, round, leaf.trainer, leaf.payout);
        return pot.token;
    }

    function _checkLeaf(
        bytes32 root,
        uint32 index,
        uint32 count,
        SettlementLeaf calldata leaf,
        bytes32[] calldata proof
    ) private pure {
        bytes32 hash = LeafTree.hashCalldata(leaf);
        // INVARIANT: a round without settlement has the root zero, which no proof leads to.
        require(LeafTree.containsCounted(root, hash, index, count, proof), InvalidProof(root, hash));
    }

    /// @dev INVARIANT: a trainer is paid at most once per round, and not while its claim is closed.
    function _markPaid(uint64 taskId, uint32 round, address trainer) private {
        mapping(uint32 => uint256) storage words = _claimed[taskId][trainer];
        uint256 word = words[round >> 8];
        uint256 bit = 1 << (round & 0xff);
        if (word & bit != 0) {
            Closure storage closure = _closures[taskId][round][trainer];
            require(
                closure.holds == 0 && !closure.blocked,
                ClaimIsClosed(taskId, round, trainer, closure.holds, closure.blocked)
            );
            revert AlreadyClaimed(taskId, round, trainer);
        }
        words[round >> 8] = word | bit;
    }

    function _isMarked(uint64 taskId, uint32 round, address trainer) private view returns (bool) {
        return _claimed[taskId][trainer][round >> 8] & (1 << (round & 0xff)) != 0;
    }

    function _mark(uint64 taskId, uint32 round, address trainer, bool marked) private {
        uint256 bit = 1 << (round & 0xff);
        if (marked) _claimed[taskId][trainer][round >> 8] |= bit;
        else _claimed[taskId][trainer][round >> 8] &= ~bit;
    }

    function _account(uint64 taskId) private view returns (Account storage account) {
        account = _accounts[taskId];
        require(account.token != address(0), UnknownTask(taskId));
    }
}
