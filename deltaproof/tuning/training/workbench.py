"""A task's model, method and layout, ready to compute: what trainer, verifier and auditor all work on."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from deltaproof.errors import DeltaproofError, is_accelerator_failure, is_out_of_memory
from deltaproof.protocol.evidence.state import Layout, Vector, check_vector
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.tuning.base_models.batches import IGNORED, made_up_row, make_batch
from deltaproof.tuning.base_models.layers import hidden
from deltaproof.tuning.base_models.loading import load_base
from deltaproof.tuning.base_models.loss import loss_sum
from deltaproof.tuning.codecs import DeltaCodec, create_codec
from deltaproof.tuning.errors import CodecError, MethodError, ModelError, RowError
from deltaproof.tuning.methods import Method, create_method
from deltaproof.tuning.methods.low_rank import mergeable_pairs, tensors_of
from deltaproof.tuning.numerics.memory import give_back
from deltaproof.tuning.numerics.precision import Precision, assert_gradual, assert_wide, computing_in, dtype_of
from deltaproof.tuning.numerics.products import LowRankPair
from deltaproof.tuning.numerics.randomness import CounterDropout, assert_drawless
from deltaproof.tuning.training.checkpointing import checkpointed, layers_to_checkpoint
from deltaproof.tuning.training.optimizers import constants_table, optimizer_id, slots_of

__all__ = ["RowNorms", "Workbench", "training_precision"]


def training_precision(spec: TaskSpec) -> Precision:
    """What a trainer computes gradients in."""
    return "float64" if spec.training.numeric == "exact" else spec.training.gradient_dtype


@dataclass(frozen=True)
class RowNorms:
    """Root of the sum of squared norms of the rows' own gradients, as a whole and by tensor."""

    whole: float
    tensors: Mapping[str, float]


@dataclass(frozen=True)
class Workbench:
    """Model with its trainable tensors. Vectors are float32, shape (P,), in the layout's order.

    One workbench serves one thread: `gradient` and `load` write the adapter into the model.
    """

    spec: TaskSpec
    precision: Precision
    device: str
    method: Method
    model: nn.Module
    tokenizer: Any
    layout: Layout
    start: Vector
    """The values that the method's seed gives; the spec's `start_digest` names them or another starting adapter."""
    checkpointing: bool = False
    """Compute layers again in the backward pass instead of keeping what they computed: less memory, the same bits."""

    @classmethod
    def from_spec(
        cls,
        spec: TaskSpec,
        device: str = "cpu",
        precision: Precision | None = None,
        *,
        checkpointing: bool = False,
        lends: bool = False,
    ) -> Workbench:
        """Load the task's model and attach its method. `precision` defaults to what a trainer uses. `lends`: a later
        workbench of this process in another precision may hold the same weights (`load_base`).

        Raises ModelError, also for a model that draws random numbers of its own, MethodError, CodecError, or
        NarrowingError if the model cannot be kept in float64 where that is asked; ModelError or MethodError where
        layers cannot be computed twice for `checkpointing`.
        """
        precision = precision or training_precision(spec)
        if device.startswith("cuda"):
            _be_deterministic_on_cuda()
        assert_gradual(device)
        method = create_method(spec.method)
        _check_frozen(spec, method)
        with torch.random.fork_rng(devices=[]):  # libraries draw values that are then overwritten
            if method.calibrated:
                method.calibrate(load_base(spec.model, spec.method.seed, "float64"), spec.model)
            base = load_base(
                spec.model, spec.method.seed, precision, device,
                packed=spec.federation is not None, beside=method.leaves_matrices, lends=lends,
            )  # fmt: skip
            with computing_in(precision), _tuned_layers(base.model, spec):
                model = method.attach(base.model, spec.model.kind, spec.method.seed).to(device)
        trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
        layout = Layout.of({name: tuple(p.shape) for name, p in trainable.items()})
        start = _flat([trainable[name].detach() for name in layout.names]).float().cpu().numpy()
        bench = cls(spec, precision, device, method, model, base.tokenizer, layout, start, checkpointing)
        if checkpointing:
            layers_to_checkpoint(model, method)  # or a reason why not
        _check_partial(bench)
        _check_rank(bench)
        _check_step(bench)
        bench.train()
        bench.load(start)
        _probe(bench)
        give_back()
        return bench

    def train(self) -> None:
        """Switch dropout on, if the task has it. Batch normalisation stays with its stored statistics: those of a batch
        would make rows influence each other, and each step would leave its own behind, which no state commits to."""
        self.model.train(self.spec.training.dropout)
        for module in self.model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()

    @property
    def optimizer(self) -> int:
        """The contracts' number of the task's optimiser."""
        return optimizer_id(self.spec.optimizer)

    @property
    def slots(self) -> tuple[str, ...]:
        """Components of a state that the task uses."""
        return slots_of(self.spec.optimizer)

    @cached_property
    def parameters(self) -> tuple[nn.Parameter, ...]:
        """Trainable parameters in the layout's order, looked up once: it takes as long as hashing a component."""
        named = dict(self.model.named_parameters())
        return tuple(named[name] for name in self.layout.names)

    @cached_property
    def constants(self) -> NDArray[np.float32]:
        """The optimiser's constants table, shape (steps, 16)."""
        return constants_table(self.spec.optimizer, self.spec.training.steps)

    @cached_property
    def pairs(self) -> tuple[LowRankPair, ...]:
        """Of the method's unfolded tensors, those that act through products."""
        return self.method.pairs(self.model)

    @cached_property
    def codec(self) -> DeltaCodec:
        """How deltas travel."""
        return create_codec(self.spec.codec, self.layout, self.pairs)

    def tuned(self, gradient: Tensor, round_key: bytes) -> Tensor:
        """The gradient, shape (P,), of the values that the trainer with this key tunes; zero for others."""
        if round_key not in self._masks:
            mask = self.codec.mask(round_key)
            self._masks.clear()
            self._masks[round_key] = None if mask is None else torch.from_numpy(mask).to(self.device)
        kept = self._masks[round_key]
        return gradient if kept is None else torch.where(kept, gradient, 0.0)

    @cached_property
    def _masks(self) -> dict[bytes, Tensor | None]:
        return {}

    def initial_state(self) -> Vector:
        """A copy of the seeded starting values."""
        return self.start.copy()

    def load(self, theta: Vector | Tensor) -> None:
        """Write adapter values into the model, rounded to its precision. Raises EncodingError if they do not fit."""
        values = (
            theta if isinstance(theta, Tensor) else torch.from_numpy(check_vector(theta, self.layout.size, "theta"))
        )
        values = values.to(self.device)
        with torch.no_grad():
            for name, parameter in zip(self.layout.names, self.parameters, strict=True):
                parameter.copy_(values[self.layout.slices[name]].view(parameter.shape))

    def gradient(self, rows: Sequence[bytes], dropout_key: bytes, parts: int | None = None) -> tuple[Tensor, float]:
        """Gradient of the batch's mean loss at the loaded values, shape (P,), in the model's precision; loss in nats.

        `rows` are canonical rows in batch order. Raises RowError or EncodingError for a bad row.
        """
        parts = parts or self.spec.training.accumulation
        config = getattr(self.model, "config", None)
        batch = make_batch(
            rows, self.spec.model, tokenizer=self.tokenizer, config=config, parts=parts, device=self.device,
            pixels=dtype_of(self.precision),
        )  # fmt: skip
        for part in batch.parts:
            _check_labelled(part, self.spec.model.kind)
        parameters = self.parameters
        total: Tensor | None = None
        nats = 0.0
        with ExitStack() as stack:
            stack.enter_context(computing_in(self.precision))
            dropout = CounterDropout(dropout_key) if self.spec.training.dropout else None
            if dropout is not None:
                stack.enter_context(dropout)
            if self.checkpointing:
                layers = layers_to_checkpoint(self.model, self.method)
                stack.enter_context(checkpointed(layers, self.precision, dropout))
            stack.enter_context(self.method.sampling(self.model, dropout_key))
            for part in batch.parts:
                loss = loss_sum(self.model, part, self.spec.model.kind) / batch.count
                if (penalty := self.method.penalty(self.model)) is not None:
                    loss = loss + penalty / len(batch.parts)
                gradients = torch.autograd.grad(loss, parameters, materialize_grads=True, allow_unused=True)
                flat = _flat(gradients)
                total = flat if total is None else total + flat
                nats += float(loss.detach())
        if total is None:
            raise ValueError("a batch has at least one row")
        return total, nats

    def row_norms(self, rows: Sequence[bytes]) -> RowNorms:
        """Norms of each row's own share of the gradient, at the loaded values, under the dropout key of zeros."""
        whole, tensors = 0.0, dict.fromkeys(self.layout.names, 0.0)
        for row in rows:
            gradient = self.gradient([row], bytes(32), parts=1)[0].double() / len(rows)
            whole += float(gradient.square().sum())
            for name, where in self.layout.slices.items():
                tensors[name] += float(gradient[where].square().sum())
        return RowNorms(math.sqrt(whole), {name: math.sqrt(total) for name, total in tensors.items()})

    def export(self, theta: Vector, folder: Path) -> None:
        """Write the deliverable: a folder that `deltaproof.tuning.methods.load_adapter` loads, for peft's methods
        `PeftModel.from_pretrained` as well."""
        self.load(theta)
        self.method.export(self.model, folder, self.spec.model.source)


def _probe(bench: Workbench) -> None:
    """Compute a step of one made-up row. Raises ModelError where none can be computed, or where the model draws random
    numbers of its own, NarrowingError where it leaves float64."""
    row = made_up_row(bench.spec.model, getattr(bench.model, "config", None), "a probe of several words")

    def step() -> None:
        bench.gradient([row], bytes(32), parts=1)

    def drawless() -> None:
        assert_drawless(step, bench.device)

    try:
        with computing_in(bench.precision):  # no other model computes, and draws, meanwhile
            if bench.precision == "float64":
                assert_wide(drawless)
            else:
                drawless()
    except DeltaproofError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError) as error:  # whatever models and methods say of one another
        if is_out_of_memory(error) or is_accelerator_failure(error):
            raise
        what = f"{bench.spec.method.name} cannot be trained on this model in {bench.precision}"
        raise ModelError(f"{what}: {type(error).__name__}: {error}") from error


def _check_labelled(part: Mapping[str, Tensor], kind: str) -> None:
    """Raises RowError for a row without a prediction: it would fill a batch, cost nothing and teach nothing."""
    if kind != "causal-lm":
        return
    empty = ~(part["labels"][:, 1:] != IGNORED).any(1)
    if empty.any():
        raise RowError(
            f"{int(empty.sum())} rows of the batch leave nothing to predict within max_tokens: shorten their prompts, "
            f"or take them out of the data"
        )


def _check_frozen(spec: TaskSpec, method: Method) -> None:
    """Raises MethodError where a method changes or reads the matrices that the task wants rounded."""
    if spec.model.frozen_dtype != "stored" and not method.leaves_matrices:
        raise MethodError(
            f"{spec.method.name} with these options tunes or reads the model's matrices themselves, which "
            f'model.frozen_dtype = "{spec.model.frozen_dtype}" freezes; use "stored", or lora, ia3, pfeiffer, houlsby, '
            f"bitfit or layernorm"
        )


def _check_partial(bench: Workbench) -> None:
    """Raises CodecError where federated dropout makes no sense: what a trainer leaves out has to stay as it was, and
    whoever aggregates has to know of every aggregated value who tuned it."""
    if not bench.codec.partial:
        return
    if bench.spec.optimizer.weight_decay:
        raise CodecError("federated dropout leaves values as they are, which weight decay does not")
    if bench.spec.aggregation.rule != "mean":
        raise CodecError(
            f"federated dropout takes the mean over those who tuned a value; {bench.spec.aggregation.rule} compares "
            f"trainers as a whole"
        )
    if type(bench.method).unfold is not Method.unfold:
        raise CodecError(
            f"federated dropout does not go with {bench.spec.method.name}, whose aggregated values are not those that "
            f"are trained"
        )


def _check_rank(bench: Workbench) -> None:
    """Raises MethodError for a rank that no aggregate of this method has: verifiers would find out after a round."""
    wanted = bench.spec.aggregation.rank
    if not wanted:
        return
    tensors = bench.method.unfold(tensors_of(bench.layout, bench.start))
    least = min((tensors[pair.a].shape[0] for pair in bench.pairs), default=0)
    if wanted > least:
        has = f"has pairs of rank {least}" if least else "has no low-rank pairs"
        raise MethodError(f"aggregation.rank is {wanted}, but {bench.spec.method.name} {has}; 0 keeps the method's")


def _check_step(bench: Workbench) -> None:
    """Raises CodecError or MethodError where deltas do not add up to a step whose shares could be paid for."""
    if bench.spec.scoring.index != "aumann_shapley":
        return
    name = bench.spec.method.name
    if bench.codec.partial:
        raise CodecError(
            "aumann_shapley pays for shares of one sum; under federated dropout every value has a mean of its own"
        )
    if not bench.method.adds_up:
        raise MethodError(f"aumann_shapley pays for shares of one sum; what {name} aggregates is not what it trains")
    if len(mergeable_pairs(bench.model)) != len(bench.pairs):
        raise MethodError(
            f"aumann_shapley pays for shares of one sum of products, and those of {name} cannot be merged into this "
            f"model's weights; choose lora or a method without products, or another scoring.index"
        )


def _tuned_layers(base: nn.Module, spec: TaskSpec) -> AbstractContextManager[None]:
    """Where a method may attach: everywhere, or in a federation's adapter layers and outside of layers."""
    return nullcontext() if spec.federation is None else hidden(base, spec.federation.adapter_layers)


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _be_deterministic_on_cuda() -> None:
    if not torch.cuda.is_available():
        raise ModelError("no CUDA device is available here")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
