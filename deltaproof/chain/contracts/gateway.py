"""Everything a participant needs of one deployment: all contracts, typed, with or without a key."""

from __future__ import annotations

from dataclasses import astuple

from deltaproof.chain.abi.structs import TaskView
from deltaproof.chain.contracts.beacon import Beacon
from deltaproof.chain.contracts.deployment import Deployment
from deltaproof.chain.contracts.disputes import DisputeCourt, FaultProver
from deltaproof.chain.contracts.money import Money
from deltaproof.chain.contracts.outcomes import Jury, SettlementProver
from deltaproof.chain.contracts.pools import TrainerPool, VerifierFees, VerifierPool
from deltaproof.chain.contracts.registry import StakeRegistry, Token
from deltaproof.chain.contracts.tasks import TaskManager, TaskTerms
from deltaproof.chain.contracts.vault import RewardVault
from deltaproof.chain.events import LogReader
from deltaproof.chain.rpc.connection import Connection
from deltaproof.chain.rpc.relays import Relays
from deltaproof.chain.rpc.sender import TransactionSender
from deltaproof.errors import SigningKeyError
from deltaproof.protocol.commit.commitments import RoundDomain
from deltaproof.protocol.types import ZERO_DIGEST, Address, Digest32, RoundIndex, TaskId, TokenAmount
from deltaproof.store.permits import PermitDomain

__all__ = ["Gateway"]


class Gateway:
    """The contracts of one deployment. Writes need `sender`."""

    def __init__(
        self,
        connection: Connection,
        deployment: Deployment,
        sender: TransactionSender | None = None,
        relays: Relays | None = None,
    ) -> None:
        """`deployment.check(connection)` says whether the addresses are what they claim to be.

        `relays`: where rounds of drand come from, by default the network's public relays.
        """
        modules = deployment.modules
        self.connection = connection
        self.deployment = deployment
        self.sender = sender
        self.relays = relays or Relays()
        self.max_stake: TokenAmount | None = None
        """Most that `lock_stake` lets the account have staked in all its roles; None: no limit of ours."""
        self.registry = StakeRegistry(connection, modules.registry, sender)
        self.beacon = Beacon(connection, modules.beacon, sender)
        self.terms = TaskTerms(connection, modules.terms, sender)
        self.tasks = TaskManager(connection, modules.tasks, sender)
        self.trainers = TrainerPool(connection, modules.trainers, sender)
        self.verifiers = VerifierPool(connection, modules.verifiers, sender)
        self.vault = RewardVault(connection, modules.vault, sender)
        self.fees = VerifierFees(connection, modules.fees, sender)
        self.court = DisputeCourt(connection, modules.court, sender)
        self.jury = Jury(connection, modules.jury, sender)
        self.faults = FaultProver(connection, modules.faults, sender)
        self.settlements = SettlementProver(connection, modules.settlements, sender)
        self.events = LogReader(connection, astuple(modules))
        self._money: dict[Address, Money] = {}

    @property
    def account(self) -> Address:
        """The sender's address. Raises SigningKeyError without a sender."""
        if self.sender is None:
            raise SigningKeyError("this needs a private key; the connection only reads")
        return self.sender.address

    def token(self, place: Address) -> Token:
        """An ERC-20, e.g. `gateway.token(gateway.registry.token())`."""
        return Token(self.connection, place, self.sender)

    def money(self, token: Address) -> Money:
        """How amounts of a token are written and read; asked of it once."""
        if token not in self._money:
            self._money[token] = Money.of(self.token(token))
        return self._money[token]

    def task(self, task_id: TaskId) -> TaskView:
        """A task as it stands: what it fixed, and where it is."""
        state = self.tasks.state(task_id)
        sponsor, params = self.terms.sponsor(task_id), self.terms.params(task_id)
        return TaskView(sponsor, state.cancelled, state.round, state.adapter_digest, params)

    def domain(self, task_id: TaskId, round_index: RoundIndex) -> RoundDomain:
        """What sealed and signed values of a round are bound to."""
        return RoundDomain(self.connection.chain_id, self.deployment.modules.tasks, task_id, round_index)

    def posted_digest(self, task_id: TaskId, round_index: RoundIndex | None = None) -> Digest32:
        """Digest of the settlement that is posted in a round, by default the current one: demands and cases name it.

        Zero before the first round, which contracts refuse.
        """
        round_ = self.tasks.phase(task_id).round if round_index is None else round_index
        if not round_:
            return Digest32(ZERO_DIGEST)
        view = self.tasks.round(task_id, round_)
        return view.settlement.signing_digest(self.domain(task_id, round_), view.attempts)

    @property
    def permit_domain(self) -> PermitDomain:
        """What is signed for stores of this deployment is bound to."""
        return PermitDomain(self.connection.chain_id, self.deployment.modules.tasks)
