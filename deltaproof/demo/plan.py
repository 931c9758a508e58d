"""Who takes part in the demo, and with what."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEPLOYER", "SPONSOR", "TRAINERS", "VERIFIERS", "Participant"]


@dataclass(frozen=True, slots=True)
class Participant:
    """One process with a key of its own. `account` is its place among the chain's funded accounts."""

    name: str
    account: int
    honest: bool = True
    shard: str = ""
    about: str = ""


DEPLOYER = Participant("deployer", 0)
SPONSOR = Participant("sponsor", 1)
TRAINERS = (
    Participant("alice", 2, shard="imdb", about="films"),
    Participant("bob", 3, shard="yelp", about="restaurants"),
    Participant("carol", 4, shard="amazon", about="products"),
    Participant("nora", 5, shard="noisy", about="flipped labels"),
    Participant("mallory", 6, honest=False, shard="cheat", about="skips steps"),
)
VERIFIERS = (Participant("victor", 7), Participant("vera", 8), Participant("vincent", 9))
