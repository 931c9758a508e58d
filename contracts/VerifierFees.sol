// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModuleSet} from "./ModuleSet.sol";
import {IVerifierFees} from "./interfaces/IVerifierFees.sol";
import {IVerifierPool} from "./interfaces/IVerifierPool.sol";
import {Modules} from "./interfaces/Types.sol";

/// @title What settled rounds owe to the verifiers who agreed with them
/// @notice See `IVerifierFees`.
contract VerifierFees is IVerifierFees, ModuleSet {
    /// @param slashReward stake token, so far
    struct Receipt {
        bool feePaid;
        uint96 slashReward;
    }

    mapping(uint64 taskId => mapping(uint32 round => FeePot)) private _pots;
    mapping(uint64 taskId => mapping(uint32 round => mapping(address verifier => Receipt))) private _receipts;

    constructor(Modules memory set) ModuleSet(set, set.fees) {}

    /// @inheritdoc IVerifierFees
    // A reward token may call back from `payFee`: the round at hand is booked as paid by then, the next ones are untouched.
    // slither-disable-next-line reentrancy-no-eth
    function claimFees(uint64 taskId, uint32[] calldata rounds, address verifier) external {
        bool any;
        for (uint256 i = 0; i < rounds.length; ++i) {
            uint32 round = rounds[i];
            (uint96 fee, uint96 slashReward) = claimableFees(taskId, round, verifier);
            // Attack: claim one round of somebody's list before it, so that the whole list is refused.
            if (fee == 0 && slashReward == 0) continue;
            any = true;
            _receipts[taskId][round][verifier].feePaid = true;
            _paySlashReward(taskId, round, verifier, slashReward);
            fee = VAULT.payFee(taskId, round, verifier, fee);
            emit FeesClaimed(taskId, round, verifier, fee, slashReward);
        }
        require(any, NothingToClaim(taskId, rounds.length == 0 ? 0 : rounds[0], verifier));
    }

    /// @inheritdoc IVerifierFees
    function claimSlashReward(uint64 taskId, uint32 round, address verifier) external {
        // Attack: a reward token that refuses a verifier, so that it never sees its stake rewards either.
        (, uint96 slashReward) = claimableFees(taskId, round, verifier);
        require(slashReward != 0, NothingToClaim(taskId, round, verifier));
        _paySlashReward(taskId, round, verifier, slashReward);
        emit FeesClaimed(taskId, round, verifier, 0, slashReward);
    }

    /// @inheritdoc IVerifierFees
    function expireSlashRewards(uint64 taskId, uint32 round) external {
        FeePot storage pot = _pots[taskId][round];
        uint64 expiresAt = VAULT.potOf(taskId, round).expiresAt;
        require(expiresAt != 0 && block.timestamp >= expiresAt, RoundNotFinal(taskId, round));
        uint96 rest = pot.slashRewards - pot.slashRewardsPaid;
        // INVARIANT: with nothing left to share, no later claim on this pot can succeed.
        pot.slashRewards = 0;
        pot.slashRewardsPaid = 0;
        emit SlashRewardsBurned(taskId, round, rest);
        if (rest != 0) REGISTRY.burnCredit(rest);
    }

    // Modules.

    /// @inheritdoc IVerifierFees
    function fixFees(uint64 taskId, uint32 round, bytes32 verdictsDigest, uint96 fee) external returns (uint96 weight) {
        require(msg.sender == address(TASKS), NotModule(msg.sender));
        weight = VERIFIERS.agreeingWeight(taskId, round, verdictsDigest);
        if (weight == 0) fee = 0;
        _pots[taskId][round] = FeePot(fee, weight, 0, 0);
        emit FeesFixed(taskId, round, fee, weight);
    }

    /// @inheritdoc IVerifierFees
    function addSlashRewards(uint64 taskId, uint32 round, uint96 amount) external {
        require(msg.sender == address(TRAINERS), NotModule(msg.sender));
        _pots[taskId][round].slashRewards += amount;
        emit SlashRewardsAdded(taskId, round, amount);
    }

    // Views.

    /// @inheritdoc IVerifierFees
    function feePotOf(uint64 taskId, uint32 round) external view returns (FeePot memory) {
        return _pots[taskId][round];
    }

    /// @inheritdoc IVerifierFees
    function claimableFees(uint64 taskId, uint32 round, address verifier)
        public
        view
        returns (uint96 fee, uint96 slashReward)
    {
        FeePot memory pot = _pots[taskId][round];
        if (pot.weight == 0) return (0, 0);
        IVerifierPool.Attestation memory attestation = VERIFIERS.attestationOf(taskId, round, verifier);
        // INVARIANT: whoever was punished for the round is no longer `Revealed`, and earns nothing more from it.
        bool agrees = attestation.state == IVerifierPool.AttestationState.Revealed
            && attestation.struckAttempt != TASKS.attemptsOf(taskId, round) + 1
            && TASKS.isPosted(taskId, round, attestation.digest);
        if (!agrees) return (0, 0);
        Receipt memory receipt = _receipts[taskId][round][verifier];
        if (!receipt.feePaid) fee = uint96(uint256(pot.fee) * attestation.weight / pot.weight);
        uint96 due = uint96(uint256(pot.slashRewards) * attestation.weight / pot.weight);
        if (due > receipt.slashReward) slashReward = due - receipt.slashReward;
    }

    function _paySlashReward(uint64 taskId, uint32 round, address verifier, uint96 amount) private {
        if (amount == 0) return;
        _receipts[taskId][round][verifier].slashReward += amount;
        _pots[taskId][round].slashRewardsPaid += amount;
        REGISTRY.transferCredit(verifier, amount);
    }
}
