"""Sections of a spec that say what is trained, and how: model, method, optimiser, training, data, codec."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator

from deltaproof.protocol.rules import (
    MAX_AUDITORS,
    MAX_BATCH_ROWS,
    MAX_BOUND_FLOOR,
    MAX_BOUND_TENSOR,
    MAX_BOUND_TOTAL,
    MAX_CLIP_NORM,
    MAX_DATA_ROWS,
    MAX_DECAY,
    MAX_DRIFT_SIGMAS,
    MAX_EPS,
    MAX_LABELS,
    MAX_LEARNING_RATE,
    MAX_ROW_BYTES,
    MAX_STEPS,
    MAX_TOKENS,
    MAX_WEIGHT_DECAY,
    MIN_BOUND,
    MIN_DRIFT_SIGMAS,
    MIN_EPS,
    MIN_LEARNING_RATE,
)
from deltaproof.protocol.terms._fields import Name, Options, Positive
from deltaproof.protocol.terms.federation import ModelSource
from deltaproof.protocol.types import ZERO_DIGEST, Digest32, DigestField
from deltaproof.protocol.wire.documents import Record

__all__ = [
    "AdapterSection",
    "CodecSection",
    "DataSection",
    "MethodSection",
    "ModelSection",
    "OptimizerSection",
    "TaskSection",
    "TrainingSection",
]

_Decay = Annotated[float, Field(ge=0.0, le=MAX_DECAY)]


class TaskSection(Record):
    """What a person reads."""

    name: Name
    """A title of 1 to 200 characters."""
    description: Annotated[str, StringConstraints(max_length=4000)] = ""
    """What the task is about, for those who think of taking part; at most 4,000 characters."""


class ModelSection(Record):
    """The base model, as trainers hold it."""

    kind: Literal["sequence-classification", "causal-lm", "image-classification"]
    """What the model predicts; decides the form of a data row."""
    source: ModelSource
    """Where the model lies: `package:`, `path:`, `hub:` or `emulator:` with what belongs behind the colon."""
    weights_digest: DigestField
    """SHA-256 over tensors, configuration and tokeniser; computed by `deltaproof task create` if left out."""
    num_labels: Annotated[int, Field(ge=0, le=MAX_LABELS)] = 0
    """Classes of a classification model, at least 2; absent for causal-lm."""
    max_tokens: Annotated[int, Field(ge=0, le=MAX_TOKENS)] = 0
    """Tokens of a row that are used, the rest is cut off; absent for images."""
    frozen_dtype: Literal["stored", "bfloat16", "int8", "int4"] = "stored"
    """What the frozen matrices of layers are rounded to, for everybody alike, to save memory: integers share a scale by
    64. Adapter, gradients and optimiser stay float32. `stored` leaves the weights as their files have them."""


class MethodSection(Record):
    """The PEFT method, its options, and the seed of every random draw it makes (initialisation, frozen parts)."""

    name: Name
    """One of the methods in docs/methods.md."""
    seed: DigestField
    """32 bytes from which the adapter is initialised; drawn by `deltaproof task create` if left out."""
    options: Options = Field(default_factory=dict)
    """The method's own options, such as `r` and `lora_alpha`; docs/methods.md lists them."""


class OptimizerSection(Record):
    """The optimiser and its per-step constants; see `docs/protocol.md`, section 2."""

    name: Literal["sgd", "momentum", "adam", "adamw"]
    """The update rule; adamw is adam with decoupled weight decay."""
    learning_rate: Annotated[float, Field(ge=MIN_LEARNING_RATE, le=MAX_LEARNING_RATE)]
    """Largest learning rate of a round, which the schedule scales."""
    beta1: _Decay = 0.9
    """Decay of the first moment a step; adam and adamw only."""
    beta2: _Decay = 0.999
    """Decay of the second moment a step; adam and adamw only."""
    eps: Annotated[float, Field(ge=MIN_EPS, le=MAX_EPS)] = 1e-8
    """Added to the root of the second moment; adam and adamw only."""
    weight_decay: Annotated[float, Field(ge=0.0, le=MAX_WEIGHT_DECAY)] = 0.0
    """Share of a value, times the learning rate, that a step takes away; an L2 penalty except under adamw."""
    momentum: _Decay = 0.9
    """Decay of the momentum buffer a step; momentum only."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the learning rate falls from the end of the warm-up to the end of the round: not at all, or to 0."""
    warmup_steps: Annotated[int, Field(ge=0, le=MAX_STEPS)] = 0
    """Steps in which the learning rate rises linearly; at most training.steps."""
    clip_norm: Annotated[float, Field(ge=0.0, le=MAX_CLIP_NORM)] = 0.0
    """Largest L2 norm of a step's gradient; 0 means no clipping."""


class TrainingSection(Record):
    """One round of one trainer. Bounds are relative L2 differences between committed and recomputed gradients."""

    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)]
    """Optimiser steps of a round."""
    batch_size: Annotated[int, Field(ge=1, le=MAX_BATCH_ROWS)]
    """Rows of a step."""
    accumulation: Annotated[int, Field(ge=1, le=MAX_BATCH_ROWS)] = 1
    """Equal parts that a batch is computed in, to save memory; their gradients are summed."""
    numeric: Literal["exact", "bounded"] = "exact"
    """`exact`: gradients agree up to rounding ties of float64; `bounded`: within the bounds below, at half the cost."""
    dropout: bool = False
    """Whether the model's dropout is on, with masks that verifiers draw again."""
    gradient_dtype: Literal["float32"] = "float32"
    """What the trainer computes gradients in; bounded mode only."""
    bound_tensor: Annotated[float, Field(ge=MIN_BOUND, le=MAX_BOUND_TENSOR)] = 5e-5
    """Largest difference of one tensor, relative to its norm, or to `bound_floor` of the whole gradient's if that is
    larger; bounded mode only. A loss is held against it, too."""
    bound_total: Annotated[float, Field(ge=MIN_BOUND, le=MAX_BOUND_TOTAL)] = 1e-5
    """Largest difference of the whole gradient, relative to its norm; bounded mode only."""
    bound_floor: Annotated[float, Field(ge=0.0, le=MAX_BOUND_FLOOR)] = 1e-2
    """Share of the whole gradient's norm below which a tensor's own norm does not count; bounded mode only."""
    drift_sigmas: Annotated[float, Field(ge=MIN_DRIFT_SIGMAS, le=MAX_DRIFT_SIGMAS)] = 6.0
    """Standard errors by which the mean projected difference over all samples may leave zero; bounded mode only."""

    @field_validator("gradient_dtype", mode="before")
    @classmethod
    def _coarse_gradients_hide_pushes(cls, value: object) -> object:
        if value == "bfloat16":
            raise ValueError(
                "a push that drowns in bfloat16 rounding moves an adapter by a tenth of what training does"
            )
        return value


class DataSection(Record):
    """Who may read the rows of sampled steps, and which data may be enrolled.

    Trainers of one named root are one player and share its value (`incentives.unions`).
    """

    visibility: Literal["public", "verifiers"] = "public"
    """Who reads the openings of drawn steps, with their rows: everybody, or the round's verifiers, jurors of a case
    about it, and auditors."""
    auditors: Annotated[tuple[DigestField, ...], Field(max_length=MAX_AUDITORS)] = ()
    """Reading keys of auditors for whom every trainer seals its openings, too (`deltaproof keys new` makes one)."""
    roots: tuple[DigestField, ...] = ()
    """Data roots that may be enrolled; none named means any. `deltaproof task create` finds those of
    `[sponsor] shards`."""
    min_rows: Annotated[int, Field(ge=1, le=MAX_DATA_ROWS)] = 1
    """Fewest rows that a trainer may enrol; never fewer than training.batch_size."""
    max_rows: Annotated[int, Field(ge=1, le=MAX_DATA_ROWS)] = 2**20
    """Most rows that a trainer may enrol: verifiers shuffle as many."""
    max_row_bytes: Annotated[int, Field(ge=64, le=MAX_ROW_BYTES)] = 8_192
    """Most bytes of a row: verifiers fetch the rows of every drawn step."""

    @property
    def sealed(self) -> bool:
        """Whether openings are sealed for their readers."""
        return self.visibility == "verifiers"


class AdapterSection(Record):
    """Who may read deltas and adapters."""

    visibility: Literal["public", "participants"] = "public"
    """Who reads starting adapter, deltas and aggregates: everybody, or trainers, verifiers, sponsor, jurors of a case
    and `data.auditors`, until the sponsor publishes them."""
    secret: DigestField = ZERO_DIGEST
    """Commitment to the secret that a private task's adapters are sealed with; made by `deltaproof task create`."""

    @property
    def sealed(self) -> Digest32 | None:
        """Commitment to the secret that deltas and adapters are sealed with; None where everybody reads them."""
        return self.secret if self.visibility == "participants" else None


class CodecSection(Record):
    """How a delta travels, and how large it may be."""

    name: Name = "float32"
    """One of the codecs in docs/methods.md, or a selection and a way to write values joined by `|`."""
    options: Options = Field(default_factory=dict)
    """The codec's own options; docs/methods.md lists them."""
    byte_limit: Positive
    """Most bytes of a delta; the codec's largest delta must fit."""
