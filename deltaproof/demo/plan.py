"""Who takes part in the demo, and with what."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEPLOYER", "FEDPEAT", "ORDINARY", "SPONSOR", "TRAINERS", "VERIFIERS", "Participant", "Scenario"]


@dataclass(frozen=True, slots=True)
class Participant:
    """One process with a key of its own. `account` is its place among the chain's funded accounts."""

    name: str
    account: int
    honest: bool = True
    shard: str = ""
    about: str = ""
    owner: bool = False
    """Holds the full model although it trains."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A demo: who plays, for how many rounds, by which draft of a task."""

    name: str
    draft: str
    trainers: tuple[Participant, ...]
    verifiers: tuple[Participant, ...]
    rounds: int
    audit_options: tuple[str, ...] = ()
    machines: tuple[str, str] | None = None
    """Names of two machines, where the full model is and where it is not; None if everybody works on one."""

    @property
    def participants(self) -> tuple[Participant, ...]:
        return (DEPLOYER, SPONSOR, *self.trainers, *self.verifiers)


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
ORDINARY = Scenario("sentiment", "sentiment.toml", TRAINERS, VERIFIERS, rounds=3)
FEDPEAT = Scenario(
    "fedpeat",
    "fedpeat.toml",
    (
        Participant("alice", 2, shard="imdb", about="films"),
        Participant("bob", 3, shard="yelp", about="restaurants"),
        Participant("olga", 4, shard="amazon", about="owns the model", owner=True),
        Participant("mallory", 5, honest=False, shard="cheat", about="skips steps"),
    ),
    (Participant("victor", 6), Participant("vera", 7)),
    rounds=3,
    audit_options=("--rescore",),
    machines=("owner", "trainers"),
)
