// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModuleSet} from "./ModuleSet.sol";
import {ISettlementProver} from "./interfaces/ISettlementProver.sol";
import {Fault, Modules, Phase, Settlement, SettlementLeaf, Verdict} from "./interfaces/Types.sol";
import {LeafTree} from "./libraries/LeafTree.sol";
import {PayoutRule} from "./libraries/PayoutRule.sol";

/// @title What is wrong with a posted settlement, where the chain can see it
/// @notice See `ISettlementProver`.
/// @dev INVARIANT: leaves count only with a path to the posted root at their position (single leaves), or all together when
/// their tree is the posted root (both passes), so nothing but the signed leaves can void a settlement.
contract SettlementProver is ISettlementProver, ModuleSet {
    /// @dev What the second pass adds up.
    struct Review {
        uint256 threshold;
        uint256 topUp;
        uint256 paid;
        uint256 quotas;
        uint32 served;
        bytes32 chain;
    }

    /// @dev A block with so many on top of it is taken for final: two epochs of Ethereum.
    uint64 private constant FINAL_BLOCKS = 64;
    /// @dev A check counts its leaves in 32 bits.
    uint256 private constant MAX_PEAKS = 32;

    /// @inheritdoc ISettlementProver
    uint256 public checkCount;
    mapping(uint256 checkId => Check) private _checks;
    mapping(uint256 checkId => Review) private _reviews;
    /// @dev Roots of full subtrees of the leaves so far, from the largest on; one per bit of their number. What lies behind
    /// them is of earlier parts. A part works in memory: storage is written once a part, not once a leaf.
    mapping(uint256 checkId => bytes32[MAX_PEAKS]) private _peaks;

    constructor(Modules memory set) ModuleSet(set, set.settlements) {}

    // One or two leaves.

    /// @inheritdoc ISettlementProver
    function proveWrongLeaf(uint64 taskId, uint32 index, SettlementLeaf calldata leaf, bytes32[] calldata proof)
        external
    {
        (uint32 round, Settlement memory settlement) = _posted(taskId);
        _checkLeaf(settlement, index, leaf, proof);
        (bytes32 reason, bool culpable) = _brokenByItself(taskId, round, leaf);
        require(reason != 0, NoFault());
        _void(taskId, round, reason, culpable);
    }

    /// @inheritdoc ISettlementProver
    function proveWrongOrder(
        uint64 taskId,
        uint32 index,
        SettlementLeaf calldata leaf,
        bytes32[] calldata proof,
        SettlementLeaf calldata next,
        bytes32[] calldata nextProof
    ) external {
        (uint32 round, Settlement memory settlement) = _posted(taskId);
        _checkLeaf(settlement, index, leaf, proof);
        _checkLeaf(settlement, index + 1, next, nextProof);
        // Attack: two leaves for one trainer, in the place of somebody else's.
        require(next.trainer <= leaf.trainer, NoFault());
        _void(taskId, round, "leaf order", true);
    }

    // All leaves.

    /// @inheritdoc ISettlementProver
    function openCheck(uint64 taskId) external returns (uint256 checkId) {
        (uint32 round,) = _posted(taskId);
        checkId = ++checkCount;
        Check storage check = _checks[checkId];
        (check.owner, check.taskId, check.round) = (msg.sender, taskId, round);
        check.settlement = _postedDigest(taskId, round);
        emit CheckOpened(checkId, taskId, round, msg.sender);
    }

    /// @inheritdoc ISettlementProver
    function feedLeaves(uint256 checkId, SettlementLeaf[] calldata leaves) external {
        (Check memory check, Settlement memory settlement) = _running(checkId, false);
        bool scored = TASKS.payoutTermsOf(check.taskId, 0).scored;
        (bytes32[] memory peaks, uint256 height) = _peaksOf(checkId, check.count);
        for (uint256 i = 0; i < leaves.length; ++i) {
            SettlementLeaf calldata leaf = leaves[i];
            bytes32 hash = LeafTree.hashCalldata(leaf);
            height = _push(peaks, height, check.count++, hash);
            check.chain = keccak256(abi.encode(check.chain, hash));
            check.verdicts = LeafTree.chain(check.verdicts, leaf.trainer, leaf.verdict);
            check.total += leaf.payout;
            // A discount out of range is a fault of that leaf alone (`proveWrongLeaf`).
            require(leaf.discountBps <= PayoutRule.BPS, NoFault());
            if (!PayoutRule.earns(leaf)) continue;
            ++check.earning;
            check.weight += PayoutRule.weightOf(leaf, scored);
        }
        emit CheckContinued(checkId, false, check.count);
        if (check.count < settlement.leafCount) {
            _checks[checkId] = check;
            _keepPeaks(checkId, peaks, height);
            return;
        }
        require(check.count == settlement.leafCount, WrongLength(settlement.leafCount, check.count));
        bytes32 root = _rootOf(peaks, height);
        require(root == settlement.leavesRoot, InvalidOpening(settlement.leavesRoot, 0));
        if (check.total != settlement.totalPayout) return _void(check.taskId, check.round, "total", true);
        if (check.verdicts != settlement.verdictsDigest) {
            return _void(check.taskId, check.round, "verdicts digest", true);
        }
        check.reviewing = true;
        check.count = 0;
        _checks[checkId] = check;
    }

    /// @inheritdoc ISettlementProver
    function reviewLeaves(uint256 checkId, SettlementLeaf[] calldata leaves, uint256 threshold, uint256 topUp)
        external
    {
        (Check memory check, Settlement memory settlement) = _running(checkId, true);
        Review memory review = _reviews[checkId];
        if (check.count == 0) (review.threshold, review.topUp) = (threshold, topUp);
        require(review.threshold == threshold && review.topUp == topUp, WrongPlan(threshold, topUp));
        PayoutRule.Terms memory terms = TASKS.payoutTermsOf(check.taskId, settlement.improvementNanos);
        PayoutRule.Plan memory plan = PayoutRule.plan(terms, check.earning, check.weight);
        plan.threshold = threshold;
        for (uint256 i = 0; i < leaves.length; ++i) {
            SettlementLeaf calldata leaf = leaves[i];
            review.chain = keccak256(abi.encode(review.chain, LeafTree.hashCalldata(leaf)));
            bool earning = PayoutRule.earns(leaf);
            uint256 weight = PayoutRule.weightOf(leaf, terms.scored);
            (uint256 quota, uint256 key) = PayoutRule.share(plan, weight, check.count++);
            uint256 payout = PayoutRule.capped(plan, earning, quota, key);
            review.quotas += quota;
            if (key >= threshold) ++review.served;
            review.paid += payout;
            if (earning) payout += topUp;
            if (leaf.payout != payout) check.differs = true;
        }
        emit CheckContinued(checkId, true, check.count);
        if (check.count < settlement.leafCount) {
            _checks[checkId] = check;
            _reviews[checkId] = review;
            return;
        }
        require(review.chain == check.chain, OtherLeaves(checkId));
        // INVARIANT: keys are all different, so just one set of leaves is served under a threshold that serves as many as
        // there are units left; whoever brings it cannot choose among them.
        bool planned = review.served == (check.weight == 0 ? 0 : plan.pool - review.quotas)
            && topUp == PayoutRule.topUp(terms, check.earning, review.paid);
        require(planned, WrongPlan(threshold, topUp));
        require(check.differs, NoFault());
        _void(check.taskId, check.round, "payout", true);
    }

    /// @inheritdoc ISettlementProver
    function checkOf(uint256 checkId) external view returns (Check memory) {
        return _checks[checkId];
    }

    function _brokenByItself(uint64 taskId, uint32 round, SettlementLeaf calldata leaf)
        private
        view
        returns (bytes32 reason, bool culpable)
    {
        if (leaf.verdict == 0 || leaf.verdict > uint8(type(Verdict).max)) return ("verdict code", true);
        if (leaf.discountBps > PayoutRule.BPS) return ("discount", true);
        if (!TRAINERS.hasCommitted(taskId, round, leaf.trainer)) return ("no commitment", true);
        bool revealed = TRAINERS.hasRevealed(taskId, round, leaf.trainer);
        if (!PayoutRule.isAccepted(leaf)) {
            if (leaf.payout != 0) return ("payout", true);
            // What the chain knows is no matter of opinion. (An unrevealed trainer may be called rejected: a fault of the
            // sealed work can be shown by its owner alone, and must not make an honest settlement wrong.)
            if (revealed && leaf.verdict == uint8(Verdict.Unrevealed)) return ("reveal", true);
            return (0, false);
        }
        if (!revealed) return ("reveal", true);
        (Fault fault, uint64 shownIn) = TRAINERS.faultOf(taskId, round, leaf.trainer);
        uint64 known = TASKS.attestingBlock(taskId, round);
        if (fault == Fault.None || shownIn >= known) return (0, false);
        // A chain that reorganises may show a fault earlier than signers saw it, so nobody is slashed for a fresh one.
        return ("accepted fault", shownIn + FINAL_BLOCKS < known);
    }

    function _void(uint64 taskId, uint32 round, bytes32 reason, bool culpable) private {
        emit SettlementFaultProven(taskId, round, reason, msg.sender);
        TASKS.voidSettlement(taskId, culpable, msg.sender);
    }

    /// @dev Leaf number `index` comes to the full subtrees: as many merge as `index` has trailing ones.
    /// @dev Peaks of a range of `count` leaves: one for each bit that is set in it, the widest first.
    function _peaksOf(uint256 checkId, uint256 count) private view returns (bytes32[] memory peaks, uint256 height) {
        peaks = new bytes32[](MAX_PEAKS);
        for (; count > 0; count &= count - 1) {
            peaks[height] = _peaks[checkId][height];
            ++height;
        }
    }

    function _keepPeaks(uint256 checkId, bytes32[] memory peaks, uint256 height) private {
        for (uint256 i = 0; i < height; ++i) {
            _peaks[checkId][i] = peaks[i];
        }
    }

    function _push(bytes32[] memory peaks, uint256 height, uint256 index, bytes32 node) private pure returns (uint256) {
        while (index & 1 == 1) {
            node = keccak256(abi.encodePacked(peaks[--height], node));
            index >>= 1;
        }
        peaks[height] = node;
        return height + 1;
    }

    function _rootOf(bytes32[] memory peaks, uint256 height) private pure returns (bytes32 root) {
        if (height == 0) return bytes32(0);
        root = peaks[height - 1];
        for (uint256 i = height - 1; i > 0; --i) {
            root = keccak256(abi.encodePacked(peaks[i - 1], root));
        }
    }

    function _checkLeaf(
        Settlement memory settlement,
        uint32 index,
        SettlementLeaf calldata leaf,
        bytes32[] calldata proof
    ) private pure {
        bytes32 root = settlement.leavesRoot;
        bytes32 hash = LeafTree.hashCalldata(leaf);
        require(LeafTree.contains(root, hash, index, settlement.leafCount, proof), InvalidOpening(root, index));
    }

    function _running(uint256 checkId, bool reviewing)
        private
        view
        returns (Check memory check, Settlement memory settlement)
    {
        check = _checks[checkId];
        require(check.owner == msg.sender, NotYourCheck(checkId, msg.sender));
        (uint32 round, Settlement memory posted) = _posted(check.taskId);
        bool stands = round == check.round && _postedDigest(check.taskId, round) == check.settlement;
        require(stands && check.reviewing == reviewing, WrongPass(checkId));
        return (check, posted);
    }

    function _posted(uint64 taskId) private view returns (uint32 round, Settlement memory settlement) {
        Phase phase;
        uint64 deadline;
        (round, phase, deadline) = TASKS.currentPhase(taskId);
        require(phase == Phase.Window && block.timestamp < deadline, ProofsNotAccepted(taskId, round));
        settlement = TASKS.settlementOf(taskId, round);
    }

    function _postedDigest(uint64 taskId, uint32 round) private view returns (bytes32) {
        return TASKS.settlementDigest(taskId, round, TASKS.attemptsOf(taskId, round), TASKS.settlementOf(taskId, round));
    }
}
