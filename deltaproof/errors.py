"""What can go wrong in normal operation, each with a message that a person can act on.

Every exception class of the product descends from `DeltaproofError`. Those that more than one room raises are defined
here, the others in the room named in brackets. A test compares this drawing with the classes.

    DeltaproofError
    ├── UsageError               a command was given something it cannot work with
    ├── OverLimit                something would take more than its owner allows a role to use
    ├── SpecError                a task spec is unreadable or wrong
    ├── EncodingError            bytes are not what the protocol's encoding allows
    │   └── Misfit               an opening shows something else than was committed [protocol.evidence.opened]
    ├── CryptoError              a key, point, signature or proof is malformed or does not verify
    ├── ArtifactError            something about one artifact of the store (attribute `artifact`)
    │   ├── ArtifactMissing      it is not there
    │   ├── ArtifactAltered      it is there, with bytes that do not match what was committed
    │   ├── ArtifactTooLarge     it exceeds the limit known before the read
    │   ├── ArtifactSealed       it is there, but sealed for others
    │   └── StoreUnavailable     the store does not answer, or refuses
    ├── Refused                  a replayed step fails a check, which becomes its verdict [replaying.refusal]
    ├── SigningKeyError          a private key is missing, unreadable or in use
    ├── ChainError               something about the chain or a contract on it
    │   ├── ChainUnavailable     no answer from the RPC endpoint
    │   │   ├── BlockUnknown     no node has the block that was asked about: it lags, or the chain was reorganised
    │   │   ├── SignerUnavailable    a remote signer does not answer, or refuses [chain.rpc.remote_signer]
    │   │   └── EndpointFailed   one of several endpoints gave no proper answer [chain.rpc.endpoints]
    │   ├── TaskRefused          nothing can ever come of taking part in this task like this
    │   │   └── TaskMissing      the node shows no such task: it lags, or the number is wrong
    │   ├── WrongChain           the endpoint serves another chain than the one asked for
    │   ├── DeploymentError      contracts, artifacts or addresses do not fit together
    │   │   └── ContractMissing  the node shows no contract there: it lags, or the address is wrong
    │   ├── ChainReorganised     a block or receipt that was seen is no longer there
    │   ├── AnswerTooLarge       a node refuses to list so many logs at once [auditor.index.rpc]
    │   └── TransactionError     a transaction was not accepted
    │       ├── ContractRevert   the contract refused, with a named error and its arguments
    │       ├── InsufficientFunds    the sender cannot pay for it
    │       └── TransactionPending   not mined within the bound; it may still be
    ├── TooSlow                  a server did not finish in the time that its bytes are worth [store.waiting]
    ├── WorkAbandoned            heavy work was given up because nobody needs it any more
    ├── WorkersLost              workers died or failed again and again, or there were none [tuning.errors]
    ├── NodeError                a local chain did not start or died [chain.local_node]
    ├── TuningError              a model, method or training run cannot be used as the spec asks [tuning.errors]
    │   ├── ModelError           the base model is missing, altered, or of a kind that is not supported
    │   ├── HubError             a hub does not have what is named, does not give it, or is not to be asked
    │   ├── NarrowingError       the model cannot be kept in float64
    │   ├── MethodError          the PEFT method or an option of it is unknown or does not fit the model
    │   ├── CodecError           the codec or an option of it is unknown, or a delta does not fit it
    │   ├── RowError             a data row does not fit the task
    │   ├── DivergenceError      training produced a value that is not finite
    │   └── TranscriptError      a transcript on disk does not belong to the round, or cannot be regenerated
    ├── ScoringError             a game cannot be scored as asked [incentives.semivalues]
    │   ├── UnknownIndexError    no such semivalue
    │   ├── UnknownMethodError   no such estimator, or one that does not estimate the index asked for
    │   ├── BudgetError          too few evaluations for the estimator
    │   └── GameError            the game returned something that is not one finite number per coalition
    ├── PayoutError              an input of the payout rule is out of range [incentives.payouts]
    ├── NothingToSettle          no usable attestation of the round was revealed [incentives.settling]
    ├── UnknownSubject           the chain knows no such task, round or participant [auditor.facts.tasks]
    ├── BundleError              a file is no bundle of a round [auditor.bundle]
    ├── IndexUnusable            the auditor's database is of another version or deployment [auditor.index.schema]
    ├── RequestRefused           a gateway does not serve a request [gateway.refusals]
    └── CommandError             a command that the demo started failed [demo.processes]

Anything else that is raised is a fault of the program.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

__all__ = [
    "UNUSABLE",
    "ArtifactAltered",
    "ArtifactError",
    "ArtifactMissing",
    "ArtifactSealed",
    "ArtifactTooLarge",
    "BlockUnknown",
    "ChainError",
    "ChainReorganised",
    "ChainUnavailable",
    "ContractMissing",
    "ContractRevert",
    "CryptoError",
    "DeltaproofError",
    "DeploymentError",
    "EncodingError",
    "InsufficientFunds",
    "OverLimit",
    "Problem",
    "SigningKeyError",
    "SpecError",
    "StoreUnavailable",
    "TaskMissing",
    "TaskRefused",
    "TransactionError",
    "TransactionPending",
    "UsageError",
    "WorkAbandoned",
    "WrongChain",
    "cause_of",
    "is_accelerator_failure",
    "is_out_of_memory",
]


class DeltaproofError(Exception):
    """Base of every error that is expected in normal operation."""


class UsageError(DeltaproofError):
    """A command was given something it cannot work with; the message says what to do."""


class OverLimit(DeltaproofError):
    """Something would take more than its owner allows a role to use; the message says which limit to raise."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a draft or spec: the key it is about, what is wrong, and what to do."""

    key: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.key}: {self.what}; {self.remedy}"


class SpecError(DeltaproofError):
    """A task spec is unreadable or wrong; `problems` are all that were found, and the message numbers them."""

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)

    @classmethod
    def of(cls, origin: str, problems: Sequence[Problem]) -> Self:
        """All problems of what `origin` names."""
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = [f"  {number}. {problem}" for number, problem in enumerate(problems, start=1)]
        return cls("\n".join([f"{origin} has {count}:", *lines]), problems)


class EncodingError(DeltaproofError):
    """Bytes are not what the protocol's encoding allows."""


class CryptoError(DeltaproofError):
    """A key, point, signature or proof is malformed or does not verify."""


class ArtifactError(DeltaproofError):
    """Something about one artifact of the store; `artifact` is its path relative to the store."""

    def __init__(self, artifact: str, message: str) -> None:
        super().__init__(f"artifact {artifact}: {message}")
        self.artifact = artifact


class ArtifactMissing(ArtifactError):
    """The artifact is not in the store."""


class ArtifactAltered(ArtifactError):
    """The artifact's bytes do not match what was committed."""


class ArtifactTooLarge(ArtifactError):
    """The artifact exceeds the limit known before the read."""


class ArtifactSealed(ArtifactError):
    """The artifact is sealed, and no envelope is for a key that is held here."""

    OPENINGS, WEIGHTS = "the openings of this transcript", "deltas and adapters of this task"
    """What may be sealed."""
    _TOLD = re.compile(rf"(of 0x\w{{40}}, [\w ]+: )?artifact [\w/.-]+: ({OPENINGS}|{WEIGHTS}) are sealed, ")

    def __init__(self, artifact: str, what: str, held: str) -> None:
        """`what` is sealed; `held`: for whom, or what is lacking here."""
        super().__init__(artifact, f"{what} are sealed, {held}")

    @classmethod
    def is_told_by(cls, reason: str) -> bool:
        """Whether a reason in a report is such a message: what is not visible is told apart from what is wrong.

        Attack: be a store, or a node, and refuse in these words, so that an audit takes what you hide for sealed. They
        come behind words of our own there.
        """
        return cls._TOLD.match(reason) is not None


class StoreUnavailable(ArtifactError):
    """The store does not answer, or refuses."""


UNUSABLE = (ArtifactMissing, ArtifactAltered, ArtifactTooLarge, ArtifactSealed)
"""An artifact that is no use: whoever had to publish it answers for that. An outage is nobody's fault."""


class WorkAbandoned(DeltaproofError):
    """Work was given up between two steps, or while it waited, because nobody needs it any more. It says nothing about
    anybody's work."""


class SigningKeyError(DeltaproofError):
    """A private key is missing, unreadable or in use by another process."""


class ChainError(DeltaproofError):
    """Something about the chain or a contract on it."""


class ChainUnavailable(ChainError):
    """No answer from the RPC endpoint."""


class BlockUnknown(ChainUnavailable):
    """No node has the block that was asked about: they lag behind the one that showed it, or it was replaced."""


class TaskRefused(ChainError):
    """Nothing can ever come of taking part in a task like this; the message says what to do instead."""


class TaskMissing(TaskRefused):
    """The node shows no such task: it lags behind the task's creation, or the number is wrong."""


class WrongChain(ChainError):
    """The endpoint serves another chain than the one asked for."""


class DeploymentError(ChainError):
    """Contracts, artifacts or addresses do not fit together."""


class ContractMissing(DeploymentError):
    """The node shows no contract there: it lags behind the deployment, or the address is wrong."""


class ChainReorganised(ChainError):
    """A block or receipt that was seen is no longer part of the chain."""


class TransactionError(ChainError):
    """A transaction was not accepted."""


class ContractRevert(TransactionError):
    """The contract refused: `name` is its custom error, `arguments` that error's arguments by name."""

    def __init__(self, call: str, name: str, arguments: Mapping[str, object]) -> None:
        shown = ", ".join(f"{key}={_readable(value)}" for key, value in arguments.items())
        super().__init__(f"{call} refused by the contract: {name}({shown})")
        self.call = call
        self.name = name
        self.arguments = dict(arguments)


class InsufficientFunds(TransactionError):
    """The sender cannot pay for the transaction."""


class TransactionPending(TransactionError):
    """Not mined within the bound; it may still be mined, so it must not be replaced by another."""


MEMORY_WORDS = (
    "can't allocate memory", "cannot allocate memory", "not enough memory", "out of memory", "bad_alloc",
    "can't start new thread",
)  # fmt: skip
"""What torch, on a CPU or a GPU, and Python say in a RuntimeError where a MemoryError was meant."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was refused, by whichever library: the machine's fault, never that of the data."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in MEMORY_WORDS)


ACCELERATOR_WORDS = ("cuda error", "cublas", "cudnn", "cusolver")
"""What torch says when a GPU fails, by itself or for what a program asked of it; all that follows fails, too."""


def is_accelerator_failure(error: BaseException) -> bool:
    """Whether a GPU failed: the machine's fault, and the process has to begin anew."""
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in ACCELERATOR_WORDS)


def _readable(value: object) -> str:
    return f"0x{value.hex()}" if isinstance(value, bytes) else str(value)


def cause_of(error: BaseException, *, words: bool = False) -> str:
    """What the operating system said (`Connection refused`), or the kind of error. Libraries wrap it several times.

    `words`: else what the innermost error says. Where the URL that was asked holds a key or a login, they may hold it.
    """
    inner: BaseException | None = error
    last = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        last, inner = inner, inner.__cause__ or inner.__context__
    return f"{type(last).__name__}: {last}"[:300] if words else type(error).__name__
