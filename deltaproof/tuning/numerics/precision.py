"""Float64 all the way: keep a model from narrowing to float32 inside (docs/protocol.md, numeric mode `exact`).

transformers narrows whatever dtype a model is loaded in: normalisation layers, rotary embeddings, attention's softmax.
`Wide` replaces every floating dtype that Python code asks for by float64 while it is active; `assert_wide` then runs a
probe under the dispatcher, below Python, and refuses a model in which any operator still yields a narrower float.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from deltaproof.tuning.errors import ModelError, NarrowingError

__all__ = ["Precision", "Wide", "assert_gradual", "assert_wide", "computing_in", "dtype_of", "wide"]

Precision = Literal["float64", "float32", "bfloat16"]
"""What gradients are computed in."""

_NARROW = frozenset({torch.float32, torch.bfloat16, torch.float16})
_NARROWING_METHODS: dict[Callable[..., Any], None] = dict.fromkeys(
    [torch.Tensor.float, torch.Tensor.half, torch.Tensor.bfloat16]
)


def dtype_of(precision: Precision) -> torch.dtype:
    """The torch type of a precision."""
    return {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16}[precision]


_COMPUTING = threading.RLock()
"""torch's default dtype is the process's, not the thread's: two threads that set it would leave each other's behind."""


def computing_in(precision: Precision) -> AbstractContextManager[object]:
    """Context for everything that a model computes: construction, forward and backward.

    One thread of a process computes at a time; others wait for it here.
    """
    return wide() if precision == "float64" else _COMPUTING


@contextmanager
def wide() -> Iterator[None]:
    """`Wide`, with float64 as the dtype that new tensors get by default."""
    with _COMPUTING:
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            with Wide():
                yield
        finally:
            torch.set_default_dtype(before)


class Wide(TorchFunctionMode):
    """Every request for a narrower floating dtype gets float64."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in _NARROWING_METHODS:
            return torch.Tensor.double(args[0])
        if func is torch.set_default_dtype:
            return None
        widened = [torch.float64 if _is_narrow(value) else value for value in args]
        for key, value in kwargs.items():
            if _is_narrow(value):
                kwargs[key] = torch.float64
        return func(*widened, **kwargs)


def _is_narrow(value: object) -> bool:
    return isinstance(value, torch.dtype) and value in _NARROW


class _Probe(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves this class untyped
    """Raises NarrowingError at the first operator that takes or yields a floating tensor narrower than float64."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        results = result if isinstance(result, (tuple, list)) else (result,)
        for value in (*args, *(kwargs or {}).values(), *results):
            if isinstance(value, Tensor) and value.dtype in _NARROW:
                raise NarrowingError(
                    f"operator {func} works on {value.dtype} inside this model, which cannot be kept in float64; "
                    'use numeric = "bounded" for it'
                )
        return result


def assert_wide(step: Callable[[], object]) -> None:
    """Run `step` (a forward and backward pass) and raise NarrowingError if anything in it narrows."""
    with _Probe():  # type: ignore[no-untyped-call]
        step()


def assert_gradual(device: str) -> None:
    """Raise ModelError if `device` takes float32 values below 1.2e-38 for zero, as no IEEE machine does.

    Moments of values that get no gradient any more fall below it in some hundred steps, and an update that lost them
    is refused. Some libraries switch a whole thread to that when they are loaded.
    """
    if not float(torch.tensor([torch.finfo(torch.float32).tiny], device=device) * 0.5):
        raise ModelError(
            "this process computes with subnormal numbers taken for zero (torch.set_flush_denormal, or a library that "
            "was built with -ffast-math): verifiers would refuse its steps. Run it without that"
        )
