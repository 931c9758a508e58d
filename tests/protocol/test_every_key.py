"""No key of a task spec is accepted and then ignored: each has a reader that the table in `every_key` shows at work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from deltaproof.errors import SpecError
from deltaproof.protocol.terms.spec import TaskSpec, parse_spec
from deltaproof.protocol.terms.tables import TaskTables
from deltaproof.tuning.base_models.presets import complete_spec, minimal_model
from tests.protocol.every_key import READERS, Row

ONE_VALUE = {
    "training.gradient_dtype": ("bfloat16", "a push that drowns in bfloat16 rounding"),
}
"""Keys that have one value until others are safe or built: a value that is refused, and how."""


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key that holds a value, by its dotted place."""
    for name, field in model.model_fields.items():
        inner = next(models_in(field.annotation), None)
        if inner is None:
            yield prefix + name
        else:
            yield from keys_of(inner, f"{prefix}{name}.")


ORDINARY = {key for key in keys_of(TaskTables) if not key.startswith("federation.")}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"path:{minimal_model(tmp_path_factory.mktemp('every-key') / 'bert', 'bert')}"


def changed(tables: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    made = {name: dict(table) if isinstance(table, dict) else table for name, table in tables.items()}
    for key, value in changes.items():
        section, _, name = key.partition(".")
        if name:
            made[section][name] = value
        else:
            made[section] = value
    return made


def spec_of(tables: dict[str, Any], row: Row) -> TaskSpec:
    if row.unchecked:
        read = TaskTables.model_validate_json(parse_json(tables))
        return TaskSpec.model_construct(**dict(read))
    return parse_spec(tables)


def parse_json(tables: dict[str, Any]) -> bytes:
    from deltaproof.protocol.wire.encoding import canonical_json

    return canonical_json(tables)


def test_every_key_has_a_row_and_every_row_a_key() -> None:
    assert len(ORDINARY) > 60
    assert READERS.keys() | ONE_VALUE.keys() == ORDINARY


@pytest.mark.parametrize("key", sorted(READERS))
def test_key_changes_what_the_product_does(key: str, source: str) -> None:
    row = READERS[key]
    base = changed(complete_spec(source, "sequence-classification").to_json_value(), row.given)
    other = changed(base, {key: row.value, **row.also})
    assert other != base
    assert row.observe(spec_of(other, row)) != row.observe(spec_of(base, row))


@pytest.mark.parametrize("key", sorted(key for key, row in READERS.items() if row.also))
def test_companions_of_a_key_change_nothing_by_themselves(key: str, source: str) -> None:
    """Else a row would show that they are read, and not its key."""
    row = READERS[key]
    base = changed(complete_spec(source, "sequence-classification").to_json_value(), row.given)
    unruled = Row(row.value, row.observe, unchecked=True)
    assert row.observe(spec_of(changed(base, row.also), unruled)) == row.observe(spec_of(base, unruled))


@pytest.mark.parametrize("key", sorted(READERS))
def test_observer_sees_the_same_twice(key: str, source: str) -> None:
    """Else a difference would prove nothing."""
    if READERS[key].observe.__name__ in {"on_chain", "constants"}:
        return  # plain functions of a few numbers
    row = READERS[key]
    spec = spec_of(changed(complete_spec(source, "sequence-classification").to_json_value(), row.given), row)
    assert row.observe(spec) == row.observe(spec)


@pytest.mark.parametrize("key", sorted(ONE_VALUE))
def test_value_that_nothing_reads_is_refused(key: str, source: str) -> None:
    base = complete_spec(source, "sequence-classification").to_json_value()
    value, reason = ONE_VALUE[key]
    with pytest.raises(SpecError, match=f"{key}: {reason}"):
        parse_spec(changed(base, {key: value}))


def described(model: type[BaseModel]) -> Iterator[tuple[str, str | None]]:
    for name, field in model.model_fields.items():
        yield name, field.description
        for inner in models_in(field.annotation):
            yield from ((f"{name}.{key}", text) for key, text in described(inner))


def test_every_key_says_what_it_is() -> None:
    assert not [key for key, text in described(TaskTables) if not text]


def test_key_without_a_reader_would_be_noticed(tmp_path: Path) -> None:
    """The walk sees a key that is added to any section."""

    class Deeper(BaseModel):
        new: int = 0

    class Section(BaseModel):
        inner: tuple[Deeper, ...] = ()
        plain: bool = False

    class Tables(TaskTables):
        added: Section = Section()

    assert set(keys_of(Tables)) - set(keys_of(TaskTables)) == {"added.inner.new", "added.plain"}
