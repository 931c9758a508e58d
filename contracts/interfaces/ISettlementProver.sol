// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SettlementLeaf} from "./Types.sol";

/// @title What is wrong with a posted settlement, where the chain can see it
/// @notice Rules about one leaf or two neighbours need just these. Rules about all leaves (total, verdicts digest, payouts)
/// are checked in two passes over the leaves, in as many transactions as the prover likes: `feedLeaves` adds up, and
/// `reviewLeaves` recomputes every payout with the sums. No step sorts, so the cost of a leaf does not depend on the others.
/// During the dispute window. A proven settlement is void and its signers can be slashed (`IDisputeCourt.slashSigner`), the
/// prover's part going to the caller.
interface ISettlementProver {
    /// @notice Where a check of all leaves stands.
    /// @param owner who feeds it
    /// @param reviewing whether the second pass has begun
    /// @param count leaves so far in this pass
    /// @param earning leaves that earn so far
    /// @param settlement digest of the settlement under check
    /// @param total sum of payouts, reward token
    /// @param weight sum of weights
    /// @param verdicts chain of verdicts so far
    /// @param chain hash chain over the leaves so far, which the second pass has to meet
    struct Check {
        address owner;
        bool reviewing;
        bool differs;
        uint32 count;
        uint32 earning;
        uint64 taskId;
        uint32 round;
        bytes32 settlement;
        uint256 total;
        uint256 weight;
        bytes32 verdicts;
        bytes32 chain;
    }

    /// @notice A check of all leaves began.
    event CheckOpened(uint256 indexed checkId, uint64 indexed taskId, uint32 indexed round, address owner);
    /// @notice A pass of a check went on.
    /// @param count leaves seen in this pass
    event CheckContinued(uint256 indexed checkId, bool reviewing, uint32 count);
    /// @notice A settlement was shown to be wrong and is void.
    /// @param reason short name of the rule that the settlement breaks
    event SettlementFaultProven(uint64 indexed taskId, uint32 indexed round, bytes32 reason, address prover);

    /// @notice No settlement of the task is in its dispute window.
    error ProofsNotAccepted(uint64 taskId, uint32 round);
    /// @notice The leaf, or all of them, do not lead to the settlement's root.
    error InvalidOpening(bytes32 root, uint256 index);
    /// @notice More leaves came than the settlement has.
    error WrongLength(uint256 expected, uint256 actual);
    /// @notice Somebody else opened this check.
    error NotYourCheck(uint256 checkId, address caller);
    /// @notice The check is in its other pass, or the settlement that it was about no longer stands.
    error WrongPass(uint256 checkId);
    /// @notice The leaves are not those of the first pass.
    error OtherLeaves(uint256 checkId);
    /// @notice The threshold does not give away exactly the units that division leaves, or the top-up is not what follows.
    error WrongPlan(uint256 threshold, uint256 topUp);
    /// @notice What is shown is in order.
    error NoFault();

    /// @notice One leaf breaks a rule by itself: a verdict code or discount out of range, a trainer who did not commit, an
    /// accepted trainer who did not reveal, pay without acceptance, acceptance of a trainer whose fault the chain knew when
    /// verifiers began to attest. For the last one nobody is slashed.
    function proveWrongLeaf(uint64 taskId, uint32 index, SettlementLeaf calldata leaf, bytes32[] calldata proof)
        external;

    /// @notice Leaf `index + 1` does not follow leaf `index` in the order of addresses.
    function proveWrongOrder(
        uint64 taskId,
        uint32 index,
        SettlementLeaf calldata leaf,
        bytes32[] calldata proof,
        SettlementLeaf calldata next,
        bytes32[] calldata nextProof
    ) external;

    /// @notice Begin a check of all leaves of the posted settlement.
    function openCheck(uint64 taskId) external returns (uint256 checkId);

    /// @notice First pass: the next leaves, in order. With the last ones a wrong total or verdicts digest is a fault at once.
    function feedLeaves(uint256 checkId, SettlementLeaf[] calldata leaves) external;

    /// @notice Second pass: the same leaves again, in order. With the last one a settlement whose payouts differ from the rule is void.
    /// @param threshold remainders (`PayoutRule.share`) from here on get one unit; the same in every call
    /// @param topUp what every accepted trainer gets beyond its share, reward token; the same in every call
    function reviewLeaves(uint256 checkId, SettlementLeaf[] calldata leaves, uint256 threshold, uint256 topUp) external;

    /// @notice How many checks were opened; the last one's number.
    function checkCount() external view returns (uint256);
    /// @notice A check by its number.
    function checkOf(uint256 checkId) external view returns (Check memory);
}
