// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BlockhashBeacon} from "../../../contracts/BlockhashBeacon.sol";
import {DemoToken} from "../../../contracts/DemoToken.sol";
import {DisputeCourt} from "../../../contracts/DisputeCourt.sol";
import {FaultProver} from "../../../contracts/FaultProver.sol";
import {Jury} from "../../../contracts/Jury.sol";
import {RewardVault} from "../../../contracts/RewardVault.sol";
import {SettlementProver} from "../../../contracts/SettlementProver.sol";
import {StakeRegistry} from "../../../contracts/StakeRegistry.sol";
import {TaskManager} from "../../../contracts/TaskManager.sol";
import {TaskTerms} from "../../../contracts/TaskTerms.sol";
import {TrainerPool} from "../../../contracts/TrainerPool.sol";
import {VerifierFees} from "../../../contracts/VerifierFees.sol";
import {VerifierPool} from "../../../contracts/VerifierPool.sol";
import {IDisputeCourt} from "../../../contracts/interfaces/IDisputeCourt.sol";
import {IJury} from "../../../contracts/interfaces/IJury.sol";
import "../../../contracts/interfaces/Types.sol";
import {BN254} from "../../../contracts/libraries/BN254.sol";
import {Commitments} from "../../../contracts/libraries/Commitments.sol";
import {PayoutRule} from "../../../contracts/libraries/PayoutRule.sol";
import {LeafTree} from "../../../contracts/libraries/LeafTree.sol";
import {G2Multiples} from "./G2Multiples.sol";
import {PayoutReference} from "./PayoutReference.sol";
import {vm} from "./Vm.sol";

/// @dev A deployment with participants, and a round played step by step. Verifier i has the BLS secret 2^i.
contract World {
    using BN254 for G1Point;

    uint256 internal constant UNIT = 1e18;
    uint256 internal constant TRAINERS = 5;
    uint256 internal constant VERIFIERS = 4;
    uint96 internal constant BUDGET = uint96(1_000 * UNIT);
    uint32 internal constant PHASE = 600;

    DemoToken internal token;
    StakeRegistry internal registry;
    BlockhashBeacon internal beacon;
    TaskTerms internal terms;
    TaskManager internal tasks;
    TrainerPool internal trainerPool;
    VerifierPool internal verifierPool;
    RewardVault internal vault;
    VerifierFees internal fees;
    DisputeCourt internal court;
    Jury internal jury;
    FaultProver internal faults;
    SettlementProver internal settlements;

    address internal sponsor = vm.addr(0x5001);
    address internal outsider = vm.addr(0x5002);
    address internal guardian = vm.addr(0x5003);
    /// @dev By ascending address, with their private keys.
    address[] internal trainers;
    uint256[] internal trainerKeys;
    address[] internal verifiers;

    function setUp() public virtual {
        deploy();
        people();
    }

    function deploy() internal {
        token = DemoToken(vm.deployCode("DemoToken.sol"));
        Modules memory set = moduleSet(vm.getNonce(address(this)));
        bytes memory modules = abi.encode(set);
        bytes memory stakes = abi.encode(set, address(token), uint64(7 days));
        // By name, so that no test carries the code of the contracts, which would be compiled into each.
        registry = StakeRegistry(vm.deployCode("StakeRegistry.sol", stakes));
        beacon = BlockhashBeacon(vm.deployCode("BlockhashBeacon.sol", abi.encode(uint32(1))));
        terms = TaskTerms(vm.deployCode("TaskTerms.sol", abi.encode(set, guardian)));
        tasks = TaskManager(vm.deployCode("TaskManager.sol", modules));
        trainerPool = TrainerPool(vm.deployCode("TrainerPool.sol", modules));
        verifierPool = VerifierPool(vm.deployCode("VerifierPool.sol", modules));
        vault = RewardVault(vm.deployCode("RewardVault.sol", modules));
        fees = VerifierFees(vm.deployCode("VerifierFees.sol", modules));
        court = DisputeCourt(vm.deployCode("DisputeCourt.sol", abi.encode(set, courtParams())));
        jury = Jury(vm.deployCode("Jury.sol", abi.encode(set, juryParams())));
        faults = FaultProver(vm.deployCode("FaultProver.sol", modules));
        settlements = SettlementProver(vm.deployCode("SettlementProver.sol", modules));
    }

    function moduleSet(uint256 nonce) internal view returns (Modules memory) {
        return Modules(
            created(nonce),
            created(nonce + 1),
            created(nonce + 2),
            created(nonce + 3),
            created(nonce + 4),
            created(nonce + 5),
            created(nonce + 6),
            created(nonce + 7),
            created(nonce + 8),
            created(nonce + 9),
            created(nonce + 10),
            created(nonce + 11)
        );
    }

    function created(uint256 nonce) internal view returns (address) {
        return vm.computeCreateAddress(address(this), nonce);
    }

    function courtParams() internal pure virtual returns (IDisputeCourt.CourtParams memory) {
        return IDisputeCourt.CourtParams(uint96(10 * UNIT), 5_000, 3_600);
    }

    function juryParams() internal pure virtual returns (IJury.JuryParams memory) {
        return IJury.JuryParams(uint96(100 * UNIT), 3, 4_000, 10, 500, 7_200, 3_600, 1 days);
    }

    function people() internal {
        vm.roll(1_000);
        vm.warp(1_800_000_000);
        for (uint256 i = 0; i < TRAINERS; ++i) {
            insertTrainer(0x1000 + i);
        }
        for (uint256 i = 0; i < TRAINERS; ++i) {
            equip(trainers[i], Role.Trainer, uint96(10_000 * UNIT));
        }
        for (uint256 i = 0; i < VERIFIERS; ++i) {
            address verifier = vm.addr(0x2000 + i);
            verifiers.push(verifier);
            equip(verifier, Role.Verifier, uint96(10_000 * UNIT));
            registerKey(verifier, 1 << i);
        }
        equip(outsider, Role.Challenger, uint96(10_000 * UNIT));
        // Stake that has lain for as long as a vote wants.
        sleep(2 days);
        token.mint(sponsor, 1_000_000 * UNIT);
        vm.prank(sponsor);
        token.approve(address(vault), type(uint256).max);
    }

    function insertTrainer(uint256 key) private {
        address trainer = vm.addr(key);
        trainers.push(trainer);
        trainerKeys.push(key);
        for (uint256 i = trainers.length - 1; i > 0 && trainers[i - 1] > trainers[i]; --i) {
            (trainers[i - 1], trainers[i]) = (trainers[i], trainers[i - 1]);
            (trainerKeys[i - 1], trainerKeys[i]) = (trainerKeys[i], trainerKeys[i - 1]);
        }
    }

    function equip(address account, Role role, uint96 amount) internal {
        token.mint(account, amount);
        vm.startPrank(account);
        token.approve(address(registry), type(uint256).max);
        registry.deposit(role, amount);
        vm.stopPrank();
    }

    function registerKey(address account, uint256 secret) internal {
        G1Point memory possession = blsSign(secret, Commitments.POSSESSION_DOMAIN, registry.possessionDigest(account));
        G1Point memory key = BN254.generator().multiply(secret);
        vm.prank(account);
        registry.registerKey(key, G2Multiples.times(secret), possession);
    }

    function blsSign(uint256 secret, bytes32 domain, bytes32 message) internal view returns (G1Point memory) {
        return BN254.hashToPoint(domain, message).multiply(secret);
    }

    // Tasks.

    function defaultParams() internal view returns (TaskParams memory p) {
        p.token = address(token);
        p.specHash = keccak256("spec");
        p.startDigest = keccak256("start");
        p.constantsRoot = keccak256("constants");
        p.rewards = RewardTerms(BUDGET, 1_000, 0, 0, 10_000, 2_000);
        p.stakes = StakeTerms(uint96(100 * UNIT), uint96(10 * UNIT), uint96(200 * UNIT), 5_000, 2_000, 100);
        p.quorum = QuorumTerms(6_667, 1, 4_096, 1, 1_000);
        p.training = TrainingTerms(3, 4, 600, Optimizer.Adam, true, 2);
        p.phases = PhaseSeconds(PHASE, PHASE, PHASE, PHASE, PHASE, PHASE, PHASE, 3_600, 86_400, 0);
    }

    function validationCommitments(uint256 count) internal pure returns (bytes32[] memory list) {
        list = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            list[i] = keccak256(abi.encode(validationDigest(i), validationSalt(i)));
        }
    }

    function validationDigest(uint256 i) internal pure returns (bytes32) {
        return keccak256(abi.encode("validation", i));
    }

    function validationSalt(uint256 i) internal pure returns (bytes32) {
        return keccak256(abi.encode("salt", i));
    }

    function createTask(TaskParams memory p) internal returns (uint64) {
        uint96 fee = uint96(uint256(p.rewards.budgetPerRound) * p.rewards.verifierFeeBps / 10_000);
        bytes32[] memory commitments = validationCommitments(p.training.rounds + 1);
        vm.prank(sponsor);
        return terms.createTask(p, commitments, uint96(p.training.rounds) * (p.rewards.budgetPerRound + fee));
    }

    /// @dev Default task with the first trainers and verifiers enrolled.
    function startTask(uint256 trainerCount, uint256 verifierCount) internal returns (uint64 id) {
        return startTask(defaultParams(), trainerCount, verifierCount);
    }

    function startTask(TaskParams memory p, uint256 trainerCount, uint256 verifierCount) internal returns (uint64 id) {
        id = createTask(p);
        for (uint256 i = 0; i < trainerCount; ++i) {
            enrolTrainer(id, trainers[i]);
        }
        for (uint256 i = 0; i < verifierCount; ++i) {
            enrolVerifier(id, verifiers[i], p.stakes.verifierStake);
        }
    }

    function enrolTrainer(uint64 id, address trainer) internal {
        vm.prank(trainer);
        trainerPool.enrol(id, keccak256(abi.encode("data", trainer)), 100);
    }

    function enrolVerifier(uint64 id, address verifier, uint96 stake) internal {
        vm.prank(verifier);
        verifierPool.enrol(id, stake);
    }

    // A round.

    function nextBlock() internal {
        vm.roll(vm.getBlockNumber() + 1);
    }

    function sleep(uint256 time) internal {
        vm.warp(vm.getBlockTimestamp() + time);
    }

    function roundOf(uint64 id) internal view returns (uint32 round) {
        (round,,,) = tasks.phaseOf(id);
    }

    function phaseOf(uint64 id) internal view returns (Phase phase) {
        (, phase,,) = tasks.phaseOf(id);
    }

    function assertPhase(uint64 id, Phase expected) internal view {
        vm.assertEq(uint256(phaseOf(id)), uint256(expected), "phase");
    }

    function assertOutcome(uint64 id, uint32 round, Outcome expected) internal view {
        vm.assertEq(uint256(tasks.roundOf(id, round).outcome), uint256(expected), "outcome");
    }

    /// @dev Three trainers commit, two reveal; verifiers are to attest.
    function startTaskWithASilentThird() internal returns (uint64 id) {
        id = startTask(3, 2);
        openRound(id);
        for (uint256 i = 0; i < 3; ++i) {
            commit(id, trainers[i]);
        }
        reveal(id, trainers[0]);
        reveal(id, trainers[1]);
        expirePhase(id);
        draw(id);
        expirePhase(id);
    }

    function openRound(uint64 id) internal {
        vm.prank(sponsor);
        tasks.openRound(id);
        draw(id);
    }

    function draw(uint64 id) internal {
        vm.assertFalse(tasks.advance(id), "seed decided too early");
        nextBlock();
        vm.assertFalse(tasks.advance(id), "seed decided in its own block");
        nextBlock();
        vm.assertTrue(tasks.advance(id), "seed not decided");
    }

    function expirePhase(uint64 id) internal {
        sleep(PHASE);
        tasks.advance(id);
    }

    function workOf(uint64 id, address trainer) internal view virtual returns (RevealData memory) {
        uint32 round = roundOf(id);
        return RevealData(
            keccak256(abi.encode("delta", id, round, trainer)),
            keccak256(abi.encode("transcript", id, round, trainer)),
            keccak256(abi.encode("salt", id, round, trainer))
        );
    }

    function commit(uint64 id, address trainer) internal {
        bytes32 sealed_ = trainerPool.commitmentHash(id, roundOf(id), trainer, workOf(id, trainer));
        vm.prank(trainer);
        trainerPool.commit(id, sealed_);
    }

    function reveal(uint64 id, address trainer) internal {
        RevealData memory data = workOf(id, trainer);
        vm.prank(trainer);
        trainerPool.reveal(id, data.deltaDigest, data.transcriptRoot, data.salt);
    }

    function revealValidation(uint64 id) internal {
        uint32 round = roundOf(id);
        tasks.revealValidation(id, validationDigest(round - 1), validationSalt(round - 1));
    }

    function publish(uint64 id, address trainer) internal {
        vm.prank(trainer);
        trainerPool.openingsPublished(id);
    }

    // Judgement.

    /// @dev Leaves of the first `count` trainers by the payout rule: accepted, scores 1,000, 2,000, ...
    function honestLeaves(uint64 id, uint256 count) internal view returns (SettlementLeaf[] memory leaves) {
        leaves = new SettlementLeaf[](count);
        for (uint256 i = 0; i < count; ++i) {
            leaves[i] = SettlementLeaf(trainers[i], uint8(Verdict.Accepted), int64(int256(1_000 * (i + 1))), 7, 0, 0);
        }
        return paid(id, leaves);
    }

    function paid(uint64 id, SettlementLeaf[] memory leaves) internal view returns (SettlementLeaf[] memory) {
        uint256[] memory payouts = this.computePayouts(tasks.payoutTermsOf(id, 1e9), leaves);
        for (uint256 i = 0; i < leaves.length; ++i) {
            leaves[i].payout = uint128(payouts[i]);
        }
        return leaves;
    }

    function computePayouts(PayoutRule.Terms memory payoutTerms, SettlementLeaf[] calldata leaves)
        external
        pure
        returns (uint256[] memory)
    {
        return PayoutReference.compute(payoutTerms, leaves);
    }

    function settlementFor(uint64 id, SettlementLeaf[] memory leaves) internal view returns (Settlement memory s) {
        for (uint256 i = 0; i < leaves.length; ++i) {
            s.totalPayout += leaves[i].payout;
            s.verdictsDigest = LeafTree.chain(s.verdictsDigest, leaves[i].trainer, leaves[i].verdict);
        }
        s.leavesRoot = LeafTree.rootInPlace(hashes(leaves));
        s.leafCount = uint32(leaves.length);
        s.nextStartDigest = keccak256(abi.encode("next", id, roundOf(id)));
        s.improvementNanos = 1e9;
        s.artifactDigest = keccak256("evidence");
    }

    /// @dev What verifiers sign in the running attempt of the current round.
    function digestOf(uint64 id, Settlement memory s) internal view returns (bytes32) {
        return tasks.settlementDigest(id, roundOf(id), tasks.attemptsOf(id, roundOf(id)), s);
    }

    /// @dev Of the settlement that is posted now. Not between a prank or an expected revert and the call that is meant.
    function posted(uint64 id) internal view returns (bytes32) {
        return digestOf(id, tasks.settlementOf(id, roundOf(id)));
    }

    function hashes(SettlementLeaf[] memory leaves) internal pure returns (bytes32[] memory nodes) {
        nodes = new bytes32[](leaves.length);
        for (uint256 i = 0; i < leaves.length; ++i) {
            nodes[i] = LeafTree.hash(leaves[i]);
        }
    }

    function scoreLeaves(SettlementLeaf[] memory leaves) internal pure returns (ScoreLeaf[] memory scores) {
        scores = new ScoreLeaf[](leaves.length);
        for (uint256 i = 0; i < leaves.length; ++i) {
            scores[i] = ScoreLeaf(leaves[i].trainer, Verdict(leaves[i].verdict), leaves[i].scoreNanos);
        }
    }

    function scoreHashes(ScoreLeaf[] memory scores) internal pure returns (bytes32[] memory nodes) {
        nodes = new bytes32[](scores.length);
        for (uint256 i = 0; i < scores.length; ++i) {
            nodes[i] = LeafTree.hash(scores[i]);
        }
    }

    /// @dev Siblings of node `index`; the tree of `LeafTree.rootInPlace`.
    function proofOf(bytes32[] memory nodes, uint256 index) internal pure returns (bytes32[] memory proof) {
        bytes32[] memory found = new bytes32[](64);
        uint256 length;
        uint256 count = nodes.length;
        while (count > 1) {
            if (index ^ 1 < count) found[length++] = nodes[index ^ 1];
            uint256 pairs = count / 2;
            for (uint256 i = 0; i < pairs; ++i) {
                nodes[i] = keccak256(abi.encode(nodes[2 * i], nodes[2 * i + 1]));
            }
            if (count % 2 == 1) nodes[pairs] = nodes[count - 1];
            count -= pairs;
            index /= 2;
        }
        proof = new bytes32[](length);
        for (uint256 i = 0; i < length; ++i) {
            proof[i] = found[i];
        }
    }

    function attestSalt(address verifier) internal pure returns (bytes32) {
        return keccak256(abi.encode("attestation", verifier));
    }

    function commitAttestation(uint64 id, address verifier, SettlementLeaf[] memory leaves) internal {
        Settlement memory s = settlementFor(id, leaves);
        bytes32 root = LeafTree.rootInPlace(scoreHashes(scoreLeaves(leaves)));
        bytes32 sealed_ = verifierPool.attestationHash(
            id, roundOf(id), verifier, s.verdictsDigest, root, keccak256("artifact"), attestSalt(verifier)
        );
        vm.prank(verifier);
        verifierPool.commitAttestation(id, sealed_);
    }

    function revealAttestation(uint64 id, address verifier, SettlementLeaf[] memory leaves) internal {
        Settlement memory s = settlementFor(id, leaves);
        bytes32 root = LeafTree.rootInPlace(scoreHashes(scoreLeaves(leaves)));
        vm.prank(verifier);
        verifierPool.revealAttestation(id, s.verdictsDigest, root, keccak256("artifact"), attestSalt(verifier));
    }

    /// @dev Proof of those among the first `count` verifiers whose bit is set in `signers`.
    function quorumProof(uint64 id, Settlement memory s, uint256 count, uint256 signers)
        internal
        view
        returns (QuorumProof memory proof)
    {
        bytes32 message = digestOf(id, s);
        proof.signature = blsSign(signers, Commitments.SETTLEMENT_DOMAIN, message);
        proof.signersKey = G2Multiples.times(signers);
        uint256 absent;
        for (uint256 i = 0; i < count; ++i) {
            if (signers & (1 << i) == 0) ++absent;
        }
        proof.nonSigners = new address[](absent);
        uint256 next;
        for (uint256 i = 0; i < count; ++i) {
            if (signers & (1 << i) != 0) continue;
            proof.nonSigners[next++] = verifiers[i];
            for (uint256 j = next - 1; j > 0 && proof.nonSigners[j - 1] > proof.nonSigners[j]; --j) {
                (proof.nonSigners[j - 1], proof.nonSigners[j]) = (proof.nonSigners[j], proof.nonSigners[j - 1]);
            }
        }
    }

    function settle(uint64 id, SettlementLeaf[] memory leaves, uint256 count, uint256 signers) internal {
        Settlement memory s = settlementFor(id, leaves);
        tasks.settle(id, s, quorumProof(id, s, count, signers));
    }

    // Whole stretches, with the first `t` trainers and `v` verifiers.

    function playToOpening(uint64 id, uint256 t) internal {
        openRound(id);
        for (uint256 i = 0; i < t; ++i) {
            commit(id, trainers[i]);
        }
        if (phaseOf(id) == Phase.Commit) expirePhase(id);
        for (uint256 i = 0; i < t; ++i) {
            reveal(id, trainers[i]);
        }
        draw(id);
        assertPhase(id, Phase.Opening);
        revealValidation(id);
    }

    function attestAll(uint64 id, uint256 v, SettlementLeaf[] memory leaves) internal {
        for (uint256 i = 0; i < v; ++i) {
            commitAttestation(id, verifiers[i], leaves);
        }
        for (uint256 i = 0; i < v; ++i) {
            revealAttestation(id, verifiers[i], leaves);
        }
        assertPhase(id, Phase.Settle);
    }

    function playToSettle(uint64 id, uint256 t, uint256 v, SettlementLeaf[] memory leaves) internal {
        playToOpening(id, t);
        for (uint256 i = 0; i < t; ++i) {
            publish(id, trainers[i]);
        }
        assertPhase(id, Phase.AttestCommit);
        attestAll(id, v, leaves);
    }

    function playToWindow(uint64 id, uint256 t, uint256 v) internal returns (SettlementLeaf[] memory leaves) {
        playToOpening(id, t);
        expirePhase(id);
        leaves = honestLeaves(id, t);
        attestAll(id, v, leaves);
        settle(id, leaves, v, (1 << v) - 1);
        assertPhase(id, Phase.Window);
    }

    function finalize(uint64 id) internal {
        sleep(PHASE);
        tasks.finalize(id);
        assertPhase(id, Phase.Idle);
    }

    function playRound(uint64 id, uint256 t, uint256 v) internal returns (SettlementLeaf[] memory leaves) {
        leaves = playToWindow(id, t, v);
        finalize(id);
    }

    function claim(uint64 id, uint32 round, SettlementLeaf[] memory leaves, uint256 index) internal {
        vault.claim(id, round, uint32(index), uint32(leaves.length), leaves[index], proofOf(hashes(leaves), index));
    }

    /// @dev Slash by the leaf at `index` of a final settlement.
    function slash(uint64 id, uint32 round, SettlementLeaf[] memory leaves, uint256 index) internal {
        trainerPool.slash(id, round, uint32(index), leaves[index], proofOf(hashes(leaves), index));
    }

    /// @dev Both leaves of a trainer at `index`, as the verifier attested and as it was settled.
    function pairOf(address verifier, ScoreLeaf[] memory scores, SettlementLeaf[] memory leaves, uint256 index)
        internal
        pure
        returns (ScorePair memory)
    {
        return ScorePair(
            verifier,
            uint32(index),
            scores[index],
            proofOf(scoreHashes(scores), index),
            leaves[index],
            proofOf(hashes(leaves), index)
        );
    }

    function solvePayouts(PayoutRule.Terms memory payoutTerms, SettlementLeaf[] calldata leaves)
        external
        pure
        returns (uint256[] memory payouts, uint256 threshold, uint256 topUp)
    {
        return PayoutReference.solve(payoutTerms, leaves);
    }

    /// @dev Both passes over all leaves in one part each, as `address(this)`.
    function checkSettlement(uint64 id, SettlementLeaf[] memory leaves) internal {
        Settlement memory s = tasks.settlementOf(id, roundOf(id));
        uint256 check = settlements.openCheck(id);
        settlements.feedLeaves(check, leaves);
        if (phaseOf(id) != Phase.Window) return;
        PayoutRule.Terms memory t = tasks.payoutTermsOf(id, s.improvementNanos);
        (, uint256 threshold, uint256 topUp) = this.solvePayouts(t, leaves);
        settlements.reviewLeaves(check, leaves, threshold, topUp);
    }

    function direct() internal pure returns (CommitmentRef memory) {
        return CommitmentRef(0, 0, 0, 0, new bytes32[](0));
    }

    function one(uint32 round) internal pure returns (uint32[] memory rounds) {
        rounds = new uint32[](1);
        rounds[0] = round;
    }
}
