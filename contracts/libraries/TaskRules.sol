// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ITaskTerms} from "../interfaces/ITaskTerms.sol";
import {PhaseSeconds, TaskParams} from "../interfaces/Types.sol";

/// @title Ranges of a task's parameters
/// @dev Attack: a term that looks harmless and makes one side's duty impossible or its risk nothing (a claim period of one
/// second, stakes of zero, a cap of nothing). On test chains seconds are enough; everywhere else what people have to react
/// to lasts a day at least.
library TaskRules {
    uint256 private constant BPS = 10_000;
    /// @dev As many validation commitments as a task can be made with in one transaction (EIP-7825).
    uint256 private constant MAX_ROUNDS = 512;
    uint256 private constant MAX_PARAMETERS = 2 ** 30;
    /// @dev As many as a settlement may have leaves.
    uint256 private constant MAX_TRAINERS = 4_096;
    uint256 private constant MAX_PHASE_SECONDS = 90 days;
    /// @dev Least time for what running agents do, and for what people have to notice.
    uint256 private constant MIN_PHASE_SECONDS = 10 minutes;
    uint256 private constant MIN_NOTICE_SECONDS = 1 days;
    /// @dev Attack: a term by which one missed round costs everything. It doubles with each in a row, up to `slashBps`.
    uint256 private constant MAX_ABSENCE_BPS = 1_000;
    /// @dev Least part of a budget that accepted work is paid, whatever its scores: 5 %.
    uint256 private constant MIN_BASE_BPS = 500;
    /// @dev INVARIANT: the prover's share of a slash is a minority, so that accusing is never the best business.
    uint256 private constant MAX_PROVER_BPS = 5_000;

    /// @notice Reverts with `InvalidParameter(field, value)` for the first value out of range.
    /// @param answerSeconds time to answer a demand, of the deployment's court
    function check(
        TaskParams calldata p,
        bytes32[] calldata validationCommitments,
        uint256 answerSeconds,
        bool testChain
    ) internal view {
        _require(p.token.code.length != 0, "token", uint160(p.token));
        _require(p.specHash != 0, "specHash", 0);
        _require(p.startDigest != 0, "startDigest", 0);
        _require(p.constantsRoot != 0, "constantsRoot", 0);
        _within("budgetPerRound", p.rewards.budgetPerRound, 1, type(uint88).max);
        _within("verifierFeeBps", p.rewards.verifierFeeBps, 0, BPS);
        _within("targetNanos", p.rewards.targetNanos, 0, uint64(type(int64).max));
        _within("floorBps", p.rewards.floorBps, 0, BPS);
        _within("capBps", p.rewards.capBps, 1, BPS);
        // Attack: a worthless validation set, so that nobody scores and the work is free.
        _within("baseBps", p.rewards.baseBps, MIN_BASE_BPS, BPS);
        _within("trainerStake", p.stakes.trainerStake, 1, type(uint96).max);
        _within("commitBond", p.stakes.commitBond, 1, p.stakes.trainerStake);
        _within("verifierStake", p.stakes.verifierStake, 1, type(uint96).max);
        _within("slashBps", p.stakes.slashBps, 1, BPS);
        _within(
            "absenceBps",
            p.stakes.absenceBps,
            1,
            p.stakes.slashBps < MAX_ABSENCE_BPS ? p.stakes.slashBps : MAX_ABSENCE_BPS
        );
        _within("proverBps", p.stakes.proverBps, 0, MAX_PROVER_BPS);
        // INVARIANT: two quorums overlap, so nobody can settle a round twice without an equivocation.
        _within("quorumBps", p.quorum.quorumBps, BPS / 2 + 1, BPS);
        _within("minTrainers", p.quorum.minTrainers, 1, MAX_TRAINERS);
        // Attack: enrol so many that no verifier can judge a round in time.
        _within("maxTrainers", p.quorum.maxTrainers, p.quorum.minTrainers, MAX_TRAINERS);
        _within("minVerifiers", p.quorum.minVerifiers, 1, type(uint32).max);
        _within("rounds", p.training.rounds, 1, MAX_ROUNDS);
        _within("steps", p.training.steps, 1, type(uint32).max - 1);
        _within("parameters", p.training.parameters, 1, MAX_PARAMETERS);
        _checkPhases(p.phases, answerSeconds, testChain);
        _within("validationCommitments", validationCommitments.length, p.training.rounds + 1, p.training.rounds + 1);
    }

    function _checkPhases(PhaseSeconds calldata phases, uint256 answerSeconds, bool testChain) private pure {
        uint256 short = testChain ? 1 : MIN_PHASE_SECONDS;
        uint256 long = testChain ? 1 : MIN_NOTICE_SECONDS;
        _within("commit", phases.commit, short, MAX_PHASE_SECONDS);
        _within("reveal", phases.reveal, short, MAX_PHASE_SECONDS);
        _within("opening", phases.opening, short, MAX_PHASE_SECONDS);
        _within("attestCommit", phases.attestCommit, short, MAX_PHASE_SECONDS);
        _within("attestReveal", phases.attestReveal, short, MAX_PHASE_SECONDS);
        _within("settle", phases.settle, short, MAX_PHASE_SECONDS);
        _within("window", phases.window, long, MAX_PHASE_SECONDS);
        _within("slash", phases.slash, long, MAX_PHASE_SECONDS);
        // Attack: a demand in the last second of a round holds a claim until the pay has gone back to the sponsor. A demand
        // ends before stake is no longer slashable, or the time to answer after the round; then there is time to collect.
        uint256 held = phases.slash < answerSeconds ? answerSeconds : phases.slash;
        _within("claim", phases.claim, held + long, type(uint32).max);
        // Attack: stake that comes in the transaction that opens a round, and settles it alone.
        _within("activation", phases.activation, testChain ? 0 : MIN_NOTICE_SECONDS, MAX_PHASE_SECONDS);
    }

    function _within(bytes32 field, uint256 value, uint256 low, uint256 high) private pure {
        _require(value >= low && value <= high, field, value);
    }

    function _require(bool holds, bytes32 field, uint256 value) private pure {
        require(holds, ITaskTerms.InvalidParameter(field, value));
    }
}
