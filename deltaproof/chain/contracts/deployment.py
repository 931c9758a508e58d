"""Where the contracts of one deployment are, and what a deployment fixes (`deploying` makes one)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from deltaproof.chain.abi.dispute_structs import CourtParams, JuryParams
from deltaproof.chain.abi.structs import BeaconNetwork, Modules
from deltaproof.chain.contracts.bytecode import CONTRACTS, runtime_problem
from deltaproof.chain.contracts.client import ContractClient
from deltaproof.chain.contracts.tasks import TaskManager
from deltaproof.chain.rpc.connection import Connection
from deltaproof.chain.rpc.endpoints import shown_url
from deltaproof.errors import ChainError, ChainUnavailable, ContractMissing, ContractRevert, DeploymentError, WrongChain
from deltaproof.protocol.commit.drand import EVMNET
from deltaproof.protocol.rules import CONTRACTS_VERSION
from deltaproof.protocol.types import Address, AddressField, TokenAmount
from deltaproof.protocol.wire.encoding import canonical_json
from deltaproof.reporting import span

__all__ = ["DRAND_LEAD_SECONDS", "DRAND_PATIENCE_SECONDS", "DeployParams", "Deployment", "evmnet_terms"]

MAX_FILE_BYTES = 64 * 1024


DEFAULT_COURT = CourtParams(demand_bond=TokenAmount(10 * 10**18), winner_bps=5_000, answer_seconds=86_400)
DEFAULT_JURY = JuryParams(
    bond=TokenAmount(100 * 10**18),
    seats=21,
    juror_bps=4_000,
    absence_bps=5,
    wrong_vote_bps=100,
    vote_seconds=6 * 3_600,
    appeal_seconds=6 * 3_600,
    activation_seconds=86_400,
)


CASE_LEVELS = 4
"""A vote, and three appeals."""
DRAND_LEAD_SECONDS = 30
"""How long after a request the round of drand is that decides it, seconds: nobody knows it yet."""
DRAND_PATIENCE_SECONDS = 3 * 86_400
"""How long the beacon waits for that round's signature before a block decides instead, seconds."""


def evmnet_terms() -> BeaconNetwork:
    """A beacon on drand's evmnet, with the usual lead and patience."""
    return BeaconNetwork.of(EVMNET, DRAND_LEAD_SECONDS, DRAND_PATIENCE_SECONDS)


@dataclass(frozen=True)
class DeployParams:
    """What a deployment fixes for ever."""

    guardian: Address
    """May stop new tasks, and new rounds for a week at a time; nothing else."""
    stake_token: Address | None = None
    """ERC-20 that everyone stakes; None deploys the demo token, which anyone may mint."""
    unbonding_seconds: int = 7 * 86_400
    beacon_delay_blocks: int = 1
    """Blocks between the request of a seed and the block whose hash decides it."""
    drand: BeaconNetwork | None = None
    """The drand network whose rounds decide seeds; None for the hashes of blocks."""
    court: CourtParams = DEFAULT_COURT
    jury: JuryParams = DEFAULT_JURY

    @property
    def longest_dispute_seconds(self) -> int:
        """A demand, or a case with all its appeals: no stake may leave faster (`DisputeCourt`, `JuryStore`)."""
        level = 2 * self.jury.vote_seconds + self.jury.appeal_seconds
        return max(self.court.answer_seconds, CASE_LEVELS * level)

    def require_sound(self) -> None:
        """Raises DeploymentError for what the tenth contract would refuse, when nine are paid for."""
        if self.unbonding_seconds < (least := self.longest_dispute_seconds):
            raise DeploymentError(
                f"stake that leaves after {span(self.unbonding_seconds)} would be gone before a case with all its "
                f"appeals ends, which takes {span(least)}: choose a delay of {least / 86_400:g} days at least"
            )


class _ModuleSet(ContractClient):
    INTERFACE = "ModuleSet"

    def version(self) -> int:
        """Version of the contracts' surface and encodings."""
        return self._read(int, "VERSION")

    def require_version(self) -> None:
        """Whether this package speaks to the contract. Raises DeploymentError."""
        try:
            version = f"of version {self.version()}"
        except ContractRevert:
            version = "of version 1, or none of deltaproof's"
        if version != f"of version {CONTRACTS_VERSION}":
            raise DeploymentError(
                f"the contract at {self.address} is {version}; this deltaproof speaks to contracts of version "
                f"{CONTRACTS_VERSION}: take the release that made the deployment, or make one with `deltaproof deploy`"
            )


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    chain_id: int
    block: int
    registry: AddressField
    beacon: AddressField
    terms: AddressField
    tasks: AddressField
    trainers: AddressField
    verifiers: AddressField
    vault: AddressField
    fees: AddressField
    court: AddressField
    jury: AddressField
    faults: AddressField
    settlements: AddressField


@dataclass(frozen=True)
class Deployment:
    """Chain, addresses, and the block of the first contract (0 if unknown): nothing happened before it."""

    chain_id: int
    block: int
    modules: Modules

    @classmethod
    def load(cls, path: Path | str) -> Deployment:
        """Read a deployment file. Raises DeploymentError."""
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise DeploymentError(f"cannot read deployment {path}: {error.strerror}") from error
        if len(data) > MAX_FILE_BYTES:
            raise DeploymentError(f"deployment {path} is too large")
        try:
            file = _File.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "file"
            raise DeploymentError(f"deployment {path}, {where}: {first['msg']}") from error
        modules = Modules(**{field.name: getattr(file, field.name) for field in fields(Modules)})
        return cls(file.chain_id, file.block, modules)

    @classmethod
    def at(cls, connection: Connection, tasks: Address) -> Deployment:
        """The deployment that the TaskManager at this address belongs to, as it says itself.

        Raises DeploymentError for another contract, ContractMissing where the node shows none, and ChainError, also
        ChainUnavailable, where it does not say: an outage is no wrong contract.
        """
        if not connection.has_code(tasks):
            raise _missing(connection, f"contract at {tasks}")
        _ModuleSet(connection, tasks).require_version()
        try:
            modules = TaskManager(connection, tasks).modules()
        except ContractMissing:
            raise
        except (ContractRevert, DeploymentError) as error:
            raise DeploymentError(f"{tasks} is not the TaskManager of a deployment: {error}") from error
        deployment = cls(connection.chain_id, 0, modules)
        deployment._check_code(connection)
        if deployment.modules.tasks != tasks:
            raise DeploymentError(f"{tasks} is not the TaskManager of its deployment, {deployment.modules.tasks} is")
        return deployment

    def save(self, path: Path | str) -> None:
        """Write a deployment file. Raises DeploymentError."""
        content = canonical_json({"chain_id": self.chain_id, "block": self.block, **asdict(self.modules)})
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(content + b"\n")
        except OSError as error:
            raise DeploymentError(f"cannot write deployment {path}: {error.strerror}") from error

    @staticmethod
    def require_place(path: Path) -> None:
        """Raises DeploymentError unless `save` can write there. What is there stays."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            new = not path.exists()
            path.open("ab").close()
            if new:
                path.unlink()
        except OSError as error:
            raise DeploymentError(f"cannot write deployment {path}: {error.strerror}; nothing was sent") from error

    def check(self, connection: Connection) -> None:
        """Whether this package's contracts are there and name each other. Raises WrongChain or DeploymentError."""
        if connection.chain_id != self.chain_id:
            raise WrongChain(
                f"the deployment is on chain {self.chain_id}, {connection.url} serves {connection.chain_id}"
            )
        _ModuleSet(connection, self.modules.tasks).require_version()
        self._check_code(connection)

    def _check_code(self, connection: Connection) -> None:
        for place in CONTRACTS:
            at = getattr(self.modules, place)
            code = connection.code(at)
            if not code:
                raise _missing(connection, f"{place} contract at {at}")
            if problem := runtime_problem(place, code, self.modules):
                raise DeploymentError(
                    f"the {place} contract at {at} {problem}; stake and pay would be at its mercy. Take the deltaproof "
                    "that made the deployment, or another deployment"
                )


def _missing(connection: Connection, what: str) -> ChainError:
    """What it means that a node shows no code: of one that still fetches the chain, nothing."""
    if connection.syncing():
        return ChainUnavailable(f"{shown_url(connection.url)} still fetches the chain and knows no {what} yet")
    return ContractMissing(f"there is no {what} on chain {connection.chain_id}; check --contract, and --rpc")
