"""The page of the agent says what of its lead a schedule has that looks at no device."""

from __future__ import annotations

import json

from benchmarks.control.__main__ import REPORT, RESULTS, table


def test_page_tells_the_schedule_s_share_of_the_agents_lead() -> None:
    found = json.loads(RESULTS.read_text())
    assert REPORT.read_text() == table(found), "`python -m benchmarks.control --report` writes it"
    found["policies"]["schedule"]["reward"] = 0.9
    found["policies"][found["best_fixed"]]["reward"] = 0.6
    assert "leads the best fixed policy by 0.300 already" in table(found)
