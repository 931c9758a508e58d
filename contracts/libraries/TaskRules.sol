// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ITaskManager} from "../interfaces/ITaskManager.sol";
import {PhaseSeconds, TaskParams} from "../interfaces/Types.sol";

/// @title Ranges of a task's parameters
library TaskRules {
    uint256 private constant BPS = 10_000;
    uint256 private constant MAX_ROUNDS = 1024;
    uint256 private constant MAX_PARAMETERS = 2 ** 30;
    uint256 private constant MAX_PHASE_SECONDS = 90 days;
    /// @dev INVARIANT: the prover's share of a slash is a minority, so that accusing is never the best business.
    uint256 private constant MAX_PROVER_BPS = 5_000;

    /// @notice Reverts with `InvalidParameter(field, value)` for the first value out of range.
    function check(TaskParams calldata p, bytes32[] calldata validationCommitments) internal view {
        _require(p.token.code.length != 0, "token", uint160(p.token));
        _require(p.specHash != 0, "specHash", 0);
        _require(p.startDigest != 0, "startDigest", 0);
        _require(p.constantsRoot != 0, "constantsRoot", 0);
        _within("budgetPerRound", p.rewards.budgetPerRound, 1, type(uint88).max);
        _within("verifierFeeBps", p.rewards.verifierFeeBps, 0, BPS);
        _within("targetNanos", p.rewards.targetNanos, 0, uint64(type(int64).max));
        _within("floorBps", p.rewards.floorBps, 0, BPS);
        _within("capBps", p.rewards.capBps, 1, BPS);
        _within("commitBond", p.stakes.commitBond, 0, p.stakes.trainerStake);
        _within("verifierStake", p.stakes.verifierStake, 1, type(uint96).max);
        _within("slashBps", p.stakes.slashBps, 0, BPS);
        _within("proverBps", p.stakes.proverBps, 0, MAX_PROVER_BPS);
        // INVARIANT: two quorums overlap, so nobody can settle a round twice without an equivocation.
        _within("quorumBps", p.quorum.quorumBps, BPS / 2 + 1, BPS);
        _within("minTrainers", p.quorum.minTrainers, 1, type(uint32).max);
        _within("minVerifiers", p.quorum.minVerifiers, 1, type(uint32).max);
        _within("rounds", p.training.rounds, 1, MAX_ROUNDS);
        _within("steps", p.training.steps, 1, type(uint32).max - 1);
        _within("parameters", p.training.parameters, 1, MAX_PARAMETERS);
        _checkPhases(p.phases);
        _within("validationCommitments", validationCommitments.length, p.training.rounds + 1, p.training.rounds + 1);
    }

    function _checkPhases(PhaseSeconds calldata phases) private pure {
        _within("commit", phases.commit, 1, MAX_PHASE_SECONDS);
        _within("reveal", phases.reveal, 1, MAX_PHASE_SECONDS);
        _within("opening", phases.opening, 1, MAX_PHASE_SECONDS);
        _within("attestCommit", phases.attestCommit, 1, MAX_PHASE_SECONDS);
        _within("attestReveal", phases.attestReveal, 1, MAX_PHASE_SECONDS);
        _within("settle", phases.settle, 1, MAX_PHASE_SECONDS);
        _within("window", phases.window, 1, MAX_PHASE_SECONDS);
        _within("slash", phases.slash, 1, MAX_PHASE_SECONDS);
        _within("claim", phases.claim, 1, type(uint32).max);
    }

    function _within(bytes32 field, uint256 value, uint256 low, uint256 high) private pure {
        _require(value >= low && value <= high, field, value);
    }

    function _require(bool holds, bytes32 field, uint256 value) private pure {
        require(holds, ITaskManager.InvalidParameter(field, value));
    }
}
