// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TrainerPool} from "../../contracts/TrainerPool.sol";
import {IVerifierFees} from "../../contracts/interfaces/IVerifierFees.sol";
import "../../contracts/interfaces/Types.sol";
import {LeafTree} from "../../contracts/libraries/LeafTree.sol";
import {vm} from "../forge/support/Vm.sol";
import {OtherModules, PlacedTrainers} from "./Symbolic.sol";

/// @dev Penalties of a trainer: once for a round, however many ways its fault can be shown, and never more than is locked.
contract SlashSymbolic is OtherModules {
    uint64 private constant TASK = 1;
    address private constant ANN = address(0xA11);

    /// @dev One way to punish; `what` says which.
    struct Blow {
        uint8 what;
        uint8 fault;
        bool rewarded;
    }

    TrainerPool private pool;
    StakeTerms private terms;
    Phase private phase = Phase.Commit;
    bool private shared;
    bytes32 private root;
    uint256 private held;
    uint256 private slashes;
    uint96 private rewarded;

    function setUp() public {
        pool = new PlacedTrainers(allButOne());
    }

    // What the other modules answer, and what the registry is told.

    function stakeTerms(uint64) external view returns (StakeTerms memory) {
        return terms;
    }

    function currentPhase(uint64) external view returns (uint32, Phase, uint64) {
        return (phase == Phase.Idle ? 0 : 1, phase, type(uint64).max);
    }

    function endedAt(uint64, uint32) external pure returns (uint64) {
        return 1;
    }

    function settlementOf(uint64, uint32) external view returns (Settlement memory settlement) {
        settlement.leavesRoot = root;
        settlement.leafCount = 1;
    }

    function feePotOf(uint64, uint32) external view returns (IVerifierFees.FeePot memory pot) {
        pot.weight = shared ? 1 : 0;
    }

    function addSlashRewards(uint64, uint32, uint96) external {}
    function completePhase(uint64, Phase) external {}
    function prepare(uint64, address) external {}
    function block_(uint64, uint32, address) external {}

    function lock(address, Role, uint96 amount) external {
        held += amount;
    }

    function slash(address who, Role role, uint96 amount, address, uint16) external returns (uint96) {
        assert(who == ANN && role == Role.Trainer);
        assert(amount <= held);
        held -= amount;
        ++slashes;
        return rewarded < amount ? rewarded : amount;
    }

    /// @dev Committed, and revealed if `data` says so: a salt of zero does not.
    function _committed(StakeTerms memory terms_, RevealData memory data) private {
        terms = terms_;
        // A quarter or all: products of two unknowns take a solver too long.
        terms.slashBps = terms_.slashBps == 0 ? 2_500 : 10_000;
        phase = Phase.Idle;
        vm.prank(ANN);
        pool.enrol(TASK, bytes32(uint256(1)), 8);
        phase = Phase.Commit;
        pool.openRound(TASK, 1);
        bytes32 commitment = pool.commitmentHash(TASK, 1, ANN, data);
        vm.prank(ANN);
        pool.commit(TASK, commitment);
        phase = Phase.Reveal;
        vm.prank(ANN);
        if (data.salt != 0) pool.reveal(TASK, data.deltaDigest, data.transcriptRoot, data.salt);
        phase = Phase.Window;
    }

    function blow(Blow memory one) external {
        address prover = one.rewarded ? address(this) : address(0);
        if (one.what == 0) {
            pool.punish(TASK, 1, ANN, Fault(one.fault), prover);
        } else if (one.what == 1) {
            SettlementLeaf memory leaf = SettlementLeaf(ANN, uint8(Verdict.Rejected), 0, 0, 0, 0);
            root = LeafTree.hash(leaf);
            pool.slash(TASK, 1, 0, leaf, new bytes32[](0));
        } else {
            pool.forfeitBond(TASK, 1, ANN);
        }
    }

    function _try(Blow memory one) private returns (bool struck) {
        uint256 before = slashes;
        try this.blow(one) {} catch {}
        struck = slashes != before;
        // INVARIANT: the registry holds exactly what the enrolment says.
        assert(held == pool.enrolmentOf(TASK, ANN).stake);
    }

    // Of any two blows at most one slashes and at most one forfeits the bond. One property for each kind of the first blow: a
    // solver is done sooner with three than with all at once.

    function check_slash_once_afterAProof(
        StakeTerms memory terms_,
        RevealData memory data,
        bool shared_,
        uint96 rewarded_,
        Blow memory first,
        Blow memory second
    ) public {
        first.what = 0;
        _once(terms_, data, shared_, rewarded_, first, second);
    }

    function check_slash_once_afterALeaf(
        StakeTerms memory terms_,
        RevealData memory data,
        bool shared_,
        uint96 rewarded_,
        Blow memory second
    ) public {
        _once(terms_, data, shared_, rewarded_, Blow(1, 0, false), second);
    }

    function check_slash_once_afterALostBond(
        StakeTerms memory terms_,
        RevealData memory data,
        bool shared_,
        uint96 rewarded_,
        Blow memory second
    ) public {
        _once(terms_, data, shared_, rewarded_, Blow(2, 0, false), second);
    }

    function _once(
        StakeTerms memory terms_,
        RevealData memory data,
        bool shared_,
        uint96 rewarded_,
        Blow memory first,
        Blow memory second
    ) private {
        (shared, rewarded) = (shared_, rewarded_);
        _committed(terms_, data);
        uint256 stake = held;
        bool one = _try(first);
        bool two = _try(second);
        uint256 hit = (one && first.what < 2 ? 1 : 0) + (two && second.what < 2 ? 1 : 0);
        uint256 forfeited = (one ? 1 : 0) + (two ? 1 : 0) - hit;
        assert(hit <= 1 && forfeited <= 1);
        assert(stake - held <= stake);
    }

    /// @dev Nobody is slashed by what a quorum says of a round in which it did not reveal.
    function check_slash_ofTheUnrevealed_refused(StakeTerms memory terms_, RevealData memory data, bool shared_) public {
        (data.salt, shared) = (0, shared_);
        _committed(terms_, data);
        try this.blow(Blow(1, 0, false)) {
            assert(false);
        } catch {}
        assert(slashes == 0);
    }

    /// @dev Nor of one in which it did not commit.
    function check_slash_ofAStranger_refused(StakeTerms memory terms_, bool shared_) public {
        vm.assume(terms_.slashBps <= 10_000);
        (terms, shared, phase) = (terms_, shared_, Phase.Idle);
        vm.prank(ANN);
        pool.enrol(TASK, bytes32(uint256(1)), 8);
        phase = Phase.Window;
        try this.blow(Blow(1, 0, false)) {
            assert(false);
        } catch {}
        assert(slashes == 0);
    }
}
