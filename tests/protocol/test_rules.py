"""The numbers that decide are where docs/protocol/constants.md says, and as it says; no other module has its own."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path

import numpy as np
import pytest

from deltaproof.disputing.jury import LAST_LEVEL
from deltaproof.protocol import rules
from deltaproof.protocol.terms.spec import TaskSpec
from tests.test_architecture import REPOSITORY, module_of, product_files, room_of, within

PAGE = REPOSITORY / "docs" / "protocol" / "constants.md"
CONTRACTS = REPOSITORY / "contracts"
CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]*")

# Whose numbers decide a verdict, a score, a payout or a signature; each has to take them from the rules.
DECIDES = {
    "deltaproof.protocol",
    "deltaproof.replaying",
    "deltaproof.tuning.base_models.loss",
    "deltaproof.tuning.codecs",
    "deltaproof.tuning.combining",
    "deltaproof.tuning.numerics",
    "deltaproof.tuning.training",
    "deltaproof.auditor.audit",
    "incentives",
    "verifier",
}
# Whose numbers decide none of these, and why. Every room stands in one of the two lists.
DECIDES_NOTHING = {
    "deltaproof.errors": "raises nothing by itself",
    "deltaproof.extras": "says what to install",
    "deltaproof.folders": "says where this machine keeps what can be made again, and writes files",
    "deltaproof.reporting": "shows what others decided",
    "deltaproof.lazy": "imports what is asked for",
    "deltaproof.memory": "asks the kernel to refuse what a file of a stranger takes",
    "deltaproof.api": "what the commands do, for programs",
    "deltaproof.data": "makes rows of files; what counts is the shard that is enrolled",
    "deltaproof.store": "how often a store is asked; what may be read is limited by the rules",
    "deltaproof.chain": "how a node is asked; what counts is in the contracts",
    "deltaproof.tuning": "what a named method, model or emulator computes: docs/methods.md, docs/federation.md",
    "deltaproof.agent": "when an agent looks and acts; what it may do, the rules and contracts say",
    "deltaproof.gateway": "what a server of artifacts takes and for how long; what counts is checked by who reads",
    "deltaproof.disputing": "when a fault is looked for and in which parts it is proved; the contracts decide",
    "deltaproof.relaying": "brings what others signed, or does not; the contracts check what it brings",
    "deltaproof.sponsor": "drafts; what counts is the spec that comes out",
    "deltaproof.auditor": "reading the chain, keeping an index, and saying what was found",
    "deltaproof.pages": "shows what others decided",
    "deltaproof.research": "a laboratory",
    "deltaproof.demo": "plays a task",
    "deltaproof.cli": "shows what others decided",
    "deltaproof.__main__": "starts the command line",
    "trainer": "what a trainer does of its own accord; others judge it",
}
# Numbers in deciding modules that decide nothing. A number that is not here belongs into the rules.
EXCEPTIONS = {
    "deltaproof.protocol.commit.bls:DEEPEST": "how deep this process lets parsers recurse",
    "deltaproof.protocol.commit.bls:DEEPEST_OF_PY_ECC": "what a library sets",
    "deltaproof.protocol.commit.pairings:DEGREE": "the curve's",
    "deltaproof.protocol.commit.sealing:ENVELOPE_BYTES": "follows from libsodium's sealed boxes",
    "deltaproof.protocol.commit.sealing:KEY_BYTES": "of X25519 and XChaCha20",
    "deltaproof.protocol.commit.sealing:SEALED_OVERHEAD_BYTES": "follows from padding, a rule, and libsodium",
    "deltaproof.protocol.commit.sealing:WEIGHTS_HEADER_BYTES": "follows from the magic and a commitment's length",
    "deltaproof.replaying.estimate:BYTES_OF_A_PARAMETER": "a forecast for this machine",
    "deltaproof.replaying.estimate:EFFICIENCY": "a forecast for this machine",
    "deltaproof.replaying.estimate:SIDE": "a forecast for this machine",
    "deltaproof.replaying.estimate:TIMED_SECONDS": "a forecast for this machine",
    "deltaproof.tuning.numerics._on_ray:END_SECONDS": "how workers are waited for; no verdict follows it",
    "deltaproof.tuning.numerics._on_ray:JOB_SECONDS": "how workers are waited for; no verdict follows it",
    "deltaproof.tuning.numerics._on_ray:PATIENCE_SECONDS": "how workers are waited for; no verdict follows it",
    "deltaproof.tuning.numerics._on_ray:SILENT_SECONDS": "how workers are waited for; no verdict follows it",
    "deltaproof.tuning.numerics._ray_driver:AHEAD": "how workers are waited for; no verdict follows it",
    "deltaproof.tuning.numerics._ray_driver:BEAT_SECONDS": "how workers are waited for; no verdict follows it",
    "deltaproof.tuning.numerics._ray_driver:KNOCK_SECONDS": "how workers are waited for; no verdict follows it",
    "deltaproof.tuning.numerics._ray_driver:LOOK_SECONDS": "how workers are waited for; no verdict follows it",
    "deltaproof.tuning.numerics._ray_driver:PAUSE_SECONDS": "how workers are waited for; no verdict follows it",
    "deltaproof.tuning.numerics._ray_driver:TRIES": "how workers are waited for; no verdict follows it",
    "deltaproof.tuning.numerics.workers:JOB_SECONDS": "how workers are waited for; no verdict follows it",
    "incentives.semivalues._oracle:LOOK_SECONDS": "how workers are waited for; no value follows it",
    "incentives.similarity:BLOCK": "how many are compared at a time, to save memory; the same cosines",
    "incentives.valuation:NO_COPIES": "the spec's largest threshold, which no cosine exceeds",
    "verifier.committee:LOOKS_AT_A_TIME": "how a store is asked; nobody's verdict follows it",
    "verifier.outbox:MOST": "how much waits for a store; nobody's verdict follows it",
    "verifier.quorum:WRONG_REMEMBERED": "memory; what was forgotten is checked again",
    "verifier.reach:MOST_TIMES": "what one juror's machine takes on; a verdict does not follow it",
    "verifier.standing:ROWS": "a forecast for this machine",
    "incentives.names:NAMES": "a forecast for sponsors; pay does not follow it",
    "incentives.names:SPREADS": "a forecast for sponsors",
    "incentives.names:TRAINERS": "a forecast for sponsors",
    "deltaproof.auditor.audit.deployed:BLOCKS_AT_ONCE": "how many blocks one request asks for",
    "deltaproof.auditor.audit.deployed:SEARCHED_BLOCKS": "how far the search goes; the audit says so",
    "deltaproof.auditor.audit.inclusion:HEADERS_AT_ONCE": "how many headers one request asks for",
    "deltaproof.auditor.audit.inclusion:LOGS_AT_ONCE": "how many blocks of logs one request asks for",
    "deltaproof.auditor.audit.inclusion:MAX_HEADERS": "how many headers a machine holds at once",
    "deltaproof.auditor.audit.parallel:ROUNDS_AT_ONCE": "work handed to a process at once",
    "deltaproof.auditor.audit.report:MAX_BYTES": "largest report that is read",
    "deltaproof.auditor.audit.signatures:GENERATOR": "the curve's, by EIP-196",
    "deltaproof.auditor.audit.signatures:WEIGHT_BYTES": "how surely many signatures are checked at once, 2^-128",
    "deltaproof.auditor.audit.training:WHOLE_SUBMISSION": "a place, not a measure",
    "deltaproof.protocol.outcome.reads:DELTA": "a place, not a measure",
    "deltaproof.tuning.numerics.workers:TRIES": "patience with workers that die",
    "deltaproof.protocol.commit.bls:CURVE_ORDER": "the curve's, by EIP-196",
    "deltaproof.protocol.commit.bls:FIELD_MODULUS": "the curve's, by EIP-196",
    "deltaproof.protocol.commit.bls:REMEMBERED": "memory; a check comes out the same each time",
    "deltaproof.protocol.commit.drand:FIELD_BYTES": "drand's, by RFC 9380",
    "deltaproof.protocol.commit.drand:KECCAK_BLOCK_BYTES": "the hash's, by RFC 9380",
    "deltaproof.protocol.commit.secrets:SECRET_BYTES": "width of a hash",
    "deltaproof.protocol.commit.validation:SALT_BYTES": "width of a hash",
    "deltaproof.protocol.draws.order:_WORDS": "words of 64 bits",
    "deltaproof.protocol.draws.stream:WORDS": "words of 64 bits",
    "deltaproof.protocol.evidence.delta:DELTA_HEADER_BYTES": "length of the layout above it",
    "deltaproof.protocol.evidence.transcript:RECORD_BYTES": "length of the layout above it",
    "deltaproof.protocol.types:MAX_AMOUNT": "range of a uint128",
    "deltaproof.protocol.wire.merkle:DIGEST_BYTES": "width of a hash",
    "deltaproof.replaying.judging:SUBMISSION": "a place, not a measure",
    "deltaproof.replaying.judging:UNBOUNDED": "stands for infinity in JSON",
    "deltaproof.tuning.base_models.loss:_CHUNK": "memory; predictions do not depend on each other",
    "deltaproof.tuning.base_models.loss:_IGNORED": "a place, not a measure",
    "deltaproof.tuning.combining.aggregation:_BLOCK_VALUES": "memory; values are combined one by one",
    "deltaproof.tuning.combining.evaluation:_CACHE_BYTES": "memory; a cached layer has the same bits",
    "deltaproof.tuning.numerics.products:_LARGEST": "range of a float32",
    "deltaproof.tuning.numerics.randomness:_LANES": "words of 16 bits",
    "deltaproof.tuning.training.recording:CHECKPOINT_EVERY": "how often a trainer saves",
    "deltaproof.tuning.training.transcript_writer:ALWAYS_KEPT_STEPS": "which states a trainer keeps",
    "deltaproof.tuning.training.transcript_writer:MAX_HEADER_BYTES": "a trainer's own file",
    "incentives.economics:COALITIONS": "columns of a table; pay does not follow it",
    "incentives.history:_LEAST_RELATIVE_ERROR": "a report over settled rounds; pay does not follow it",
    "incentives.history:_STEPS": "a report over settled rounds",
    "incentives.history:_TOLERANCE": "a report over settled rounds",
    "incentives.payouts:_NOBODY": "range of a uint256",
    "incentives.payouts:_INT64_MAX": "range of an int64",
    "incentives.payouts:_INT64_MIN": "range of an int64",
    "incentives.payouts:_UINT128_MAX": "range of a uint128",
    "incentives.semivalues._kernel_index:_CELLS": "memory; rows of the table do not depend on each other",
    "verifier.life:PATIENCE_SECONDS": "who does first what anybody may do",
}
# Numbers in deciding functions: floats that are arithmetic rather than a choice, and integers that are widths.
PLAIN_FLOATS = {0.0, 0.5, 1.0, 2.0, 4.0}
SMALL = 1_000
LOOSE_EXCEPTIONS = {
    "deltaproof.auditor.audit.signatures": "how many keys are remembered",
    "deltaproof.protocol.terms": "bounds and defaults of spec keys, which the spec states",
    "deltaproof.replaying.calibration": "rounds a proposed bound up to one decimal digit",
    "deltaproof.tuning.codecs": "defaults and ranges of a codec's options: docs/methods.md",
    "deltaproof.tuning.numerics.memory": "bytes of a KiB",
    "deltaproof.tuning.combining.aggregation": "defaults for callers other than a task",
    "deltaproof.tuning.combining.evaluation": "whether a caller's shares add up to one",
    "incentives.history": "a report over settled rounds; pay does not follow it",
    "incentives.semivalues._linalg": "rounding by adding 1.5 units of the last place",
    "incentives.semivalues._refinement": "bound of a binary search",
}


def tables(text: str) -> Iterator[tuple[str, str]]:
    """First two cells of every table row whose first is code."""
    for line in text.splitlines():
        if match := re.match(r"\| `([^`]+)` \| ([^|]+) \|", line):
            yield match[1], match[2].strip()


def section(heading: str) -> list[tuple[str, str]]:
    text = PAGE.read_text("utf-8")
    return list(tables(text.split(f"## {heading}\n")[1].split("\n## ")[0]))


def number(text: str) -> float | int:
    """What a cell says: 1,024, 2^88 - 1, 10^-4.5, 5e-5."""
    power = re.fullmatch(r"(\d+)\^(-?[\d.]+)(?: - (\d+))?", text)
    if power is None:
        plain = text.replace(",", "")
        return int(plain) if plain.isdigit() else float(plain)
    base, exponent, less = power.groups()
    whole = "." not in exponent and not exponent.startswith("-")
    value = int(base) ** int(exponent) if whole else float(base) ** float(exponent)
    return value - int(less or 0)


def numbers(text: str, like: object) -> object:
    return tuple(number(part) for part in text.split(", ")) if isinstance(like, tuple) else number(text)


def documented() -> list[tuple[str, str]]:
    elsewhere = section("Terms with a default") + section("Kept by the contracts")
    return [row for row in tables(PAGE.read_text("utf-8")) if row not in elsewhere]


def test_constants_page_lists_every_rule_once() -> None:
    names = [name for name, _ in documented()]
    assert sorted(names) == sorted(name for name in vars(rules) if CONSTANT.fullmatch(name))


@pytest.mark.parametrize(("name", "text"), documented())
def test_constants_page_has_the_value_of_the_code(name: str, text: str) -> None:
    value = getattr(rules, name)
    assert numbers(text, value) == value


@pytest.mark.parametrize(("key", "text"), section("Terms with a default"))
def test_constants_page_has_the_default_of_the_spec(key: str, text: str) -> None:
    part, name = key.split(".")
    model = TaskSpec.model_fields[part].annotation
    assert model is not None
    assert number(text) == model.model_fields[name].default  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "text"), section("Kept by the contracts"))
def test_constants_page_has_the_value_of_the_contract(name: str, text: str) -> None:
    contract, constant = name.split(".")
    assert solidity(contract, constant) == number(text)


@pytest.mark.parametrize(
    ("contract", "constant", "rule"),
    [
        ("ModuleSet", "VERSION", rules.CONTRACTS_VERSION),
        ("libraries/TaskRules", "BPS", rules.BPS),
        ("libraries/TaskRules", "MAX_ROUNDS", rules.MAX_ROUNDS),
        ("libraries/TaskRules", "MAX_TRAINERS", rules.MAX_LEAVES),
        ("libraries/TaskRules", "MAX_PARAMETERS", rules.MAX_VALUES),
        ("libraries/TaskRules", "MAX_PROVER_BPS", rules.MAX_PROVER_BPS),
        ("libraries/TaskRules", "MIN_BASE_BPS", rules.MIN_BASE_BPS),
        ("TaskManager", "MAJORITY_BPS", rules.MAJORITY_BPS),
        ("libraries/TaskRules", "MAX_PHASE_SECONDS", rules.MAX_PHASE_SECONDS),
        ("libraries/TaskRules", "MIN_PHASE_SECONDS", rules.MIN_PHASE_SECONDS),
        ("libraries/TaskRules", "MIN_NOTICE_SECONDS", rules.MIN_NOTICE_SECONDS),
        ("TrainerPool", "MAX_ROWS", rules.MAX_DATA_ROWS),
        ("libraries/StateOpening", "CHUNK_VALUES", rules.CHUNK_VALUES),
        ("libraries/StateOpening", "CHUNK_BYTES", rules.CHUNK_BYTES),
        ("libraries/OptimizerStep", "ROW_BYTES", 4 * rules.OPTIMIZER_CONSTANTS),
        ("JuryStore", "LAST_LEVEL", LAST_LEVEL),
    ],
)
def test_contracts_have_the_rules_of_the_code(contract: str, constant: str, rule: int) -> None:
    assert solidity(contract, constant) == rule


def solidity(contract: str, constant: str) -> int:
    source = (CONTRACTS / f"{contract}.sol").read_text("utf-8")
    match = re.search(rf"constant {constant} = (\d[\d_]*)(?: \*\* (\d+)| << (\d+)| (days|minutes))?;", source)
    assert match, f"{contract}.sol does not define {constant} as a plain number"
    value = int(match[1].replace("_", ""))
    unit = {None: 1, "minutes": 60, "days": 86_400}[match[4]]
    return value ** int(match[2]) if match[2] else (value << int(match[3] or 0)) * unit


def test_every_room_decides_or_says_why_not() -> None:
    rooms = {room_of(module_of(file)) for file in product_files()} - {"deltaproof"}
    judged = DECIDES | DECIDES_NOTHING.keys()
    assert not {room for room in rooms if not within(room, judged)}


def deciding_files() -> list[Path]:
    return [f for f in product_files() if within(module_of(f), DECIDES) and module_of(f) != "deltaproof.protocol.rules"]


def own_numbers(file: Path) -> set[str]:
    """`module:NAME` of every constant that a file assigns at its top level and that is a number, or several."""
    targets = set[str]()
    for node in ast.parse(file.read_text("utf-8")).body:
        for target in assigned(node):
            targets |= {name.id for name in ast.walk(target) if isinstance(name, ast.Name)}
    names = {name for name in targets if CONSTANT.fullmatch(name)}
    module = importlib.import_module(module_of(file)) if names else None
    return {f"{module_of(file)}:{name}" for name in names if is_number(getattr(module, name))}


def assigned(node: ast.stmt) -> Sequence[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []


def is_number(value: object) -> bool:
    if isinstance(value, (tuple, list, frozenset)):
        return bool(value) and all(is_number(part) for part in value)
    return isinstance(value, (int, float, np.number)) and not isinstance(value, (bool, Enum))


def test_no_deciding_module_has_a_number_of_its_own() -> None:
    found = set[str]().union(*(own_numbers(file) for file in deciding_files()))
    assert found == set(EXCEPTIONS), "move a new number to deltaproof/protocol/rules.py; drop exceptions that are gone"


def loose_numbers(source: str) -> set[float]:
    """Numbers written into functions and classes that are neither plain arithmetic nor small."""
    inside = (node for node in ast.parse(source).body if not assigned(node))
    values = {n.value for top in inside for n in ast.walk(top) if isinstance(n, ast.Constant)}
    floats = {value for value in values if isinstance(value, float)} - PLAIN_FLOATS
    return floats | {value for value in values if type(value) is int and value >= SMALL}


def test_no_deciding_function_has_a_number_of_its_own() -> None:
    found = {module_of(f): numbers for f in deciding_files() if (numbers := loose_numbers(f.read_text("utf-8")))}
    unexplained = {module: numbers for module, numbers in found.items() if not within(module, LOOSE_EXCEPTIONS)}
    assert not unexplained, "name the number in deltaproof/protocol/rules.py and docs/protocol/constants.md"
    assert not {place for place in LOOSE_EXCEPTIONS if not any(within(module, [place]) for module in found)}


def test_number_in_a_module_is_found_whatever_its_form() -> None:
    assert loose_numbers("def judge(x):\n    return x < 1e-6 and 0.5 * x < 2.0") == {1e-6}
    assert loose_numbers("class Judge:\n    most: int = 2_000\n\n    def few(self):\n        return 20") == {2_000}
    assert [is_number(value) for value in (1, 0.5, np.float32(2), (1, 2.0))] == [True] * 4
    assert [is_number(value) for value in (True, "1", (), ("a", 1), b"1")] == [False] * 5
