// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {G1Point, G2Point, Role} from "./Types.sol";

/// @title Stakes and BLS keys
/// @notice Holds every staked token. Stake is free, locked by a module (a task, a dispute), or unbonding. Locked stake can
/// be slashed, only by the module that locked it and only for a fault that it established; stake that nobody holds can be
/// fined by the jury for a wrong vote or none.
/// All amounts are in the stake token's smallest unit.
interface IStakeRegistry {
    /// @param total everything of this role: free, locked and unbonding
    /// @param locked what modules hold against faults
    /// @param unbonding on its way out
    /// @param withdrawableAt when the unbonding part may leave, seconds since the epoch; 0 when nothing unbonds
    struct StakeAccount {
        uint96 total;
        uint96 locked;
        uint96 unbonding;
        uint64 withdrawableAt;
    }

    /// @notice Stake came in, in the stake token's smallest unit.
    event StakeDeposited(address indexed account, Role indexed role, address indexed payer, uint96 amount);
    /// @notice Stake (the stake token's smallest unit) can leave from a Unix time in seconds on.
    event UnbondingStarted(address indexed account, Role indexed role, uint96 amount, uint64 withdrawableAt);
    /// @notice Stake left, in the stake token's smallest unit.
    event StakeWithdrawn(address indexed account, Role indexed role, uint96 amount);
    /// @notice Stake vouches for a task or a dispute, in the stake token's smallest unit.
    event StakeLocked(address indexed account, Role indexed role, uint96 amount);
    /// @notice Stake is free again, in the stake token's smallest unit.
    event StakeUnlocked(address indexed account, Role indexed role, uint96 amount);
    /// @notice Locked stake was slashed, in the stake token's smallest unit.
    /// @param amount what the account lost
    /// @param reward part of it credited to `beneficiary`
    /// @param burned part of it sent to the burn address
    event StakeSlashed(
        address indexed account,
        Role indexed role,
        address indexed beneficiary,
        uint96 amount,
        uint96 reward,
        uint96 burned
    );
    /// @notice Credit changed hands, in the stake token's smallest unit.
    event CreditMoved(address indexed from, address indexed to, uint96 amount);
    /// @notice Credit was paid out, in the stake token's smallest unit.
    event CreditWithdrawn(address indexed account, uint96 amount);
    /// @notice An account has a BLS key now.
    event KeyRegistered(address indexed account, G1Point keyG1, G2Point keyG2);
    /// @notice An account's verifier stake that is not on its way out, from now on; it weighs in the jury's votes.
    /// @dev Both in the stake token's smallest unit.
    event VerifierStakeChanged(address indexed account, uint96 stake, uint96 total);
    /// @notice Stake was taken as a fine, in the stake token's smallest unit.
    /// @param amount what the account lost of its stake that no module holds, burned
    event StakeFined(address indexed account, Role indexed role, uint96 amount);

    /// @notice Only another contract of the deployment may call this.
    error NotModule(address caller);
    /// @notice There is nothing to move, or an address is zero.
    error ZeroAmount();
    /// @notice The account has less stake that is neither locked nor unbonding, in the stake token's smallest unit.
    error InsufficientFreeStake(address account, Role role, uint96 free, uint96 needed);
    /// @notice The account has less locked stake, in the stake token's smallest unit.
    error InsufficientLockedStake(address account, Role role, uint96 locked, uint96 needed);
    /// @notice Nothing is unbonding.
    error NothingToWithdraw(address account, Role role);
    /// @notice The stake leaves at the first of these Unix times in seconds; the second is now.
    error StillUnbonding(uint64 withdrawableAt, uint64 currentTime);
    /// @notice The account has less credit, in the stake token's smallest unit.
    error InsufficientCredit(address account, uint96 credit, uint96 needed);
    /// @notice The account has a key.
    error KeyAlreadyRegistered(address account);
    /// @notice Another account has this key.
    error KeyAlreadyUsed(bytes32 keyHash, address owner);
    /// @notice The two parts of the key are not one, or its possession is not proven.
    error InvalidKey();
    /// @notice The proof does not show that the account knows the key's secret, or G1 and G2 parts differ.
    error InvalidProofOfPossession(address account);
    /// @notice The account has no key.
    error NoKey(address account);
    /// @notice The past only can be asked for, by Unix time in seconds.
    /// @param moment the time asked for, which is not over yet, seconds since the epoch
    error NotPast(uint64 moment);

    /// @notice ERC-20 that everyone stakes.
    function token() external view returns (address);

    /// @notice Delay between the request and the withdrawal of trainer and verifier stake, seconds.
    function unbondingSeconds() external view returns (uint64);

    /// @notice Stake `amount` for oneself.
    function deposit(Role role, uint96 amount) external;

    /// @notice Stake `amount` of the caller's tokens for somebody else.
    function depositFor(address account, Role role, uint96 amount) external;

    /// @notice Start to take out free stake. Asking again adds to the amount and restarts the delay for all of it.
    function requestUnbond(Role role, uint96 amount) external;

    /// @notice Take out what has finished unbonding.
    /// @return amount what was paid out
    function withdraw(Role role) external returns (uint96 amount);

    /// @notice Register the caller's key, once and for ever.
    /// @param keyG1 public key in G1
    /// @param keyG2 the same key in G2
    /// @param possession BLS signature over `possessionDigest(caller)` in the possession domain
    function registerKey(G1Point calldata keyG1, G2Point calldata keyG2, G1Point calldata possession) external;

    /// @notice What a proof of possession signs:
    /// `keccak256(abi.encode(POSSESSION_TYPEHASH, chainId, registry, owner))`.
    function possessionDigest(address owner) external view returns (bytes32);

    /// @notice An account's stake in a role, in the stake token's smallest unit.
    function stakeOf(address account, Role role) external view returns (StakeAccount memory);

    /// @notice Stake that is neither locked nor unbonding, in the stake token's smallest unit.
    function freeStakeOf(address account, Role role) external view returns (uint96);

    /// @notice The account's key; both points are zero without one.
    function keyOf(address account) external view returns (G1Point memory keyG1, G2Point memory keyG2);

    /// @notice The G1 part alone, for summing.
    function keyG1Of(address account) external view returns (G1Point memory);

    /// @notice Whether `signature` over `message` in `domain` verifies under the account's key alone.
    function isSignedBy(address account, bytes32 domain, bytes32 message, G1Point calldata signature)
        external
        view
        returns (bool);

    /// @notice Whether `signature` over `message` in `domain` verifies under a key whose parts in G1 and G2 are one key.
    function isSignedWith(
        bytes32 domain,
        bytes32 message,
        G1Point calldata keyG1,
        G2Point calldata keyG2,
        G1Point calldata signature
    ) external view returns (bool);

    /// @notice Where `message` lands in G1 in the settlement domain.
    function hashToPoint(bytes32 message) external view returns (G1Point memory);

    /// @notice The account's verifier stake at the end of a past second, stake on its way out left aside.
    /// @param moment seconds since the epoch, before now
    function verifierStakeAt(address account, uint64 moment) external view returns (uint96);

    /// @notice The verifier stake of all accounts together at the end of a past second, stake on its way out left aside.
    function totalVerifierStakeAt(uint64 moment) external view returns (uint96);

    /// @notice Slash rewards waiting for the account.
    function creditOf(address account) external view returns (uint96);

    /// @notice Pay out the caller's credit.
    function withdrawCredit() external returns (uint96 amount);

    /// @notice Move own credit to another account.
    function transferCredit(address to, uint96 amount) external;

    /// @notice Burn own credit.
    function burnCredit(uint96 amount) external;

    // Modules only.

    /// @notice Hold free stake against faults.
    function lock(address account, Role role, uint96 amount) external;

    /// @notice Set locked stake free.
    function unlock(address account, Role role, uint96 amount) external;

    /// @notice Take locked stake away: `rewardBps` of it to `beneficiary` as credit, the rest is burned.
    /// @return reward what the beneficiary was credited
    function slash(address account, Role role, uint96 amount, address beneficiary, uint16 rewardBps)
        external
        returns (uint96 reward);

    /// @notice Burn stake that no module holds, also what is on its way out. Jury only, for a wrong vote or none.
    /// @return taken at most `amount`: what there was
    function fine(address account, Role role, uint96 amount) external returns (uint96 taken);
}
