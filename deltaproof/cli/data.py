"""`deltaproof data convert`, `data check`: data as people have them become a shard, and what is in one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deltaproof.cli.common import JsonOption, show_result, told_on_stderr
from deltaproof.cli.data_target import RowsTarget, target_of
from deltaproof.cli.exit_codes import ExitCode
from deltaproof.errors import UsageError
from deltaproof.reporting import counted

if TYPE_CHECKING:
    from deltaproof.cli.documents.machines import ConvertedRows
    from deltaproof.data.checking import Contents
    from deltaproof.data.reading import Harvest
    from deltaproof.data.visibility import Exposure
    from deltaproof.protocol.types import Digest32

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Bring your own data: make rows of it, and look at them.")

SourceArgument = Annotated[
    str,
    typer.Argument(
        help="JSONL, CSV, TSV or Parquet; a folder that `datasets` saved; a folder of images, in one folder for each "
        "label; or a hub's data set, hub:ORG/NAME@COMMIT.",
        metavar="SOURCE",
    ),
]
TaskNumber = Annotated[int | None, typer.Option("--task", envvar="DELTAPROOF_TASK", help="For this task.", min=1)]
SpecFile = Annotated[
    Path | None, typer.Option("--spec", help="For the task of this draft, TOML.", exists=True, dir_okay=False)
]
ModelName = Annotated[str, typer.Option("--model", help="Without a task: rows for this base model.", metavar="SOURCE")]
KindName = Annotated[
    str,
    typer.Option("--kind", help="... of this kind: causal-lm, sequence-classification or image-classification."),
]
Rpc = Annotated[str, typer.Option("--rpc", envvar="DELTAPROOF_RPC", help="JSON-RPC URL of the task's chain.")]
Contract = Annotated[str, typer.Option("--contract", envvar="DELTAPROOF_CONTRACT", help="Address of its TaskManager.")]
Store = Annotated[
    str,
    typer.Option("--store", envvar="DELTAPROOF_STORE", help="Its artifact store. Default: what its sponsor announced."),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        help="Which column holds a field: text=review. Fields are text and label; prompt and completion, or messages; "
        "image or pixels.",
        metavar="FIELD=COLUMN",
    ),
]
Labels = Annotated[str, typer.Option("--labels", help="Names of the labels in order, the first is 0: bad,good.")]
Chat = Annotated[bool, typer.Option("--chat", help="Put prompt and completion into the model's own chat template.")]
System = Annotated[str, typer.Option("--system", help="With a chat template: what the system says first.")]
Split = Annotated[str, typer.Option("--split", help="Of a folder or a hub's data set with several, such as train.")]
Files = Annotated[str, typer.Option("--files", help="Of a hub's data set: files that fit this pattern.")]
DropBad = Annotated[bool, typer.Option("--drop-bad", help="Leave bad records out instead of refusing all.")]
Limit = Annotated[int | None, typer.Option("--limit", help="The first so many rows only.", min=1)]


@app.command("convert")
def convert(
    source: SourceArgument,
    out: Annotated[Path, typer.Option(help="File of rows, JSON Lines, to write; it may not be there yet.")],
    task: TaskNumber = None,
    spec: SpecFile = None,
    model: ModelName = "",
    kind: KindName = "",
    rpc: Rpc = "",
    contract: Contract = "",
    store: Store = "",
    columns: Columns = None,
    labels: Labels = "",
    chat: Chat = False,
    system: System = "",
    split: Split = "",
    files: Files = "",
    drop_bad: DropBad = False,
    limit: Limit = None,
    as_json: JsonOption = False,
) -> None:
    """Make rows of a file, a folder or a hub's data set, for a task, a draft, or a model.

    Every record is held against the model: text that is missing or empty, labels that nobody knows, rows that are too
    long or leave nothing to learn, broken UTF-8. Bad records are named by file and line, and nothing is written unless
    `--drop-bad` leaves them out. A row that comes twice is written once. What was written is what gets committed:
    keep the file, `trainer run --data` wants it again.
    """
    from deltaproof.protocol.evidence.rows import write_shard

    target = target_of(task, spec, model, kind, rpc, contract, store)
    if out.exists():
        raise UsageError(f"{out} is there already; choose another name with --out")
    shaping = _Shape(columns or [], labels, chat, system, split, files)
    found = _harvest(source, target, shaping, limit).usable(drop_bad=drop_bad)
    partial = out.with_name(f"{out.name}.partial")
    try:
        write_shard(partial, found.rows)
        partial.rename(out)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UsageError(f"cannot write {out}: {error.strerror}") from error
    lines = [f"{out}: {counted(len(found.rows), 'row')} of {counted(found.records, 'record')}"]
    lines += [f"  {found.repeated} came twice and are written once"] if found.repeated else []
    lines += [f"  {len(found.bad)} left out, for example {found.bad[0]}"] if found.bad else []
    told: ConvertedRows = {
        "out": str(out),
        "rows": len(found.rows),
        "records": found.records,
        "repeated": found.repeated,
        "left_out": [{"where": bad.where, "why": bad.why} for bad in found.bad],
    }
    show_result(told, as_json=as_json, text="\n".join(lines))


@app.command("check")
def check(
    source: SourceArgument,
    task: TaskNumber = None,
    spec: SpecFile = None,
    model: ModelName = "",
    kind: KindName = "",
    rpc: Rpc = "",
    contract: Contract = "",
    store: Store = "",
    home: Annotated[
        Path | None,
        typer.Option(
            envvar="DELTAPROOF_HOME",
            help="With --task: your trainer's home, whose secret salts the rows, to print the root that you enrol.",
        ),
    ] = None,
    columns: Columns = None,
    labels: Labels = "",
    chat: Chat = False,
    system: System = "",
    split: Split = "",
    files: Files = "",
    drop_bad: DropBad = False,
    limit: Limit = None,
    as_json: JsonOption = False,
) -> None:
    """What is in your data, what a task would make of them, and what of them others would see.

    Rows, lengths, labels, repetitions; rows that the task cannot use; how many rows are expected to be opened, and to
    whom; and the root that enrolment commits. Nothing is sent and nothing is staked. Exit code 1 if the task would not
    take these rows as they are.
    """
    from deltaproof.data.checking import look_into
    from deltaproof.data.visibility import exposure
    from deltaproof.protocol.evidence.rows import distinct_rows
    from deltaproof.protocol.types import hex_of

    target = target_of(task, spec, model, kind, rpc, contract, store)
    shaping = _Shape(columns or [], labels, chat, system, split, files)
    rows = _rows_of(source, target, shaping, limit, drop_bad)
    contents = look_into(rows, target.section, target.reader(), target.max_row_bytes)
    seen = None
    if target.spec is not None:
        seen = exposure(target.spec, contents.distinct)
    root = _root(distinct_rows(rows), target, home)
    problems = [str(bad) for bad in contents.bad]
    if not target.least_rows <= contents.distinct <= target.most_rows:
        problems.append(
            f"{counted(contents.distinct, 'row')}: the task takes {target.least_rows} to {target.most_rows}"
        )
    if target.spec is not None and target.spec.data.roots and not root.named:
        problems.append("the task takes only shards that its sponsor named, and this is none of them")
    told = {
        "source": source,
        **{name: value for name, value in asdict(contents).items() if name != "bad"},
        "labels": {str(label): count for label, count in contents.labels.items()},
        "problems": problems,
        "opened": asdict(seen) if seen else None,
        "root": hex_of(root.digest) if root.digest else None,
        "root_salts": root.salts,
    }
    show_result(told, as_json=as_json, text="\n".join(_told(source, target, contents, seen, root, problems)))
    if problems:
        raise typer.Exit(ExitCode.FAILED)


@dataclass(frozen=True)
class _Shape:
    """What the command line says about columns and files."""

    columns: Sequence[str]
    labels: str
    chat: bool
    system: str
    split: str
    files: str

    @property
    def says_nothing(self) -> bool:
        return self == _Shape([], "", False, "", "", "")

    def by_field(self) -> Mapping[str, str]:
        pairs = dict(pair.partition("=")[::2] for pair in self.columns)
        if wrong := [name for name, column in pairs.items() if not column]:
            raise UsageError(f"--map {wrong[0]}: write FIELD=COLUMN, such as text=review")
        return pairs


@dataclass(frozen=True)
class _Root:
    digest: Digest32 | None
    salts: str
    named: bool = False


def _harvest(source: str, target: RowsTarget, shape: _Shape, limit: int | None) -> Harvest:
    from deltaproof.data.reading import gather
    from deltaproof.data.records import read_records
    from deltaproof.data.shaping import Shaper, Shaping
    from deltaproof.protocol.types import ZERO_DIGEST, hex_of
    from deltaproof.tuning.base_models.digests import weights_digest
    from deltaproof.tuning.base_models.loading import resolve_source

    names = tuple(name.strip() for name in shape.labels.split(",")) if shape.labels else ()
    if len(names) > target.section.num_labels > 0:
        raise UsageError(f"--labels names {counted(len(names), 'label')}, and the task has {target.section.num_labels}")
    shaping = Shaping(shape.by_field(), names, shape.chat, shape.system)
    shaper = Shaper(target.section, target.reader(), shaping, target.max_row_bytes)
    found = gather(read_records(source, shape.split, shape.files, told_on_stderr), shaper, target.most_rows, limit)
    pinned = target.section.weights_digest
    templated = shaper.uses_template and pinned != ZERO_DIGEST
    # The template is part of the model's digest: another one would teach another dialogue.
    if templated and (here := weights_digest(resolve_source(target.section.source))) != pinned:
        raise UsageError(
            f"the model here has the digest {hex_of(here)}, and the task names {hex_of(pinned)}: "
            "its chat template may be another one"
        )
    return found


def _rows_of(source: str, target: RowsTarget, shape: _Shape, limit: int | None, drop_bad: bool) -> tuple[bytes, ...]:
    """What `trainer run` would read of a file of rows; of anything else what `data convert` would write."""
    from deltaproof.protocol.evidence.rows import read_shard

    if source.endswith(".jsonl") and shape.says_nothing and limit is None:
        return read_shard(Path(source))
    return _harvest(source, target, shape, limit).usable(drop_bad=drop_bad).rows


def _root(rows: tuple[bytes, ...], target: RowsTarget, home: Path | None) -> _Root:
    """The root that enrolment commits, as far as it can be known."""
    from deltaproof.protocol.commit.secrets import HomeSecret
    from deltaproof.protocol.evidence.rows import PUBLIC_SALTS, Shard
    from trainer.data import shard_secret

    if not rows:
        return _Root(None, "none")
    roots = target.spec.data.roots if target.spec else ()
    if roots:
        public = Shard(rows, PUBLIC_SALTS).root
        return _Root(public, "public", named=public in roots)
    if target.task is None or home is None:
        return _Root(None, "home")
    return _Root(Shard(rows, shard_secret(HomeSecret.of(home), target.task)).root, "home")


def _told(
    source: str, target: RowsTarget, contents: Contents, seen: Exposure | None, root: _Root, problems: Sequence[str]
) -> Iterator[str]:
    from deltaproof.data.reading import SHOWN
    from deltaproof.protocol.types import hex_of

    yield f"{source}: {counted(contents.rows, 'row')}, {contents.distinct} of them different"
    if contents.alike:
        yield f"  {contents.alike} differ from another in case, spaces or Unicode form alone"
    if contents.contradicting:
        yield f"  {contents.contradicting} have the text of another under another label"
    if contents.row_bytes:
        yield f"  bytes of a row: {contents.row_bytes}; the task takes {target.max_row_bytes}"
    if contents.tokens:
        cut = (
            f"; {counted(contents.cut, 'row is', 'rows are')} cut at {target.section.max_tokens}"
            if contents.cut
            else ""
        )
        yield f"  tokens of a row: {contents.tokens}{cut}"
    if contents.labels:
        yield "  labels: " + ", ".join(f"{label}: {count}" for label, count in contents.labels.items())
    if seen:
        yield from _told_of_exposure(seen)
    if root.digest:
        yield f"  root: {hex_of(root.digest)}" + (" (public salts)" if root.salts == "public" else "")
    elif root.salts == "home":
        yield "  root: --task and --home print it; your home's secret salts the rows, so that a root tells nothing"
    for problem in problems[:SHOWN]:
        yield f"  problem: {problem}"
    if len(problems) > SHOWN:
        yield f"  and {counted(len(problems) - SHOWN, 'problem')} more"
    if not problems:
        yield "  no problem was found"


def _told_of_exposure(seen: Exposure) -> Iterator[str]:
    yield (
        f"  about {seen.expected_in_a_round:.0f} rows are opened in a round "
        f"({counted(seen.steps_per_round, 'step')}), about "
        f"{seen.expected_in_all:.0f} of {seen.rows} different ones over all rounds, to {seen.readers}"
    )
    yield f"  deltas and adapters, which tell something of all rows, to {seen.delta_readers}"
    if seen.named:
        yield "  the task names its shards, so their salts are public: whoever guesses a row can see that it is there"
