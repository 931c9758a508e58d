"""Gradient checkpointing: a layer keeps only what enters it and is computed again in the backward pass.

The same operators run on the same values, so the gradient has the same bits; it costs a second forward pass and saves
the activations inside the layers. transformers' own switch acts in training mode only, which would turn on dropout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from deltaproof.tuning.base_models.layers import layer_list
from deltaproof.tuning.errors import MethodError, ModelError
from deltaproof.tuning.methods.base import Method
from deltaproof.tuning.numerics.precision import Precision, Wide
from deltaproof.tuning.numerics.randomness import CounterDropout

__all__ = ["checkpointed", "layers_to_checkpoint"]


def layers_to_checkpoint(model: nn.Module, method: Method) -> list[nn.Module]:
    """The model's layers. Raises MethodError if the method's layers do not give the same twice, ModelError if the model
    has no single list of layers."""
    if not method.reruns:
        raise MethodError("gradient checkpointing: this method's layers add to a cache, so a second pass reads more")
    try:
        return list(layer_list(model))
    except ModelError as error:
        raise ModelError(f"gradient checkpointing: {error}") from error


@contextmanager
def checkpointed(
    layers: Sequence[nn.Module], precision: Precision, dropout: CounterDropout | None = None
) -> Iterator[None]:
    """Forward and backward passes inside checkpoint each of `layers`; `dropout` is the active mode, if there is one."""
    for layer in layers:
        layer.forward = _checkpointing(layer.forward, precision, dropout)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # the class's own again


def _checkpointing(
    forward: Callable[..., Any], precision: Precision, dropout: CounterDropout | None
) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        first_call = dropout.calls if dropout else 0

        def contexts() -> tuple[AbstractContextManager[object], AbstractContextManager[object]]:
            return nullcontext(), _second_pass(precision, dropout, first_call)

        # Nothing here draws from torch's generators.
        return checkpoint(forward, *args, use_reentrant=False, preserve_rng_state=False, context_fn=contexts, **kwargs)

    return run


@contextmanager
def _second_pass(precision: Precision, dropout: CounterDropout | None, first_call: int) -> Iterator[None]:
    """Function modes belong to a thread, and a device's backward pass has its own: they are entered again.

    Not `computing_in`: whoever asked for the backward pass is in it and waits.
    """
    with ExitStack() as stack:
        if precision == "float64":
            stack.enter_context(Wide())
        if dropout is not None:
            stack.enter_context(dropout.repeating(first_call))
        yield
