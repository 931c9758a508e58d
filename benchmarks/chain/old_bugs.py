"""Bugs of earlier contracts, each as a change that puts it back, and the tests that have to notice.

Rows are those of the first audit's proofs of concept (A1 to D4) and of what was found since (E); docs/threat-model.md
says what each attack was.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["INVARIANTS", "OLD_BUGS", "OldBug"]


@dataclass(frozen=True)
class OldBug:
    """`before`, which stands once in `file` below contracts/, becomes `after`; `tests` is forge's --match-test."""

    row: str
    what: str
    file: str
    before: str
    after: str
    tests: str


OLD_BUGS = (
    OldBug(
        "A1", "a signature does not name the attempt, so signing again is an equivocation",
        "libraries/Commitments.sol", "round, attempt, value)", "round, uint8(0), value)", "test_A1b",
    ),
    OldBug(
        "A1c", "a fault shown after attesting makes honest settlements wrong",
        "SettlementProver.sol", "if (fault == Fault.None || shownIn >= known) return (0, false);",
        "if (fault == Fault.None) return (0, false);", "test_A1",
    ),
    OldBug(
        "A2", "an unanswered demand on a trainer voids the settlement",
        "DisputeCourt.sol", "bool hidden = demand.kind == DemandKind.Leaf && _stands(demand);",
        "bool hidden = demand.kind == DemandKind.Leaf ? _stands(demand) : demand.kind == DemandKind.Opening;",
        "test_A[12]_|test_A13",
    ),
    OldBug(
        "A3", "a demand that was answered keeps the claim closed",
        "RewardVault.sol", "if (holds == 0 && !closure.blocked) _mark(taskId, round, trainer, false);", "",
        "test_A3",
    ),
    OldBug(
        "A4", "verifiers who stay silent share the fee", "DisputeCourt.sol",
        "VERIFIERS.disqualify(demand.taskId, demand.round, demand.respondent);", "", "test_A4",
    ),
    OldBug(
        "A5", "an answer is not compared with what was settled", "VerifierPool.sol",
        "struck = _contradicts(taskId, round, pair);", "_contradicts(taskId, round, pair);", "test_A5",
    ),
    OldBug(
        "A6", "a leaf of an attestation may stand anywhere", "VerifierPool.sol",
        "pair.attested.trainer == pair.settled.trainer && uint8", "uint8", "test_A6",
    ),
    OldBug(
        "A6b", "a path may be longer than the tree is deep", "libraries/LeafTree.sol",
        "fits := eq(at_, end)", "fits := iszero(gt(at_, end))", "test_A6|test_settlements",
    ),
    OldBug(
        "A7", "a fault shown after the window does not block the pay", "TrainerPool.sol",
        "VAULT.block_(taskId, round, account);", "", "test_A7|test_A1",
    ),
    OldBug(
        "A7b", "stake leaves while a demand on it is open", "TrainerPool.sol",
        "require(open == 0, DemandsOpen(taskId, account, open));", "", "test_A7b",
    ),
    OldBug(
        "A7c", "a demand is accepted whose answer is due after the stake is free", "DisputeCourt.sol",
        "return block.timestamp + _params.answerSeconds <= ended", "return block.timestamp <= ended", "test_A7c",
    ),
    OldBug(
        "A8", "a hidden leaf slashes who never committed", "TrainerPool.sol",
        "require(hasRevealed(taskId, round, leaf.trainer), NotRevealed(taskId, round, leaf.trainer));", "",
        "test_A8",
    ),
    OldBug(
        "A8b", "a tree has more leaves than the round had trainers", "libraries/LeafTree.sol",
        "if (index >= count) return (leaf, false);", "", "test_A8b|test_settlements|test_batches",
    ),
    OldBug(
        "A8c", "a settlement stands although nobody shows a leaf", "DisputeCourt.sol",
        "if (hidden) TASKS.voidSettlement(demand.taskId, false, demand.challenger);", "hidden;", "test_A8c",
    ),
    OldBug(
        "A9", "a blocking third that stays away ends the round", "TaskManager.sol",
        "task.cursor.late ? MAJORITY_BPS : TERMS", "TERMS", "test_A9",
    ),
    OldBug(
        "A9b", "absence costs the same each time", "VerifierQuorum.sol",
        "uint256(terms.absenceBps) << misses", "uint256(terms.absenceBps)", "test_A9b",
    ),
    OldBug(
        "A9c", "a round without a settlement pays nobody", "TaskManager.sol",
        "outcome == Outcome.NoQuorum || outcome == Outcome.NoAttestations ? TRAINERS.progressOf(taskId).opened : 0",
        "outcome == Outcome.Settled ? TRAINERS.progressOf(taskId).opened : 0", "test_A9c|test_A17|test_advance",
    ),
    OldBug(
        "A10", "stake that has just come weighs in the quorum", "VerifierQuorum.sol",
        "require(block.timestamp >= verifier.activeAt, NotActiveYet(taskId, account, verifier.activeAt));", "",
        "test_A10",
    ),
    OldBug(
        "A11", "a sponsor gives a second to claim", "libraries/TaskRules.sol",
        '_within("claim", phases.claim, held + long', '_within("claim", phases.claim, 1', "test_A11",
    ),
    OldBug(
        "A12", "a worthless validation set makes accepted work free", "libraries/PayoutRule.sol",
        "return earning == 0 || paid >= least ? 0 : (least - paid) / earning;", "return earning * least * paid * 0;",
        "test_A12|test_payouts",
    ),
    OldBug(
        "A13", "a friend's demand is a shield against all others", "DisputeCourt.sol",
        "                demand.step,\n", "                uint256(0),\n", "test_A13",
    ),
    OldBug(
        "A14", "an appeal needs more than a bond", "Jury.sol", "require(!_isLast(caseId, case_), LastLevel(caseId));",
        "require(case_.level == LAST_LEVEL + 1, LastLevel(caseId));", "test_A14",
    ),
    OldBug(
        "A15", "a key enters without a proof that its owner knows its secret", "StakeRegistry.sol",
        "BN254.verifies(Commitments.POSSESSION_DOMAIN, possessionDigest(msg.sender), keyG1, keyG2, possession)",
        "possession.x != 0 || keyG2.x[0] != 0", "test_registerKey|test_A15",
    ),
    OldBug(
        "A15b", "a key and its negative are both taken", "StakeRegistry.sol",
        "bytes32 keyHash = keccak256(abi.encode(keyG1.x));", "bytes32 keyHash = keccak256(abi.encode(keyG1));",
        "test_A15",
    ),
    OldBug(
        "A16", "one direct commit reverts a relayed batch", "TrainerBatches.sol",
        "added = !_isSet(words, index);", "added = true;", "test_A16|atch",
    ),
    OldBug(
        "A17", "whoever is rejected in a settlement keeps its stake", "TrainerPool.sol",
        "leaf.verdict == uint8(Verdict.Rejected) || leaf.verdict == uint8(Verdict.Withheld)",
        "leaf.verdict == uint8(Verdict.Withheld)", "test_A17|test_slash",
    ),
    OldBug(
        "A18", "coming and going after the request moves seats", "JuryStore.sol",
        "uint96 weight = _weightOf(account, _cases[caseId].openedAt);",
        "uint96 weight = REGISTRY.verifierStakeAt(account, uint64(block.timestamp) - 1);", "test_A18",
    ),
    OldBug(
        "A19", "stake of today votes today", "JuryStore.sol",
        "uint96 earlier = REGISTRY.verifierStakeAt(account, openedAt - 1 - _params.activationSeconds);",
        "uint96 earlier = recent;", "test_A19",
    ),
    OldBug(
        "B1", "identities vote, not stake", "JuryStore.sol",
        "return uint96((uint256(weight) + lot) / drawn.unit);", "return weight + uint96(lot) == 0 ? 0 : 1;",
        "test_B1|test_seats",
    ),
    OldBug(
        "B1b", "more than half of those who spoke overturn", "Jury.sol",
        "2 * against > case_.electorate && against > case_.quorumWeight",
        "level.overturning > level.upholding && against != 0", "test_B1|test_smallCommittee",
    ),
    OldBug(
        "B1c", "a wrong vote costs nothing", "Jury.sol",
        "!shown ? _params.absenceBps : decided ? _params.wrongVoteBps : 0;", "!shown ? _params.absenceBps : 0;",
        "test_everybody_overturns",
    ),
    OldBug(
        "B1d", "a small committee slashes", "Jury.sol",
        "TASKS.voidSettlement(case_.taskId, _isLast(caseId, case_), _levels[caseId][0].appellant);",
        "TASKS.voidSettlement(case_.taskId, true, _levels[caseId][0].appellant);", "test_smallCommittee",
    ),
    OldBug(
        "C2", "nothing is provable after the round", "TaskStore.sol",
        "if (ended != 0) return block.timestamp < ended + TERMS.phaseSeconds(taskId).slash;",
        "if (ended != 0) return false;", "test_C2|test_A7",
    ),
    OldBug(
        "C3", "showing its own fault keeps nearly all of the slash", "libraries/TaskRules.sol",
        '_within("proverBps", p.stakes.proverBps, 0, MAX_PROVER_BPS)',
        '_within("proverBps", p.stakes.proverBps, 0, BPS)',
        "test_createTask",
    ),
    OldBug(
        "C5", "a moment of minus zero is a fault", "FaultProver.sol", "& MAGNITUDE != 0", "!= 0",
        "test_C5|test_warmStart",
    ),
    OldBug(
        "C6", "an equivocator keeps its fee", "VerifierPool.sol", "_exclude(taskId, round, verifier);", "", "test_C6",
    ),
    OldBug(
        "C10", "a reward token that refuses a verifier keeps its stake rewards, too", "VerifierFees.sol",
        "        require(slashReward != 0, NothingToClaim(taskId, round, verifier));",
        "        require(slashReward != 0, NothingToClaim(taskId, round, verifier));\n"
        "        VAULT.payFee(taskId, round, verifier, 1);", "test_C10",
    ),
    OldBug(
        "C11", "a task without stakes makes every attack free", "libraries/TaskRules.sol",
        '_within("trainerStake", p.stakes.trainerStake, 1,', '_within("trainerStake", p.stakes.trainerStake, 0,',
        "test_C11|test_createTask",
    ),
    OldBug(
        "D1", "a settlement may accept who was at fault before anybody attested", "SettlementProver.sol",
        'return ("accepted fault", shownIn + FINAL_BLOCKS < known);', "return (0, false);", "test_D1",
    ),
    OldBug(
        "D2", "a leaf accepts and pays who never revealed", "RewardVault.sol",
        "require(TRAINERS.hasRevealed(taskId, round, leaf.trainer), NotEntitled(taskId, round, leaf.trainer));", "",
        "test_D2b|test_A8",
    ),
    OldBug(
        "D2b", "accepting who never revealed is no fault", "SettlementProver.sol",
        'if (!revealed) return ("reveal", true);', "", "test_D2",
    ),
    OldBug(
        "D3", "signers judge their own settlement", "JuryStore.sol",
        "if (listHash != _nonSignersHash[caseId]) return true;", "if (listHash != 0) return false;", "test_D3",
    ),
    OldBug(
        "D4", "delaying a round with a case costs nothing", "Jury.sol",
        "uint96 lost = moot || level.overturns == case_.overturned ? 0 : silent ? bond / SILENT_DIVISOR : bond;",
        "uint96 lost = moot || level.overturns == case_.overturned || silent ? 0 : bond - bond;", "test_D4",
    ),
    OldBug(
        "E1", "who is right about a settlement that falls otherwise loses its bond to those who are wrong", "Jury.sol",
        "bool moot = !_stands(case_);", "bool moot = false;", "test_E1",
    ),
    OldBug(
        "E2", "a signer without a seat is charged for its vote when nothing shows any more that it signed", "Jury.sol",
        "if (block.timestamp >= case_.deadline + TERMS.phaseSeconds(case_.taskId).slash) return 0;", "", "test_E2",
    ),
    OldBug(
        "E3", "who missed a vote pays with stake that a task holds", "StakeRegistry.sol",
        "uint96 loose = stake.total - stake.locked;", "uint96 loose = stake.total;", "test_E3_|test_E27_",
    ),
    OldBug(
        "E6", "who unbonds when a vote goes wrong pays nothing for it", "StakeRegistry.sol",
        "uint96 loose = stake.total - stake.locked;", "uint96 loose = _free(stake);", "test_E6_",
    ),
    OldBug(
        "E7", "who cannot answer about a settlement that fell is struck from the fee of the next", "DisputeCourt.sol",
        "demand.kind == DemandKind.Score && _stands(demand)) {", "demand.kind == DemandKind.Score) {", "test_E7",
    ),
    OldBug(
        "E17", "a stake split over identities makes a quorum that no transaction can name", "VerifierQuorum.sol",
        "require(!_isFull(taskId), QuorumIsFull(taskId));", "", "test_E18",
    ),
    OldBug(
        "E18", "small stakes that came first keep the quorum", "VerifierQuorum.sol",
        "require(_isFull(taskId) && _isMember(member) && small, NotWeaker(taskId, weaker));",
        "require(_isMember(member), NotWeaker(taskId, weaker));", "test_E18",
    ),
    OldBug(
        "E19", "so many identities commit that nobody can write a settlement", "libraries/TaskRules.sol",
        "p.quorum.minTrainers, MAX_TRAINERS);", "p.quorum.minTrainers, type(uint32).max);", "test_E19",
    ),
    OldBug(
        "E21", "liars hide behind the stake of those in their quorum who did not sign", "Jury.sol",
        "TASKS.signedWeightOf(taskId, round)", "VERIFIERS.quorumOf(taskId, round).weight", "test_E21",
    ),
    OldBug(
        "E22", "anybody sends a verifier away while its stake waits", "VerifierQuorum.sol",
        "require(!waits || msg.sender == account, NotActiveYet(taskId, account, verifier.activeAt));", "", "test_E22",
    ),
    OldBug(
        "E23", "dust keeps its seats while larger stakes take those of honest members", "VerifierQuorum.sol",
        "uint256(member.weight) * set.members <= set.weight && member.weight", "member.weight", "test_E23",
    ),
    OldBug(
        "E24", "who could not reveal is slashed because a quorum calls it rejected", "TrainerPool.sol",
        "require(hasRevealed(taskId, round, leaf.trainer), NotRevealed(taskId, round, leaf.trainer));",
        "require(hasCommitted(taskId, round, leaf.trainer), NotCommitted(taskId, round, leaf.trainer));", "test_E24",
    ),
    OldBug(
        "E20", "a task of so many rounds that no transaction can make it", "libraries/TaskRules.sol",
        "MAX_ROUNDS = 512;", "MAX_ROUNDS = 1024;", "test_E20",
    ),
    OldBug(
        "E25", "a leaf is demanded so late that nobody can dispute what is shown", "DisputeCourt.sol",
        "require(2 * left >= TERMS.phaseSeconds(taskId).window, DemandTooLate(taskId, round));", "", "test_E25",
    ),
    OldBug(
        "E25b", "a leaf that was demanded in time is shown when nobody can dispute it", "DisputeCourt.sol",
        "demand.deadline = uint64(block.timestamp) + left / 2;", "", "test_E25",
    ),
    OldBug(
        "E26", "who signs that a trainer known to be at fault is accepted loses nothing", "SettlementProver.sol",
        "shownIn + FINAL_BLOCKS < known", "false", "test_E26",
    ),
    OldBug(
        "E28", "a demand holds a claim until the pay has gone back", "libraries/TaskRules.sol",
        "phases.slash < answerSeconds ? answerSeconds : phases.slash;", "phases.slash;", "test_E28",
    ),
    OldBug(
        "E29", "absences that were not in a row cost as if they were, when they are charged late", "VerifierPool.sol",
        "_countMiss(taskId, verifier, !judged || round != _progress[taskId].round);",
        "_countMiss(taskId, verifier, !judged);", "test_E29",
    ),
    OldBug(
        "E30", "one claim refuses a whole list of claims", "RewardVault.sol",
        "if (_isMarked(one.taskId, one.round, one.leaf.trainer)) continue;", "", "test_E30_",
    ),
    OldBug(
        "E30b", "one claim of fees refuses a whole list of rounds", "VerifierFees.sol",
        "if (fee == 0 && slashReward == 0) continue;",
        "require(fee != 0 || slashReward != 0, NothingToClaim(taskId, round, verifier));", "test_E30b",
    ),
    OldBug(
        "E31", "who votes for the truth pays when most jurors sleep", "Jury.sol",
        "_isLast(caseId, case_) && _hasMajority(case_, _levels[caseId][case_.level]);", "_isLast(caseId, case_);",
        "test_E31_",
    ),
    OldBug(
        "E31b", "bonds of those who say what is true pay the few who lie while others sleep", "Jury.sol",
        "bool outvoted = !case_.overturned && last.upholding <= last.overturning;",
        "bool outvoted = last.upholding + last.overturning == 0;", "test_E31_",
    ),
    OldBug(
        "E31c", "they pay them if more lie than say what is true", "Jury.sol",
        "_hasMajority(case_, last) ? address(this) : address(0);", "outvoted ? address(0) : address(this);",
        "test_E31d",
    ),
    OldBug(
        "E32", "a case that is meant for one settlement is about the next", "Jury.sol",
        "require(posted == settlement, OtherSettlement(posted));", "", "test_E32_",
    ),
    OldBug(
        "E32b", "a demand that is meant for one settlement is about the next", "DisputeCourt.sol",
        "require(posted == settlement, OtherSettlement(posted));", "", "test_E32_",
    ),
    OldBug(
        "E32c", "an appeal for one side asks for the other a level later", "Jury.sol",
        "require(case_.level == level, OtherLevel(case_.level));", "", "test_E32b",
    ),
    OldBug(
        "E33", "a case that nobody can judge costs all jurors", "Jury.sol",
        "if (2 * _spokenAt(_levels[caseId][number]) <= case_.electorate) return 0;", "", "test_E33_",
    ),
    OldBug(
        "E33b", "it does if its friends vote in it", "Jury.sol",
        "if (2 * _spokenAt(_levels[caseId][number]) <= case_.electorate) return 0;",
        "if (TURNOUT_DIVISOR * _spokenAt(_levels[caseId][number]) < case_.electorate) return 0;", "test_E33b",
    ),
    OldBug(
        "E34", "one missed round costs everything", "libraries/TaskRules.sol",
        "MAX_ABSENCE_BPS = 1_000;", "MAX_ABSENCE_BPS = 10_000;", "test_E34",
    ),
    OldBug(
        "E35", "anybody seats a verifier that is not ready, and charges it in every round", "VerifierQuorum.sol",
        "require(msg.sender == account, NotTheVerifier(account));", "", "test_E35",
    ),
    OldBug(
        "E36", "who has a seat first opens the round and is its quorum", "TaskManager.sol",
        "        require(msg.sender == TERMS.sponsorOf(taskId), NotSponsor(taskId, msg.sender));\n"
        "        Task storage task = _tasks[taskId];\n",
        "        Task storage task = _tasks[taskId];\n", "test_E36_|test_E36b|test_openRound",
    ),
    OldBug(
        "E36c", "one missed round makes a minority the next quorum", "VerifierPool.sol",
        "bool judged = _isJudged(taskId, round);", "bool judged = true;", "test_E36c",
    ),
    OldBug(
        "E36d", "it does if the others are charged when the next round runs", "VerifierQuorum.sol",
        "if (round > 1 && !_isJudged(taskId, round - 1)) _unjudged[taskId][round - 1] = true;", "", "test_E36d",
    ),
    OldBug(
        "E36e", "half of the weight sends away the other half", "VerifierQuorum.sol",
        "2 * uint256(progress.attested) > _checkpoints", "2 * uint256(progress.attested) >= _checkpoints", "test_E36e",
    ),
    OldBug(
        "E36f", "an outage that most share costs twice as much each round", "VerifierPool.sol",
        "_countMiss(taskId, verifier, !judged || round != _progress[taskId].round);",
        "_countMiss(taskId, verifier, round != _progress[taskId].round);", "test_E36f",
    ),
    OldBug(
        "E37", "cases of the liars' own bind what an honest majority votes with", "Jury.sol",
        "emit VoteSealed(caseId, number, msg.sender, votes);",
        "REGISTRY.lock(msg.sender, Role.Verifier, _part(votes, _levels[caseId][number].unit, _params.wrongVoteBps));",
        "test_E37",
    ),
    OldBug(
        "E39", "they do at the last level, where those who bring them are right and pay nothing", "Jury.sol",
        "emit VoteSealed(caseId, number, msg.sender, votes);",
        "if (number == LAST_LEVEL) REGISTRY.lock(msg.sender, Role.Verifier, _part(votes, 1, _params.wrongVoteBps));",
        "test_E39",
    ),
    OldBug(
        "E38", "more names come in than verifiers can judge in time", "TrainerPool.sol",
        "        require(_members[taskId] < most, TaskIsFull(taskId, most));\n", "", "test_E38",
    ),
    OldBug(
        "E38b", "names that never work keep everybody else out", "TrainerPool.sol",
        "require(idle && _members[taskId] == most, NotVacant(taskId, account));", "revert NotVacant(taskId, account);",
        "test_E38b",
    ),
    OldBug(
        "E38c", "who works is put out", "TrainerPool.sol",
        "            && !hasCommitted(taskId, round, account);\n", ";\n", "test_E38",
    ),
    OldBug(
        "E38d", "who stops and comes back in every round keeps an idle seat", "TrainerPool.sol",
        "if (trainer.activeFrom == 0 || trainer.activeUntil < round) trainer", "trainer", "test_E38d",
    ),
    OldBug(
        "E38e", "one round in which nobody can work puts everybody out", "TrainerPool.sol",
        "        if (idle && trainer.activeFrom < round) idle = !hasCommitted(taskId, round - 1, account);\n", "",
        "test_E38e",
    ),
    OldBug(
        "rows", "a shard of 2^32-1 rows ends every verifier", "TrainerPool.sol", "&& dataRows <= MAX_ROWS, ", ", ",
        "test_dataRows",
    ),
    OldBug(
        "validation", "the validation set is shown while trainers still choose what to reveal", "TaskManager.sol",
        "_requireOpenPhase(taskId, task, Phase.Opening);", "_requireOpenPhase(taskId, task, Phase.Reveal);",
        "test_validationSet",
    ),
    OldBug(
        "drand", "whoever keeps a signature back chooses between it and the block", "DrandBeacon.sol",
        "            delete _rounds[id];\n", "", "test_fulfil",
    ),
    OldBug(
        "drand key", "under the key at infinity everything is signed", "DrandBeacon.sol",
        "require(key.x[0] | key.x[1] | key.y[0] | key.y[1] != 0 && BN254.isInG2(key), InvalidPublicKey());",
        "require(BN254.isInG2(key), InvalidPublicKey());", "test_deploy_keyAtInfinity",
    ),
)  # fmt: skip
"""Each is noticed by tests that name the attack."""

INVARIANTS = (
    OldBug(
        "slash once", "a trainer is slashed as often as somebody proves it", "TrainerPool.sol",
        "record.slashed = true;", "", "handler|invariant",
    ),
    OldBug(
        "claim once", "a leaf is paid again and again", "RewardVault.sol", "words[round >> 8] = word | bit;", "",
        "handler|invariant",
    ),
    OldBug(
        "stake twice", "a slash is taken from the registry but not from the enrolment", "VerifierQuorum.sol",
        "verifier.stake -= amount;", "", "handler|invariant",
    ),
    OldBug(
        "reserve", "what a round did not pay is not given back", "RewardVault.sol",
        "account.balance += account.reserved - payouts - fees;", "", "handler|invariant",
    ),
    OldBug(
        "quorum sums", "who leaves stays in the sum of keys", "VerifierQuorum.sol",
        "set.key = set.key.add(REGISTRY.keyG1Of(account).negate());", "", "handler|invariant",
    ),
    OldBug(
        "dispute count", "a closed dispute is counted on", "DisputeCourt.sol",
        "if (demand.kind != DemandKind.Opening) return TASKS.countDispute(demand.taskId, false);",
        "if (demand.kind != DemandKind.Opening) return;", "handler|invariant",
    ),
    OldBug(
        "A9, in play", "a blocking third ends honest rounds unpaid", "TaskManager.sol",
        "task.cursor.late ? MAJORITY_BPS : TERMS", "TERMS", "handler|invariant",
    ),
)  # fmt: skip
"""Each is noticed by the stateful fuzz test, which knows no attack by name, in 16,000 calls. Of those above it does not
notice A7 (pay that is not blocked) and B1b (a minority that overturns) in so few calls."""
