"""The numbers about the code count what they say."""

from __future__ import annotations

from deltaproof.protocol.terms.spec import TaskSpec
from scripts.docsite.api_names import TOPS
from scripts.house import (
    CONSTANTS_PAGE,
    functions,
    homeless_rules,
    longest,
    python_files,
    spec_keys,
    undocumented_in,
    unread_keys,
)

SOURCE = '''
A = 1
B = 2
"""Explained."""
def explained():
    """Yes."""
def bare(): ...
def _private(): ...
class Thing:
    """Yes."""
    def method(self): ...
    def told(self):
        """Yes."""
class Child(Thing):
    """Yes."""
    def method(self): ...
'''


def test_names_without_words_are_found() -> None:
    exported = ("A", "B", "explained", "bare", "Thing", "Child")
    assert list(undocumented_in("m", SOURCE, exported)) == ["m.A", "m.bare", "m.Thing.method"]
    assert list(undocumented_in("m", SOURCE, ())) == []


def test_longest_come_first() -> None:
    found = longest(functions("m.py", SOURCE))
    assert [sized.lines for sized in found] == [2, 2, 1, 1, 1]
    assert {sized.where.split()[1] for sized in found[:2]} == {"explained", "told"}


def test_keys_that_nothing_reads_are_found() -> None:
    keys = set(spec_keys(TaskSpec))
    assert {"verification.quorum_bps", "federation.server.paid"} <= keys
    assert "training.gradient_dtype" not in keys, "it has one value, and every other is refused"
    assert set(unread_keys({"a.py": "x = spec.training.accumulation"})) == keys - {"training.accumulation"}


def test_every_key_of_the_spec_has_a_reader() -> None:
    product = {path: text for path, text in python_files().items() if path.partition("/")[0] in TOPS}
    assert unread_keys(product) == []


def test_every_rule_has_a_home() -> None:
    page = CONSTANTS_PAGE.read_text()
    assert homeless_rules(page) == []
    assert homeless_rules(page.replace("`TIE_NOISE`", "tie noise")) == ["TIE_NOISE"]
