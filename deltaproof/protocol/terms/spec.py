"""The task spec: everything that determines a task's results, as one frozen document whose digest is on chain.

A spec is written in TOML, completed with what only a program can compute (digests), and stored as a canonical JSON
document. Both ways in go through the same strict validation; an unknown key is an error, never a warning.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    ValidationError,
    model_validator,
)

from deltaproof.errors import EncodingError, SpecError
from deltaproof.protocol.rules import (
    BPS,
    MAX_BUDGET,
    MAX_PHASE_SECONDS,
    MAX_PROVER_BPS,
    MAX_ROUNDS,
    MAX_SPEC_BYTES,
    MAX_STAKE,
    MIN_BASE_BPS,
)
from deltaproof.protocol.terms._spec_errors import explain
from deltaproof.protocol.terms.control import ControlSection
from deltaproof.protocol.terms.federation import FederationSection, ModelSource
from deltaproof.protocol.types import Address, AmountField, DigestField
from deltaproof.protocol.wire.documents import Document, Record
from deltaproof.protocol.wire.encoding import canonical_json

__all__ = [
    "AggregationSection",
    "CodecSection",
    "DataSection",
    "MethodSection",
    "ModelSection",
    "OptimizerSection",
    "OptionValue",
    "PhasesSection",
    "RewardsSection",
    "ScoringSection",
    "TaskSection",
    "TaskSpec",
    "TrainingSection",
    "ValidationSection",
    "VerificationSection",
    "load_spec",
    "parse_spec",
    "read_toml",
]

Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Scalar = bool | int | float | str
OptionValue = Scalar | tuple[Scalar, ...]


def _option_value(value: object) -> object:
    if isinstance(value, list) and all(isinstance(item, (bool, int, float, str)) for item in value):
        return tuple(value)
    if isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError("expected true/false, a number, text, or a list of these")


def _option_json(value: OptionValue) -> object:
    return list(value) if isinstance(value, tuple) else value


Options = dict[str, Annotated[OptionValue, PlainValidator(_option_value), PlainSerializer(_option_json)]]
Positive = Annotated[int, Field(ge=1, le=2**31 - 1)]
Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
BasisPoints = Annotated[int, Field(ge=0, le=BPS)]
Seconds = Annotated[int, Field(ge=1, le=MAX_PHASE_SECONDS)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
NonNegative = Annotated[float, Field(ge=0.0)]


class TaskSection(Record):
    """What a person reads."""

    name: Name
    description: Annotated[str, StringConstraints(max_length=4000)] = ""


class ModelSection(Record):
    """The base model, as trainers hold it."""

    kind: Literal["sequence-classification", "causal-lm", "image-classification"]
    source: ModelSource
    weights_digest: DigestField
    num_labels: Count = 0
    max_tokens: Positive

    @model_validator(mode="after")
    def _labels_fit_kind(self) -> Self:
        if (self.kind == "causal-lm") != (self.num_labels == 0):
            raise ValueError("num_labels must be at least 2 for a classification model and absent for causal-lm")
        if self.num_labels == 1:
            raise ValueError("num_labels must be at least 2")
        return self


class MethodSection(Record):
    """The PEFT method, its options, and the seed of every random draw it makes (initialisation, frozen parts)."""

    name: Name
    seed: DigestField
    options: Options = Field(default_factory=dict)


class OptimizerSection(Record):
    """The optimiser and its per-step constants; see `docs/protocol.md`, section 2."""

    name: Literal["sgd", "momentum", "adam", "adamw"]
    learning_rate: Annotated[float, Field(gt=0.0)]
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    eps: Annotated[float, Field(gt=0.0)] = 1e-8
    weight_decay: NonNegative = 0.0
    momentum: Fraction = 0.9
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup_steps: Count = 0
    clip_norm: NonNegative = 0.0
    """Largest L2 norm of a step's gradient; 0 means no clipping."""


class TrainingSection(Record):
    """One round of one trainer. Bounds are relative L2 differences between committed and recomputed gradients."""

    steps: Positive
    batch_size: Positive
    accumulation: Positive = 1
    """Equal parts that a batch is computed in; their gradients are summed."""
    numeric: Literal["exact", "bounded"] = "exact"
    dropout: bool = False
    gradient_dtype: Literal["float32", "bfloat16"] = "float32"
    """Bounded mode only: what the trainer computes gradients in."""
    bound_tensor: Annotated[float, Field(gt=0.0)] = 5e-5
    """Bounded mode: per tensor, relative to its norm, or to `bound_floor` of the whole gradient's if that is larger."""
    bound_total: Annotated[float, Field(gt=0.0)] = 1e-5
    """Bounded mode: on the whole gradient."""
    bound_floor: NonNegative = 1e-2
    drift_sigmas: Annotated[float, Field(gt=0.0)] = 6.0
    """Bounded mode: standard errors by which the mean projected difference over all samples may leave zero."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.batch_size % self.accumulation:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of accumulation {self.accumulation}")
        if self.numeric == "exact" and self.gradient_dtype != "float32":
            raise ValueError('gradient_dtype applies to numeric = "bounded" only')
        return self


class DataSection(Record):
    """Who may read the rows of sampled steps, and which data roots may be enrolled (none named: any).

    Trainers of one named root are one player and share its value (`incentives.unions`).
    """

    visibility: Literal["public", "verifiers"] = "public"
    roots: tuple[DigestField, ...] = ()
    min_rows: Positive = 1


class CodecSection(Record):
    """How a delta travels, and how large it may be."""

    name: Name = "float32"
    options: Options = Field(default_factory=dict)
    byte_limit: Positive


class AggregationSection(Record):
    """How the accepted deltas become the next starting adapter."""

    rule: Literal["mean", "median", "trimmed_mean", "multi_krum"] = "mean"
    include: Literal["positive", "accepted"] = "positive"
    """Every accepted delta, or only those with a positive score."""
    weights: Literal["equal", "rows"] = "equal"
    rank: Count = 0
    """Rank after refactoring; 0 keeps the method's."""
    trim_fraction: Annotated[float, Field(ge=0.0, lt=0.5)] = 0.1
    """`trimmed_mean`: share cut off at each end."""
    byzantine: Count = 0
    """`multi_krum`: number of hostile deltas tolerated."""


class ScoringSection(Record):
    """The semivalue, how it is estimated, and what counts as a copy."""

    index: Literal["shapley", "banzhaf", "beta_shapley", "leave_one_out"] = "shapley"
    method: Name = "auto"
    """Estimator; `auto` is exact enumeration while the budget allows it."""
    budget: Positive = 256
    """Largest number of coalition evaluations in a round."""
    beta_a: Annotated[float, Field(gt=0.0)] = 1.0
    beta_b: Annotated[float, Field(gt=0.0)] = 1.0
    tolerance_nanos: Count = 1_000_000
    """Largest difference between two verifiers' scores that still counts as agreement, nano-nats."""
    similarity_threshold: Annotated[float, Field(gt=0.0, le=1.0)] = 0.98
    """Cosine similarity of two updates in product space from which the later one is treated as a copy."""
    batch_size: Positive = 64
    """Validation rows per forward pass."""


class ValidationSection(Record):
    """Commitments to the hidden validation sets: one for each round in order, then the final test set."""

    commitments: tuple[DigestField, ...]
    rows: Positive
    """Rows of each set."""


class RewardsSection(Record):
    """Money, in smallest units of the reward token (integers or decimal strings)."""

    budget_per_round: AmountField
    rounds: Annotated[int, Field(ge=1, le=MAX_ROUNDS)]
    verifier_fee_bps: BasisPoints
    """Paid to verifiers on top of each round's budget."""
    target_nanos: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    """Improvement, nano-nats, at which the whole budget is released; 0 releases it always."""
    floor_bps: BasisPoints = 0
    """Of the released budget, to every accepted trainer before scores count."""
    cap_bps: Annotated[int, Field(ge=1, le=BPS)] = BPS
    """Of the released budget, the most that one trainer gets before the base tops it up."""
    base_bps: Annotated[int, Field(ge=MIN_BASE_BPS, le=BPS)] = 2_000
    """Of the budget, the least that accepted work is paid in all, and what a round without quorum pays."""


class VerificationSection(Record):
    """Samples, quorum and what is at stake."""

    samples: Count
    """Drawn steps per verifier and trainer, besides the first and the last."""
    quorum_bps: Annotated[int, Field(gt=BPS // 2, le=BPS)] = 6_667
    """Share of the enrolled verifier stake that must sign a settlement."""
    commit_bond: AmountField
    slash_bps: BasisPoints
    """Of the locked stake, lost for a rejected or withheld round or a proven fault."""
    prover_bps: Annotated[int, Field(ge=0, le=MAX_PROVER_BPS)] = 2_000
    """Of a slash, to whoever proved the fault; the rest is burned."""
    absence_bps: Annotated[int, Field(ge=1, le=BPS)] = 100
    """Of a verifier's stake, lost for a round without attestation; doubles with each in a row, up to `slash_bps`."""
    min_trainer_stake: AmountField
    min_verifier_stake: AmountField
    min_trainers: Positive = 1
    """Enrolled trainers without whom no round opens."""
    min_verifiers: Positive = 1

    @model_validator(mode="after")
    def _stakes_fit_the_contract(self) -> Self:
        if min(self.commit_bond, self.slash_bps) == 0:
            raise ValueError("commit_bond and slash_bps must lie above 0: work with nothing at stake proves nothing")
        if self.absence_bps > self.slash_bps:
            raise ValueError("absence_bps cannot exceed slash_bps")
        if self.commit_bond > self.min_trainer_stake:
            raise ValueError("commit_bond is part of the trainer's stake and cannot exceed min_trainer_stake")
        if max(self.min_trainer_stake, self.min_verifier_stake) > MAX_STAKE or self.min_verifier_stake == 0:
            raise ValueError("stakes must lie below 2^96, min_verifier_stake above 0")
        return self


class PhasesSection(Record):
    """Longest duration of each phase of a round, seconds; a phase ends early when all who may act have acted.

    Drawing a seed has no duration of its own: it ends when the beacon has decided.
    """

    commit: Seconds
    reveal: Seconds
    opening: Seconds
    attest_commit: Seconds
    attest_reveal: Seconds
    settle: Seconds
    window: Seconds
    """For disputes about the settlement."""
    slash: Seconds = 86_400
    """How long after a round its stakes stay slashable at least."""
    claim: Positive = 2_592_000
    """How long after a round rewards can be claimed; longer than `slash`."""
    activation: Count = 0
    """How long a verifier's stake is locked before it weighs in a quorum; a day at least, except on test chains."""

    @model_validator(mode="after")
    def _claims_outlast_disputes(self) -> Self:
        if self.claim <= self.slash:
            raise ValueError("claim must be longer than slash: demands can hold a claim that long")
        return self


class TaskSpec(Document, kind="task", max_bytes=MAX_SPEC_BYTES):
    """A complete task. Equal specs have equal digests; nothing outside the spec affects a result."""

    task: TaskSection
    model: ModelSection
    method: MethodSection
    start_digest: DigestField
    """Component root of the starting adapter."""
    optimizer: OptimizerSection
    training: TrainingSection
    data: DataSection = DataSection()
    codec: CodecSection
    aggregation: AggregationSection = AggregationSection()
    scoring: ScoringSection = ScoringSection()
    validation: ValidationSection
    rewards: RewardsSection
    verification: VerificationSection
    phases: PhasesSection
    federation: FederationSection | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        expected = self.rewards.rounds + 1
        if len(self.validation.commitments) != expected:
            raise ValueError(
                f"validation.commitments has {len(self.validation.commitments)} entries; "
                f"{self.rewards.rounds} rounds need {expected} (one each, and the final test set)"
            )
        if self.optimizer.warmup_steps > self.training.steps:
            raise ValueError("optimizer.warmup_steps exceeds training.steps")
        if not 1 <= self.rewards.budget_per_round <= MAX_BUDGET:
            raise ValueError("rewards.budget_per_round must lie between 1 and 2^88-1, as the contract keeps it")
        if self.federation is not None:
            self._check_federation(self.federation)
        return self

    def discount_bps(self, trainer: Address) -> int:
        """What the spec itself takes off an original delta's pay: all, of a server that works without."""
        server = self.federation.server if self.federation else None
        return BPS if server is not None and server.trainer == trainer and not server.paid else 0

    def _check_federation(self, federation: FederationSection) -> None:
        if federation.server is not None and not federation.server.paid and self.rewards.floor_bps:
            raise ValueError("rewards.floor_bps would pay federation.server, which the task does not pay")
        first = federation.emulators[0]
        if (self.model.source, self.model.weights_digest) != (first.source, first.weights_digest):
            raise ValueError("model must name the first of federation.emulators, which trainers hold")
        if federation.control is not None:
            self._check_control(federation.control, len(federation.emulators))

    def _check_control(self, control: ControlSection, emulators: int) -> None:
        choice = control.choice(emulators)
        options = self.method.options
        alpha = control.knobs.alpha_per_rank * choice.rank
        chosen = {
            "training.steps": (self.training.steps, choice.steps),
            "method.options.r": (options.get("r"), choice.rank),
            "method.options.lora_alpha": (options.get("lora_alpha"), alpha),
            "codec.name": (self.codec.name, choice.codec),
            "codec.options": (self.codec.options, {}),
        }
        for key, (found, expected) in chosen.items():
            if found != expected:
                raise ValueError(f"{key} is {found!r}, but federation.control chose {expected!r}")


def load_spec(path: Path | str) -> TaskSpec:
    """Read and check a complete TOML spec. Raises SpecError naming the file and every wrong key."""
    return parse_spec(read_toml(path), origin=str(path))


def read_toml(path: Path | str) -> dict[str, object]:
    """The raw tables of a TOML file, for a caller that completes them before `parse_spec`. Raises SpecError."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise SpecError(f"cannot read task spec {path}: {error.strerror or error}") from error
    if len(data) > MAX_SPEC_BYTES:
        raise SpecError(f"task spec {path} has {len(data)} bytes; the limit is {MAX_SPEC_BYTES}")
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SpecError(f"{path} is not valid TOML: {error}") from error


def parse_spec(value: Mapping[str, object], origin: str = "task spec") -> TaskSpec:
    """Check the tables of a spec. Raises SpecError with one line per wrong key."""
    try:
        return TaskSpec.model_validate_json(canonical_json(dict(value)))
    except EncodingError as error:
        raise SpecError(f"{origin}: {error}") from error
    except ValidationError as error:
        lines = [f"  {explain(TaskSpec, details)}" for details in error.errors(include_url=False)]
        problems = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
        raise SpecError("\n".join([f"{origin} has {problems}:", *lines])) from error
