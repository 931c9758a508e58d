"""Remembering what a model computes before anything trainable has run: the same for every adapter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

__all__ = ["PrefixCache"]


class PrefixCache:
    """Outputs of the outermost modules that finish before the first of `touched` starts, by batch key.

    A batch whose outputs no longer fit into `limit_bytes` is computed afresh every time.
    """

    def __init__(
        self, model: nn.Module, touched: Collection[nn.Module], probe: Callable[[], object], limit_bytes: int
    ) -> None:
        self._modules = _frozen_prefix(model, touched, probe)
        self._left = limit_bytes
        self._stored: dict[int, dict[int, Any]] = {}

    @contextmanager
    def replaying(self, key: int) -> Iterator[None]:
        """Forward passes inside take the remembered outputs of batch `key`, or remember them if these are the first."""
        outputs = self._stored.get(key)
        fresh: dict[int, Any] = {}
        for number, module in enumerate(self._modules):
            forward = module.forward
            if outputs is None:
                module.forward = _recorded(forward, fresh, number)
            else:
                module.forward = _replayed(outputs[number])
        try:
            yield
        finally:
            for module in self._modules:
                del module.forward  # the class's own again
        if outputs is None:
            size = sum(t.numel() * t.element_size() for t in pytree.tree_leaves(fresh) if isinstance(t, Tensor))
            if size <= self._left:
                self._left -= size
                self._stored[key] = fresh


def _recorded(forward: Callable[..., Any], fresh: dict[int, Any], number: int) -> Callable[..., Any]:
    def recorded(*args: Any, **kwargs: Any) -> Any:
        result = forward(*args, **kwargs)
        fresh[number] = _copy(result)
        return result

    return recorded


def _replayed(output: Any) -> Callable[..., Any]:
    # A copy each time: what comes after may work in place.
    return lambda *args, **kwargs: _copy(output)


def _copy(value: Any) -> Any:
    return pytree.tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, value)


def _frozen_prefix(model: nn.Module, touched: Collection[nn.Module], probe: Callable[[], object]) -> list[nn.Module]:
    """Modules to replay; none if a touched module is never called, as its values are then read in ways unseen here."""
    events: list[tuple[str, nn.Module]] = []
    handles = []
    for module in model.modules():
        handles.append(module.register_forward_pre_hook(lambda m, _: events.append(("enter", m))))
        handles.append(module.register_forward_hook(lambda m, _, __: events.append(("leave", m))))
    try:
        with torch.no_grad():
            probe()
    finally:
        for handle in handles:
            handle.remove()
    identities = {id(module) for module in touched}
    calls = Counter(id(module) for kind, module in events if kind == "enter")
    if not all(calls[identity] for identity in identities):
        return []
    first = next(i for i, (kind, m) in enumerate(events) if kind == "enter" and id(m) in identities)
    finished: list[nn.Module] = []
    for kind, module in events[:first]:
        if kind == "leave":
            inside = {id(m) for m in module.modules()}
            finished = [m for m in finished if id(m) not in inside]
            finished.append(module)
    return [m for m in finished if calls[id(m)] == 1 and "forward" not in vars(m)]
