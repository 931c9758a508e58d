// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDisputeCourt} from "../../../contracts/interfaces/IDisputeCourt.sol";
import {IJury} from "../../../contracts/interfaces/IJury.sol";
import {ITrainerPool} from "../../../contracts/interfaces/ITrainerPool.sol";
import {IVerifierPool} from "../../../contracts/interfaces/IVerifierPool.sol";
import "../../../contracts/interfaces/Types.sol";
import {BN254} from "../../../contracts/libraries/BN254.sol";
import {Commitments} from "../../../contracts/libraries/Commitments.sol";
import {G2Multiples} from "./G2Multiples.sol";
import {World} from "./World.sol";
import {vm} from "./Vm.sol";

/// @dev Random lives of several tasks beside honest scripts. In tasks 0 and 1 the first trainers and verifiers are honest: they
/// do their part before any time passes. Everybody else, with 45 % of the weight there and all of it in task 2, does what a
/// fuzzed call says: lies, stays away, leaves, opens disputes, votes at random. `settled` remembers what was signed.
contract Handler is World {
    using BN254 for G1Point;

    uint256 internal constant TASKS = 3;
    uint256 internal constant HONEST_PEOPLE = 2;
    uint256 internal constant HONEST_TASKS = 2;
    uint256 internal constant HONEST_MASK = 3;
    /// @dev How a settlement's leaves are made.
    uint256 internal constant HONEST = 0;
    uint256 internal constant REJECTS_FIRST = 1;
    uint256 internal constant WRONG_PAYOUTS = 2;

    uint64[] internal ids;
    mapping(uint64 id => mapping(uint32 round => SettlementLeaf[])) internal settled;
    mapping(uint64 id => mapping(uint32 round => uint256)) internal postedKind;
    mapping(address verifier => mapping(uint64 id => mapping(uint32 round => uint256))) internal attestedKind;
    /// @dev Ghost books: who was paid for which round, whatever the vault remembers.
    mapping(uint64 id => mapping(uint32 round => mapping(address trainer => bool))) internal paidOut;
    /// @dev Every settlement posted, for slashes after it was voided.
    bytes32[] internal digests;
    mapping(bytes32 digest => address[]) internal absentees;
    mapping(bytes32 digest => uint256) internal kindOf;
    /// @dev What attackers took out of the registry, less what they put in later.
    int256 internal drawn;
    uint256 public attackersBegan;
    uint256 public minted;
    uint256 public roundsSettled;
    uint256 public roundsUnpaid;
    uint256 public claims;
    uint256 public slashes;
    uint256 public disputes;
    bool public attackSucceeded;
    bool public honestUnpaid;
    bytes public unpaidReason;

    constructor() {
        deploy();
        people();
        minted = token.totalSupply();
        for (uint256 i = 0; i < TASKS; ++i) {
            TaskParams memory p = defaultParams();
            p.training.rounds = 512;
            p.quorum.maxTrainers = uint32(TRAINERS - i);
            p.rewards.budgetPerRound = uint96(10 * UNIT + i);
            p.rewards.capBps = uint16(10_000 - 3_000 * i);
            p.rewards.floorBps = uint16(500 * i);
            vm.prank(sponsor);
            ids.push(terms.createTask(p, validationCommitments(513), uint96(1_000 * UNIT)));
            for (uint256 j = i; j < TRAINERS; ++j) {
                enrolTrainer(ids[i], trainers[j]);
            }
            for (uint256 j = i < HONEST_TASKS ? 0 : HONEST_PEOPLE; j < VERIFIERS; ++j) {
                enrolVerifier(ids[i], verifiers[j], uint96((j < HONEST_PEOPLE ? 300 : 250) * UNIT));
            }
        }
        // Votes are right where most stake is honest: 60,000 of 80,000.
        for (uint256 j = 0; j < HONEST_PEOPLE; ++j) {
            token.mint(address(this), 20_000 * UNIT);
            token.approve(address(registry), 20_000 * UNIT);
            registry.depositFor(verifiers[j], Role.Verifier, uint96(20_000 * UNIT));
        }
        minted = token.totalSupply();
        sleep(1 days + 1);
        attackersBegan = uint256(attackersHold());
    }

    // What the books must say.

    /// @dev Everything that attackers have in the registry or took out of it.
    function attackersHold() public view returns (int256 sum) {
        sum = drawn + int256(uint256(registry.stakeOf(outsider, Role.Challenger).total));
        sum += int256(uint256(registry.creditOf(outsider)) + registry.creditOf(address(this)));
        for (uint256 i = HONEST_PEOPLE; i < TRAINERS; ++i) {
            sum += int256(uint256(registry.stakeOf(trainers[i], Role.Trainer).total) + registry.creditOf(trainers[i]));
        }
        for (uint256 i = HONEST_PEOPLE; i < VERIFIERS; ++i) {
            sum += int256(
                uint256(registry.stakeOf(verifiers[i], Role.Verifier).total) + registry.creditOf(verifiers[i])
            );
        }
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

    function play(uint256 seed) public {
        _play(ids[seed % TASKS], seed / TASKS);
    }

    function playMore(uint256 seed) external {
        for (uint256 i = 0; i < 6; ++i) {
            uint256 next = uint256(keccak256(abi.encode(seed, i)));
            _play(ids[seed % TASKS], next);
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
        else rest(PHASE / 3);
    }

    /// @dev Time passes only after everybody honest has done what it can.
    function rest(uint256 time) internal {
        for (uint256 t = 0; t < HONEST_TASKS; ++t) {
            Phase before;
            // What they do may end the phase; then the next one is theirs to act in, too.
            do {
                before = phaseOf(ids[t]);
                _honestAct(ids[t]);
            } while (phaseOf(ids[t]) != before);
        }
        _honestAnswers();
        for (uint256 c = jury.caseCount(); c > 0; --c) {
            if (isOver(c)) continue;
            for (uint256 i = 0; i < HONEST_PEOPLE; ++i) {
                _vote(c, i, kindOf[jury.caseOf(c).settlement] != HONEST);
            }
        }
        sleep(time);
    }

    function _honestAct(uint64 id) private {
        (uint32 round, Phase phase,, bool due) = tasks.phaseOf(id);
        if (due) return;
        if (phase == Phase.Opening && !tasks.roundOf(id, round).validationRevealed) revealValidation(id);
        for (uint256 i = 0; i < HONEST_PEOPLE && phaseOf(id) == phase; ++i) {
            if (phase == Phase.Commit) {
                _commitOne(id, round, trainers[i]);
            } else if (phase == Phase.Reveal) {
                _revealOne(id, round, trainers[i]);
            } else if (phase == Phase.Opening) {
                _openOne(id, round, trainers[i]);
            } else if (phase == Phase.AttestCommit) {
                _attest(id, round, verifiers[i], HONEST);
            } else if (phase == Phase.AttestReveal) {
                _show(id, round, verifiers[i]);
            } else if (phase == Phase.Settle && i == 0 && tasks.roundOf(id, round).late) {
                _sign(id, round, HONEST, HONEST_MASK & quorumMask(id, round));
            }
        }
    }

    /// @dev Whatever is asked of a settlement's leaves and of honest attestations is answered.
    function _honestAnswers() private {
        for (uint256 d = court.demandCount(); d > 0; --d) {
            IDisputeCourt.Demand memory demand = court.demandOf(d);
            if (demand.closed) continue;
            if (demand.kind == IDisputeCourt.DemandKind.Leaf) _answerLeaf(d, demand);
            if (demand.kind != IDisputeCourt.DemandKind.Score) continue;
            if (demand.respondent == verifiers[0] || demand.respondent == verifiers[1]) _answerScore(d, demand);
        }
    }

    function _open(uint64 id) private {
        if (tasks.taskOf(id).cancelled || vault.accountOf(id).balance < 12 * UNIT) return;
        if (members(id) == 0 || verifierPool.checkpointOf(id, verifierPool.versionOf(id)).members == 0) return;
        vm.prank(sponsor);
        tasks.openRound(id);
    }

    function _moveOn(uint64 id) private {
        if (tasks.openDisputes(id) != 0) return;
        uint32 round = roundOf(id);
        tasks.advance(id);
        if (phaseOf(id) != Phase.Idle) return;
        bool settledNow = tasks.roundOf(id, round).outcome == Outcome.Settled;
        if (settledNow) ++roundsSettled;
        else ++roundsUnpaid;
        if (id == ids[TASKS - 1]) return;
        // A round with honest work and an honest majority pays, whatever the others did.
        if (!settledNow) (honestUnpaid, unpaidReason) = (true, abi.encode(tasks.roundOf(id, round).outcome));
        // And it pays what honest verifiers found: a coalition below the quorum settles nothing of its own.
        else if (postedKind[id][round] != HONEST) attackSucceeded = true;
        else _collectHonest(id, round);
    }

    function _collectHonest(uint64 id, uint32 round) private {
        SettlementLeaf[] memory leaves = settled[id][round];
        for (uint256 i = 0; i < leaves.length; ++i) {
            if (leaves[i].trainer != trainers[0] && leaves[i].trainer != trainers[1]) continue;
            try this.claimOut(id, round, i) {}
            catch (bytes memory reason) {
                (honestUnpaid, unpaidReason) = (true, reason);
            }
        }
        for (uint256 i = 0; i < HONEST_PEOPLE; ++i) {
            try fees.claimFees(id, one(round), verifiers[i]) {}
            catch (bytes memory reason) {
                (honestUnpaid, unpaidReason) = (true, reason);
            }
        }
    }

    function claimOut(uint64 id, uint32 round, uint256 i) external {
        address trainer = settled[id][round][i].trainer;
        (Fault fault,) = trainerPool.faultOf(id, round, trainer);
        claim(id, round, settled[id][round], i);
        if (paidOut[id][round][trainer] || fault != Fault.None) attackSucceeded = true;
        paidOut[id][round][trainer] = true;
    }

    function _commitSome(uint64 id, uint32 round, uint256 seed) private {
        if (!_commitOne(id, round, trainers[seed % TRAINERS])) rest(PHASE / 5);
    }

    function _commitOne(uint64 id, uint32 round, address trainer) private returns (bool may) {
        ITrainerPool.Enrolment memory e = trainerPool.enrolmentOf(id, trainer);
        may = e.activeFrom != 0 && e.activeFrom <= round && round <= e.activeUntil
            && !trainerPool.hasCommitted(id, round, trainer);
        if (may) commit(id, trainer);
    }

    function _revealSome(uint64 id, uint32 round, uint256 seed) private {
        if (!_revealOne(id, round, trainers[seed % TRAINERS])) rest(PHASE / 8);
    }

    function _revealOne(uint64 id, uint32 round, address trainer) private returns (bool may) {
        may = trainerPool.hasCommitted(id, round, trainer) && !trainerPool.hasRevealed(id, round, trainer);
        if (may) reveal(id, trainer);
    }

    function _openSome(uint64 id, uint32 round, uint256 seed) private {
        if (!_openOne(id, round, trainers[seed % TRAINERS])) rest(PHASE / 5);
    }

    function _openOne(uint64 id, uint32 round, address trainer) private returns (bool may) {
        may = trainerPool.hasRevealed(id, round, trainer) && !trainerPool.hasOpened(id, round, trainer);
        if (may) publish(id, trainer);
    }

    function _attestSome(uint64 id, uint32 round, uint256 seed) private {
        uint256 i = HONEST_PEOPLE + seed % (VERIFIERS - HONEST_PEOPLE);
        if (!_attest(id, round, verifiers[i], seed / 16 % 6 == 0 ? REJECTS_FIRST : HONEST)) rest(PHASE / 5);
    }

    function _attest(uint64 id, uint32 round, address verifier, uint256 kind) private returns (bool may) {
        IVerifierPool.Attestation memory a = verifierPool.attestationOf(id, round, verifier);
        may = verifierPool.inQuorum(id, round, verifier) && a.state == IVerifierPool.AttestationState.None;
        if (!may) return false;
        attestedKind[verifier][id][round] = kind;
        commitAttestation(id, verifier, leavesFor(id, round, kind));
    }

    function _showSome(uint64 id, uint32 round, uint256 seed) private {
        if (!_show(id, round, verifiers[seed % VERIFIERS])) rest(PHASE / 5);
    }

    function _show(uint64 id, uint32 round, address verifier) private returns (bool may) {
        IVerifierPool.Attestation memory a = verifierPool.attestationOf(id, round, verifier);
        may = a.state == IVerifierPool.AttestationState.Committed;
        if (may) revealAttestation(id, verifier, leavesFor(id, round, attestedKind[verifier][id][round]));
    }

    function _post(uint64 id, uint32 round, uint256 seed) private {
        uint256 kind = seed % 8 == 0 ? WRONG_PAYOUTS : seed % 8 == 1 ? REJECTS_FIRST : HONEST;
        uint256 signers = quorumMask(id, round);
        // Honest verifiers sign what they found, and nothing else.
        if (kind != HONEST) signers &= ~HONEST_MASK;
        if (seed / 8 % 3 == 0) signers &= (seed >> 40) | HONEST_MASK;
        if (signers == 0 || !_sign(id, round, kind, signers)) rest(PHASE / 5); // too few signed
    }

    function _sign(uint64 id, uint32 round, uint256 kind, uint256 signers) private returns (bool) {
        SettlementLeaf[] memory leaves = leavesFor(id, round, kind);
        Settlement memory s = settlementFor(id, leaves);
        bytes32 digest = digestOf(id, s);
        QuorumProof memory proof = proofFor(digest, quorumMask(id, round), signers);
        try tasks.settle(id, s, proof) {}
        catch {
            return false;
        }
        delete settled[id][round];
        for (uint256 i = 0; i < leaves.length; ++i) {
            settled[id][round].push(leaves[i]);
        }
        postedKind[id][round] = kind;
        kindOf[digest] = kind;
        digests.push(digest);
        absentees[digest] = proof.nonSigners;
        return true;
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
            (Fault fault, uint64 since) = trainerPool.faultOf(id, round, trainers[i]);
            Verdict verdict = Verdict.Accepted;
            if (!trainerPool.hasRevealed(id, round, trainers[i])) verdict = Verdict.Unrevealed;
            // Proven before verifiers judged: a settlement that accepts it is wrong.
            else if (fault != Fault.None && since < tasks.attestingBlock(id, round)) verdict = Verdict.Rejected;
            if (kind == REJECTS_FIRST && count == 0) verdict = Verdict.Rejected;
            leaves[count++] =
                SettlementLeaf(trainers[i], uint8(verdict), 2_500 - int64(int256(1_000 * i)), 7, uint16(100 * i), 0);
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

    function comeAndGo(uint256 seed) external {
        uint64 id = ids[seed % TASKS];
        if (seed / 3 % 2 == 0) _trainerMoves(id, trainers[HONEST_PEOPLE + seed / 6 % (TRAINERS - HONEST_PEOPLE)]);
        else _verifierMoves(id, verifiers[HONEST_PEOPLE + seed / 6 % (VERIFIERS - HONEST_PEOPLE)], seed / 64);
    }

    function _trainerMoves(uint64 id, address trainer) private {
        ITrainerPool.Enrolment memory e = trainerPool.enrolmentOf(id, trainer);
        if (e.activeFrom == 0) return enrolTrainer(id, trainer);
        if (e.activeUntil != type(uint32).max) {
            if (vm.getBlockTimestamp() % 2 == 0) return trainerPool.release(id, trainer);
            vm.prank(trainer);
            return trainerPool.topUp(id);
        }
        if (vm.getBlockTimestamp() % 2 == 0) return trainerPool.vacate(id, trainer);
        if (members(id) < 2) return;
        vm.prank(trainer);
        trainerPool.resign(id);
    }

    function _verifierMoves(uint64 id, address verifier, uint256 seed) private {
        IVerifierPool.Enrolment memory e = verifierPool.enrolmentOf(id, verifier);
        if (e.activeFrom == 0) return enrolVerifier(id, verifier, uint96(250 * UNIT));
        if (e.activeUntil != type(uint32).max) {
            if (seed % 2 == 0) return verifierPool.release(id, verifier);
            vm.prank(verifier);
            return verifierPool.rejoin(id, uint96(250 * UNIT) - e.stake);
        }
        if (verifierPool.checkpointOf(id, verifierPool.versionOf(id)).members < 2) return;
        vm.prank(verifier);
        verifierPool.resign(id);
    }

    // Money.

    function claimSome(uint256 seed) external {
        uint64 id = ids[seed % TASKS];
        uint32 current = roundOf(id);
        if (current == 0) return;
        uint32 round = uint32(1 + seed / 3 % current);
        SettlementLeaf[] memory leaves = settled[id][round];
        bool paidRound = tasks.roundOf(id, round).outcome == Outcome.Settled;
        if (leaves.length == 0) return;
        uint256 i = seed / 64 % leaves.length;
        bool claimed = vault.hasClaimed(id, round, leaves[i].trainer);
        try this.claimOut(id, round, i) {
            if (claimed || !paidRound) attackSucceeded = true;
            ++claims;
        } catch {}
        address verifier = verifiers[seed / 64 % VERIFIERS];
        try fees.claimFees(id, one(round), verifier) {} catch {}
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
            fees.expireSlashRewards(id, uint32(1 + seed / 64 % round));
        } else if (what == 3) {
            bool trainer = seed % 2 == 0;
            address account = trainer
                ? trainers[HONEST_PEOPLE + seed / 64 % (TRAINERS - HONEST_PEOPLE)]
                : verifiers[HONEST_PEOPLE + seed / 64 % (VERIFIERS - HONEST_PEOPLE)];
            Role role = trainer ? Role.Trainer : Role.Verifier;
            bool ask = registry.stakeOf(account, role).unbonding == 0;
            // One prank per call: an open one would outlive a revert.
            vm.prank(account);
            if (ask) registry.requestUnbond(role, uint96(10 * UNIT));
            else drawn += int256(uint256(registry.withdraw(role)));
        } else if (what == 4) {
            vm.prank(seed % 2 == 0 ? outsider : verifiers[HONEST_PEOPLE + seed / 64 % (VERIFIERS - HONEST_PEOPLE)]);
            drawn += int256(uint256(registry.withdrawCredit()));
        } else {
            uint96 amount = uint96(1 + seed % UNIT);
            vm.prank(outsider);
            registry.deposit(Role.Challenger, amount);
            drawn -= int256(uint256(amount));
        }
    }

    function wait(uint256 seed) external {
        rest(seed % 8 == 0 ? 2 days : seed % 900);
        vm.roll(vm.getBlockNumber() + seed % 300);
    }

    // Faults, disputes, penalties.

    /// @dev P19: whatever costs somebody something cannot be done twice.
    function penalise(uint256 seed) external {
        if (!this.penaliseOnce(seed)) return;
        try this.penaliseOnce(seed) {
            attackSucceeded = true;
        } catch {}
    }

    function penaliseOnce(uint256 seed) external returns (bool acted) {
        uint64 id = ids[seed % TASKS];
        uint32 current = roundOf(id);
        if (current == 0) return false;
        uint256 before = totalStake();
        address trainer = trainers[seed / 3 % TRAINERS];
        if (seed % 2 == 0) {
            trainerPool.forfeitBond(id, uint32(1 + seed / 64 % current), trainer);
        } else if (seed % 3 == 0) {
            verifierPool.chargeAbsence(id, uint32(1 + seed / 64 % current), verifiers[seed / 3 % VERIFIERS]);
        } else {
            (uint32 round, uint256 i) = punishable(id, seed / 64, current);
            SettlementLeaf[] memory leaves = settled[id][round];
            if (leaves.length == 0) return false;
            slash(id, round, leaves, i);
            if (leaves[i].verdict != uint8(Verdict.Rejected)) attackSucceeded = true;
        }
        if (totalStake() < before) ++slashes;
        return true;
    }

    /// @dev Somebody whom a final settlement rejected, if anybody was; else anybody.
    function punishable(uint64 id, uint256 seed, uint32 current) internal view returns (uint32 round, uint256 i) {
        for (uint256 k = 0; k < current; ++k) {
            round = uint32(1 + (seed + k) % current);
            if (tasks.roundOf(id, round).outcome != Outcome.Settled) continue;
            SettlementLeaf[] storage leaves = settled[id][round];
            for (i = 0; i < leaves.length; ++i) {
                if (leaves[i].verdict == uint8(Verdict.Rejected)) return (round, i);
            }
        }
        i = 0;
    }

    function dispute(uint256 seed) external {
        uint64 id = ids[seed % TASKS];
        for (uint256 i = 1; i < TASKS && phaseOf(id) < Phase.Opening; ++i) {
            id = ids[(seed + i) % TASKS];
        }
        uint32 round = roundOf(id);
        uint256 what = seed / 3 % 7;
        SettlementLeaf[] memory leaves = settled[id][round];
        if (what == 0) {
            address trainer = committedTrainer(id, round, seed / 64);
            if (trainer == trainers[0] || trainer == trainers[1]) return; // they would answer: Faults.t.sol
            RevealData memory data = workOf(id, trainer);
            vm.prank(outsider);
            court.demandOpening(id, 1, trainer, data, direct(), 0, Component.Theta, 0);
        } else if (what == 4) {
            return _equivocate(id, round, HONEST_PEOPLE + seed / 64 % (VERIFIERS - HONEST_PEOPLE));
        } else if (phaseOf(id) != Phase.Window) {
            return;
        } else if (what == 1) {
            bytes32 settlement = posted(id);
            vm.prank(outsider);
            court.demandScore(id, settlement, verifiers[seed / 64 % VERIFIERS], leaves[0].trainer);
        } else if (what == 2) {
            bytes32 settlement = posted(id);
            vm.prank(outsider);
            jury.openCase(id, settlement, bytes32(seed));
        } else if (what == 5) {
            bytes32 settlement = posted(id);
            vm.prank(outsider);
            court.demandLeaf(id, settlement, leaves[seed / 64 % leaves.length].trainer);
        } else if (what == 6) {
            uint256 leaf = seed / 64 % leaves.length;
            address verifier = verifiers[seed % VERIFIERS];
            verifierPool.contestAttestation(id, pairOf(verifier, _attested(id, round, verifier), leaves, leaf));
        } else {
            checkSettlement(id, leaves);
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
        G1Point memory first = blsSign(1 << i, domain, tasks.settlementDigest(id, round, 0, a));
        G1Point memory second = blsSign(1 << i, domain, tasks.settlementDigest(id, round, 0, b));
        // Only now and then, or nobody is left to verify.
        if (uint256(keccak256(abi.encode(id, round, i))) % 4 != 0) return;
        court.proveEquivocation(id, round, 0, verifiers[i], a, first, b, second);
        ++slashes;
    }

    function proceed(uint256 seed) external {
        for (uint256 d = court.demandCount(); d > 0; --d) {
            IDisputeCourt.Demand memory demand = court.demandOf(d);
            if (demand.closed) continue;
            if (demand.kind == IDisputeCourt.DemandKind.Score && seed % 3 != 0) return _answerScore(d, demand);
            rest(3_600);
            if (!court.demandOf(d).closed) court.closeDemand(d);
            return;
        }
        for (uint256 c = jury.caseCount(); c > 0; --c) {
            if (!isOver(c)) return _continueCase(c, seed);
        }
        if (digests.length != 0) {
            bytes32 digest = digests[seed % digests.length];
            court.slashSigner(digest, verifiers[seed / 64 % VERIFIERS], absentees[digest]);
            ++slashes;
        }
    }

    function _attested(uint64 id, uint32 round, address verifier) private view returns (ScoreLeaf[] memory) {
        return scoreLeaves(leavesFor(id, round, attestedKind[verifier][id][round]));
    }

    function _answerScore(uint256 d, IDisputeCourt.Demand memory demand) private {
        SettlementLeaf[] memory leaves = settled[demand.taskId][demand.round];
        for (uint256 i = 0; i < leaves.length; ++i) {
            if (leaves[i].trainer != demand.subject) continue;
            ScoreLeaf[] memory scores = _attested(demand.taskId, demand.round, demand.respondent);
            court.answerScore(d, pairOf(demand.respondent, scores, leaves, i));
        }
    }

    function _answerLeaf(uint256 d, IDisputeCourt.Demand memory demand) private {
        SettlementLeaf[] memory leaves = settled[demand.taskId][demand.round];
        for (uint256 i = 0; i < leaves.length; ++i) {
            if (leaves[i].trainer != demand.subject) continue;
            court.answerLeaf(d, uint32(i), leaves[i], proofOf(hashes(leaves), i));
        }
    }

    function isOver(uint256 c) internal view returns (bool) {
        return jury.caseOf(c).phase >= IJury.CasePhase.Closed;
    }

    function _continueCase(uint256 c, uint256 seed) private {
        IJury.CasePhase phase = jury.caseOf(c).phase;
        if (phase == IJury.CasePhase.Draw) {
            if (jury.drawSeats(c)) return;
            vm.roll(vm.getBlockNumber() + 2);
            jury.drawSeats(c);
            return;
        }
        if (phase == IJury.CasePhase.Appeal && seed % 3 == 0) {
            uint8 level = jury.caseOf(c).level;
            vm.prank(outsider);
            return jury.appeal(c, level, bytes32(seed));
        }
        for (uint256 i = HONEST_PEOPLE; i < VERIFIERS; ++i) {
            _vote(c, i, seed >> i & 1 == 0);
        }
        rest(7_200);
        if (jury.caseOf(c).phase == phase) jury.advanceCase(c);
    }

    /// @dev Verifier i's next step in an open case. A party to the settlement is refused.
    function _vote(uint256 c, uint256 i, bool overturn) private {
        IJury.Case memory case_ = jury.caseOf(c);
        IJury.Ballot ballot = jury.voteOf(c, case_.level, verifiers[i]).ballot;
        bytes32 salt = bytes32(uint256(overturn ? 1 : 2));
        bytes32 sealed_ = jury.voteHash(c, case_.level, verifiers[i], overturn, salt);
        if (case_.phase == IJury.CasePhase.Seal && ballot == IJury.Ballot.None) {
            if (jury.seatsOf(c, case_.level, verifiers[i]) == 0) return;
            address[] memory absent = absentees[case_.settlement];
            vm.prank(verifiers[i]);
            try jury.sealVote(c, sealed_, absent) {} catch {}
        } else if (case_.phase == IJury.CasePhase.Show && ballot == IJury.Ballot.Sealed) {
            vm.prank(verifiers[i]);
            try jury.showVote(c, overturn, salt) {} catch {}
        }
    }

    function settleSome(uint256 seed) external {
        uint256 count = jury.caseCount();
        if (count == 0) return;
        uint256 c = 1 + seed % count;
        jury.settleVote(
            c, uint8(seed / 64 % 4), verifiers[seed / 256 % VERIFIERS], absentees[jury.caseOf(c).settlement]
        );
    }
}
