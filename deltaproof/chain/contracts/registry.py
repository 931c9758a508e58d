"""Stakes, BLS keys, and the ERC-20s that stakes and rewards are paid in."""

from __future__ import annotations

from dataclasses import dataclass

from deltaproof.chain.abi.enums import Role
from deltaproof.chain.abi.structs import G1Point, G2Point, StakeAccount
from deltaproof.chain.contracts.client import ContractClient
from deltaproof.chain.rpc.sender import Receipt
from deltaproof.protocol.commit.bls import PublicKey, Signature
from deltaproof.protocol.types import Address, TokenAmount

__all__ = ["StakeRegistry", "Token"]


@dataclass(frozen=True)
class _KeyPair:
    g1: G1Point
    g2: G2Point


class StakeRegistry(ContractClient):
    """`IStakeRegistry`."""

    INTERFACE = "IStakeRegistry"

    def token(self) -> Address:
        """ERC-20 that everyone stakes."""
        return self._read(Address, "token")

    def unbonding_seconds(self) -> int:
        """Delay between request and withdrawal of stake."""
        return self._read(int, "unbondingSeconds")

    def stake_of(self, account: Address, role: Role) -> StakeAccount:
        """Everything that an account staked in a role."""
        return self._read(StakeAccount, "stakeOf", account, role)

    def key_of(self, account: Address) -> PublicKey | None:
        """The account's BLS key, checked to be valid points; None if it registered none."""
        pair = self._read(_KeyPair, "keyOf", account)
        return PublicKey.from_wire(pair.g1.wire, pair.g2.wire) if any(pair.g1.wire) else None

    def credit_of(self, account: Address) -> TokenAmount:
        """Slash rewards waiting for the account, stake token."""
        return self._read(TokenAmount, "creditOf", account)

    def verifier_stake_at(self, account: Address, moment: int) -> TokenAmount:
        """Verifier stake at the end of a past second, what is on its way out left aside; votes are weighed by it."""
        return self._read(TokenAmount, "verifierStakeAt", account, moment)

    def total_verifier_stake_at(self, moment: int) -> TokenAmount:
        """The same of all accounts together."""
        return self._read(TokenAmount, "totalVerifierStakeAt", moment)

    def deposit(self, role: Role, amount: TokenAmount) -> Receipt:
        """Stake tokens that the caller approved for this contract."""
        return self._write("deposit", role, amount)

    def deposit_for(self, account: Address, role: Role, amount: TokenAmount) -> Receipt:
        """Stake the caller's tokens for somebody else."""
        return self._write("depositFor", account, role, amount)

    def request_unbond(self, role: Role, amount: TokenAmount) -> Receipt:
        """Start to take out free stake."""
        return self._write("requestUnbond", role, amount)

    def withdraw(self, role: Role) -> Receipt:
        """Take out what has finished unbonding."""
        return self._write("withdraw", role)

    def register_key(self, key: PublicKey, possession: Signature) -> Receipt:
        """Register the caller's key; `possession` is `SecretKey.prove_possession(chain_id, registry, caller)`."""
        proof = G1Point.of(possession.point)
        return self._write("registerKey", G1Point.of(key.g1), G2Point.of(key.g2), proof)

    def transfer_credit(self, to: Address, amount: TokenAmount) -> Receipt:
        """Move the caller's own credit to another account."""
        return self._write("transferCredit", to, amount)

    def withdraw_credit(self) -> Receipt:
        """Pay out the caller's credit."""
        return self._write("withdrawCredit")


class Token(ContractClient):
    """An ERC-20; `mint` exists on the demo token only."""

    INTERFACE = "DemoToken"

    def symbol(self) -> str:
        """Short name, as the token calls itself."""
        return self._read(str, "symbol")

    def decimals(self) -> int:
        """Digits behind the point when shown to people."""
        return self._read(int, "decimals")

    def balance_of(self, account: Address, block: int | None = None) -> TokenAmount:
        """Units that an account holds."""
        return self._read(TokenAmount, "balanceOf", account, block=block)

    def allowance(self, owner: Address, spender: Address) -> TokenAmount:
        """Units of the owner that the spender may move."""
        return self._read(TokenAmount, "allowance", owner, spender)

    def approve(self, spender: Address, amount: TokenAmount) -> Receipt:
        """Let the spender move that many units of the caller."""
        return self._write("approve", spender, amount)

    def transfer(self, to: Address, amount: TokenAmount) -> Receipt:
        """Send units."""
        return self._write("transfer", to, amount)

    def mint(self, to: Address, amount: TokenAmount) -> Receipt:
        """Create play money (demo token)."""
        return self._write("mint", to, amount)
