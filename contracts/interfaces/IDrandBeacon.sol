// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IBeacon} from "./IBeacon.sol";
import {G1Point, G2Point} from "./Types.sol";

/// @title Seeds from rounds of a drand network of scheme `bls-bn254-unchained-on-g1`
/// @notice Whoever has a round's signature publishes it; the contract checks it against the network's key.
interface IDrandBeacon is IBeacon {
    /// @notice A drand network, and how requests relate to its rounds.
    struct Network {
        /// @dev The group's public key, EIP-197 order, as drand prints it.
        G2Point publicKey;
        /// @dev Unix seconds of round 1.
        uint64 genesis;
        /// @dev Seconds from one round to the next.
        uint32 period;
        /// @dev A request is decided by the first round that comes at least so many seconds later.
        uint32 leadSeconds;
        /// @dev So long after its round's time a request that nobody served falls back to the hash of a later block.
        uint32 patienceSeconds;
        /// @dev drand's name of the network; not used here, clients ask relays by it.
        bytes32 chainHash;
    }

    /// @notice A round's signature was checked and kept.
    /// @param drandRound the round of drand
    /// @param signature over it, a point of G1
    event SignaturePublished(uint64 indexed drandRound, G1Point signature);

    /// @notice A network with a period, lead or patience of zero, or without genesis.
    error InvalidNetwork();
    /// @notice The public key is infinity, or no point of the subgroup.
    error InvalidPublicKey();
    /// @notice Rounds count from 1.
    error NoSuchRound(uint64 round);
    /// @notice `signature` is no point of the curve, or not the network's signature over the round.
    error InvalidSignature(uint64 round, G1Point signature);

    /// @notice Keep a round's signature. Anyone may call; a round that is known already changes nothing.
    function publish(uint64 round, G1Point calldata signature) external;

    /// @notice The network whose rounds decide.
    function network() external view returns (Network memory);

    /// @notice Round that decides the request, 0 if a block does.
    function roundOf(uint256 id) external view returns (uint64);

    /// @notice `sha256` of the round's signature, as drand defines it; zero before it is published.
    function randomnessOf(uint64 round) external view returns (bytes32);
}
