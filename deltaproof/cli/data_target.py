"""What rows have to fit, as the command line says it: `--task`, `--spec`, or `--model` with `--kind`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deltaproof.api.connecting import read_only_gateway, store_to_read
from deltaproof.cli.common import told_on_stderr
from deltaproof.errors import UsageError
from deltaproof.protocol.rules import MAX_DATA_ROWS, MAX_LABELS, MAX_ROW_BYTES

if TYPE_CHECKING:
    from deltaproof.protocol.terms.spec import ModelSection, TaskSpec
    from deltaproof.protocol.types import TaskId
    from deltaproof.tuning.base_models.loading import RowReader

__all__ = ["RowsTarget", "target_of"]


@dataclass(frozen=True)
class RowsTarget:
    """Whom rows are for: a task, the draft of one, or a model alone."""

    section: ModelSection
    spec: TaskSpec | None
    task: TaskId | None

    @property
    def max_row_bytes(self) -> int:
        """Most bytes of a row."""
        return self.spec.data.max_row_bytes if self.spec else MAX_ROW_BYTES

    @property
    def least_rows(self) -> int:
        """Fewest rows that may be enrolled."""
        return self.spec.least_rows if self.spec else 1

    @property
    def most_rows(self) -> int:
        """Most rows that may be enrolled."""
        return self.spec.data.max_rows if self.spec else MAX_DATA_ROWS

    def reader(self) -> RowReader:
        """What it takes to read rows for the model. Raises ModelError."""
        from deltaproof.tuning.base_models.loading import row_reader

        return row_reader(self.section)


def target_of(
    task: int | None, spec: Path | None, model: str, kind: str, rpc: str, contract: str, store: str
) -> RowsTarget:
    """What the rows have to fit. Raises UsageError unless the command line says it in one way."""
    from deltaproof.protocol.terms.spec import ModelSection
    from deltaproof.protocol.types import ZERO_DIGEST, TaskId, hex_of
    from deltaproof.protocol.wire.encoding import canonical_json
    from deltaproof.tuning.base_models.loading import read_tokenizer, resolve_source

    if spec is not None or model:
        task = None  # DELTAPROOF_TASK may be set for other commands
    if sum([task is not None, spec is not None, bool(model)]) != 1:
        raise UsageError("say for what: --task N, --spec FILE, or --model SOURCE with --kind KIND")
    if spec is not None:
        from deltaproof.sponsor.stand_in import read_draft

        terms = read_draft(spec)
        resolve_source(terms.model.source, told_on_stderr)
        return RowsTarget(terms.model, terms, None)
    if task is not None:
        return _target_of_task(TaskId(task), rpc, contract, store)
    from deltaproof.data.shaping import FORMS

    if kind not in FORMS:
        raise UsageError(f"--kind is one of {', '.join(FORMS)}")
    resolve_source(model, told_on_stderr)
    read: dict[str, object] = {"kind": kind, "source": model, "weights_digest": hex_of(ZERO_DIGEST)}
    read |= {} if kind == "causal-lm" else {"num_labels": MAX_LABELS}
    read |= {} if kind == "image-classification" else {"max_tokens": read_tokenizer(model)[1]}
    return RowsTarget(ModelSection.model_validate_json(canonical_json(read)), None, None)


def _target_of_task(task: TaskId, rpc: str, contract: str, store: str) -> RowsTarget:
    from deltaproof.chain.participation import read_task
    from deltaproof.tuning.emulators.fetching import fetch_models

    if not (rpc and contract):
        raise UsageError("--task needs --rpc and --contract as well")
    gateway = read_only_gateway(rpc, contract)
    artifacts = store_to_read(store, gateway, task)
    spec = read_task(gateway, artifacts, task).spec
    fetch_models(artifacts, spec, report=told_on_stderr)
    return RowsTarget(spec.model, spec, task)
