"""Everything that is wrong with a draft, at once: without a key, a chain, or a model's weights.

Keys, what they demand of one another, files and their rows, the names and options of method and codec, the model's
folder, recipes of emulators, the table of a control policy. What takes the model itself is rehearsed afterwards
(`deltaproof.sponsor.rehearsal`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from deltaproof.errors import DeltaproofError, Problem, SpecError
from deltaproof.protocol.terms.spec import (
    CodecSection,
    DataSection,
    MethodSection,
    ModelSection,
    read_toml,
    spec_problems,
)
from deltaproof.protocol.types import ZERO_DIGEST, hex_of
from deltaproof.protocol.wire.encoding import canonical_json
from deltaproof.reporting import Reporter, counted
from deltaproof.sponsor.amounts import ASSUMED, Tokens, take_amounts
from deltaproof.sponsor.control import PreparedControl, prepare_control
from deltaproof.sponsor.files import DraftFiles, Rows, read_files
from deltaproof.sponsor.open_pay import choose_open_pay

if TYPE_CHECKING:
    from deltaproof.tuning.base_models.loading import RowReader

__all__ = ["COMPUTED", "CheckedDraft", "check_draft"]

COMPUTED = ("validation.commitments", "model.weights_digest", "method.seed", "start_digest", "adapter.secret")
"""Keys that a draft may leave out."""
_ZERO = hex_of(ZERO_DIGEST)


@dataclass(frozen=True, slots=True)
class CheckedDraft:
    """A draft's tables without `[sponsor]`, its files, and what is wrong with them."""

    path: Path
    tables: dict[str, object]
    files: DraftFiles
    control: PreparedControl | None
    problems: tuple[Problem, ...]

    def usable(self) -> CheckedDraft:
        """The draft itself. Raises SpecError with every problem, if there is one."""
        if self.problems:
            raise SpecError.of(str(self.path), self.problems)
        return self


def check_draft(path: Path, tokens: Tokens = ASSUMED, report: Reporter | None = None) -> CheckedDraft:
    """Read a draft and find everything that is wrong with it. Raises SpecError for a file that is no TOML.

    `tokens`: what its amounts are in. `report` hears of the download of a hub's model.
    """
    tables = read_toml(path)
    files, problems = read_files(tables, path.parent)
    problems += take_amounts(tables, tokens)
    problems += choose_open_pay(tables, named=bool(files.shards))
    control, wrong = _decided_control(tables, path.parent)
    problems += wrong
    complete = _with_emulators(tables, problems)
    found = spec_problems(complete, COMPUTED)
    problems += found
    broken = {problem.key for problem in problems}
    problems += _enough_rows(complete, files, broken)
    problems += _named_roots(tables, files)
    if not any(key.startswith("method") for key in broken):
        problems += _method_problems(complete)
    if not any(key.startswith("codec") for key in broken):
        problems += _codec_problems(complete)
    problems += _model_problems(tables, complete, files, broken, report)
    return CheckedDraft(path, tables, files, control, tuple(problems))


def _decided_control(tables: dict[str, object], folder: Path) -> tuple[PreparedControl | None, list[Problem]]:
    """Let the policy that the draft names decide, and complete the draft's tables with its choice."""
    federation = tables.get("federation")
    if not isinstance(federation, dict) or "control" not in federation:
        return None, []
    try:
        made = prepare_control(tables, folder)
        made.write_into(tables)
    except (DeltaproofError, OSError) as error:
        del federation["control"]  # what it would have chosen is unknown; the rest is checked without it
        return None, [Problem("federation.control", str(error), "see docs/federation.md")]
    return made, []


def _with_emulators(tables: Mapping[str, object], problems: list[Problem]) -> dict[str, object]:
    """The tables with stand-ins for what is known when emulators are made."""
    complete = copy.deepcopy(dict(tables))
    federation, model = complete.get("federation"), complete.setdefault("model", {})
    if not isinstance(federation, dict) or not isinstance(model, dict):
        return complete
    if "source" in model:
        problems.append(
            Problem("model.source", "with [federation] trainers hold the first emulator", "leave out model.source")
        )
    described: list[object] = []
    emulators = federation.get("emulators")
    if not isinstance(emulators, list) or not emulators:
        problems.append(
            Problem("federation.emulators", "missing", "add a table [[federation.emulators]] with name and recipe")
        )
        emulators = [{"name": "stand-in", "recipe": {"ratio": 0.5, "bits": 8}}]
    for number, table in enumerate(emulators):
        if isinstance(table, dict) and set(table) - {"name", "recipe"}:
            extra = sorted(set(table) - {"name", "recipe"})[0]
            where = f"federation.emulators.{number}"
            problems.append(Problem(f"{where}.{extra}", "unknown key", "an emulator has name and recipe"))
        kept = {key: v for key, v in table.items() if key in {"name", "recipe"}} if isinstance(table, dict) else table
        described.append({**_STAND_IN_EMULATOR, **kept} if isinstance(kept, dict) else kept)
    depth = _depth(federation.get("source"))
    federation.update(weights_digest=_ZERO, depth=depth, public_rows=_ZERO, emulators=described)
    for table in described:
        if isinstance(table, dict):
            table["layers"] = list(range(depth))
    model.update(source=_STAND_IN_EMULATOR["source"], weights_digest=_ZERO)
    return complete


_STAND_IN_EMULATOR: Mapping[str, object] = {
    "source": f"emulator:{'0' * 64}",
    "weights_digest": _ZERO,
    "file_bytes": 1,
    "fidelity": {"hidden": 0.0, "output": 0.0},
}
_DEEPEST = 4096


def _depth(source: object) -> int:
    """Layers of the full model by its configuration; if that is not here, more than any draft leaves out."""
    from deltaproof.tuning.base_models.loading import model_layers

    try:
        return model_layers(source) if isinstance(source, str) else _DEEPEST
    except DeltaproofError:
        return _DEEPEST  # `_model_problems` says why


def _enough_rows(tables: Mapping[str, object], files: DraftFiles, broken: set[str]) -> Iterator[Problem]:
    rounds, size = _number(tables, "rewards.rounds", broken), _number(tables, "validation.rows", broken)
    if rounds and size and files.validation and len(files.validation) < rounds * size:
        yield Problem(
            "sponsor.validation",
            f"{files.names['validation']} has {counted(len(files.validation), 'row')}; "
            f"needed are {rounds * size}, for {counted(rounds, 'round')} of {size}",
            "add rows, or lower validation.rows or rewards.rounds",
        )
    least = max(_number(tables, "data.min_rows", broken) or 1, _number(tables, "training.batch_size", broken) or 1)
    most = _number(tables, "data.max_rows", broken) or DataSection().max_rows
    widest = _number(tables, "data.max_row_bytes", broken) or DataSection().max_row_bytes
    for name, rows in files.shards.items():
        if rows and len(rows) < least:
            remedy = "add rows, or lower data.min_rows and training.batch_size"
            yield Problem(
                "sponsor.shards", f"{name} has {counted(len(rows), 'row')}; trainers enrol at least {least}", remedy
            )
        if long := [number for number, row in enumerate(rows) if len(row) > widest]:
            what = f"{name}: row {long[0]} has {len(rows[long[0]])} bytes; trainers enrol rows of at most {widest}"
            yield Problem("sponsor.shards", what, "shorten it, or raise data.max_row_bytes")
        if len(rows) > most:
            remedy = "split it, or raise data.max_rows"
            yield Problem(
                "sponsor.shards", f"{name} has {counted(len(rows), 'row')}; trainers enrol at most {most}", remedy
            )


def _named_roots(tables: Mapping[str, object], files: DraftFiles) -> Iterator[Problem]:
    data = tables.get("data")
    if files.shards and isinstance(data, dict) and "roots" in data and data["roots"] != files.shard_roots:
        yield Problem(
            "data.roots",
            f"data.roots in the draft is {data['roots']!r}, but the shards have {files.shard_roots!r}",
            "remove the key to have it computed",
        )


def _method_problems(tables: Mapping[str, object]) -> Iterator[Problem]:
    from deltaproof.tuning.methods import create_method

    section = _section(MethodSection, {**_table(tables, "method"), "seed": _ZERO})
    if section is None:
        return
    yield from _refused(lambda: create_method(section), "method", "see docs/methods.md")
    # So that nobody believes in a setting that does nothing.
    if _table(tables, "training").get("dropout", False) is False:
        for name in (name for name, value in section.options.items() if name.endswith("dropout") and value):
            remedy = "set training.dropout = true, or leave it out"
            yield Problem(f"method.options.{name}", "does nothing while training.dropout is false", remedy)


def _codec_problems(tables: Mapping[str, object]) -> Iterator[Problem]:
    from deltaproof.protocol.evidence.state import Layout
    from deltaproof.tuning.codecs import create_codec

    section = _section(CodecSection, {**_table(tables, "codec"), "byte_limit": 2**31 - 1})
    if section is not None:
        layout = Layout.of({"stand-in": (1, 1)})
        yield from _refused(lambda: create_codec(section, layout), "codec", "see docs/methods.md")


def _model_problems(
    tables: Mapping[str, object],
    complete: Mapping[str, object],
    files: DraftFiles,
    broken: set[str],
    report: Reporter | None,
) -> Iterator[Problem]:
    """The model's folder, by its configuration and tokeniser; and the rows of all files, by the model."""
    from deltaproof.tuning.base_models.digests import weights_digest
    from deltaproof.tuning.base_models.loading import resolve_source, row_reader

    federation = tables.get("federation")
    key = "model.source" if federation is None else "federation.source"
    source = _table(tables, key.partition(".")[0]).get("source")
    if not isinstance(source, str):
        if federation is not None:
            yield Problem(key, "federation.source must say where the full model is", 'write "path:..." or "hub:..."')
        return
    reader: RowReader | None = None
    model = {**_table(complete, "model"), "source": source, "weights_digest": _ZERO}
    section = None if any(k.startswith("model.") for k in broken) else _section(ModelSection, model)
    try:
        folder = resolve_source(source, report)
        given = _table(tables, "model").get("weights_digest")
        if federation is None and given is not None and given != (found := hex_of(weights_digest(folder))):
            remedy = "remove the key, or mend the source"
            yield Problem("model.weights_digest", f"is {given!r}, but the model there has {found!r}", remedy)
        reader = row_reader(section) if section is not None else None
    except DeltaproofError as error:
        yield Problem(key, str(error), "name a folder with config.json and safetensors weights")
    if reader is None or section is None:
        return
    if section.max_tokens > reader.positions:
        what = f"max_tokens is {section.max_tokens}; the model has {reader.positions} positions"
        yield Problem("model.max_tokens", what, f"set it to at most {reader.positions}")
    for name, (place, rows) in files.by_name().items():
        yield from _row_problems(place, name, rows, section, reader)


def _row_problems(place: str, name: str, rows: Rows, section: ModelSection, reader: RowReader) -> Iterator[Problem]:
    from deltaproof.tuning.base_models.batches import unfit_rows

    wrong = list(unfit_rows(rows, section, tokenizer=reader.tokenizer, config=reader.config))
    if wrong:
        others = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        yield Problem(place, f"{name}: {wrong[0]}{others}", "mend or drop these rows")


def _refused(attempt: Callable[[], object], key: str, remedy: str) -> Iterator[Problem]:
    try:
        attempt()
    except DeltaproofError as error:
        yield Problem(key, str(error), remedy)


def _table(tables: Mapping[str, object], name: str) -> dict[str, Any]:
    table = tables.get(name)
    return table if isinstance(table, dict) else {}


def _number(tables: Mapping[str, object], key: str, broken: set[str]) -> int | None:
    """A key's whole number; None if it is missing or wrong, which is said elsewhere."""
    section, name = key.split(".")
    value = _table(tables, section).get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and key not in broken else None


def _section(model: type[Any], table: Mapping[str, object]) -> Any:
    """A section of the spec, or None where its keys are wrong, which is said elsewhere."""
    try:
        return model.model_validate_json(canonical_json(dict(table)))
    except (DeltaproofError, ValidationError):
        return None
