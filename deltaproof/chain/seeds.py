"""Seeds that phases and votes wait for: whoever needs one may bring it, and every role that moves a task on does.

A seed of `BlockhashBeacon` only has to be fixed in the 256 blocks after the one that decides; a seed of `DrandBeacon`
also needs a round's signature on chain, which somebody has to fetch and publish. Both fall back to a later block where
nobody did: docs/beacons.md.
"""

from __future__ import annotations

from collections.abc import Iterable

from deltaproof.chain.abi.structs import BeaconNetwork
from deltaproof.chain.contracts.gateway import Gateway
from deltaproof.chain.rpc.blocks import LOCAL_CHAINS
from deltaproof.protocol.types import Digest32

__all__ = ["bring_seed", "due_rounds", "publish_round"]

UNPUBLISHED = Digest32(bytes(32))


def bring_seed(gateway: Gateway, request: int, now: int) -> bool:
    """Do what a seed still needs to be fixed; whether whoever waits for it can ask for it now.

    `now`: the chain's clock. Raises ChainUnavailable if no relay has the round that is needed.
    """
    network = gateway.beacon.network
    round_ = gateway.beacon.drand_round(request) if network else 0
    if network is None or not round_:
        # A chain that makes blocks on demand makes none while everybody waits for one.
        on_demand = gateway.connection.chain_id in LOCAL_CHAINS
        return on_demand or gateway.connection.read_block.number > gateway.beacon.target_block(request)
    due = network.drand.time_of(round_)
    if now < due:
        return False
    # Beyond its patience the beacon wants to be asked, to let a block decide: unless the round is there, late as it is.
    return now > due + network.patience_seconds or publish_round(gateway, network, round_)


def publish_round(gateway: Gateway, network: BeaconNetwork, round_: int) -> bool:
    """Fetch a round, check it and publish it, unless it is there; true. Raises ChainUnavailable if no relay has it."""
    if gateway.beacon.randomness(round_) == UNPUBLISHED:
        gateway.beacon.publish(round_, gateway.relays.signature(network.drand, round_))
    return True


def due_rounds(gateway: Gateway, network: BeaconNetwork, requests: Iterable[int], now: int) -> list[int]:
    """Rounds of drand that these requests wait for, and that are signed by now but not published; ascending."""
    waiting = (request for request in requests if not gateway.beacon.seed(request).fixed)
    rounds = {gateway.beacon.drand_round(request) for request in waiting} - {0}
    signed = {round_ for round_ in rounds if network.drand.time_of(round_) <= now}
    return sorted(round_ for round_ in signed if gateway.beacon.randomness(round_) == UNPUBLISHED)
