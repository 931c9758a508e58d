"""Who takes part in the demo, and with what."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

__all__ = [
    "DEPLOYER",
    "FEDPEAT",
    "FOLDER",
    "NAMES",
    "NETWORK",
    "ORDINARY",
    "ROUNDS",
    "SPONSOR",
    "SYBIL",
    "TRAINERS",
    "VERIFIERS",
    "Participant",
    "Scenario",
]

ROUNDS = 3
"""One round alone may gain little, and whose delta gained it is mostly noise: pay tells trainers apart from here on."""


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
    same_person: bool = False
    """Whether it is one of several names of one person, on one shard."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A demo: who plays, for how many rounds, by which draft of a task."""

    name: str
    draft: str
    trainers: tuple[Participant, ...]
    verifiers: tuple[Participant, ...]
    rounds: int
    audit_options: tuple[str, ...] = ()
    gateway: bool = True
    """Whether participants find a gateway by the chain, instead of sharing a folder."""
    sealed: bool = False
    """Whether rows are sealed for the verifiers, and adapters for who takes part."""
    machines: tuple[str, str] | None = None
    """Names of two machines, where the full model is and where it is not; None if everybody works on one."""

    @property
    def federated(self) -> bool:
        """Whether trainers work on an emulator."""
        return self.machines is not None

    @property
    def names(self) -> tuple[Participant, ...]:
        """Trainers that are one person; nobody, if everybody has one name."""
        return tuple(p for p in self.trainers if p.same_person)

    @property
    def judges_value(self) -> bool:
        """Whether the rounds suffice for what a run promises about pay and quality."""
        return self.rounds >= ROUNDS

    def draft_text(self) -> str:
        """The task's draft, with the rounds of this run, and what is sealed."""
        text = Path(__file__).with_name(self.draft).read_text(encoding="utf-8")
        if self.sealed:
            sealed = '[adapter]\nvisibility = "participants"\n\n[data]\nvisibility = "verifiers"\n'
            text = text.replace("[data]\n", sealed)
        return text.replace(f"\nrounds = {ROUNDS}\n", f"\nrounds = {self.rounds}\n")

    def of(self, rounds: int | None) -> Scenario:
        """The same with so many rounds; unchanged for None."""
        return self if rounds is None else replace(self, rounds=rounds)

    @property
    def participants(self) -> tuple[Participant, ...]:
        """Everybody with a key, in the order of the accounts."""
        return (DEPLOYER, SPONSOR, *self.trainers, *self.verifiers)


DEPLOYER = Participant("deployer", 0)
"""Deploys the contracts and hands out demo tokens."""
SPONSOR = Participant("sponsor", 1)
"""Funds the task."""
TRAINERS = (
    Participant("alice", 2, shard="imdb", about="films"),
    Participant("bob", 3, shard="yelp", about="restaurants"),
    Participant("carol", 4, shard="amazon", about="products"),
    Participant("nora", 5, shard="noisy", about="flipped labels"),
    Participant("mallory", 6, honest=False, shard="cheat", about="skips steps"),
)
"""The ordinary demo: three honest shards, one with flipped labels, one cheat."""
NAMES = ("sal", "sam", "sid")
"""One person's."""
VERIFIERS = (Participant("victor", 7), Participant("vera", 8), Participant("vincent", 9))
"""The ordinary demo."""
ORDINARY = Scenario("sentiment", "sentiment.toml", TRAINERS, VERIFIERS, rounds=ROUNDS)
"""`deltaproof demo`."""
FOLDER = replace(ORDINARY, name="folder", gateway=False)
"""`deltaproof demo --folder`: the ordinary demo among people who trust each other with one folder."""
NETWORK = replace(ORDINARY, name="network", sealed=True)
"""`deltaproof demo --network`: the ordinary demo among strangers who show each other nothing."""
SYBIL = Scenario(
    "sybil",
    "sentiment.toml",
    (
        *TRAINERS[:3],
        *(Participant(n, 5 + i, shard="names", about="one shard", same_person=True) for i, n in enumerate(NAMES)),
    ),
    (Participant("victor", 8), Participant("vera", 9), Participant("vincent", 10)),
    rounds=ROUNDS,
)
"""`deltaproof demo --sybil`: three honest shards, and one person who enrols a fourth under three names."""
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
    rounds=ROUNDS,
    audit_options=("--rescore",),
    gateway=False,
    machines=("owner", "trainers"),
)
"""`deltaproof demo --fedpeat`: trainers work on an emulator of a model that its owner keeps."""
