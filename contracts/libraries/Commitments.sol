// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {RevealData, Settlement} from "../interfaces/Types.sol";

/// @title What is sealed and what is signed
/// @notice Every hash names its type, the chain, the contract, the task, the round and the sender, so that it can be
/// opened nowhere else and by nobody else: a copied commitment is worthless to the copier. Python twin:
/// deltaproof/protocol/commit/commitments.py; shared vectors: tests/vectors/commitments.json.
library Commitments {
    bytes32 internal constant COMMITMENT_TYPEHASH = keccak256(
        "Commitment(uint256 chainId,address tasks,uint64 taskId,uint32 round,address trainer,bytes32 deltaDigest,bytes32 transcriptRoot,bytes32 salt)"
    );
    bytes32 internal constant ATTESTATION_TYPEHASH = keccak256(
        "Attestation(uint256 chainId,address tasks,uint64 taskId,uint32 round,address verifier,bytes32 verdictsDigest,bytes32 scoresRoot,bytes32 artifactDigest,bytes32 salt)"
    );
    bytes32 internal constant SETTLEMENT_TYPEHASH = keccak256(
        "Settlement(uint256 chainId,address tasks,uint64 taskId,uint32 round,uint8 attempt,bytes32 leavesRoot,uint32 leafCount,uint128 totalPayout,bytes32 verdictsDigest,bytes32 nextStartDigest,int64 improvementNanos,bytes32 artifactDigest)"
    );
    bytes32 internal constant POSSESSION_TYPEHASH =
        keccak256("ProofOfPossession(uint256 chainId,address registry,address owner)");
    bytes32 internal constant VOTE_TYPEHASH = keccak256(
        "Vote(uint256 chainId,address jury,uint256 voteId,uint8 level,address member,bool overturn,bytes32 salt)"
    );

    /// @dev BLS domains: a signature for one purpose never verifies for another.
    bytes32 internal constant SETTLEMENT_DOMAIN = keccak256("deltaproof/settlement/v1");
    bytes32 internal constant POSSESSION_DOMAIN = keccak256("deltaproof/possession/v1");

    function commitment(address tasks, uint64 taskId, uint32 round, address trainer, RevealData memory data)
        internal
        view
        returns (bytes32)
    {
        return keccak256(
            abi.encode(
                COMMITMENT_TYPEHASH,
                block.chainid,
                tasks,
                taskId,
                round,
                trainer,
                data.deltaDigest,
                data.transcriptRoot,
                data.salt
            )
        );
    }

    function attestation(
        address tasks,
        uint64 taskId,
        uint32 round,
        address verifier,
        bytes32 verdictsDigest,
        bytes32 scoresRoot,
        bytes32 artifactDigest,
        bytes32 salt
    ) internal view returns (bytes32) {
        return keccak256(
            abi.encode(
                ATTESTATION_TYPEHASH,
                block.chainid,
                tasks,
                taskId,
                round,
                verifier,
                verdictsDigest,
                scoresRoot,
                artifactDigest,
                salt
            )
        );
    }

    /// @dev Attack: an honest verifier signs again after a settlement was voided, and both signatures are shown as an
    /// equivocation. The attempt is part of what is signed.
    function settlement(address tasks, uint64 taskId, uint32 round, uint8 attempt, Settlement memory value)
        internal
        view
        returns (bytes32)
    {
        return keccak256(abi.encode(SETTLEMENT_TYPEHASH, block.chainid, tasks, taskId, round, attempt, value));
    }

    function possession(address registry, address owner) internal view returns (bytes32) {
        return keccak256(abi.encode(POSSESSION_TYPEHASH, block.chainid, registry, owner));
    }

    function vote(address jury, uint256 voteId, uint8 level, address member, bool overturn, bytes32 salt)
        internal
        view
        returns (bytes32)
    {
        return keccak256(abi.encode(VOTE_TYPEHASH, block.chainid, jury, voteId, level, member, overturn, salt));
    }
}
