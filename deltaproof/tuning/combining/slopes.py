"""How steeply the loss of a mixture falls along each member's update: what values along a path are integrals of.

One backward pass gives the gradient at the mixture's own weights. A member's slope is its inner product with the
member's product, without forming that product: <G, s B A> = s sum((B^T G) * A). So a pass costs the same for any number
of members, and a member costs two small products a module. The model computes in its own precision; losses, inner
products and sums are float64.

Legend: N members, P values of an adapter, G groups of rows, O x I shape of a merged weight, R rank of one adapter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deltaproof.protocol.evidence.state import Vector
from deltaproof.tuning.base_models.loss import logits_of
from deltaproof.tuning.combining.evaluation import Chunk, chunked, prediction_losses
from deltaproof.tuning.combining.mixtures import Mixtures, Weights, evaluating
from deltaproof.tuning.methods.low_rank import tensors_of
from deltaproof.tuning.numerics.linalg import Array
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["Slopes"]


class Slopes:
    """A validation set and the adapters of a round on a task's model. `mixes_exactly` has to hold of its evaluator.

    Pickles as what it was made from; the process that receives it loads the model itself.
    """

    def __init__(
        self,
        bench: Workbench,
        rows: Sequence[bytes],
        start: Vector,
        thetas: Sequence[Vector],
        groups: int,
        device: str | None = None,
    ) -> None:
        """`rows` are canonical; row v belongs to group v modulo `groups`. `start` and the N thetas have shape (P,).
        `device` is what a process computes on that receives it, if not the same as here.

        Raises EncodingError for a vector that does not fit.
        """
        self._made_from = (tuple(rows), start, tuple(thetas), groups)
        self._device = device or bench.device
        self.bench, self._mixtures = bench, Mixtures(bench)
        self._members = [tensors_of(bench.layout, theta) for theta in (start, *thetas)]
        limit = bench.spec.scoring.batch_size
        self._groups = [chunked(bench, range(g, len(rows), groups), rows, limit) for g in range(groups)]
        self._parameters = dict(bench.model.named_parameters())

    def __call__(self, shares: Array) -> Array:
        """-dL/dx along each member's whole update at the mixture `shares` float64 [1 + N], the start's first.

        Float64 [G, N]: sums over the predictions of each group, nats. A slope that is no finite number counts as 0.
        """
        found = np.zeros((len(self._groups), len(self._members) - 1))
        with evaluating(self.bench, gradients=True), self._mixtures.open() as weights:
            self._mixtures.write(weights, self._members, shares)
            with self._tracking(weights) as tensors:
                for g, chunks in enumerate(self._groups):
                    if chunks:
                        found[g] = self._along_members(self._gradients(chunks, tensors))
        return np.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0)

    def __reduce__(self) -> tuple[object, ...]:
        return _load, (self.bench.spec, self._device, self.bench.precision, *self._made_from)

    @contextmanager
    def _tracking(self, weights: Weights) -> Iterator[list[Tensor]]:
        """What gradients are asked of: merged weights in the order of pairs, then the other trained tensors."""
        merged = [weights[pair.module].weight for pair in self._mixtures.pairs]
        frozen = [weight for weight in merged if not weight.requires_grad]
        for weight in frozen:
            weight.requires_grad_(True)
        try:
            yield [*merged, *(self._parameters[name] for name in self._mixtures.others)]
        finally:
            for weight in frozen:
                weight.requires_grad_(False)

    def _gradients(self, chunks: Sequence[Chunk], tensors: Sequence[Tensor]) -> list[Tensor]:
        """Of the summed loss of some rows, float64."""
        total = [torch.zeros(tensor.shape, dtype=torch.float64, device=tensor.device) for tensor in tensors]
        kind = self.bench.spec.model.kind
        for chunk in chunks:
            logits = logits_of(self.bench.model, chunk.inputs, kind)
            pairs = zip(logits, chunk.labels, strict=True)
            loss = torch.stack([prediction_losses(*pair, kind == "causal-lm")[0].sum() for pair in pairs]).sum()
            found = torch.autograd.grad(loss, tensors, allow_unused=True, materialize_grads=True)
            for part, gradient in zip(total, found, strict=True):
                part.add_(gradient)
        return total

    def _along_members(self, gradients: Sequence[Tensor]) -> Array:
        """-<gradient, member - start> of each member, float64 [N]."""
        products = np.zeros(len(self._members))
        places = iter(gradients)
        for pair in self._mixtures.pairs:
            gradient = next(places)
            b = self._stacked([member[pair.b].T for member in self._members], gradient).flatten(0, 1)  # [(1 + N) R, O]
            a = self._stacked([member[pair.a] for member in self._members], gradient)  # [1 + N, R, I]
            inner = ((b @ gradient).view(a.shape) * a).sum((1, 2))
            products += pair.scale * inner.cpu().numpy()
        for name in self._mixtures.others:
            gradient = next(places).reshape(-1)
            for i, member in enumerate(self._members):
                values = torch.from_numpy(member[name].reshape(-1)).to(gradient.device).double()
                products[i] += float(values @ gradient)
        return np.asarray(products[0] - products[1:])

    @staticmethod
    def _stacked(parts: Sequence[NDArray[np.float32]], like: Tensor) -> Tensor:
        return torch.from_numpy(np.stack(parts)).to(like.device).double()


def _load(spec: Any, device: Any, precision: Any, rows: Any, start: Any, thetas: Any, groups: Any) -> Slopes:
    return Slopes(Workbench.from_spec(spec, device, precision), rows, start, thetas, groups)
