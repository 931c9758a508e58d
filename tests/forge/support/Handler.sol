// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDisputeCourt} from "../../../contracts/interfaces/IDisputeCourt.sol";
import {ITrainerPool} from "../../../contracts/interfaces/ITrainerPool.sol";
import {IVerifierPool} from "../../../contracts/interfaces/IVerifierPool.sol";
import "../../../contracts/interfaces/Types.sol";
import {BN254} from "../../../contracts/libraries/BN254.sol";
import {Commitments} from "../../../contracts/libraries/Commitments.sol";
import {G2Multiples} from "./G2Multiples.sol";
import {World} from "./World.sol";
import {vm} from "./Vm.sol";

/// @dev Random lives of several tasks, participants and attackers. Every function is one fuzzed call; what it does depends
/// on the state, so that most calls are possible and rounds really end. `settled` remembers what was signed.
contract Handler is World {
    using BN254 for G1Point;

    uint256 internal constant TASKS = 3;
    /// @dev How a settlement's leaves are made.
    uint256 internal constant HONEST = 0;
    uint256 internal constant REJECTS_FIRST = 1;
    uint256 internal constant WRONG_PAYOUTS = 2;

    uint64[] internal ids;
    mapping(uint64 id => mapping(uint32 round => SettlementLeaf[])) internal settled;
    mapping(uint64 id => mapping(uint32 round => uint256)) internal postedKind;
    mapping(address verifier => mapping(uint64 id => mapping(uint32 round => uint256))) internal attestedKind;
    /// @dev Every settlement posted, for slashes after it was voided.
    bytes32[] internal digests;
    mapping(bytes32 digest => address[]) internal absentees;
    uint256 public minted;
    uint256 public roundsSettled;
    uint256 public roundsUnpaid;
    uint256 public claims;
    uint256 public slashes;
    uint256 public disputes;
    bool public stakeLostWithoutFault;
    bool public attackSucceeded;

    constructor() {
        deploy();
        people();
        minted = token.totalSupply();
        for (uint256 i = 0; i < TASKS; ++i) {
            TaskParams memory p = defaultParams();
            p.training.rounds = 1_000;
            p.rewards.budgetPerRound = uint96(10 * UNIT + i);
            p.rewards.capBps = uint16(10_000 - 3_000 * i);
            p.rewards.floorBps = uint16(500 * i);
            vm.prank(sponsor);
            ids.push(tasks.createTask(p, validationCommitments(1_001), uint96(1_000 * UNIT)));
            for (uint256 j = i; j < TRAINERS; ++j) {
                enrolTrainer(ids[i], trainers[j]);
            }
            for (uint256 j = 0; j < VERIFIERS; ++j) {
                enrolVerifier(ids[i], verifiers[j], uint96((200 + 50 * j) * UNIT));
            }
        }
    }

    /// @dev Stake may only shrink in functions that prove or vote a fault, or pay it out.
    modifier losesNoStake() {
        uint256 before = totalStake();
        _;
        if (totalStake() < before) stakeLostWithoutFault = true;
    }

    function totalStake() public view returns (uint256 sum) {
        for (uint256 i = 0; i < TRAINERS; ++i) {
            sum += registry.stakeOf(trainers[i], Role.Trainer).total;
        }
        for (uint256 i = 0; i < VERIFIERS; ++i) {
            sum += registry.stakeOf(verifiers[i], Role.Verifier).total;
        }
        sum += registry.stakeOf(outsider, Role.Challenger).total;
    }

    // The natural course of a task.

    function play(uint256 seed) public losesNoStake {
        _play(ids[seed % TASKS], seed / TASKS);
    }

    function playMore(uint256 seed) external losesNoStake {
        for (uint256 i = 0; i < 6; ++i) {
            uint256 drawn = uint256(keccak256(abi.encode(seed, i)));
            _play(ids[seed % TASKS], drawn);
        }
    }

    function _play(uint64 id, uint256 seed) internal {
        (uint32 round, Phase phase,, bool due) = tasks.phaseOf(id);
        if (phase == Phase.Idle) return _open(id);
        if (phase == Phase.Draw || phase == Phase.Challenge) {
            nextBlock();
            tasks.advance(id);
            return;
        }
        if (due) return _moveOn(id);
        if (phase == Phase.Commit) _commitSome(id, round, seed);
        else if (phase == Phase.Reveal) _revealSome(id, round, seed);
        else if (phase == Phase.Opening) _openSome(id, round, seed);
        else if (phase == Phase.AttestCommit) _attestSome(id, round, seed);
        else if (phase == Phase.AttestReveal) _showSome(id, round, seed);
        else if (phase == Phase.Settle) _post(id, round, seed);
        else sleep(PHASE / 3);
    }

    function _open(uint64 id) private {
        if (tasks.taskOf(id).cancelled || vault.accountOf(id).balance < 12 * UNIT) return;
        if (members(id) == 0 || verifierPool.checkpointOf(id, verifierPool.versionOf(id)).members == 0) return;
        tasks.openRound(id);
    }

    function _moveOn(uint64 id) private {
        if (tasks.openDisputes(id) != 0) return;
        uint32 round = roundOf(id);
        tasks.advance(id);
        if (phaseOf(id) != Phase.Idle) return;
        if (tasks.roundOf(id, round).outcome == Outcome.Settled) ++roundsSettled;
        else ++roundsUnpaid;
    }

    function _commitSome(uint64 id, uint32 round, uint256 seed) private {
        address trainer = trainers[seed % TRAINERS];
        ITrainerPool.Enrolment memory e = trainerPool.enrolmentOf(id, trainer);
        bool may = e.activeFrom != 0 && e.activeFrom <= round && round <= e.activeUntil && e.committedRound != round
            && (e.committedRound == e.revealedRound || trainerPool.isForfeited(id, e.committedRound, trainer));
        if (may) commit(id, trainer);
        else sleep(PHASE / 5);
    }

    function _revealSome(uint64 id, uint32 round, uint256 seed) private {
        if (seed % 7 == 0 && !tasks.roundOf(id, round).validationRevealed) return revealValidation(id);
        address trainer = trainers[seed % TRAINERS];
        ITrainerPool.Enrolment memory e = trainerPool.enrolmentOf(id, trainer);
        if (e.committedRound == round && e.revealedRound != round) reveal(id, trainer);
        else sleep(PHASE / 8);
    }

    function _openSome(uint64 id, uint32 round, uint256 seed) private {
        address trainer = trainers[seed % TRAINERS];
        ITrainerPool.Enrolment memory e = trainerPool.enrolmentOf(id, trainer);
        if (e.revealedRound == round && e.openedRound != round) publish(id, trainer);
        else sleep(PHASE / 5);
    }

    function _attestSome(uint64 id, uint32 round, uint256 seed) private {
        address verifier = verifiers[seed % VERIFIERS];
        IVerifierPool.Attestation memory a = verifierPool.attestationOf(id, round, verifier);
        bool may = verifierPool.inQuorum(id, round, verifier) && a.state == IVerifierPool.AttestationState.None;
        if (!may) return sleep(PHASE / 5);
        attestedKind[verifier][id][round] = seed / 16 % 6 == 0 ? REJECTS_FIRST : HONEST;
        commitAttestation(id, verifier, leavesFor(id, round, attestedKind[verifier][id][round]));
    }

    function _showSome(uint64 id, uint32 round, uint256 seed) private {
        address verifier = verifiers[seed % VERIFIERS];
        IVerifierPool.Attestation memory a = verifierPool.attestationOf(id, round, verifier);
        if (a.state != IVerifierPool.AttestationState.Committed) return sleep(PHASE / 5);
        revealAttestation(id, verifier, leavesFor(id, round, attestedKind[verifier][id][round]));
    }

    function _post(uint64 id, uint32 round, uint256 seed) private {
        uint256 kind = seed % 8 == 0 ? WRONG_PAYOUTS : seed % 8 == 1 ? REJECTS_FIRST : HONEST;
        SettlementLeaf[] memory leaves = leavesFor(id, round, kind);
        Settlement memory s = settlementFor(id, leaves);
        s.artifactDigest = bytes32(seed);
        bytes32 digest = tasks.settlementDigest(id, round, s);
        uint256 everyone = quorumMask(id, round);
        uint256 signers = seed / 8 % 3 == 0 ? everyone & (seed >> 40) : everyone;
        if (signers == 0) return;
        QuorumProof memory proof = proofFor(digest, everyone, signers);
        try tasks.settle(id, s, proof) {}
        catch {
            return sleep(PHASE / 5); // too few signed
        }
        delete settled[id][round];
        for (uint256 i = 0; i < leaves.length; ++i) {
            settled[id][round].push(leaves[i]);
        }
        postedKind[id][round] = kind;
        digests.push(digest);
        absentees[digest] = proof.nonSigners;
    }

    /// @dev Leaves of everyone who committed.
    function leavesFor(uint64 id, uint32 round, uint256 kind) internal view returns (SettlementLeaf[] memory leaves) {
        uint256 count;
        for (uint256 i = 0; i < TRAINERS; ++i) {
            if (trainerPool.hasCommitted(id, round, trainers[i])) ++count;
        }
        leaves = new SettlementLeaf[](count);
        count = 0;
        for (uint256 i = 0; i < TRAINERS; ++i) {
            if (!trainerPool.hasCommitted(id, round, trainers[i])) continue;
            bool revealed = trainerPool.enrolmentOf(id, trainers[i]).revealedRound == round;
            Verdict verdict = revealed ? Verdict.Accepted : Verdict.Unrevealed;
            if (kind == REJECTS_FIRST && count == 0) verdict = Verdict.Rejected;
            leaves[count++] =
                SettlementLeaf(trainers[i], uint8(verdict), int64(int256(1_000 * i)) - 500, 7, uint16(100 * i), 0);
        }
        leaves = paid(id, leaves);
        if (kind != WRONG_PAYOUTS) return leaves;
        for (uint256 i = 0; i < count; ++i) {
            if (leaves[i].payout == 0) continue;
            leaves[i].payout -= 1;
            break;
        }
    }

    function quorumMask(uint64 id, uint32 round) internal view returns (uint256 mask) {
        for (uint256 i = 0; i < VERIFIERS; ++i) {
            if (verifierPool.inQuorum(id, round, verifiers[i])) mask |= 1 << i;
        }
    }

    function proofFor(bytes32 digest, uint256 everyone, uint256 signers) internal view returns (QuorumProof memory p) {
        p.signature = blsSign(signers, Commitments.SETTLEMENT_DOMAIN, digest);
        p.signersKey = G2Multiples.times(signers);
        p.nonSigners = new address[](VERIFIERS);
        uint256 count;
        for (uint256 i = 0; i < VERIFIERS; ++i) {
            if (everyone & ~signers & (1 << i) == 0) continue;
            p.nonSigners[count] = verifiers[i];
            for (uint256 j = count++; j > 0 && p.nonSigners[j - 1] > p.nonSigners[j]; --j) {
                (p.nonSigners[j - 1], p.nonSigners[j]) = (p.nonSigners[j], p.nonSigners[j - 1]);
            }
        }
        address[] memory list = p.nonSigners;
        assembly ("memory-safe") {
            mstore(list, count)
        }
    }

    function members(uint64 id) internal view returns (uint256 count) {
        for (uint256 i = 0; i < TRAINERS; ++i) {
            ITrainerPool.Enrolment memory e = trainerPool.enrolmentOf(id, trainers[i]);
            if (e.activeFrom != 0 && e.activeUntil == type(uint32).max) ++count;
        }
    }

    // Coming and going.

    function comeAndGo(uint256 seed) external losesNoStake {
        uint64 id = ids[seed % TASKS];
        if (seed / 3 % 2 == 0) _trainerMoves(id, trainers[seed / 6 % TRAINERS]);
        else _verifierMoves(id, verifiers[seed / 6 % VERIFIERS], uint96((200 + seed / 64 % 300) * UNIT));
    }

    function _trainerMoves(uint64 id, address trainer) private {
        ITrainerPool.Enrolment memory e = trainerPool.enrolmentOf(id, trainer);
        if (e.activeFrom == 0) return enrolTrainer(id, trainer);
        if (e.activeUntil != type(uint32).max) {
            if (vm.getBlockTimestamp() % 2 == 0) return trainerPool.release(id, trainer);
            vm.prank(trainer);
            return trainerPool.topUp(id);
        }
        if (members(id) < 2) return;
        vm.prank(trainer);
        trainerPool.resign(id);
    }

    function _verifierMoves(uint64 id, address verifier, uint96 stake) private {
        IVerifierPool.Enrolment memory e = verifierPool.enrolmentOf(id, verifier);
        if (e.activeFrom == 0) return enrolVerifier(id, verifier, stake);
        if (e.activeUntil != type(uint32).max) return verifierPool.release(id, verifier);
        if (verifierPool.checkpointOf(id, verifierPool.versionOf(id)).members < 2) return;
        vm.prank(verifier);
        verifierPool.resign(id);
    }

    // Money.

    function claimSome(uint256 seed) external losesNoStake {
        uint64 id = ids[seed % TASKS];
        uint32 current = roundOf(id);
        if (current == 0) return;
        uint32 round = uint32(1 + seed / 3 % current);
        SettlementLeaf[] memory leaves = settled[id][round];
        bool paidRound = tasks.roundOf(id, round).outcome == Outcome.Settled;
        if (leaves.length == 0) return;
        uint256 i = seed / 64 % leaves.length;
        bool claimed = vault.hasClaimed(id, round, leaves[i].trainer);
        try vault.claim(id, round, leaves[i], proofOf(hashes(leaves), i)) {
            if (claimed || !paidRound) attackSucceeded = true;
            ++claims;
        } catch {}
        address verifier = verifiers[seed / 64 % VERIFIERS];
        try verifierPool.claimFees(id, one(round), verifier) {} catch {}
    }

    function moveMoney(uint256 seed) external {
        uint64 id = ids[seed % TASKS];
        uint256 what = seed / 3 % 6;
        uint32 round = roundOf(id);
        if (what == 0) {
            vm.prank(sponsor);
            vault.fund(id, uint96(1 + seed % (100 * UNIT)));
        } else if (what == 1 && round > 0) {
            vault.expire(id, uint32(1 + seed / 64 % round));
        } else if (what == 2 && round > 0) {
            verifierPool.expireSlashRewards(id, uint32(1 + seed / 64 % round));
        } else if (what == 3) {
            address account = seed % 2 == 0 ? trainers[seed / 64 % TRAINERS] : verifiers[seed / 64 % VERIFIERS];
            Role role = seed % 2 == 0 ? Role.Trainer : Role.Verifier;
            bool ask = registry.stakeOf(account, role).unbonding == 0;
            // One prank per call: an open one would outlive a revert.
            vm.prank(account);
            if (ask) registry.requestUnbond(role, uint96(10 * UNIT));
            else registry.withdraw(role);
        } else if (what == 4) {
            vm.prank(seed % 2 == 0 ? outsider : verifiers[seed / 64 % VERIFIERS]);
            registry.withdrawCredit();
        } else {
            vm.prank(outsider);
            registry.deposit(Role.Challenger, uint96(1 + seed % UNIT));
        }
    }

    function wait(uint256 seed) external losesNoStake {
        sleep(seed % 8 == 0 ? 2 days : seed % 900);
        vm.roll(vm.getBlockNumber() + seed % 300);
    }

    // Faults, disputes, penalties.

    function penalise(uint256 seed) external {
        uint64 id = ids[seed % TASKS];
        uint32 current = roundOf(id);
        if (current == 0) return;
        uint256 before = totalStake();
        address trainer = trainers[seed / 3 % TRAINERS];
        uint32 committed = trainerPool.enrolmentOf(id, trainer).committedRound;
        if (seed % 2 == 0) {
            trainerPool.forfeitBond(id, committed, trainer);
        } else {
            uint32 round = uint32(1 + seed / 64 % current);
            SettlementLeaf[] memory leaves = settled[id][round];
            if (leaves.length == 0) return;
            uint256 i = seed / 512 % leaves.length;
            trainerPool.slash(id, round, leaves[i], proofOf(hashes(leaves), i));
            if (leaves[i].verdict != uint8(Verdict.Rejected)) attackSucceeded = true;
        }
        if (totalStake() < before) ++slashes;
    }

    function dispute(uint256 seed) external {
        uint64 id = ids[seed % TASKS];
        for (uint256 i = 1; i < TASKS && phaseOf(id) < Phase.Opening; ++i) {
            id = ids[(seed + i) % TASKS];
        }
        uint32 round = roundOf(id);
        uint256 what = seed / 3 % 5;
        SettlementLeaf[] memory leaves = settled[id][round];
        if (what == 0) {
            address trainer = committedTrainer(id, round, seed / 64);
            RevealData memory data = workOf(id, trainer);
            vm.prank(outsider);
            court.demandOpening(id, trainer, data, direct(), 0, Component.Theta, 0);
        } else if (what == 4) {
            return _equivocate(id, round, seed / 64 % VERIFIERS);
        } else if (phaseOf(id) != Phase.Window) {
            return;
        } else if (what == 1) {
            vm.prank(outsider);
            court.demandScore(id, verifiers[seed / 64 % VERIFIERS], leaves[0].trainer);
        } else if (what == 2) {
            vm.prank(outsider);
            court.openRevote(id, bytes32(seed));
        } else {
            faults.proveWrongSettlement(id, leaves);
            if (postedKind[id][round] != WRONG_PAYOUTS) attackSucceeded = true;
        }
        ++disputes;
    }

    function committedTrainer(uint64 id, uint32 round, uint256 seed) internal view returns (address trainer) {
        for (uint256 i = 0; i < TRAINERS; ++i) {
            trainer = trainers[(seed + i) % TRAINERS];
            if (trainerPool.hasCommitted(id, round, trainer)) return trainer;
        }
    }

    function _equivocate(uint64 id, uint32 round, uint256 i) private {
        Settlement memory a;
        Settlement memory b;
        a.verdictsDigest = "one";
        b.verdictsDigest = "other";
        bytes32 domain = Commitments.SETTLEMENT_DOMAIN;
        G1Point memory first = blsSign(1 << i, domain, tasks.settlementDigest(id, round, a));
        G1Point memory second = blsSign(1 << i, domain, tasks.settlementDigest(id, round, b));
        // Only now and then, or nobody is left to verify.
        if (uint256(keccak256(abi.encode(id, round, i))) % 4 != 0) return;
        court.proveEquivocation(id, round, verifiers[i], a, first, b, second);
        ++slashes;
    }

    function proceed(uint256 seed) external {
        for (uint256 d = court.demandCount(); d > 0; --d) {
            IDisputeCourt.Demand memory demand = court.demandOf(d);
            if (demand.closed) continue;
            if (demand.kind == IDisputeCourt.DemandKind.Score && seed % 3 != 0) return _answerScore(d, demand);
            sleep(3_600);
            return court.closeDemand(d);
        }
        for (uint256 r = court.revoteCount(); r > 0; --r) {
            IDisputeCourt.RevotePhase phase = court.revoteOf(r).phase;
            if (phase < IDisputeCourt.RevotePhase.Upheld) return _vote(r, phase, seed);
        }
        if (digests.length != 0) {
            bytes32 digest = digests[seed % digests.length];
            court.slashSigner(digest, verifiers[seed / 64 % VERIFIERS], absentees[digest]);
            ++slashes;
        }
    }

    function _answerScore(uint256 id, IDisputeCourt.Demand memory demand) private {
        SettlementLeaf[] memory leaves =
            leavesFor(demand.taskId, demand.round, attestedKind[demand.respondent][demand.taskId][demand.round]);
        ScoreLeaf[] memory scores = scoreLeaves(leaves);
        for (uint256 i = 0; i < scores.length; ++i) {
            if (scores[i].trainer != demand.subject) continue;
            court.answerScore(id, scores[i], proofOf(scoreHashes(scores), i));
        }
    }

    function _vote(uint256 r, IDisputeCourt.RevotePhase phase, uint256 seed) private {
        if (phase == IDisputeCourt.RevotePhase.Draw) {
            vm.roll(vm.getBlockNumber() + 2);
            court.drawCommittee(r);
            return;
        }
        address[] memory committee = court.committeeOf(r);
        for (uint256 i = 0; i < committee.length; ++i) {
            bool overturn = uint256(keccak256(abi.encode(r, committee[i]))) % 2 == 0;
            bytes32 vote = court.voteHash(r, committee[i], overturn, "salt");
            vm.prank(committee[i]);
            if (phase == IDisputeCourt.RevotePhase.Commit) {
                try court.commitVote(r, vote) {} catch {}
            } else {
                try court.revealVote(r, overturn, "salt") {} catch {}
            }
            if (seed % 5 == i) break;
        }
        if (court.revoteOf(r).phase == phase) {
            sleep(7_200);
            court.advanceRevote(r);
        }
    }

    function collectCommitteePay(uint256 seed) external losesNoStake {
        uint256 count = court.revoteCount();
        if (count == 0) return;
        address[] memory committee = court.committeeOf(1 + seed % count);
        if (committee.length != 0) court.claimCommitteePay(1 + seed % count, committee[seed / 64 % committee.length]);
    }
}
