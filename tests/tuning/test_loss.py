"""The loss head: as precise at a loss of 1e-9 as at a loss of one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deltaproof.tuning.base_models import loss as loss_module
from deltaproof.tuning.base_models.loss import loss_sum

LABELS = torch.tensor([0, 1, 2, 0])


class Logits(nn.Module):
    """A model whose logits are its parameter."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(values)

    def forward(self, **_: Tensor) -> Any:
        return SimpleNamespace(logits=self.values)


def head(values: Tensor, labels: Tensor = LABELS) -> tuple[float, Tensor]:
    """Loss, and its gradient by the logits."""
    model = Logits(values)
    loss = loss_sum(model, {"labels": labels}, "sequence-classification")
    (gradient,) = torch.autograd.grad(loss / len(labels), [model.values])
    return float(loss.detach()), gradient


def logits(margin: float) -> Tensor:
    """[4, 3], the label ahead by `margin` nats, give or take."""
    ahead = nn.functional.one_hot(LABELS, 3) * margin
    return (ahead + torch.tensor([[0.0, 0.25, -0.5]])).float()


@pytest.mark.parametrize("margin", [-60.0, 0.0, 3.0, 8.0, 16.0, 40.0])
def test_float32_gradient_stays_precise_however_small_the_loss(margin: float) -> None:
    narrow, wide = logits(margin), logits(margin).double()
    loss, gradient = head(narrow)
    label = nn.functional.one_hot(LABELS, 3)
    others = torch.softmax(wide, 1).masked_fill(label.bool(), 0.0)
    expected = (others - label * others.sum(1, keepdim=True)) / len(LABELS)
    assert (gradient - expected).norm() <= 3e-7 * expected.norm()
    assert (head(wide)[1] - expected).norm() <= 1e-12 * expected.norm()
    if margin > 10:  # -log(1 - p) = p
        assert loss == pytest.approx(float(others.sum()), rel=1e-4)


def test_float64_head_keeps_the_bits_of_the_library() -> None:
    wide = logits(5.0).double()
    loss, gradient = head(wide)
    reference = wide.clone().requires_grad_()
    expected = nn.functional.cross_entropy(reference, LABELS, reduction="sum")
    assert loss == float(expected.detach())
    assert torch.equal(gradient, torch.autograd.grad(expected / 4, [reference])[0])


def test_chunks_of_rows_give_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = head(logits(2.0))
    monkeypatch.setattr(loss_module, "_CHUNK", 3)
    parts = head(logits(2.0))
    assert parts[0] == pytest.approx(whole[0], rel=1e-14)
    assert torch.equal(parts[1], whole[1])


def test_ignored_labels_count_for_nothing() -> None:
    ignored = torch.tensor([0, -100, 2, -100])
    loss, gradient = head(logits(1.0), ignored)
    kept = logits(1.0)[[0, 2]]
    expected, rows = head(kept, ignored[[0, 2]])
    assert loss == pytest.approx(expected, rel=1e-14)
    assert not gradient[[1, 3]].any()
    assert torch.equal(gradient[[0, 2]] * 2, rows)


def test_bfloat16_logits_get_a_bfloat16_gradient() -> None:
    _, gradient = head(logits(12.0).bfloat16())
    _, expected = head(logits(12.0).bfloat16().double())
    assert gradient.dtype is torch.bfloat16
    assert (gradient.double() - expected).norm() <= 2**-8 * expected.norm()
