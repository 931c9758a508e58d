"""The beacon whose seeds phases and votes wait for (`IBeacon`, `IDrandBeacon`)."""

from __future__ import annotations

from functools import cached_property

from deltaproof.chain.abi.structs import BeaconNetwork, FixedSeed, G1Point
from deltaproof.chain.contracts.client import ContractClient
from deltaproof.chain.rpc.sender import Receipt
from deltaproof.errors import ContractRevert, DeploymentError
from deltaproof.protocol.commit.bls import Signature
from deltaproof.protocol.types import Digest32

__all__ = ["Beacon"]


class Beacon(ContractClient):
    """A beacon of either kind; what only `DrandBeacon` knows is asked only where `network` is not None."""

    INTERFACE = "IDrandBeacon"

    @cached_property
    def network(self) -> BeaconNetwork | None:
        """The drand network that decides, None where blocks do. It never changes, so it is asked once."""
        try:
            return self._read(BeaconNetwork, "network")
        except (ContractRevert, DeploymentError):
            return None

    def request_count(self) -> int:
        """Number of requests so far; they count from 1."""
        return self._read(int, "requestCount")

    def seed(self, request: int) -> FixedSeed:
        """A request's seed, if it is fixed."""
        return self._read(FixedSeed, "seedOf", request)

    def target_block(self, request: int) -> int:
        """Block whose hash decides, 0 while a round of drand does."""
        return self._read(int, "targetBlockOf", request)

    def drand_round(self, request: int) -> int:
        """Round of drand that decides, 0 if a block does."""
        return self._read(int, "roundOf", request)

    def randomness(self, drand_round: int) -> Digest32:
        """A published round's randomness, zero before."""
        return self._read(Digest32, "randomnessOf", drand_round)

    def fulfil(self, request: int) -> Receipt:
        """Fix the seed if it is decided; does nothing before that."""
        return self._write("fulfil", request)

    def publish(self, drand_round: int, signature: Signature) -> Receipt:
        """Bring a round's signature; a round that is known already changes nothing."""
        return self._write("publish", drand_round, G1Point.of(signature.point))
