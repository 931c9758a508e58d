"""Random numbers that depend on a key and a call index, and on nothing else: no global generator, device or thread.

Words come from Philox4x64-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), the raw stream of
which numpy guarantees. Everything made from them is exact in float64 and rounded once to float32, so it has the same
bits on every machine; normal draws are therefore sums of twelve uniforms (Irwin-Hall), not logarithms.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from deltaproof.tuning.errors import MethodError, ModelError

__all__ = ["CounterDropout", "SeededFills", "assert_drawless", "normal", "uniform", "words"]

_DOMAIN = b"deltaproof/random/v1\x00"
_LANES = 2**16


def words(key: bytes, index: int, count: int) -> NDArray[np.uint64]:
    """`count` 64-bit words of draw `index` under `key`."""
    digest = hashlib.sha256(_DOMAIN + key + index.to_bytes(4, "big")).digest()
    return np.random.Philox(key=int.from_bytes(digest[:16], "big")).random_raw(count)


def uniform(key: bytes, index: int, count: int, low: float, high: float) -> NDArray[np.float32]:
    """Uniform draws in [low, high), shape (count,)."""
    unit = (words(key, index, count) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return (low + (high - low) * unit).astype(np.float32)


def normal(key: bytes, index: int, count: int, mean: float, std: float) -> NDArray[np.float32]:
    """Approximately normal draws, shape (count,): the sum of twelve 16-bit uniforms has unit variance."""
    lanes = words(key, index, 3 * count).view(np.uint16).reshape(count, 12)
    sums = lanes.sum(axis=1, dtype=np.int64)
    centred = (sums - 6 * (_LANES - 1)).astype(np.float64) / _LANES
    draws: NDArray[np.float32] = (mean + std * centred).astype(np.float32)
    return draws


class SeededFills(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves this class untyped
    """While active, every random fill of a tensor draws from `key`, counting calls; other random operators raise.

    Wraps the construction of adapters, so that whatever initialisation a PEFT method chooses depends on the seed alone.
    """

    def __init__(self, key: bytes) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.key, self.calls = key, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        bound = {a.name: a.default_value for a in func._schema.arguments if a.has_default_value()}
        bound |= dict(zip((a.name for a in func._schema.arguments), args, strict=False)) | kwargs
        draw = self._draw(str(func.overloadpacket), bound)
        target = bound.get("self")
        if target is None:
            keep = {"dtype", "layout", "device", "pin_memory"}
            empty: Any = torch.ops.aten.empty.memory_format
            target = empty(list(bound["size"]), **{k: v for k, v in kwargs.items() if k in keep})
        elif not str(func.overloadpacket).endswith("_"):
            target = torch.empty_like(target)
        target.copy_(torch.from_numpy(draw(target.numel())).view(target.shape))
        return target

    def _draw(self, operator: str, bound: Mapping[str, Any]) -> Callable[[int], NDArray[np.float32]]:
        index, self.calls = self.calls, self.calls + 1
        match operator.removeprefix("aten.").rstrip("_"):
            case "uniform":
                return lambda n: uniform(self.key, index, n, float(bound["from"]), float(bound["to"]))
            case "rand" | "rand_like":
                return lambda n: uniform(self.key, index, n, 0.0, 1.0)
            case "normal":
                return lambda n: normal(self.key, index, n, float(bound["mean"]), float(bound["std"]))
            case "randn" | "randn_like":
                return lambda n: normal(self.key, index, n, 0.0, 1.0)
            case other:
                raise MethodError(f"initialisation uses the random operator {other!r}, which is not seeded here")


class CounterDropout(TorchFunctionMode):
    """Dropout with masks from `key` and the index of the call: the same on every device and machine.

    The rate is rounded to a multiple of 2^-16; kept values are scaled by its exact complement. Other kinds of dropout
    raise MethodError.
    """

    def __init__(self, key: bytes) -> None:
        super().__init__()
        self.key, self.calls = key, 0

    @contextmanager
    def repeating(self, first_call: int) -> Iterator[None]:
        """Calls inside draw once more what calls from `first_call` on drew, on whatever thread they come from."""
        before, self.calls = self.calls, first_call
        try:
            with self:
                yield
        finally:
            self.calls = before

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.nn.functional.dropout or func is torch.dropout:
            return self._dropout(*args, **kwargs)
        if func in _OTHER_DROPOUT and (kwargs.get("training", args[2] if len(args) > 2 else True)):
            raise MethodError(f"{getattr(func, '__name__', func)} is not supported; only element-wise dropout is")
        if func is torch.nn.functional.scaled_dot_product_attention:
            rate = kwargs.get("dropout_p", args[4] if len(args) > 4 else 0.0)
            if rate:
                raise MethodError(
                    "dropout inside fused attention is not supported; load the model with eager attention"
                )
        return func(*args, **kwargs)

    def _dropout(self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or p == 0.0:
            return input
        dropped = round(p * _LANES)
        if not 0 <= dropped < _LANES:
            raise MethodError(f"dropout rate {p} leaves nothing")
        count = input.numel()
        index, self.calls = self.calls, self.calls + 1
        lanes = words(self.key, index, math.ceil(count / 4)).view(np.uint16)[:count]
        mask = torch.from_numpy(lanes >= dropped).view(input.shape).to(input.device)
        scaled = mask * input * (_LANES / (_LANES - dropped))
        return input.copy_(scaled) if inplace else scaled


def assert_drawless(step: Callable[[], object], device: str) -> None:
    """Run `step`, a forward and backward pass, and raise ModelError if anything in it draws from torch's generators.

    Stochastic depth, layer dropout and jitter of routers do. No verifier could draw the same, so that every honest
    trainer would be refused.
    """
    before = _generator_states(device)
    step()
    if not all(map(torch.equal, before, _generator_states(device))):
        raise ModelError(
            "the model draws random numbers of its own while it trains, which nobody could draw again (stochastic "
            "depth, layer dropout, jitter): set their rates to 0 in its configuration, or training.dropout to false"
        )


def _generator_states(device: str) -> list[Tensor]:
    on_device = [torch.cuda.get_rng_state(device)] if device.startswith("cuda") else []
    return [torch.get_rng_state(), *on_device]


_OTHER_DROPOUT = frozenset(
    getattr(torch.nn.functional, name)
    for name in ("alpha_dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout")
)
