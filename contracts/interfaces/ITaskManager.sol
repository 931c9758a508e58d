// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Modules, Outcome, Phase, QuorumProof, RoundView, Settlement, TaskState} from "./Types.sol";
import {PayoutRule} from "../libraries/PayoutRule.sol";

/// @title Tasks, rounds and their phases
/// @notice The state machine of docs/protocol.md, section 4. Trainers act through `ITrainerPool`, verifiers through
/// `IVerifierPool`; both report here when everyone who may act has acted. Nothing here loops over participants.
interface ITaskManager {
    /// @notice The sponsor cancelled the task.
    /// @param round last round that was opened; if it runs it still ends by the rules
    event TaskCancelled(uint64 indexed taskId, uint32 round);
    /// @notice A round began: who takes part is fixed from here on.
    /// @param startDigest component root of the adapter it starts from
    /// @param trainers number of trainers who may commit
    /// @param verifiers number of verifiers who form the quorum
    /// @param verifierSetVersion checkpoint of the verifier set
    /// @param orderRequest beacon request that decides the batch orders
    event RoundOpened(
        uint64 indexed taskId,
        uint32 indexed round,
        bytes32 startDigest,
        uint32 trainers,
        uint32 verifiers,
        uint32 verifierSetVersion,
        uint256 orderRequest
    );
    /// @notice The seed that orders the rows is decided.
    /// @param orderSeed what the batch orders derive from
    event OrderSeedDrawn(uint64 indexed taskId, uint32 indexed round, bytes32 orderSeed);
    /// @notice The seed that samples the steps to be replayed is decided.
    /// @param challengeSeed what the samples derive from
    event ChallengeSeedDrawn(uint64 indexed taskId, uint32 indexed round, bytes32 challengeSeed);
    /// @notice A phase began and ends at `deadline`, Unix time in seconds.
    /// @param deadline end of the phase, seconds since the epoch; 0 for phases that end with a beacon's seed
    event PhaseStarted(uint64 indexed taskId, uint32 indexed round, Phase indexed phase, uint64 deadline);
    /// @notice The round's validation set is known.
    /// @param digest of the round's validation set
    /// @param salt that opens its commitment
    event ValidationRevealed(uint64 indexed taskId, uint32 indexed round, bytes32 digest, bytes32 salt);
    /// @notice The final held-out test set, after the last round.
    event HeldOutRevealed(uint64 indexed taskId, bytes32 digest, bytes32 salt);
    /// @notice From here on a majority of the verifiers' stake settles the round.
    /// @param attempt settlements that were voided before
    event QuorumLowered(uint64 indexed taskId, uint32 indexed round, uint8 attempt);
    /// @notice A quorum's settlement stands unless disputed; payouts are in the reward token's smallest unit, scores
    /// in nano-nats.
    /// @param digest what the quorum signed
    /// @param nonSigners verifiers of the snapshot who did not sign, by ascending address
    event SettlementPosted(
        uint64 indexed taskId, uint32 indexed round, bytes32 indexed digest, Settlement settlement, address[] nonSigners
    );
    /// @notice A settlement was voided.
    /// @param culpable whether its signers may be slashed for it
    event SettlementVoided(uint64 indexed taskId, uint32 indexed round, bytes32 indexed digest, bool culpable);
    /// @notice Pay and start digest of a round are final.
    /// @param nextStartDigest component root of the adapter that the next round starts from
    /// @param paid set aside for trainers and verifiers, reward token
    /// @param unearned went back to the task's balance, reward token
    event RoundEnded(
        uint64 indexed taskId,
        uint32 indexed round,
        Outcome outcome,
        bytes32 nextStartDigest,
        uint128 paid,
        uint128 unearned
    );

    /// @notice Only another contract of the deployment may call this.
    error NotModule(address caller);
    /// @notice Only the task's sponsor may call this.
    error NotSponsor(uint64 taskId, address caller);
    /// @notice The task has no such round.
    error UnknownRound(uint64 taskId, uint32 round);
    /// @notice The sponsor cancelled the task: no round opens any more.
    error TaskIsCancelled(uint64 taskId);
    /// @notice All rounds of the task were played.
    /// @param rounds number of rounds that the task has
    error NoRoundLeft(uint64 taskId, uint32 rounds);
    /// @notice The guardian stopped new rounds until this Unix time in seconds.
    /// @param until when rounds can be opened again, seconds since the epoch
    error NewRoundsArePaused(uint64 until);
    /// @notice Fewer trainers or verifiers are enrolled than the task asks for.
    /// @param trainers how many may commit
    /// @param verifiers how many form the quorum
    error TooFewEnrolled(uint64 taskId, uint32 trainers, uint32 verifiers);
    /// @notice The task is in another phase than the call needs.
    error WrongPhase(uint64 taskId, Phase current, Phase required);
    /// @notice The phase ended at this Unix time in seconds.
    /// @param deadline when the phase ended, seconds since the epoch
    error PhaseClosed(uint64 taskId, Phase phase, uint64 deadline);
    /// @notice The phase is not over before this Unix time in seconds.
    /// @param deadline when the phase ends, seconds since the epoch
    error NotDue(uint64 taskId, Phase phase, uint64 deadline);
    /// @notice The round waits for disputes over its settlement.
    /// @param count disputes that are not closed
    error DisputesOpen(uint64 taskId, uint32 count);
    /// @notice The round's validation set was shown before.
    error AlreadyRevealed(uint64 taskId, uint32 round);
    /// @notice A settlement has one leaf for everybody who committed.
    /// @param expected number of trainers who committed
    error LeafCountMismatch(uint32 expected, uint32 actual);
    /// @notice The settlement pays more than the round released, in the reward token's smallest unit.
    /// @param allowed most that the round can pay, reward token
    error PayoutOverBudget(uint128 allowed, uint128 totalPayout);
    /// @notice The round has no settlement.
    error NotSettled(uint64 taskId, uint32 round);

    /// @notice End the task: at once between rounds, else after the running round. Sponsor only.
    function cancelTask(uint64 taskId) external;

    /// @notice Fix who takes part in the next round, set its budget aside and ask the beacon for the order seed.
    /// Sponsor only, while no round runs: it decides whom to wait for. Where it opens none, whoever takes part leaves.
    function openRound(uint64 taskId) external;

    /// @notice Move on from a phase that expired or whose seed is decided. Anyone may call. While a seed is not decided
    /// yet it does nothing and returns false instead of reverting.
    function advance(uint64 taskId) external returns (bool moved);

    /// @notice Open the round's validation set, in the opening phase: nobody can choose any more whether to reveal. Anyone
    /// who knows it may, but the salt makes that the sponsor.
    function revealValidation(uint64 taskId, bytes32 digest, bytes32 salt) external;

    /// @notice Open the final held-out test set after the last round.
    function revealHeldOut(uint64 taskId, bytes32 digest, bytes32 salt) external;

    /// @notice Post the settlement that a quorum of the round's verifiers signed. Anyone may call.
    function settle(uint64 taskId, Settlement calldata settlement, QuorumProof calldata proof) external;

    /// @notice End a settled round after its dispute window. Anyone may call.
    function finalize(uint64 taskId) external;

    // Modules only.

    /// @notice Everyone who may act in `phase` has acted: move on.
    function completePhase(uint64 taskId, Phase phase) external;

    /// @notice A dispute over the current round opened (+1) or closed (-1).
    function countDispute(uint64 taskId, bool opened) external;

    /// @notice Void the current settlement; back to `Settle` or, after too many attempts, the end of the round.
    /// @param culpable whether its signers may be slashed for it
    /// @param prover who gets the prover's part of those slashes
    function voidSettlement(uint64 taskId, bool culpable, address prover) external;

    // Views.

    /// @notice The contracts of this deployment; all of them have the hash of this set as `modulesHash`.
    function modules() external view returns (Modules memory);
    /// @notice Where a task stands.
    function taskOf(uint64 taskId) external view returns (TaskState memory);
    /// @notice A round by its number, from 1 on.
    function roundOf(uint64 taskId, uint32 round) external view returns (RoundView memory);

    /// @notice The stored phase and whether `advance` (or `finalize`) would move it on now.
    /// @return round last round that was opened
    /// @return phase current phase
    /// @return deadline its end, seconds since the epoch; 0 in `Idle`, `Draw` and `Challenge`
    /// @return due whether the phase has expired or, in `Draw` and `Challenge`, the seed is fixed already
    function phaseOf(uint64 taskId) external view returns (uint32 round, Phase phase, uint64 deadline, bool due);

    /// @notice Round and phase from a single storage slot, for the modules.
    function currentPhase(uint64 taskId) external view returns (uint32 round, Phase phase, uint64 deadline);

    /// @notice Beacon request that the current phase waits for, 0 if none.
    function seedRequestOf(uint64 taskId) external view returns (uint256 id);

    /// @notice Disputes over the current round that are not closed.
    function openDisputes(uint64 taskId) external view returns (uint32);

    /// @notice Settlements of the round that were voided.
    function attemptsOf(uint64 taskId, uint32 round) external view returns (uint8);

    /// @notice Whether the round ended with a settlement.
    function isSettled(uint64 taskId, uint32 round) external view returns (bool);

    /// @notice Block in which the round's verifiers could begin to attest, 0 before.
    function attestingBlock(uint64 taskId, uint32 round) external view returns (uint64);

    /// @notice Whether the round, running or over, is still within the time in which its faults are punished.
    function isPunishable(uint64 taskId, uint32 round) external view returns (bool);

    /// @notice Whether no round runs and none will: cancelled, or all rounds done.
    function isEnded(uint64 taskId) external view returns (bool);

    /// @notice When the round ended, 0 while it runs or before it opened.
    function endedAt(uint64 taskId, uint32 round) external view returns (uint64);

    /// @notice The settlement that stands (posted or final). Reverts with `NotSettled` if there is none.
    function settlementOf(uint64 taskId, uint32 round) external view returns (Settlement memory);

    /// @notice Whether the settlement that stands (posted or final) has these verdicts.
    function isPosted(uint64 taskId, uint32 round, bytes32 verdictsDigest) external view returns (bool);

    /// @notice Hash of the posted settlement's list of non-signers, zero if everyone signed.
    function nonSignersHashOf(uint64 taskId, uint32 round) external view returns (bytes32);

    /// @notice Stake of those who signed the posted settlement, stake token's smallest unit.
    function signedWeightOf(uint64 taskId, uint32 round) external view returns (uint96);

    /// @notice Signers of a voided settlement may be slashed if `culpable`.
    function voidedSettlement(bytes32 digest)
        external
        view
        returns (uint64 taskId, uint32 round, bool culpable, bytes32 nonSignersHash, address prover);

    /// @notice Inputs of the payout rule for the running round, given the improvement that a settlement states.
    function payoutTermsOf(uint64 taskId, int64 improvementNanos) external view returns (PayoutRule.Terms memory);

    /// @notice What verifiers sign:
    /// `keccak256(abi.encode(SETTLEMENT_TYPEHASH, chainId, this, taskId, round, attempt, ...))`.
    /// @param attempt settlements of the round that were voided before this one
    function settlementDigest(uint64 taskId, uint32 round, uint8 attempt, Settlement memory settlement)
        external
        view
        returns (bytes32);
}
