// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ModuleSet} from "./ModuleSet.sol";
import {IStakeRegistry} from "./interfaces/IStakeRegistry.sol";
import {G1Point, G2Point, Modules, Role} from "./interfaces/Types.sol";
import {BN254} from "./libraries/BN254.sol";
import {Commitments} from "./libraries/Commitments.sol";
import {ExactTransfer} from "./libraries/ExactTransfer.sol";
import {StakeHistory} from "./libraries/StakeHistory.sol";

/// @title Stakes and BLS keys
/// @notice See `IStakeRegistry`.
/// @dev INVARIANT: token balance >= sum of all `total` + sum of all credits; per account and role
/// locked + unbonding <= total. Stake decreases only by `withdraw` (after the delay) and `slash` (of locked stake, by a
/// module).
contract StakeRegistry is IStakeRegistry, ModuleSet {
    using BN254 for G1Point;
    using ExactTransfer for IERC20;
    using SafeERC20 for IERC20;
    using StakeHistory for StakeHistory.Trace;

    /// @notice Where slashed stake goes for good.
    address public constant BURN_ADDRESS = 0x000000000000000000000000000000000000dEaD;
    uint16 private constant BPS = 10_000;

    IERC20 private immutable _token;
    /// @inheritdoc IStakeRegistry
    uint64 public immutable unbondingSeconds;

    struct Key {
        G1Point g1;
        G2Point g2;
    }

    mapping(address account => mapping(Role => StakeAccount)) private _stakes;
    mapping(address account => Key) private _keys;
    mapping(bytes32 keyHash => address owner) private _keyOwners;
    mapping(address account => uint96) private _credits;
    mapping(address account => StakeHistory.Trace) private _history;
    StakeHistory.Trace private _totalHistory;

    constructor(Modules memory set, address token_, uint64 unbondingSeconds_) ModuleSet(set, set.registry) {
        require(token_ != address(0), ZeroAmount());
        _token = IERC20(token_);
        unbondingSeconds = unbondingSeconds_;
    }

    modifier onlyModules() {
        require(
            msg.sender == address(TRAINERS) || msg.sender == address(VERIFIERS) || msg.sender == address(COURT)
                || msg.sender == address(JURY),
            NotModule(msg.sender)
        );
        _;
    }

    // Stakes.

    /// @inheritdoc IStakeRegistry
    function deposit(Role role, uint96 amount) external {
        _deposit(msg.sender, role, amount);
    }

    /// @inheritdoc IStakeRegistry
    function depositFor(address account, Role role, uint96 amount) external {
        _deposit(account, role, amount);
    }

    /// @inheritdoc IStakeRegistry
    function requestUnbond(Role role, uint96 amount) external {
        require(amount != 0, ZeroAmount());
        StakeAccount storage stake = _stakes[msg.sender][role];
        uint96 free = _free(stake);
        require(amount <= free, InsufficientFreeStake(msg.sender, role, free, amount));
        // Disputes lock what backs them, so challengers need no delay.
        uint64 withdrawableAt = uint64(block.timestamp) + (role == Role.Challenger ? 0 : unbondingSeconds);
        stake.unbonding += amount;
        stake.withdrawableAt = withdrawableAt;
        if (role == Role.Verifier) _remember(msg.sender);
        emit UnbondingStarted(msg.sender, role, amount, withdrawableAt);
    }

    /// @inheritdoc IStakeRegistry
    function withdraw(Role role) external returns (uint96 amount) {
        StakeAccount storage stake = _stakes[msg.sender][role];
        amount = stake.unbonding;
        require(amount != 0, NothingToWithdraw(msg.sender, role));
        require(block.timestamp >= stake.withdrawableAt, StillUnbonding(stake.withdrawableAt, uint64(block.timestamp)));
        stake.total -= amount;
        stake.unbonding = 0;
        stake.withdrawableAt = 0;
        emit StakeWithdrawn(msg.sender, role, amount);
        _token.safeTransfer(msg.sender, amount);
    }

    /// @inheritdoc IStakeRegistry
    function lock(address account, Role role, uint96 amount) external onlyModules {
        StakeAccount storage stake = _stakes[account][role];
        uint96 free = _free(stake);
        require(amount <= free, InsufficientFreeStake(account, role, free, amount));
        stake.locked += amount;
        emit StakeLocked(account, role, amount);
    }

    /// @inheritdoc IStakeRegistry
    function unlock(address account, Role role, uint96 amount) external onlyModules {
        _takeLocked(account, role, amount);
        emit StakeUnlocked(account, role, amount);
    }

    /// @inheritdoc IStakeRegistry
    function slash(address account, Role role, uint96 amount, address beneficiary, uint16 rewardBps)
        external
        onlyModules
        returns (uint96 reward)
    {
        // INVARIANT: a slash reaches locked stake only; what is locked for one task never pays for another.
        _takeLocked(account, role, amount).total -= amount;
        reward = beneficiary == address(0) ? 0 : uint96(uint256(amount) * rewardBps / BPS);
        uint96 burned = amount - reward;
        _credits[beneficiary] += reward;
        if (role == Role.Verifier) _remember(account);
        emit StakeSlashed(account, role, beneficiary, amount, reward, burned);
        if (burned != 0) _token.safeTransfer(BURN_ADDRESS, burned);
    }

    /// @inheritdoc IStakeRegistry
    function fine(address account, Role role, uint96 amount) external returns (uint96 taken) {
        require(msg.sender == address(JURY), NotModule(msg.sender));
        StakeAccount storage stake = _stakes[account][role];
        // INVARIANT: what a module holds is never touched. Attack: start to unbond when a vote goes wrong; that is reached.
        uint96 loose = stake.total - stake.locked;
        taken = amount < loose ? amount : loose;
        if (taken == 0) return 0;
        stake.total -= taken;
        if (stake.unbonding > loose - taken) stake.unbonding = loose - taken;
        if (role == Role.Verifier) _remember(account);
        emit StakeFined(account, role, taken);
        _token.safeTransfer(BURN_ADDRESS, taken);
    }

    // Credits: rewards of slashes.

    /// @inheritdoc IStakeRegistry
    function withdrawCredit() external returns (uint96 amount) {
        amount = _credits[msg.sender];
        require(amount != 0, ZeroAmount());
        _credits[msg.sender] = 0;
        emit CreditWithdrawn(msg.sender, amount);
        _token.safeTransfer(msg.sender, amount);
    }

    /// @inheritdoc IStakeRegistry
    function transferCredit(address to, uint96 amount) external {
        _spendCredit(amount);
        _credits[to] += amount;
        emit CreditMoved(msg.sender, to, amount);
    }

    /// @inheritdoc IStakeRegistry
    function burnCredit(uint96 amount) external {
        _spendCredit(amount);
        emit CreditMoved(msg.sender, BURN_ADDRESS, amount);
        _token.safeTransfer(BURN_ADDRESS, amount);
    }

    // Keys.

    /// @inheritdoc IStakeRegistry
    function registerKey(G1Point calldata keyG1, G2Point calldata keyG2, G1Point calldata possession) external {
        require(_keys[msg.sender].g1.isZero(), KeyAlreadyRegistered(msg.sender));
        require(keyG1.x < BN254.P && keyG1.y < BN254.P && !keyG1.isZero(), InvalidKey());
        // Attack: a key and its negative, which cancel in a sum of keys. Both have the same x, and only one is taken.
        bytes32 keyHash = keccak256(abi.encode(keyG1.x));
        require(_keyOwners[keyHash] == address(0), KeyAlreadyUsed(keyHash, _keyOwners[keyHash]));
        // Attack: a rogue key, the attacker's own minus the sum of the others, would sign for all. Nobody knows its secret,
        // so nobody can sign the owner's address with it. EIP-197 refuses points outside the curve or the subgroup.
        require(
            BN254.verifies(Commitments.POSSESSION_DOMAIN, possessionDigest(msg.sender), keyG1, keyG2, possession),
            InvalidProofOfPossession(msg.sender)
        );
        _keys[msg.sender] = Key(keyG1, keyG2);
        _keyOwners[keyHash] = msg.sender;
        emit KeyRegistered(msg.sender, keyG1, keyG2);
    }

    /// @inheritdoc IStakeRegistry
    function possessionDigest(address owner) public view returns (bytes32) {
        return Commitments.possession(address(this), owner);
    }

    // Views.

    /// @inheritdoc IStakeRegistry
    function token() external view returns (address) {
        return address(_token);
    }

    /// @inheritdoc IStakeRegistry
    function stakeOf(address account, Role role) external view returns (StakeAccount memory) {
        return _stakes[account][role];
    }

    /// @inheritdoc IStakeRegistry
    function freeStakeOf(address account, Role role) external view returns (uint96) {
        return _free(_stakes[account][role]);
    }

    /// @inheritdoc IStakeRegistry
    function keyOf(address account) external view returns (G1Point memory keyG1, G2Point memory keyG2) {
        return (_keys[account].g1, _keys[account].g2);
    }

    /// @inheritdoc IStakeRegistry
    function keyG1Of(address account) external view returns (G1Point memory) {
        return _keys[account].g1;
    }

    /// @inheritdoc IStakeRegistry
    function isSignedBy(address account, bytes32 domain, bytes32 message, G1Point calldata signature)
        external
        view
        returns (bool)
    {
        Key memory key = _keys[account];
        return !key.g1.isZero() && BN254.verifies(domain, message, key.g1, key.g2, signature);
    }

    /// @inheritdoc IStakeRegistry
    function isSignedWith(
        bytes32 domain,
        bytes32 message,
        G1Point calldata keyG1,
        G2Point calldata keyG2,
        G1Point calldata signature
    ) external view returns (bool) {
        return BN254.verifies(domain, message, keyG1, keyG2, signature);
    }

    /// @inheritdoc IStakeRegistry
    function hashToPoint(bytes32 message) external view returns (G1Point memory) {
        return BN254.hashToPoint(Commitments.SETTLEMENT_DOMAIN, message);
    }

    /// @inheritdoc IStakeRegistry
    function verifierStakeAt(address account, uint64 moment) external view returns (uint96) {
        require(moment < block.timestamp, NotPast(moment));
        return _history[account].stakeAt(moment);
    }

    /// @inheritdoc IStakeRegistry
    function totalVerifierStakeAt(uint64 moment) external view returns (uint96) {
        require(moment < block.timestamp, NotPast(moment));
        return _totalHistory.stakeAt(moment);
    }

    /// @inheritdoc IStakeRegistry
    function creditOf(address account) external view returns (uint96) {
        return _credits[account];
    }

    function _deposit(address account, Role role, uint96 amount) private {
        require(amount != 0, ZeroAmount());
        _token.take(msg.sender, amount);
        _stakes[account][role].total += amount;
        if (role == Role.Verifier) _remember(account);
        emit StakeDeposited(account, role, msg.sender, amount);
    }

    function _takeLocked(address account, Role role, uint96 amount) private returns (StakeAccount storage stake) {
        stake = _stakes[account][role];
        require(amount <= stake.locked, InsufficientLockedStake(account, role, stake.locked, amount));
        stake.locked -= amount;
    }

    function _spendCredit(uint96 amount) private {
        uint96 credit = _credits[msg.sender];
        require(amount <= credit, InsufficientCredit(msg.sender, credit, amount));
        _credits[msg.sender] = credit - amount;
    }

    /// @dev Write down the verifier stake that is not on its way out, and the sum of all.
    function _remember(address account) private {
        StakeAccount storage stake = _stakes[account][Role.Verifier];
        uint96 current = stake.total - stake.unbonding;
        StakeHistory.Trace storage history = _history[account];
        uint96 before = history.latest();
        if (current == before) return;
        uint96 total = _totalHistory.latest() + current - before;
        history.push(current);
        _totalHistory.push(total);
        emit VerifierStakeChanged(account, current, total);
    }

    function _free(StakeAccount storage stake) private view returns (uint96) {
        return stake.total - stake.locked - stake.unbonding;
    }
}
