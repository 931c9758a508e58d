// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModuleSet} from "./ModuleSet.sol";
import {IStakeRegistry} from "./interfaces/IStakeRegistry.sol";
import {IVerifierPool} from "./interfaces/IVerifierPool.sol";
import {G1Point, QuorumProof, Role} from "./interfaces/Types.sol";
import {BN254} from "./libraries/BN254.sol";
import {Commitments} from "./libraries/Commitments.sol";

/// @title Who belongs to a task's quorum, and whether it signed
/// @dev Each task keeps the sum of its members' keys. A round refers to a version of that sum, and a version that a round
/// refers to is never changed. INVARIANT: the set that signs is the set that was enrolled when the round opened.
abstract contract VerifierQuorum is IVerifierPool, ModuleSet {
    using BN254 for G1Point;

    uint256 internal constant BPS = 10_000;

    /// @dev `weight` is the stake at enrolment, fixed; `stake` what is left of it.
    struct Verifier {
        uint32 index;
        uint32 activeFrom;
        uint32 activeUntil;
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

    // Enrolment.

    /// @inheritdoc IVerifierPool
    function enrol(uint64 taskId, uint96 stake) external {
        Verifier storage verifier = _verifiers[taskId][msg.sender];
        require(verifier.activeFrom == 0, AlreadyEnrolled(taskId, msg.sender));
        uint96 minimum = TASKS.stakeTerms(taskId).verifierStake;
        require(stake >= minimum, StakeTooLow(stake, minimum));
        G1Point memory key = REGISTRY.keyG1Of(msg.sender);
        require(!key.isZero(), IStakeRegistry.NoKey(msg.sender));
        (uint32 round,,) = TASKS.currentPhase(taskId);
        if (verifier.index == 0) {
            _lists[taskId].push(msg.sender);
            verifier.index = uint32(_lists[taskId].length);
        }
        verifier.activeFrom = round + 1;
        verifier.activeUntil = type(uint32).max;
        verifier.weight = stake;
        verifier.stake = stake;
        emit VerifierEnrolled(taskId, msg.sender, verifier.index, round + 1, stake);
        (Checkpoint storage set, uint32 version) = _changeable(taskId);
        set.key = set.key.add(key);
        set.weight += stake;
        ++set.members;
        emit VerifierSetChanged(taskId, version, set.key, set.weight, set.members);
        REGISTRY.lock(msg.sender, Role.Verifier, stake);
    }

    /// @inheritdoc IVerifierPool
    function resign(uint64 taskId) external {
        Verifier storage verifier = _enrolled(taskId, msg.sender);
        require(verifier.activeUntil == type(uint32).max, NotInQuorum(taskId, verifier.activeUntil, msg.sender));
        _stop(taskId, msg.sender, verifier);
    }

    /// @inheritdoc IVerifierPool
    function release(uint64 taskId, address account) external {
        Verifier storage verifier = _enrolled(taskId, account);
        uint32 last = verifier.activeUntil;
        // INVARIANT: stake stays until every round it voted in is over and an equivocation could be shown.
        uint64 free = type(uint64).max;
        if (last == 0) {
            free = 0;
        } else if (last != type(uint32).max) {
            uint64 ended = TASKS.endedAt(taskId, last);
            if (ended != 0) free = ended + TASKS.phaseSeconds(taskId).slash;
        }
        require(block.timestamp >= free, StillBound(taskId, account, free));
        uint96 stake = verifier.stake;
        verifier.stake = 0;
        verifier.activeFrom = 0;
        emit VerifierReleased(taskId, account, stake);
        REGISTRY.unlock(account, Role.Verifier, stake);
    }

    /// @inheritdoc IVerifierPool
    function openRound(uint64 taskId, uint32 round) external returns (uint32 verifiers, uint32 version) {
        require(msg.sender == address(TASKS), NotModule(msg.sender));
        Set storage set = _sets[taskId];
        set.used = true;
        version = set.version;
        verifiers = _checkpoints[taskId][version].members;
        _progress[taskId] = Progress(round, verifiers, 0, 0, version);
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
        require(
            BN254.verifies(Commitments.SETTLEMENT_DOMAIN, message, key, proof.signersKey, proof.signature),
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
        return verifier.activeFrom != 0 && verifier.activeFrom <= round && round <= verifier.activeUntil;
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

    /// @inheritdoc IVerifierPool
    function hashToPoint(bytes32 message) external view returns (G1Point memory) {
        return BN254.hashToPoint(Commitments.SETTLEMENT_DOMAIN, message);
    }

    function _requireInQuorum(uint64 taskId, uint32 round, address account) internal view returns (uint96 weight) {
        require(inQuorum(taskId, round, account), NotInQuorum(taskId, round, account));
        return _verifiers[taskId][account].weight;
    }

    /// @dev A slashed verifier leaves the quorum of later rounds.
    function _takeStake(uint64 taskId, address account, uint16 bps) internal returns (uint96 amount) {
        Verifier storage verifier = _verifiers[taskId][account];
        require(verifier.stake != 0, NothingAtStake(taskId, account));
        amount = uint96(uint256(verifier.stake) * bps / BPS);
        verifier.stake -= amount;
        if (verifier.activeUntil == type(uint32).max) _stop(taskId, account, verifier);
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
        require(verifier.activeFrom != 0, NotEnrolled(taskId, account));
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
        return Enrolment(verifier.index, verifier.activeFrom, verifier.activeUntil, verifier.stake);
    }
}
