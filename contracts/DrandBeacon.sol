// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BlockhashBeacon} from "./BlockhashBeacon.sol";
import {IBeacon} from "./interfaces/IBeacon.sol";
import {IDrandBeacon} from "./interfaces/IDrandBeacon.sol";
import {G1Point, G2Point} from "./interfaces/Types.sol";
import {BN254} from "./libraries/BN254.sol";
import {HashToCurve} from "./libraries/HashToCurve.sol";

/// @title Seeds from later rounds of drand
/// @notice See `IDrandBeacon`. A sequencer or proposer can delay such a seed, not choose it: there is one signature per
/// round, a threshold of drand's members makes it, and anybody may bring it.
contract DrandBeacon is BlockhashBeacon, IDrandBeacon {
    uint256 private immutable KEY_X_IMAGINARY;
    uint256 private immutable KEY_X_REAL;
    uint256 private immutable KEY_Y_IMAGINARY;
    uint256 private immutable KEY_Y_REAL;
    uint64 private immutable GENESIS;
    uint32 private immutable PERIOD;
    uint32 private immutable LEAD_SECONDS;
    uint32 private immutable PATIENCE_SECONDS;
    bytes32 private immutable CHAIN_HASH;

    mapping(uint256 id => uint64 round) private _rounds;
    mapping(uint64 round => bytes32) private _randomness;

    /// @param delayBlocks_ as in `BlockhashBeacon`, for requests that fall back to a block
    constructor(Network memory network_, uint32 delayBlocks_) BlockhashBeacon(delayBlocks_) {
        require(
            network_.genesis != 0 && network_.period != 0 && network_.leadSeconds != 0 && network_.patienceSeconds != 0,
            InvalidNetwork()
        );
        G2Point memory key = network_.publicKey;
        // Attack: with the key at infinity, infinity is a signature over everything.
        require(key.x[0] | key.x[1] | key.y[0] | key.y[1] != 0 && BN254.isInG2(key), InvalidPublicKey());
        (KEY_X_IMAGINARY, KEY_X_REAL) = (key.x[0], key.x[1]);
        (KEY_Y_IMAGINARY, KEY_Y_REAL) = (key.y[0], key.y[1]);
        GENESIS = network_.genesis;
        PERIOD = network_.period;
        LEAD_SECONDS = network_.leadSeconds;
        PATIENCE_SECONDS = network_.patienceSeconds;
        CHAIN_HASH = network_.chainHash;
    }

    /// @inheritdoc IBeacon
    function request() external override(BlockhashBeacon, IBeacon) returns (uint256 id) {
        id = ++requestCount;
        // Attack: ask in a block whose time lies behind the round's signature. The lead is longer than clocks differ.
        uint64 round = _firstRoundFrom(block.timestamp + LEAD_SECONDS);
        _rounds[id] = round;
        emit SeedRequested(id, round);
    }

    /// @inheritdoc IBeacon
    function fulfil(uint256 id) external override(BlockhashBeacon, IBeacon) returns (bool) {
        if (_isFixed(id)) return true;
        uint64 round = _rounds[id];
        if (round == 0) return _fixByBlock(id);
        bytes32 randomness = _randomness[round];
        if (randomness != 0) {
            _fix(id, randomness);
            return true;
        }
        if (block.timestamp > _timeOf(round) + PATIENCE_SECONDS) {
            // The network is gone: stakes and budgets must not wait for ever. Attack: keep the signature back, and choose
            // between it and the block. Anybody could have brought it for days, and from here on it decides nothing.
            delete _rounds[id];
            emit SeedRearmed(id, _aim(id));
        }
        return false;
    }

    /// @inheritdoc IDrandBeacon
    function publish(uint64 round, G1Point calldata signature) external {
        require(round != 0, NoSuchRound(round));
        if (_randomness[round] != 0) return;
        bytes32 message = keccak256(abi.encodePacked(round));
        // The precompile would take all the gas for a point off the curve.
        bool valid = BN254.isOnCurve(signature)
            && BN254.pairingIsOne(signature, BN254.negativeGeneratorG2(), HashToCurve.toG1(message), _publicKey());
        require(valid, InvalidSignature(round, signature));
        _randomness[round] = sha256(abi.encode(signature.x, signature.y));
        emit SignaturePublished(round, signature);
    }

    /// @inheritdoc IDrandBeacon
    function network() external view returns (Network memory) {
        return Network(_publicKey(), GENESIS, PERIOD, LEAD_SECONDS, PATIENCE_SECONDS, CHAIN_HASH);
    }

    /// @inheritdoc IDrandBeacon
    function roundOf(uint256 id) external view returns (uint64) {
        return _rounds[id];
    }

    /// @inheritdoc IDrandBeacon
    function randomnessOf(uint64 round) external view returns (bytes32) {
        return _randomness[round];
    }

    function _firstRoundFrom(uint256 time) private view returns (uint64) {
        if (time <= GENESIS) return 1;
        return uint64((time - GENESIS + PERIOD - 1) / PERIOD + 1);
    }

    function _timeOf(uint64 round) private view returns (uint256) {
        return uint256(GENESIS) + uint256(round - 1) * PERIOD;
    }

    function _publicKey() private view returns (G2Point memory key) {
        (key.x[0], key.x[1]) = (KEY_X_IMAGINARY, KEY_X_REAL);
        (key.y[0], key.y[1]) = (KEY_Y_IMAGINARY, KEY_Y_REAL);
    }
}
