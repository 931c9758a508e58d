// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {VerifierPool} from "../../contracts/VerifierPool.sol";
import "../../contracts/interfaces/Types.sol";
import {vm} from "../forge/support/Vm.sol";
import {OtherModules, PlacedVerifiers} from "./Symbolic.sol";

/// @dev Quorum sums: the weight of a set is that of its members, and a signed weight that of the members who are not named
/// as silent, each counted once. BN254's sums stand for themselves; whether a signature verifies is arbitrary.
contract QuorumSymbolic is OtherModules {
    uint64 private constant TASK = 1;
    uint256 private constant BPS = 10_000;

    VerifierPool private pool;
    StakeTerms private terms;
    bool private running;
    bool private signed;

    function setUp() public {
        pool = new PlacedVerifiers(allButOne());
    }

    // What the other modules answer.

    function stakeTerms(uint64) external view returns (StakeTerms memory) {
        return terms;
    }

    function phaseSeconds(uint64) external pure returns (PhaseSeconds memory seconds_) {
        seconds_.slash = 1;
    }

    function currentPhase(uint64) external view returns (uint32, Phase, uint64) {
        return running ? (1, Phase.Settle, type(uint64).max) : (0, Phase.Idle, 0);
    }

    function keyG1Of(address who) external pure returns (G1Point memory) {
        return G1Point(uint160(who), 1);
    }

    function isSignedWith(bytes32, bytes32, G1Point calldata, G2Point calldata, G1Point calldata)
        external
        view
        returns (bool)
    {
        return signed;
    }

    function lock(address, Role, uint96) external {}

    function _member(uint256 i) private pure returns (address) {
        return address(uint160(0xA11 + i));
    }

    function _enrol(uint256 i, uint96 stake) private {
        vm.prank(_member(i));
        pool.enrol(TASK, stake);
    }

    /// @dev Three members, one of whom may have left before the round.
    function _opened(uint96[3] memory stakes, uint96 minimum, bool left) private returns (uint256 total) {
        terms.verifierStake = minimum;
        for (uint256 i = 0; i < 3; ++i) {
            _enrol(i, stakes[i]);
            total += stakes[i];
        }
        if (left) {
            vm.prank(_member(2));
            pool.resign(TASK);
            total -= stakes[2];
        }
        (uint32 members, uint32 version) = pool.openRound(TASK, 1);
        running = true;
        assert(members == (left ? 2 : 3));
        assert(pool.checkpointOf(TASK, version).weight == total);
    }

    /// @dev The signed weight is the total less the named members, and reaches the quorum; a name twice is refused.
    function check_quorum_countsEachMemberOnce(
        uint96[3] memory stakes,
        uint96 minimum,
        bool left,
        uint16 quorumBps,
        uint8 names,
        uint8[2] memory named
    ) public {
        vm.assume(named[0] < 3 && named[1] < 3 && names <= 2);
        uint256 total = _opened(stakes, minimum, left);
        signed = true;
        QuorumProof memory proof;
        uint256 silent;
        if (names == 1) proof.nonSigners = new address[](1);
        if (names == 2) proof.nonSigners = new address[](2);
        for (uint256 i = 0; i < proof.nonSigners.length; ++i) {
            for (uint256 j = 0; j < 3; ++j) {
                if (named[i] != j) continue;
                proof.nonSigners[i] = _member(j);
                silent += stakes[j];
            }
        }
        uint96 weight = pool.checkQuorum(TASK, 1, quorumBps, 0, proof);
        assert(names != 2 || named[0] != named[1]);
        assert(weight == total - silent && weight != 0);
        assert(uint256(weight) * BPS >= total * quorumBps);
    }

    /// @dev Without a signature that verifies there is no quorum.
    function check_quorum_unsigned_refused(uint96[3] memory stakes, uint96 minimum, uint16 quorumBps) public {
        _opened(stakes, minimum, false);
        signed = false;
        QuorumProof memory proof;
        try pool.checkQuorum(TASK, 1, quorumBps, 0, proof) {
            assert(false);
        } catch {}
    }

    /// @dev Who joins or leaves while a round runs changes nothing of its set.
    function check_quorum_ofARunningRound_isFixed(uint96[3] memory stakes, uint96 minimum, uint96 late, bool leaves)
        public
    {
        uint256 total = _opened(stakes, minimum, false);
        uint32 version = pool.progressOf(TASK).version;
        if (leaves) {
            vm.prank(_member(0));
            pool.resign(TASK);
        } else {
            _enrol(3, late);
        }
        assert(pool.checkpointOf(TASK, version).weight == total);
        assert(pool.checkpointOf(TASK, version).members == 3);
        assert(pool.checkpointOf(TASK, version + 1).weight == (leaves ? total - stakes[0] : total + late));
        assert(pool.inQuorum(TASK, 1, _member(0)) && !pool.inQuorum(TASK, 1, _member(3)));
    }
}
