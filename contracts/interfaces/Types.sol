// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev The shared vocabulary of the contracts. Units are in the names: `Bps` basis points, `Nanos` nano-nats of
/// held-out loss, `Seconds` seconds; token amounts are in the token's smallest unit. Rounds count from 1.

/// @notice What stake vouches for. `Challenger` stake backs disputes and has no unbonding delay.
enum Role {
    Trainer,
    Verifier,
    Challenger
}

/// @notice Where a task is in its current round. `Idle`: no round runs.
enum Phase {
    Idle,
    Draw,
    Commit,
    Reveal,
    Challenge,
    Opening,
    AttestCommit,
    AttestReveal,
    Settle,
    Window
}

/// @notice How a round ended. `Settled` rounds pay by their settlement; rounds that ended without one although trainers
/// had revealed (`NoAttestations`, `NoQuorum`) pay the task's base to those who also published their openings.
enum Outcome {
    Running,
    Settled,
    NoCommitments,
    NoReveals,
    NoAttestations,
    NoQuorum
}

/// @notice What a verifier found about a trainer's round.
enum Verdict {
    None,
    Accepted,
    Rejected,
    Withheld,
    Unrevealed
}

/// @notice A fault of a trainer that a contract established by itself.
enum Fault {
    None,
    NonFiniteValue,
    WrongUpdate,
    WrongStart,
    WrongDelta,
    MalformedRecord,
    OpeningWithheld
}

/// @notice Element-wise optimiser of docs/protocol.md, section 2. AdamW is Adam with `decay` below 1.
enum Optimizer {
    Sgd,
    Momentum,
    Adam
}

/// @notice One float32 vector that a record commits to: the four slots of a state, or the gradient.
enum Component {
    Theta,
    FirstMoment,
    SecondMoment,
    ErrorMemory,
    Gradient
}

/// @notice Affine point of BN254's G1; (0, 0) is the point at infinity.
struct G1Point {
    uint256 x;
    uint256 y;
}

/// @notice Affine point of BN254's twist in EIP-197 order: index 0 is the imaginary coefficient, index 1 the real one.
struct G2Point {
    uint256[2] x;
    uint256[2] y;
}

/// @param budgetPerRound most that the trainers of one round can earn together, reward token
/// @param verifierFeeBps verifiers' fee for a settled round, on top of the budget, basis points of the budget
/// @param targetNanos improvement that releases the whole budget; 0 releases it always
/// @param floorBps of the released budget, to every accepted trainer before scores count
/// @param capBps of the released budget, the most that one trainer gets before the base tops it up
/// @param baseBps of the budget, the least that a round's work costs the sponsor: scores that pay less are topped up in
/// equal parts, and a round without quorum pays it to those who revealed and opened
struct RewardTerms {
    uint96 budgetPerRound;
    uint16 verifierFeeBps;
    uint64 targetNanos;
    uint16 floorBps;
    uint16 capBps;
    uint16 baseBps;
}

/// @param trainerStake stake that a trainer locks to be enrolled, stake token
/// @param commitBond part of it that a commitment without reveal costs, stake token
/// @param verifierStake least stake that a verifier locks to be enrolled, stake token; more weighs more
/// @param slashBps of the locked stake, lost for a rejected or withheld round or a proven fault
/// @param proverBps of a slash, to whoever proved the fault; the rest is burned; at most 5,000
/// @param absenceBps of a verifier's locked stake, lost for a round without attestation; doubles with every round missed
/// in a row, up to `slashBps`
struct StakeTerms {
    uint96 trainerStake;
    uint96 commitBond;
    uint96 verifierStake;
    uint16 slashBps;
    uint16 proverBps;
    uint16 absenceBps;
}

/// @param quorumBps of the verifiers' stake at the round's snapshot that must sign, 5,001 to 10,000; once the settle phase
/// has passed without a settlement, more than half of that stake is enough
/// @param minTrainers enrolled trainers without whom no round opens, at least 1
/// @param maxTrainers trainers who take part at a time, `minTrainers` to 4,096
/// @param minVerifiers enrolled verifiers without whom no round opens, at least 1
/// @param scoreToleranceNanos largest difference of a score between two verifiers that still agree
struct QuorumTerms {
    uint16 quorumBps;
    uint32 minTrainers;
    uint32 maxTrainers;
    uint32 minVerifiers;
    uint64 scoreToleranceNanos;
}

/// @param rounds number of rounds
/// @param steps optimiser steps per round, N
/// @param parameters trainable float32 values, P
/// @param optimizer element-wise optimiser
/// @param float32Delta whether the delta digest is the final adapter's component root (codec `float32`)
/// @param samples steps drawn per trainer, which all verifiers replay besides the first and the last
struct TrainingTerms {
    uint32 rounds;
    uint32 steps;
    uint32 parameters;
    Optimizer optimizer;
    bool float32Delta;
    uint32 samples;
}

/// @notice Longest duration of each phase, seconds. `slash`: how long after a round its stakes stay slashable at least.
/// `claim`: how long after a round rewards can be claimed. `activation`: how long a verifier's stake is locked before it
/// weighs in a quorum.
struct PhaseSeconds {
    uint32 commit;
    uint32 reveal;
    uint32 opening;
    uint32 attestCommit;
    uint32 attestReveal;
    uint32 settle;
    uint32 window;
    uint32 slash;
    uint32 claim;
    uint32 activation;
}

/// @notice Everything that a task fixes for ever.
/// @param token ERC-20 that rewards are paid in
/// @param specHash SHA-256 digest of the task spec document
/// @param startDigest component root of the starting adapter
/// @param constantsRoot ordered tree over the optimiser's constants table
struct TaskParams {
    address token;
    bytes32 specHash;
    bytes32 startDigest;
    bytes32 constantsRoot;
    RewardTerms rewards;
    StakeTerms stakes;
    QuorumTerms quorum;
    TrainingTerms training;
    PhaseSeconds phases;
}

/// @notice A task as it stands; what it fixed for ever is in `ITaskTerms`.
/// @param cancelled whether the sponsor cancelled it; a running round still ends by the rules
/// @param round last round that was opened, 0 before the first
/// @param adapterDigest component root of the adapter that the next round starts from
struct TaskState {
    bool cancelled;
    uint32 round;
    bytes32 adapterDigest;
}

/// @notice The outcome of a round that the quorum signs.
/// @param leavesRoot ordered tree over the `SettlementLeaf`s by their trainers' addresses (`LeafTree`)
/// @param leafCount number of leaves: every trainer who committed has one
/// @param totalPayout sum of the leaves' payouts, reward token
/// @param verdictsDigest d_n of the chain `d_i = keccak256(d_{i-1} ‖ trainer_i ‖ verdict_i)`, d_0 = 0, leaves in order
/// @param nextStartDigest component root of the adapter that the next round starts from
/// @param improvementNanos held-out loss improvement of that adapter over the round's start
/// @param artifactDigest SHA-256 digest of the evidence in the artifact store
struct Settlement {
    bytes32 leavesRoot;
    uint32 leafCount;
    uint128 totalPayout;
    bytes32 verdictsDigest;
    bytes32 nextStartDigest;
    int64 improvementNanos;
    bytes32 artifactDigest;
}

/// @notice One trainer's part of a settlement; leaf of the tree that claims and slashes are proved against.
/// @param verdict a `Verdict`; kept as a number, so that a leaf with a code that does not exist can still be shown
struct SettlementLeaf {
    address trainer;
    uint8 verdict;
    int64 scoreNanos;
    uint64 stderrNanos;
    uint16 discountBps;
    uint128 payout;
}

/// @notice One trainer's part of a verifier's attestation; leaf of `scoresRoot`, an ordered tree (`LeafTree`) that has the
/// trainer at the position that its settlement leaf has.
struct ScoreLeaf {
    address trainer;
    Verdict verdict;
    int64 scoreNanos;
}

/// @notice What a verifier attested about a trainer beside what was settled about it.
/// @param index position of both leaves: the trainer's among those who committed
struct ScorePair {
    address verifier;
    uint32 index;
    ScoreLeaf attested;
    bytes32[] attestedProof;
    SettlementLeaf settled;
    bytes32[] settledProof;
}

/// @notice A round as it stands or ended.
/// @param outcome how it ended
/// @param attempts settlements of this round that were voided
/// @param late whether the settle phase passed once without a settlement, so that a majority settles
/// @param validationRevealed whether the sponsor revealed the validation set in time; otherwise the round is unscored
/// @param verifierSetVersion checkpoint of the verifier set whose members form the quorum
/// @param endedAt when it ended, seconds since the epoch, 0 while it runs
/// @param attestingBlock block in which verifiers could begin to attest: faults shown in earlier blocks belong into their
/// verdicts and the settlement, later ones only block the trainer's own claim; 0 before
/// @param startDigest component root of the adapter it starts from
/// @param orderSeed what the batch orders derive from
/// @param challengeSeed what the samples derive from
struct RoundView {
    Outcome outcome;
    uint8 attempts;
    bool late;
    bool validationRevealed;
    uint32 verifierSetVersion;
    uint64 endedAt;
    uint64 attestingBlock;
    bytes32 startDigest;
    bytes32 orderSeed;
    bytes32 challengeSeed;
    bytes32 validationDigest;
    Settlement settlement;
}

/// @notice What the members of a quorum sign together.
/// @param nonSigners verifiers of the snapshot who did not sign, by ascending address
/// @param signersKey sum of the signers' keys in G2
/// @param signature sum of the signers' signatures in G1
struct QuorumProof {
    address[] nonSigners;
    G2Point signersKey;
    G1Point signature;
}

/// @notice What a trainer's commitment seals.
struct RevealData {
    bytes32 deltaDigest;
    bytes32 transcriptRoot;
    bytes32 salt;
}

/// @notice Where a commitment was made. Direct: `batchId` 0 and the rest empty.
/// @param index the trainer's index in the task, part of the batch's leaf
/// @param position place of the leaf in the batch's tree
/// @param count leaves of the batch's tree
struct CommitmentRef {
    uint32 batchId;
    uint32 index;
    uint16 position;
    uint16 count;
    bytes32[] proof;
}

/// @notice The contracts of one deployment; each constructor gets the same set, so that every address is immutable.
struct Modules {
    address registry;
    address beacon;
    address terms;
    address tasks;
    address trainers;
    address verifiers;
    address vault;
    address fees;
    address court;
    address jury;
    address faults;
    address settlements;
}
