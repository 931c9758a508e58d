"""The same peft method without deltaproof: transformers' loader, `get_peft_model`, torch's Adam and global generator.

Batches are those of our round, in its order; the schedule, options, rate and number of steps are the same. Weights that
start at random (heads, adapters) are torch's own draws, or those of our round: then nothing but the implementation
differs. `head` trains the classification head alone, `full` everything.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import peft
import torch
import transformers
from torch import Tensor, nn

from benchmarks.methods.cells import STEPS, family, measured_on, round_of, spec_of
from benchmarks.shared.tuning_tasks import Data
from deltaproof.tuning.base_models.loading import resolve_source
from deltaproof.tuning.base_models.quiet import quiet
from deltaproof.tuning.methods import METHODS
from deltaproof.tuning.methods.base import HEAD_NAMES, PeftMethod
from deltaproof.tuning.methods.low_rank import tensors_of
from deltaproof.tuning.training.recording import batch_rows
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["PLAIN", "STARTED", "plain_cell"]

PLAIN = (*(name for name, method in METHODS.items() if issubclass(method, PeftMethod)), "full", "head")
STARTED = tuple(name for name in PLAIN if name in METHODS and name != "full")
"""Methods whose loop can begin where our round does: the names of their tensors are peft's."""
_AUTO = {
    "sequence-classification": (transformers.AutoModelForSequenceClassification, "SEQ_CLS"),
    "image-classification": (transformers.AutoModelForImageClassification, None),
    "causal-lm": (transformers.AutoModelForCausalLM, "CAUSAL_LM"),
}
_ROWS_A_PASS = 16


def plain_cell(
    data: Data, method: str, rate: float, seed: int, *, same_start: bool = False, device: str = "cpu"
) -> dict[str, Any]:
    """Quality after as many steps as our round has, from torch's draws or from the start of our round."""
    steps = STEPS[family(data.source)]
    order = Workbench.from_spec(spec_of(data, "last_layers", rate, seed))  # names the batches, trains nothing here
    shard, context = round_of(order, data, seed)
    torch.manual_seed(seed)
    model, tokenizer = _model(data, method)
    if same_start:
        _start_as_ours(model, data, method, rate, seed)
    model.to(device)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 1.0 - t / steps)
    for step in range(steps):
        rows = [row for _, row in batch_rows(order, context, shard, step)]
        optimizer.zero_grad()
        loss, _, predictions = _losses(model, tokenizer, rows, data)
        (loss / predictions).backward()
        optimizer.step()
        schedule.step()
    loss_sum, hits, count = 0.0, 0, 0
    with torch.no_grad():
        for first in range(0, len(data.test), _ROWS_A_PASS):
            loss, correct, predictions = _losses(model, tokenizer, data.test[first : first + _ROWS_A_PASS], data)
            loss_sum, hits, count = loss_sum + float(loss), hits + correct, count + predictions
    values = sum(p.numel() for p in parameters)
    quality = {"accuracy": hits / count, "loss": loss_sum / count}
    return {**quality, "values": values, "rate": rate, **measured_on(device)}


def _model(data: Data, method: str) -> tuple[nn.Module, Any]:
    folder = resolve_source(data.source)
    auto, task_type = _AUTO[data.kind]
    options = {"num_labels": data.model["num_labels"]} if "num_labels" in data.model else {}
    with quiet():  # it says that the head is new
        model: nn.Module = auto.from_pretrained(folder, dtype=torch.float32, **options)
    tokenizer = None
    if data.kind != "image-classification":
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model.config.use_cache = False
    heads = [name for name in HEAD_NAMES if hasattr(model, name)]
    if method in ("full", "head"):
        trained = model if method == "full" else nn.ModuleList(getattr(model, name) for name in heads)
        model.requires_grad_(False)
        trained.requires_grad_(True)
        return model.eval(), tokenizer
    ours = METHODS[method](spec_of(data, method, 1.0, 0).method.options)
    assert isinstance(ours, PeftMethod)
    fields = {**ours.targets(model), **ours.options}
    if data.kind == "image-classification":
        fields.setdefault("modules_to_save", heads)
    return peft.get_peft_model(model, ours.config_class(task_type=task_type, **fields)).eval(), tokenizer


def _start_as_ours(model: nn.Module, data: Data, method: str, rate: float, seed: int) -> None:
    bench = Workbench.from_spec(spec_of(data, method, rate, seed))
    start = tensors_of(bench.layout, bench.initial_state())
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if trained.keys() != start.keys():
        raise ValueError(f"peft tunes other tensors by {method}: {sorted(trained.keys() ^ start.keys())[:3]}")
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(torch.from_numpy(start[name]))
        frozen = dict(bench.model.named_buffers())
        for name, buffer in model.named_buffers():  # VeRA's projections are drawn as well
            buffer.copy_(frozen[name])


def _losses(model: nn.Module, tokenizer: Any, rows: Sequence[bytes], data: Data) -> tuple[Tensor, int, int]:
    """Summed cross-entropy in nats, correct predictions, and their number, where the model is."""
    device = next(model.parameters()).device
    fields = [json.loads(row) for row in rows]
    if data.kind == "image-classification":
        size = model.config.image_size
        pixels = torch.tensor([row["pixels"] for row in fields], dtype=torch.float32).view(-1, 1, size, size)
        inputs, labels = {"pixel_values": pixels / 127.5 - 1.0}, torch.tensor([row["label"] for row in fields])
    else:
        end = tokenizer.eos_token if data.kind == "causal-lm" else ""
        inputs = dict(tokenizer(
            [row["text"] + end for row in fields], truncation=True, padding=True,
            max_length=data.model["max_tokens"], return_tensors="pt",
        ))  # fmt: skip
        labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    logits = model(**{name: values.to(device) for name, values in inputs.items()}).logits
    if data.kind == "causal-lm":
        width = labels.shape[1] - 1
        logits, labels = logits[:, -width - 1 : -1].flatten(0, 1), labels[:, 1:].flatten()
    elif data.kind == "sequence-classification":
        labels = torch.tensor([row["label"] for row in fields])
    labels = labels.to(device)
    loss = nn.functional.cross_entropy(logits, labels, reduction="sum")
    counted = labels != -100
    return loss, int((logits.argmax(-1) == labels)[counted].sum()), int(counted.sum())
