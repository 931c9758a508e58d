"""The contracts' enumerations (`contracts/interfaces/Types.sol`); the numbers are on chain."""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "AttestationState",
    "Component",
    "Fault",
    "Optimizer",
    "Outcome",
    "Phase",
    "Role",
]


class Role(IntEnum):
    """What stake vouches for."""

    TRAINER = 0
    VERIFIER = 1
    CHALLENGER = 2


class Phase(IntEnum):
    """Where a task is in its current round."""

    IDLE = 0
    DRAW = 1
    COMMIT = 2
    REVEAL = 3
    CHALLENGE = 4
    OPENING = 5
    ATTEST_COMMIT = 6
    ATTEST_REVEAL = 7
    SETTLE = 8
    WINDOW = 9


class Outcome(IntEnum):
    """How a round ended. Without attestations or quorum, whoever revealed and opened is paid the base."""

    RUNNING = 0
    SETTLED = 1
    NO_COMMITMENTS = 2
    NO_REVEALS = 3
    NO_ATTESTATIONS = 4
    NO_QUORUM = 5


class Fault(IntEnum):
    """A fault of a trainer that a contract established by itself."""

    NONE = 0
    NON_FINITE_VALUE = 1
    WRONG_UPDATE = 2
    WRONG_START = 3
    WRONG_DELTA = 4
    MALFORMED_RECORD = 5
    OPENING_WITHHELD = 6


class Optimizer(IntEnum):
    """Element-wise optimiser; AdamW is Adam with `decay` below 1."""

    SGD = 0
    MOMENTUM = 1
    ADAM = 2

    @property
    def slots(self) -> tuple[str, ...]:
        """Components of the state that it uses."""
        return ("theta", "m", "v")[: self + 1]


class Component(IntEnum):
    """One vector that a record commits to."""

    THETA = 0
    FIRST_MOMENT = 1
    SECOND_MOMENT = 2
    ERROR_MEMORY = 3
    GRADIENT = 4


class AttestationState(IntEnum):
    """How far a verifier's attestation came."""

    NONE = 0
    COMMITTED = 1
    REVEALED = 2
    ABSENT = 3
    """Charged for a round without attestation."""
    EXCLUDED = 4
    """Punished for what it signed; earns nothing."""
