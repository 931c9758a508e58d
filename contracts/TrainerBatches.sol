// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TrainerStore} from "./TrainerStore.sol";
import {ITrainerPool} from "./interfaces/ITrainerPool.sol";
import {CommitmentRef, Phase, RevealData} from "./interfaces/Types.sol";
import {LeafTree} from "./libraries/LeafTree.sol";

/// @title Commitments and reveals that a relayer brings for many trainers
/// @notice Per batch one root, per 256 trainers one bitmap word: no storage of its own for any trainer.
/// @dev A relayer can delay or drop what it was given, nothing else: signatures bind trainer, task and round, and every
/// trainer can reveal alone.
abstract contract TrainerBatches is TrainerStore {
    /// @notice What a trainer signs for a relayer.
    bytes32 public constant COMMIT_TYPEHASH = keccak256("Commit(uint64 taskId,uint32 round,bytes32 commitment)");
    // OpenZeppelin's EIP712 needs the opcode mcopy, which chains before Cancun do not have.
    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant NAME_HASH = keccak256("deltaproof");
    bytes32 private constant VERSION_HASH = keccak256("1");
    uint256 private constant MAX_BATCH = 256;

    /// @inheritdoc ITrainerPool
    function commitBatch(uint64 taskId, SignedCommit[] calldata commits) external returns (uint32 batchId) {
        require(commits.length != 0 && commits.length <= MAX_BATCH, InvalidBatch(commits.length));
        uint32 round = _openRound(taskId, Phase.Commit);
        (address[] memory trainers, bytes32[] memory commitments) = _recover(taskId, round, commits);
        bytes32[] memory nodes = _admit(taskId, round, trainers, commitments);
        uint256 count = nodes.length;
        if (count == 0) return 0;
        bytes32 root = LeafTree.counted(LeafTree.rootInPlace(nodes), count);
        Progress memory progress = _progress[taskId];
        batchId = ++progress.batches;
        progress.committed += uint32(count);
        _progress[taskId] = progress;
        _batchRoots[taskId][round][batchId] = root;
        emit BatchCommitted(taskId, round, batchId, root, trainers, commitments);
        if (progress.committed == progress.expected) TASKS.completePhase(taskId, Phase.Commit);
    }

    /// @inheritdoc ITrainerPool
    function revealBatch(uint64 taskId, uint32 batchId, BatchReveal[] calldata entries) external {
        uint32 round = _openRound(taskId, Phase.Reveal);
        bytes32 expected = _batchRoots[taskId][round][batchId];
        require(expected != 0, UnknownBatch(taskId, round, batchId));
        uint32 added;
        bytes32[] memory nodes = new bytes32[](entries.length);
        mapping(uint256 => uint256) storage words = _marks[taskId][round].revealed;
        uint256 word = type(uint256).max;
        uint256 bits;
        for (uint256 i = 0; i < entries.length; ++i) {
            BatchReveal calldata entry = entries[i];
            bytes32 commitment = entry.transcriptRoot;
            if (entry.salt != 0 || entry.deltaDigest != 0) {
                RevealData memory data = RevealData(entry.deltaDigest, entry.transcriptRoot, entry.salt);
                commitment = commitmentHash(taskId, round, entry.trainer, data);
                // The batch is in order of indices, so every word is read and written once.
                if (entry.index >> 8 != word) {
                    if (word != type(uint256).max) words[word] = bits;
                    word = entry.index >> 8;
                    bits = words[word];
                }
                uint256 bit = 1 << (entry.index & 0xff);
                if (bits & bit == 0) ++added;
                bits |= bit;
            }
            nodes[i] = LeafTree.hashBatchEntry(entry.index, entry.trainer, commitment);
        }
        if (word != type(uint256).max) words[word] = bits;
        // INVARIANT: nothing of this is kept unless every index and commitment is what the batch committed to.
        bytes32 actual = LeafTree.counted(LeafTree.rootInPlace(nodes), entries.length);
        require(actual == expected, BatchRootMismatch(expected, actual));
        emit BatchRevealed(taskId, round, batchId, entries);
        _countRevealed(taskId, added);
    }

    /// @inheritdoc ITrainerPool
    function revealFromBatch(uint64 taskId, address account, RevealData calldata data, CommitmentRef calldata ref)
        external
    {
        uint32 round = _openRound(taskId, Phase.Reveal);
        bytes32 commitment = commitmentHash(taskId, round, account, data);
        require(_isInBatch(taskId, round, account, commitment, ref), NotCommitted(taskId, round, account));
        mapping(uint256 => uint256) storage revealed = _marks[taskId][round].revealed;
        require(!_isSet(revealed, ref.index), AlreadyRevealed(taskId, round, account));
        _set(revealed, ref.index);
        emit Revealed(taskId, round, account, data.deltaDigest, data.transcriptRoot);
        _countRevealed(taskId, 1);
    }

    /// @notice EIP-712 domain separator of this contract: name `deltaproof`, version `1`.
    function domainSeparator() public view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, block.chainid, address(this)));
    }

    function _countRevealed(uint64 taskId, uint32 added) internal {
        Progress memory progress = _progress[taskId];
        progress.revealed += added;
        _progress[taskId].revealed = progress.revealed;
        if (progress.revealed == progress.committed) TASKS.completePhase(taskId, Phase.Reveal);
    }

    /// @dev Whoever signed, in call data order. Malleable signatures do no harm: a trainer counts once per round.
    function _recover(uint64 taskId, uint32 round, SignedCommit[] calldata commits)
        private
        view
        returns (address[] memory trainers, bytes32[] memory commitments)
    {
        trainers = new address[](commits.length);
        commitments = new bytes32[](commits.length);
        bytes32 domain = domainSeparator();
        for (uint256 i = 0; i < commits.length; ++i) {
            SignedCommit calldata signed = commits[i];
            bytes32 commitment = signed.commitment;
            require(commitment != 0, ZeroCommitment());
            uint256 vs = uint256(signed.vs);
            // EIP-2098: the highest bit of s is v.
            address signer = ecrecover(
                _digest(domain, taskId, round, commitment),
                uint8((vs >> 255) + 27),
                signed.r,
                bytes32(vs & (type(uint256).max >> 1))
            );
            require(signer != address(0), InvalidSignature(i));
            trainers[i] = signer;
            commitments[i] = commitment;
        }
    }

    /// @dev EIP-712 digest of `Commit(taskId, round, commitment)`, without allocating.
    function _digest(bytes32 domain, uint64 taskId, uint32 round, bytes32 commitment)
        private
        pure
        returns (bytes32 digest)
    {
        bytes32 typehash = COMMIT_TYPEHASH;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, typehash)
            mstore(add(free, 0x20), taskId)
            mstore(add(free, 0x40), round)
            mstore(add(free, 0x60), commitment)
            let structHash := keccak256(free, 0x80)
            mstore(free, hex"1901")
            mstore(add(free, 0x02), domain)
            mstore(add(free, 0x22), structHash)
            digest := keccak256(free, 0x42)
        }
    }

    /// @dev Record who committed; the ascending order makes every trainer appear once. Attack:
    /// one trainer of a relayed batch commits directly just before it, to break it for all. It is left out, and both lists
    /// are shortened in place to those who are in.
    /// @return nodes leaves of the batch's tree
    function _admit(uint64 taskId, uint32 round, address[] memory trainers, bytes32[] memory commitments)
        private
        returns (bytes32[] memory nodes)
    {
        nodes = new bytes32[](trainers.length);
        Progress memory progress = _progress[taskId];
        uint32 previous;
        uint256 count;
        for (uint256 i = 0; i < trainers.length; ++i) {
            address account = trainers[i];
            (uint32 index, bool active) = _standing(taskId, round, account);
            require(index > previous || index == 0, BatchNotSorted(previous, index));
            if (index != 0) previous = index;
            if (!active) continue;
            // A direct commitment is only looked for where there is one: a look costs 2,100 gas.
            if (progress.direct != 0 && _commitments[taskId][round][account] != 0) continue;
            if (!_markBatched(taskId, round, index)) continue;
            (trainers[count], commitments[count]) = (account, commitments[i]);
            nodes[count++] = LeafTree.hashBatchEntry(index, account, commitments[i]);
        }
        assembly ("memory-safe") {
            mstore(trainers, count)
            mstore(commitments, count)
            mstore(nodes, count)
        }
    }

    /// @return added false if it was in a batch before
    function _markBatched(uint64 taskId, uint32 round, uint32 index) private returns (bool added) {
        mapping(uint256 => uint256) storage words = _marks[taskId][round].batched;
        added = !_isSet(words, index);
        if (added) _set(words, index);
    }

    /// @dev The first slot of `Trainer`, read once.
    function _standing(uint64 taskId, uint32 round, address account) private view returns (uint32 index, bool active) {
        Trainer storage trainer = _trainers[taskId][account];
        uint256 slot;
        assembly ("memory-safe") {
            slot := sload(trainer.slot)
        }
        index = uint32(slot);
        uint32 activeFrom = uint32(slot >> 32);
        active = activeFrom != 0 && activeFrom <= round && round <= uint32(slot >> 64);
    }
}
