// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TrainerStore} from "./TrainerStore.sol";
import {ITrainerPool} from "./interfaces/ITrainerPool.sol";
import {CommitmentRef, Phase, RevealData} from "./interfaces/Types.sol";
import {SettlementTree} from "./libraries/SettlementTree.sol";

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
        uint256 count = commits.length;
        require(count != 0 && count <= MAX_BATCH, InvalidBatch(count));
        uint32 round = _openRound(taskId, Phase.Commit);
        address[] memory trainers = new address[](count);
        bytes32[] memory commitments = new bytes32[](count);
        bytes32[] memory nodes = new bytes32[](count);
        _recover(taskId, round, commits, trainers, commitments, nodes);
        _mark(taskId, round, trainers);
        bytes32 root = SettlementTree.rootInPlace(nodes);
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
        uint256 count = entries.length;
        bytes32[] memory nodes = new bytes32[](count);
        uint256 resolved = _batchResolved[taskId][round][batchId];
        uint32 added;
        for (uint256 i = 0; i < count; ++i) {
            BatchReveal calldata entry = entries[i];
            bytes32 commitment = entry.transcriptRoot;
            if (entry.salt != 0 || entry.deltaDigest != 0) {
                RevealData memory data = RevealData(entry.deltaDigest, entry.transcriptRoot, entry.salt);
                commitment = commitmentHash(taskId, round, entry.trainer, data);
                if (resolved & (1 << i) == 0) ++added;
                resolved |= 1 << i;
            }
            nodes[i] = SettlementTree.hashBatchEntry(i, entry.trainer, commitment);
        }
        bytes32 expected = _batchRoots[taskId][round][batchId];
        require(expected != 0, UnknownBatch(taskId, round, batchId));
        bytes32 actual = SettlementTree.rootInPlace(nodes);
        require(actual == expected, BatchRootMismatch(expected, actual));
        _batchResolved[taskId][round][batchId] = resolved;
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
        uint256 bit = 1 << ref.position;
        require(_batchResolved[taskId][round][ref.batchId] & bit == 0, AlreadyRevealed(taskId, round, account));
        _batchResolved[taskId][round][ref.batchId] |= bit;
        emit Revealed(taskId, round, account, data.deltaDigest, data.transcriptRoot);
        _countRevealed(taskId, 1);
    }

    /// @inheritdoc ITrainerPool
    function openingsPublishedFromBatch(uint64 taskId, bytes32 commitment, CommitmentRef calldata ref) external {
        uint32 round = _openRound(taskId, Phase.Opening);
        bool revealed = _isInBatch(taskId, round, msg.sender, commitment, ref)
            && _batchResolved[taskId][round][ref.batchId] & (1 << ref.position) != 0;
        require(revealed, NotRevealed(taskId, round, msg.sender));
        _countOpened(taskId, round);
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

    function _countOpened(uint64 taskId, uint32 round) internal {
        Trainer storage trainer = _trainers[taskId][msg.sender];
        require(trainer.openedRound != round, AlreadyOpened(taskId, round, msg.sender));
        trainer.openedRound = round;
        emit OpeningsPublished(taskId, round, msg.sender);
        Progress memory progress = _progress[taskId];
        _progress[taskId].opened = ++progress.opened;
        if (progress.opened == progress.revealed) TASKS.completePhase(taskId, Phase.Opening);
    }

    /// @dev Whoever signed, in call data order. Malleable signatures do no harm: a trainer counts once per round.
    function _recover(
        uint64 taskId,
        uint32 round,
        SignedCommit[] calldata commits,
        address[] memory trainers,
        bytes32[] memory commitments,
        bytes32[] memory nodes
    ) private view {
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
            nodes[i] = SettlementTree.hashBatchEntry(i, signer, commitment);
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

    /// @dev Record who committed, one bitmap word at a time; the ascending order makes every trainer appear once.
    function _mark(uint64 taskId, uint32 round, address[] memory trainers) private {
        mapping(address => Trainer) storage enrolled = _trainers[taskId];
        mapping(uint256 => uint256) storage words = _batched[taskId][round];
        uint256 word = type(uint256).max;
        uint256 bits;
        uint32 previous;
        for (uint256 i = 0; i < trainers.length; ++i) {
            address account = trainers[i];
            Trainer storage trainer = enrolled[account];
            uint256 slot;
            assembly ("memory-safe") {
                slot := sload(trainer.slot)
            }
            // The first slot of `Trainer`, read once: index, activeFrom, activeUntil, stake, committedRound.
            uint32 index = uint32(slot);
            uint32 activeFrom = uint32(slot >> 32);
            require(
                activeFrom != 0 && activeFrom <= round && round <= uint32(slot >> 64), NotActive(taskId, round, account)
            );
            require(index > previous, BatchNotSorted(previous, index));
            previous = index;
            if (index >> 8 != word) {
                if (word != type(uint256).max) words[word] = bits;
                word = index >> 8;
                bits = words[word];
            }
            uint256 bit = 1 << (index & 0xff);
            require(bits & bit == 0 && uint32(slot >> 192) != round, AlreadyCommitted(taskId, round, account));
            bits |= bit;
        }
        words[word] = bits;
    }
}
