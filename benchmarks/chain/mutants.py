"""Mutants of Solidity: one operator, literal or statement changed at a time, by place in the source.

Comments, imports, pragmas and error arguments are left alone. slither-mutate was tried first: of its mutants of these
libraries most do not compile, and it compiles each twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Mutant", "mutants"]

SWAPS = {
    "arithmetic": {"+": "-", "-": "+", "*": "/", "/": "*", "%": "*"},
    "comparison": {"==": "!=", "!=": "==", "<": "<=", "<=": "<", ">": ">=", ">=": ">"},
    "logic": {"&&": "||", "||": "&&"},
    "bits": {"&": "|", "|": "&", "^": "&", "<<": ">>", ">>": "<<"},
    "assignment": {"+=": "-=", "-=": "+=", "<<=": ">>=", ">>=": "<<="},
}
OPCODES = {"add": "sub", "sub": "add", "shl": "shr", "shr": "shl", "and": "or", "or": "and", "lt": "gt", "eq": "lt"}
"""In assembly."""
OPERATOR = re.compile(r"(?<= )(<<=|>>=|==|!=|<=|>=|&&|\|\||<<|>>|\+=|-=|[-+*/%<>&|^])(?= )")
LITERAL = re.compile(r"(?<![\w.])(0x[0-9a-f]+|\d[\d_]*)(?![\w.])")
OPCODE = re.compile(r"\b(add|sub|shl|shr|and|or|lt|eq)(?=\()")
NEGATION = re.compile(r"!(?=[\w(])")
STATEMENT = re.compile(
    r"^\s+(?!return|revert|require|unchecked|using|error|event)[\w.\[\]() ]+(=|\+=|-=|\+\+|--|>>=|\()[^{}]*;\s*$"
)
GUARD = re.compile(r"^\s+require\(.*\);\s*$")
DECLARED = re.compile(r"^\s*(uint\d*|int\d*|bytes\d*|bool|address|[A-Z]\w*)( \w+)* \w+( =|;)")


@dataclass(frozen=True)
class Mutant:
    """Line `line` (from 1) becomes `after`."""

    line: int
    kind: str
    before: str
    after: str

    def applied(self, source: str) -> str:
        """The whole mutated source."""
        lines = source.split("\n")
        assert lines[self.line - 1] == self.before
        lines[self.line - 1] = self.after
        return "\n".join(lines)


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of a source, in its order."""
    inside, assembly = False, False
    for number, line in enumerate(source.split("\n"), 1):
        code = line.partition("//")[0]
        inside = inside or code.startswith(("library ", "abstract ", "contract "))
        if not inside or not code.strip() or re.match(r"\s*(function|struct|error|event|import)\b", code):
            continue
        assembly = "assembly" in code or (assembly and code.strip() != "}")
        for kind, after in _changes(code, assembly):
            yield Mutant(number, kind, line, after + line[len(code) :])


def _changes(code: str, assembly: bool) -> Iterator[tuple[str, str]]:
    for match in OPERATOR.finditer(code):
        for kind, swaps in SWAPS.items():
            if match[1] in swaps:
                yield kind, code[: match.start(1)] + swaps[match[1]] + code[match.end(1) :]
    for match in NEGATION.finditer(code):
        yield "negation", code[: match.start()] + code[match.end() :]
    if assembly:
        for match in OPCODE.finditer(code):
            yield "opcode", code[: match.start()] + OPCODES[match[1]] + code[match.end() :]
    for match in LITERAL.finditer(code):
        text = match[1].replace("_", "")
        value = int(text, 16) if text.startswith("0x") else int(text)
        more = f"0x{value + 1:x}" if text.startswith("0x") else str(value + 1)
        yield "literal", code[: match.start()] + more + code[match.end() :]
    if GUARD.match(code) or (STATEMENT.match(code) and not DECLARED.match(code)):
        yield "deletion", re.match(r"\s*", code)[0]  # type: ignore[index]
