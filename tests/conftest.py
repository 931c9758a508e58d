"""For every test: no model hub is asked for anything, and torch keeps to one thread, so that timings do not depend on
what else the machine does. Set before anything imports torch or transformers. Each process keeps what its keys have in
flight apart: chains of two tests that start in one second have one genesis and the same keys."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import tempfile
from pathlib import Path

import hypothesis
import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# Else `ray.init` writes a token below HOME, and clusters that begin later ask for it, also processes that know of none.
os.environ["RAY_AUTH_MODE"] = "disabled"

os.environ["DELTAPROOF_STATE"] = tempfile.mkdtemp(prefix="deltaproof-state-")
atexit.register(shutil.rmtree, os.environ["DELTAPROOF_STATE"], ignore_errors=True)

# How long an example takes says something of the machine, nothing of the code.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

REAL_TIME = {
    "agent", "chain", "chaos", "cli", "demo", "deploy", "disputing", "gateway", "pages", "roles", "sponsor", "trainer",
    "verifier", "test_notebooks.py", "tuning/test_workers.py", "tuning/test_workers_on_ray.py",
}  # fmt: skip
"""Folders (and files) whose tests drive chains, servers and processes against the clock: a busy machine may make one
late. Such a test is played once more, and the closing line counts it (`rerun`)."""

LONGEST = {
    "chaos/test_accidents.py", "gateway/test_buckets.py", "replaying/test_honest_replays.py", "roles/test_lives.py",
    "roles/test_many_tasks.py", "roles/test_strangers.py", "scripts/test_docsite.py", "test_notebooks.py",
    "tuning/test_methods_on_chain.py", "tuning/test_workers.py", "tuning/test_workers_on_ray.py",
}  # fmt: skip
"""Files that begin first: one that takes a minute and begins last is waited for by everybody."""

# Modules and tests stay to the end: no collection of garbage has to look at them, while they come or later.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {item: item.path.relative_to(Path(__file__).parent) for item in items}
    for item, place in places.items():
        if {place.parts[0], place.as_posix()} & REAL_TIME:
            item.add_marker(pytest.mark.flaky(reruns=1))
    items.sort(key=lambda item: places[item].as_posix() not in LONGEST)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Why a test was played once more: the plugin keeps what its first run said to itself."""
    for report in terminalreporter.getreports("rerun"):
        terminalreporter.section(f"first run of {report.nodeid}", "_")
        terminalreporter.line(str(report.longrepr))
