// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModuleSet} from "./ModuleSet.sol";
import {IStakeRegistry} from "./interfaces/IStakeRegistry.sol";
import {IVerifierPool} from "./interfaces/IVerifierPool.sol";
import {G1Point, QuorumProof, Role, StakeTerms} from "./interfaces/Types.sol";
import {BN254} from "./libraries/BN254.sol";
import {Commitments} from "./libraries/Commitments.sol";

/// @title Who belongs to a task's quorum, and whether it signed
/// @dev Each task keeps the sum of its members' keys. A round refers to a version of that sum, and a version that a round
/// refers to is never changed. INVARIANT: the set that signs is the set that was enrolled when the round opened.
abstract contract VerifierQuorum is IVerifierPool, ModuleSet {
    using BN254 for G1Point;

    uint256 internal constant BPS = 10_000;
    /// @dev Attack: split a stake over so many identities that a settlement cannot name the silent ones in one transaction
    /// (EIP-7825), and no round is settled. A full quorum is the stronger stake's: see `replace`.
    uint32 private constant MAX_MEMBERS = 1_024;

    /// @dev `weight` is the stake when it became active, fixed; `stake` what is left of it. `priorFrom` to `priorUntil`:
    /// rounds before the verifier stopped and came back, for which it can still be punished.
    struct Verifier {
        uint32 index;
        uint32 activeFrom;
        uint32 activeUntil;
        uint32 priorFrom;
        uint32 priorUntil;
        uint64 activeAt;
        uint8 misses;
        uint96 weight;
        uint96 stake;
    }

    struct Set {
        uint32 version;
        bool used;
    }

    mapping(uint64 taskId => mapping(address verifier => Verifier)) private _verifiers;
    mapping(uint64 taskId => address[]) private _lists;
    mapping(uint64 taskId => Set) private _sets;
    mapping(uint64 taskId => mapping(uint32 version => Checkpoint)) private _checkpoints;
    mapping(uint64 taskId => Progress) internal _progress;
    /// @dev Rounds before the running one in which half of the weight or less attested.
    mapping(uint64 taskId => mapping(uint32 round => bool)) private _unjudged;

    // Enrolment.

    /// @inheritdoc IVerifierPool
    function enrol(uint64 taskId, uint96 stake) external {
        Verifier storage verifier = _verifiers[taskId][msg.sender];
        require(verifier.activeAt == 0, AlreadyEnrolled(taskId, msg.sender));
        require(!REGISTRY.keyG1Of(msg.sender).isZero(), IStakeRegistry.NoKey(msg.sender));
        if (verifier.index == 0) {
            _lists[taskId].push(msg.sender);
            verifier.index = uint32(_lists[taskId].length);
        }
        _wait(taskId, verifier, stake);
        REGISTRY.lock(msg.sender, Role.Verifier, stake);
    }

    /// @inheritdoc IVerifierPool
    function activate(uint64 taskId, address account) external {
        _join(taskId, account, _due(taskId, account));
    }

    /// @inheritdoc IVerifierPool
    function replace(uint64 taskId, address account, address weaker) external {
        Verifier storage verifier = _due(taskId, account);
        Verifier storage member = _verifiers[taskId][weaker];
        // Attack: keep others out with many small stakes. Only in a full quorum, and only less weight makes room. Attack: fill
        // it with small stakes and send honest members away one by one instead of those. The weakest has at most the mean.
        Checkpoint storage set = _checkpoints[taskId][_sets[taskId].version];
        bool small = uint256(member.weight) * set.members <= set.weight && member.weight < verifier.stake;
        require(_isFull(taskId) && _isMember(member) && small, NotWeaker(taskId, weaker));
        _stop(taskId, weaker, member);
        _join(taskId, account, verifier);
    }

    /// @inheritdoc IVerifierPool
    function rejoin(uint64 taskId, uint96 added) external {
        Verifier storage verifier = _enrolled(taskId, msg.sender);
        uint32 last = verifier.activeUntil;
        bool stopped = verifier.activeFrom != 0 && last != type(uint32).max;
        // INVARIANT: the weight that a round's quorum counts with does not change while it runs; and rounds for which the
        // verifier can still be punished stay on record.
        require(stopped && _isOver(taskId, last), NotStopped(taskId, msg.sender));
        uint64 free = _freeAt(taskId, verifier.priorUntil);
        require(block.timestamp >= free, StillBound(taskId, msg.sender, free));
        (verifier.priorFrom, verifier.priorUntil) = (verifier.activeFrom, last);
        verifier.activeFrom = 0;
        _wait(taskId, verifier, verifier.stake + added);
        if (added != 0) REGISTRY.lock(msg.sender, Role.Verifier, added);
    }

    /// @inheritdoc IVerifierPool
    function resign(uint64 taskId) external {
        Verifier storage verifier = _enrolled(taskId, msg.sender);
        require(_isMember(verifier), NotInQuorum(taskId, verifier.activeUntil, msg.sender));
        _stop(taskId, msg.sender, verifier);
    }

    /// @inheritdoc IVerifierPool
    function release(uint64 taskId, address account) external {
        Verifier storage verifier = _enrolled(taskId, account);
        bool waits = verifier.activeFrom == 0;
        // Attack: release whoever waits for its seat, again and again, so that nobody but oneself ever takes one.
        require(!waits || msg.sender == account, NotActiveYet(taskId, account, verifier.activeAt));
        uint32 last = waits ? verifier.priorUntil : verifier.activeUntil;
        // INVARIANT: stake stays until every round it voted in is over and an equivocation could be shown.
        uint64 free = _freeAt(taskId, last);
        require(block.timestamp >= free, StillBound(taskId, account, free));
        uint96 stake = verifier.stake;
        verifier.stake = 0;
        verifier.activeFrom = 0;
        verifier.activeAt = 0;
        (verifier.priorFrom, verifier.priorUntil) = (0, 0);
        emit VerifierReleased(taskId, account, stake);
        REGISTRY.unlock(account, Role.Verifier, stake);
    }

    /// @inheritdoc IVerifierPool
    function openRound(uint64 taskId, uint32 round) external returns (uint32 verifiers, uint32 version) {
        require(msg.sender == address(TASKS), NotModule(msg.sender));
        if (round > 1 && !_isJudged(taskId, round - 1)) _unjudged[taskId][round - 1] = true;
        Set storage set = _sets[taskId];
        set.used = true;
        version = set.version;
        verifiers = _checkpoints[taskId][version].members;
        _progress[taskId] = Progress(round, verifiers, 0, 0, version, 0);
    }

    // Quorum.

    /// @inheritdoc IVerifierPool
    function checkQuorum(uint64 taskId, uint32 round, uint16 quorumBps, bytes32 message, QuorumProof calldata proof)
        external
        view
        returns (uint96 signedWeight)
    {
        Checkpoint storage set = _checkpoints[taskId][_progress[taskId].version];
        G1Point memory key = set.key;
        uint96 total = set.weight;
        signedWeight = total;
        address previous;
        // Bounded by the caller's own list: its length is what the poster pays for, and all signing costs nothing here.
        for (uint256 i = 0; i < proof.nonSigners.length; ++i) {
            address absent = proof.nonSigners[i];
            // Attack: subtract one verifier twice. The ascending order makes each appear once.
            require(absent > previous, NonSignersNotSorted(previous, absent));
            previous = absent;
            signedWeight -= _requireInQuorum(taskId, round, absent);
            key = key.add(REGISTRY.keyG1Of(absent).negate());
        }
        require(
            uint256(signedWeight) * BPS >= uint256(total) * quorumBps && signedWeight != 0,
            QuorumNotReached(signedWeight, total, quorumBps)
        );
        // Attack: members whose keys add up to nothing "sign" with the empty signature.
        require(!key.isZero(), EmptyKey());
        require(
            REGISTRY.isSignedWith(Commitments.SETTLEMENT_DOMAIN, message, key, proof.signersKey, proof.signature),
            InvalidQuorumSignature(message)
        );
    }

    // Views.

    /// @inheritdoc IVerifierPool
    function enrolmentOf(uint64 taskId, address verifier) external view returns (Enrolment memory) {
        return _view(taskId, verifier);
    }

    /// @inheritdoc IVerifierPool
    function progressOf(uint64 taskId) external view returns (Progress memory) {
        return _progress[taskId];
    }

    /// @inheritdoc IVerifierPool
    function verifierCount(uint64 taskId) external view returns (uint256) {
        return _lists[taskId].length;
    }

    /// @inheritdoc IVerifierPool
    function verifiersOf(uint64 taskId, uint256 offset, uint256 limit)
        external
        view
        returns (address[] memory verifiers, Enrolment[] memory enrolments)
    {
        address[] storage list = _lists[taskId];
        uint256 end = offset + limit < list.length ? offset + limit : list.length;
        uint256 count = end > offset ? end - offset : 0;
        verifiers = new address[](count);
        enrolments = new Enrolment[](count);
        for (uint256 i = 0; i < count; ++i) {
            verifiers[i] = list[offset + i];
            enrolments[i] = _view(taskId, verifiers[i]);
        }
    }

    /// @inheritdoc IVerifierPool
    function inQuorum(uint64 taskId, uint32 round, address account) public view returns (bool) {
        Verifier storage verifier = _verifiers[taskId][account];
        bool now_ = verifier.activeFrom != 0 && verifier.activeFrom <= round && round <= verifier.activeUntil;
        return now_ || (verifier.priorFrom != 0 && verifier.priorFrom <= round && round <= verifier.priorUntil);
    }

    /// @inheritdoc IVerifierPool
    function versionOf(uint64 taskId) external view returns (uint32) {
        return _sets[taskId].version;
    }

    /// @inheritdoc IVerifierPool
    function checkpointOf(uint64 taskId, uint32 version) external view returns (Checkpoint memory) {
        return _checkpoints[taskId][version];
    }

    /// @inheritdoc IVerifierPool
    function quorumOf(uint64 taskId, uint32 round) external view returns (Checkpoint memory) {
        return _checkpoints[taskId][TASKS.roundOf(taskId, round).verifierSetVersion];
    }

    function _requireInQuorum(uint64 taskId, uint32 round, address account) internal view returns (uint96 weight) {
        require(inQuorum(taskId, round, account), NotInQuorum(taskId, round, account));
        return _verifiers[taskId][account].weight;
    }

    /// @dev Whether more than half of a round's weight attested, of one that is past attesting.
    function _isJudged(uint64 taskId, uint32 round) internal view returns (bool) {
        Progress memory progress = _progress[taskId];
        if (round != progress.round) return !_unjudged[taskId][round];
        return 2 * uint256(progress.attested) > _checkpoints[taskId][progress.version].weight;
    }

    /// @param leaves whether it is out of the quorum of later rounds
    function _takeStake(uint64 taskId, address account, uint256 bps, bool leaves) internal returns (uint96 amount) {
        Verifier storage verifier = _verifiers[taskId][account];
        require(verifier.stake != 0, NothingAtStake(taskId, account));
        amount = uint96(uint256(verifier.stake) * bps / BPS);
        verifier.stake -= amount;
        if (leaves && _isMember(verifier)) _stop(taskId, account, verifier);
    }

    /// @dev One more round missed; what it costs doubles with each in a row, up to `slashBps`.
    /// @param alone this miss stands alone: the next round has begun, and whether the verifier was there in between is not
    /// known any more; or most others missed it as well
    function _countMiss(uint64 taskId, address account, bool alone) internal returns (uint8 misses, uint256 bps) {
        Verifier storage verifier = _verifiers[taskId][account];
        misses = alone ? 0 : verifier.misses;
        StakeTerms memory terms = TERMS.stakeTerms(taskId);
        bps = misses >= 14 ? terms.slashBps : uint256(terms.absenceBps) << misses;
        if (bps > terms.slashBps) bps = terms.slashBps;
        if (misses < type(uint8).max) ++misses;
        if (!alone) verifier.misses = misses;
    }

    function _clearMisses(uint64 taskId, address account) internal {
        Verifier storage verifier = _verifiers[taskId][account];
        if (verifier.misses != 0) verifier.misses = 0;
    }

    /// @dev Locked, but without weight before `activeAt`.
    function _wait(uint64 taskId, Verifier storage verifier, uint96 stake) private {
        uint96 minimum = TERMS.stakeTerms(taskId).verifierStake;
        require(stake >= minimum, StakeTooLow(stake, minimum));
        uint32 activation = TERMS.phaseSeconds(taskId).activation;
        uint64 activeAt = uint64(block.timestamp) + activation;
        verifier.activeAt = activeAt;
        verifier.stake = stake;
        emit VerifierEnrolled(taskId, msg.sender, verifier.index, stake, activeAt);
        if (activation == 0 && !_isFull(taskId)) _join(taskId, msg.sender, verifier);
    }

    /// @dev Somebody who waits, and has waited long enough.
    function _due(uint64 taskId, address account) private view returns (Verifier storage verifier) {
        // Attack: seat a verifier that cannot judge yet, because nobody has let it into a private task, and charge it for that.
        require(msg.sender == account, NotTheVerifier(account));
        verifier = _enrolled(taskId, account);
        require(verifier.activeFrom == 0, AlreadyEnrolled(taskId, account));
        // Attack: lock stake in the transaction that opens a round, settle it alone, and leave.
        require(block.timestamp >= verifier.activeAt, NotActiveYet(taskId, account, verifier.activeAt));
    }

    /// @dev Whether the next quorum counts it.
    function _isMember(Verifier storage verifier) private view returns (bool) {
        return verifier.activeFrom != 0 && verifier.activeUntil == type(uint32).max;
    }

    function _isFull(uint64 taskId) private view returns (bool) {
        return _checkpoints[taskId][_sets[taskId].version].members == MAX_MEMBERS;
    }

    function _join(uint64 taskId, address account, Verifier storage verifier) private {
        // A slash while it waited may have taken too much.
        uint96 weight = verifier.stake;
        uint96 minimum = TERMS.stakeTerms(taskId).verifierStake;
        require(weight >= minimum, StakeTooLow(weight, minimum));
        require(!_isFull(taskId), QuorumIsFull(taskId));
        (uint32 round,,) = TASKS.currentPhase(taskId);
        verifier.activeFrom = round + 1;
        verifier.activeUntil = type(uint32).max;
        verifier.weight = weight;
        emit VerifierActivated(taskId, account, round + 1, weight);
        (Checkpoint storage set, uint32 version) = _changeable(taskId);
        set.key = set.key.add(REGISTRY.keyG1Of(account));
        set.weight += weight;
        ++set.members;
        emit VerifierSetChanged(taskId, version, set.key, set.weight, set.members);
    }

    function _isOver(uint64 taskId, uint32 round) private view returns (bool) {
        return round == 0 || TASKS.endedAt(taskId, round) != 0;
    }

    /// @dev When nothing can be punished any more for rounds up to `last`.
    function _freeAt(uint64 taskId, uint32 last) private view returns (uint64) {
        if (last == 0) return 0;
        uint64 ended = last == type(uint32).max ? 0 : TASKS.endedAt(taskId, last);
        return ended == 0 ? type(uint64).max : ended + TERMS.phaseSeconds(taskId).slash;
    }

    function _stop(uint64 taskId, address account, Verifier storage verifier) private {
        (uint32 round,,) = TASKS.currentPhase(taskId);
        verifier.activeUntil = round;
        (Checkpoint storage set, uint32 version) = _changeable(taskId);
        set.key = set.key.add(REGISTRY.keyG1Of(account).negate());
        set.weight -= verifier.weight;
        --set.members;
        emit VerifierStopped(taskId, account, round);
        emit VerifierSetChanged(taskId, version, set.key, set.weight, set.members);
    }

    function _enrolled(uint64 taskId, address account) private view returns (Verifier storage verifier) {
        verifier = _verifiers[taskId][account];
        require(verifier.activeAt != 0, NotEnrolled(taskId, account));
    }

    /// @dev The version that the next round will refer to: a copy if a round refers to the newest one already.
    function _changeable(uint64 taskId) private returns (Checkpoint storage set, uint32 version) {
        Set storage sets = _sets[taskId];
        version = sets.version;
        if (sets.used) {
            _checkpoints[taskId][version + 1] = _checkpoints[taskId][version];
            sets.version = ++version;
            sets.used = false;
        }
        set = _checkpoints[taskId][version];
    }

    function _view(uint64 taskId, address account) private view returns (Enrolment memory) {
        Verifier storage verifier = _verifiers[taskId][account];
        return Enrolment(
            verifier.index,
            verifier.activeFrom,
            verifier.activeUntil,
            verifier.stake,
            verifier.weight,
            verifier.priorFrom,
            verifier.priorUntil,
            verifier.activeAt,
            verifier.misses
        );
    }
}
