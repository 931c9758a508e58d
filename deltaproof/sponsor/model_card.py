"""The page that lies beside an adapter: what it is, how to load it, what it scored, and how anybody checks that.

Written as the Hub's model cards are, with a YAML head (https://huggingface.co/docs/hub/model-cards).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, Digest32, TaskId, hex_of
from deltaproof.reporting import counted

__all__ = ["CARD_FILE", "Provenance", "Quality", "write_card"]

CARD_FILE = "README.md"
"""Where hubs look for a card."""
MOST_DESCRIPTION = 4_000
PIPELINES = {
    "causal-lm": "text-generation",
    "sequence-classification": "text-classification",
    "image-classification": "image-classification",
}
"""Names of the Hub for the kinds of models."""


@dataclass(frozen=True)
class Provenance:
    """Where an adapter comes from, so that anybody finds the proof."""

    chain_id: int
    contract: Address
    task: TaskId
    rounds: int
    """Rounds that have ended."""
    digest: Digest32
    """Of the adapter's canonical tensors."""


@dataclass(frozen=True)
class Quality:
    """A held-out evaluation; loss in nats."""

    loss: float
    accuracy: float


def write_card(folder: Path, spec: TaskSpec, origin: Provenance, quality: Mapping[str, Quality]) -> None:
    """Write the card into an adapter's folder, in place of the empty one that peft leaves there.

    `quality`: evaluations on the task's held-out set by name, or nothing while it is hidden.
    """
    (folder / CARD_FILE).write_text("\n".join([*_head(spec), *_body(spec, origin, quality)]) + "\n", encoding="utf-8")


def _head(spec: TaskSpec) -> list[str]:
    # Strings in JSON are strings in YAML, whatever a sponsor wrote into them.
    source = spec.model.source
    base = source.removeprefix("hub:").partition("@")[0] if source.startswith("hub:") else source
    return [
        "---",
        f"base_model: {json.dumps(base)}",
        "library_name: peft",
        *([f"pipeline_tag: {PIPELINES[spec.model.kind]}"] if spec.model.kind in PIPELINES else []),
        f"tags: [{json.dumps(spec.method.name)}, deltaproof, verified-training]",
        "---",
        "",
    ]


def _body(spec: TaskSpec, origin: Provenance, quality: Mapping[str, Quality]) -> list[str]:
    description = spec.task.description[:MOST_DESCRIPTION].splitlines()
    options = ", ".join(f"`{name} = {json.dumps(value)}`" for name, value in spec.method.options.items())
    return [
        f"# {_line(spec.task.name)}",
        "",
        *[f"> {_line(line)}" for line in description],
        *([""] if description else []),
        f"An adapter of the method `{spec.method.name}`" + (f" ({options})" if options else "") + ", tuned together by",
        "trainers who committed every step, verified by replays, and paid by what each delta was worth on hidden data.",
        "",
        "## Use it",
        "```python",
        "from deltaproof.tuning.methods import load_adapter  # peft's own methods: PeftModel.from_pretrained, too",
        "",
        "model = load_adapter(base, folder)  # base: the transformers model below",
        "```",
        f"Base model: `{_line(spec.model.source)}`, weights `{hex_of(spec.model.weights_digest)}`.",
        "",
        "## Quality",
        *_table(quality),
        "",
        "## Where it comes from",
        f"- task {origin.task} of contract `{origin.contract}` on chain {origin.chain_id}, after {origin.rounds} of "
        f"{counted(spec.rewards.rounds, 'round')}",
        f"- adapter `{hex_of(origin.digest)}`",
        f"- spec `{hex_of(spec.digest())}`",
        "",
        f"Check every link from spec to pay: `deltaproof audit --task {origin.task}`.",
    ]


def _table(quality: Mapping[str, Quality]) -> list[str]:
    if not quality:
        return ["Not measured yet: the sponsor shows the held-out set after the last round."]
    rows = [f"| {name} | {found.loss:.4f} | {found.accuracy:.3f} |" for name, found in quality.items()]
    return ["On the task's held-out set:", "", "| adapter | loss, nats | accuracy |", "|---|---|---|", *rows]


def _line(text: str) -> str:
    """A sponsor's words as one line of plain text: no markup of theirs becomes ours."""
    escaped = "".join(f"\\{c}" if c in "\\`*_{}[]<>#|!" else c for c in text)
    return " ".join(escaped.split())
