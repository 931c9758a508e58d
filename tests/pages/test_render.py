"""One HTML file, whatever chain and store hold."""

from __future__ import annotations

import json
import re

import pytest

from deltaproof.pages.render import render

DATA = re.compile(r'<script id="data" type="application/json">(.*?)</script>', re.DOTALL)


@pytest.mark.parametrize("name", ["/*SCRIPT*/", "/*DATA*/", "/*CSS*/", "</script><script>alert(1)", "\\1 \\g<0>"])
def test_name_of_a_stranger_is_data_and_nothing_else(name: str) -> None:
    """Attack: call a task `/*SCRIPT*/`, and no report of these contracts shows anything."""
    page = render({"overview": {"name": name}})
    found = DATA.search(page)
    assert found is not None
    assert json.loads(found[1]) == {"overview": {"name": name}}
    assert page.count("</script>") == render(None).count("</script>")
    assert page.count("const Blocks") == 1
