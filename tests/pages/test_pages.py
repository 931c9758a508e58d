"""The pages in a real Chromium: every page, verification in the browser, keyboard, phone, theme, live update."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from deltaproof.auditor.audit.case import AuditOptions
from deltaproof.auditor.auditing import AuditSource, run_audit
from deltaproof.auditor.session import open_index
from deltaproof.chain.abi.enums import Role
from deltaproof.chain.abi.structs import ScoreLeaf, ScorePair
from deltaproof.chain.local_node import start_node
from deltaproof.chain.participation import settled_leaves
from deltaproof.pages import data as data_of_pages
from deltaproof.pages.data import PageData, by_round
from deltaproof.pages.render import render
from deltaproof.protocol.outcome.settlement import leaves_tree, scores_tree
from deltaproof.protocol.types import RoundIndex, TokenAmount
from deltaproof.store.profiles import Profile
from tests.chain.test_money import SHOWN
from tests.worlds.roles import RoleWorld, build_world

AXE = Path(__file__).resolve().parents[2] / "node_modules" / "axe-core" / "axe.min.js"
PHONE = {"width": 360, "height": 740}
STAKE = TokenAmount(10**20)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleWorld]:
    """One round with a dispute over a score, answered in time."""
    with start_node("anvil", accounts=12) as node:
        built = build_world(node, tmp_path_factory.mktemp("world"), rounds=3, verifiers=2)
        built.open_round()
        built.work()
        built.attest()
        built.settle(before_end=lambda: dispute_a_score(built))
        yield built
        built.close()


def dispute_a_score(world: RoleWorld) -> None:
    challenger, verifier = world.gateway, world.verifiers[0]
    token = challenger.token(challenger.registry.token())
    token.mint(challenger.account, STAKE)
    token.approve(challenger.registry.address, STAKE)
    challenger.registry.deposit(Role.CHALLENGER, STAKE)
    attestation = verifier.own.of(RoundIndex(1))
    assert attestation is not None
    demand, _ = challenger.court.demand_score(
        world.task, challenger.posted_digest(world.task), verifier.account, attestation.findings[0].trainer
    )
    attested = attestation.leaves()
    leaf = ScoreLeaf(attested[0].trainer, attested[0].verdict, attested[0].score_nanos)
    view = world.gateway.tasks.round(world.task, RoundIndex(1))
    proposal = settled_leaves(world.gateway, world.store, world.task, RoundIndex(1), view)
    assert proposal is not None
    settled = proposal.leaves
    shown = (leaf, scores_tree(attested).proof(0), settled[0], leaves_tree(settled).proof(0))
    verifier.gateway.court.answer_score(demand, ScorePair(verifier.account, 0, *shown))


@pytest.fixture(scope="module")
def report(world: RoleWorld, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    index, _ = open_index(world.rpc, world.contract)
    done = run_audit(AuditSource(index, world.store, world.rpc), AuditOptions(replays=1))
    assert [str(check) for check in done.checks if check.status != "pass"] == []
    data = PageData(index, world.store, world.rpc, by_round(done.checks)).everything()
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(data), encoding="utf-8")
    return path, data


def _chromium() -> str | None:
    """Chromium, installed from Debian's package if this is allowed here."""
    if (found := shutil.which("chromium")) is None and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium", "fonts-dejavu-core"]):
            subprocess.run(["apt-get", "-qq", *command], check=False, capture_output=True, env=environment, timeout=600)
        found = shutil.which("chromium")
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = _chromium()
    if executable is None:
        pytest.skip("Chromium is not installed, and only root may install it: apt-get install chromium")
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-background-networking"]
        started = playwright.chromium.launch(executable_path=executable, args=flags)
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser, report: tuple[Path, dict[str, Any]]) -> Iterator[Page]:
    """A page on the report that must not ask anybody for anything, nor log an error."""
    context = browser.new_context()
    opened = context.new_page()
    asked: list[str] = []
    errors: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(report[0].as_uri())
    yield opened
    assert [url for url in asked if not url.startswith("file://")] == []
    assert errors == []
    context.close()


def test_people_are_told_with_what_they_did_earned_and_lost(
    report: tuple[Path, dict[str, Any]], world: RoleWorld
) -> None:
    people = {one["account"]: one for one in report[1]["people"]["people"]}
    assert list(people) == report[1]["overview"]["accounts"]
    for who, told in people.items():
        mine = report[1][f"account/{who}"]
        assert sum(int(amount) for _, amount in told["earned"]) == mine["totals"]["claimed"] + mine["totals"]["fees"]
        assert told["rewarded"] == mine["totals"]["slashReward"]
        assert told["lost"] >= mine["totals"]["slashed"], "absences are no slash"
    cheat, judge = world.trainers[-1].account, world.verifiers[0].account
    assert people[cheat]["lost"] > 0
    assert (people[judge]["verifies"], people[judge]["trains"]) == (1, 0)
    assert people[judge]["attested"] > 0
    assert people[world.trainers[0].account]["trained"] > 0


def test_names_of_everybody_are_read_once_a_minute(world: RoleWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = world.trainers[0].gateway
    assert trainer.sender is not None
    said = Profile(account=trainer.account, name="Ada", issued=1)
    world.store.put_profile(said.signed(trainer.sender.sign_message, trainer.permit_domain))
    index, _ = open_index(world.rpc, world.contract)
    pages, read = PageData(index, world.store, world.rpc), Mock(wraps=world.store.known_profiles)
    monkeypatch.setattr(world.store, "known_profiles", read)
    for _ in range(2):
        named = {one["account"]: one["name"] for one in pages.at("people")["people"]}
        assert named[trainer.account] == "Ada"
    assert read.call_count == 1
    monkeypatch.setattr(data_of_pages, "NAMES_KEPT", 0.0)
    pages.at("people")
    assert read.call_count == 2


def go(page: Page, address: str) -> None:
    page.evaluate("address => { location.hash = address; }", address)
    page.wait_for_function("address => document.getElementById('main').dataset.ready === address", arg=address)


def test_report_every_page_shows_its_content(page: Page, report: tuple[Path, dict[str, Any]], world: RoleWorld) -> None:
    trainer = world.trainers[0].account
    expected = {
        "#/": "task 1",
        "#/network": "registry",
        "#/accounts": trainer[:8],
        "#/task/1": "round 1",
        "#/round/1/1": "Raw events",
        "#/dispute/1/1": "answered",
        f"#/account/{trainer}": trainer,
        "#/find/minimal": "1: minimal",
        f"#/find/{trainer[:14]}": "1 found",
        "#/find/0x" + "77" * 32: "Nothing is known of",
    }
    for address, text in expected.items():
        go(page, address)
        assert text in page.inner_text("main"), address
        assert page.locator("p.fail").count() == 0
    go(page, "#/nowhere")
    assert "No such page" in page.inner_text("main")
    go(page, "#/task/99")
    assert "cannot be shown" in page.inner_text("main")


def test_amounts_are_in_tokens_and_exact_in_the_title(page: Page, world: RoleWorld) -> None:
    budget = world.gateway.task(world.task).params.rewards.budget_per_round
    go(page, "#/")
    assert "< 0.0001 DEMO" in page.inner_text("main")
    assert page.locator(f"span[title='{budget} smallest units']").count() >= 1
    shown = page.evaluate(
        "amounts => amounts.map(([units, decimals]) => Money.text(units, {symbol: 'T', decimals}))",
        [[str(units), decimals] for units, decimals, _ in SHOWN],
    )
    assert shown == [text for *_, text in SHOWN], "as the command line shows them"


def test_task_charts_drawn_with_text_alternatives(page: Page) -> None:
    go(page, "#/task/1")
    charts = page.locator("svg[role=img]")
    assert charts.count() == 4
    assert all(charts.nth(i).get_attribute("aria-label") for i in range(4))
    assert page.locator("figure summary", has_text="table").count() == 4
    charts.first.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("output.said").first.inner_text().startswith("round start: loss 0.")
    page.locator("figure summary").first.click()
    page.locator("figure table").wait_for()
    assert page.locator("figure table tbody tr").count() == 2  # start and one round
    drawn = "of => [...document.querySelectorAll(of)].map(one => Number(one.dataset.count))"
    assert page.evaluate(drawn, "figure svg path.bars") == [1, 1, 1]  # three paid trainers
    assert page.evaluate(drawn, "figure svg path.dots") == [2, 2, 1, 1, 1]  # loss, accuracy, contributions


def test_round_every_check_shown_and_hash_copied(page: Page, report: tuple[Path, dict[str, Any]]) -> None:
    go(page, "#/round/1/1")
    passed = report[1]["round/1/1"]["checks"]
    page.locator("summary", has_text="× pass").click()
    for group in page.locator("details.checks > details > summary").all():
        group.click()
    told = [
        summary.inner_text().rpartition(": ") for summary in page.locator("details.checks > details > summary").all()
    ]
    assert sum(int(count) for *_, count in told) == len(passed)
    names = [check["name"] for check in passed]
    assert {name: int(count) for name, _, count in told} == {name: names.count(name) for name in names}
    rows = page.locator("details.checks > details").first.locator("tbody tr")
    rows.first.wait_for()
    assert rows.count() == min(50, int(told[0][2]))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    button = page.locator("button.copy").first
    digest = button.get_attribute("title")
    button.click()
    assert page.evaluate("() => navigator.clipboard.readText()") == digest


@pytest.mark.parametrize("kind", ["leaf", "commitment", "record"])
def test_verification_in_browser_holds_and_tampered_fails(page: Page, kind: str, world: RoleWorld) -> None:
    go(page, "#/round/1/1")
    proof = page.locator(f"details.proof[data-trainer='{world.trainers[0].account}']")
    proof.locator("summary").first.click()
    result = proof.locator(f"p.result[data-kind={kind}]")
    proof.locator(f"button[data-verify={kind}]").click()
    assert result.inner_text().startswith("holds")

    proof.locator("details summary").nth(["leaf", "commitment", "record"].index(kind)).click()
    area = proof.locator("textarea").nth(["leaf", "commitment", "record"].index(kind))
    honest = json.loads(area.input_value())
    for name, value in honest.items():
        if name in ("count", "index"):
            continue
        forged = {**honest, name: tampered(value)}
        if forged == honest:
            continue
        area.fill(json.dumps(forged))
        proof.locator(f"button[data-verify={kind}]").click()
        assert result.inner_text().startswith("does not hold"), name
        assert "fail" in (result.get_attribute("class") or "")


def tampered(value: Any) -> Any:
    """The nearest other value of the same kind."""
    if isinstance(value, list):
        return [*value[:-1], tampered(value[-1])] if value else value
    if isinstance(value, int):
        return value + 1
    if value.startswith("0x"):
        return value[:-1] + ("0" if value[-1] != "0" else "1")
    return str(int(value) + 1)


def test_round_draws_its_life_the_sampled_steps_and_where_the_money_went(
    page: Page, world: RoleWorld, report: tuple[Path, dict[str, Any]]
) -> None:
    go(page, "#/round/1/1")
    life = page.locator("figure.wide svg").first
    phases = [phase["phase"] for phase in report[1]["round/1/1"]["phases"]]
    # One that took no second and no act is left out, as settling is on a fast machine.
    assert {"commit", "reveal", "opening", "attest_commit", "attest_reveal"} <= set(phases)
    assert life.locator("rect.bar").count() == len(phases)
    assert life.locator("circle.late").count() == 0
    assert life.locator("circle.act").count() >= 2 * len(world.trainers)
    assert page.locator("svg.strip").count() == len(world.trainers)
    steps = world.gateway.task(world.task).params.training.steps
    cheat = page.locator(".sampled", has_text="rejected")
    assert f"of {steps} steps replayed" in cheat.inner_text()
    assert cheat.locator("svg .failed").count() > 0
    honest = page.locator(".sampled", has_text="accepted").first
    assert honest.locator("svg .failed").count() == 0
    honest.locator("summary", has_text="why this pay").click()
    honest.locator("li", has_text="payout").wait_for()
    fall = page.locator("figure.wide", has_text="From the budget")
    assert fall.locator("rect.part").count() == len(world.trainers)


def test_one_button_checks_the_whole_round_and_sees_a_lie(page: Page, report: tuple[Path, dict[str, Any]]) -> None:
    go(page, "#/round/1/1")
    button, said = page.locator("#check"), page.locator("#checked")
    button.click()
    page.wait_for_function("() => document.getElementById('checked').className !== ''")
    assert said.inner_text().startswith("all ")
    assert page.locator("p.result.pass[data-kind=quorum]").count() == 1
    assert page.locator("p.result.pass[data-kind=scores]").count() == 1
    area = page.locator("textarea").first
    area.evaluate('area => { area.value = area.value.replace(/"payout": "\\d+"/, \'"payout": "7"\'); }')
    button.click()
    page.wait_for_function("() => document.getElementById('checked').className === 'fail'")
    assert said.inner_text().startswith("1 of ")
    game = page.locator("details.scores textarea")
    game.evaluate('area => { area.value = area.value.replace(/"valueNanos": (-?)\\d+/g, \'"valueNanos": $1777\'); }')
    button.click()
    page.wait_for_function("() => document.getElementById('checked').innerText.startsWith('2 of ')")
    assert page.locator("p.result.fail[data-kind=scores]").count() == 1


def test_table_sorts_filters_and_downloads_what_it_shows(page: Page, report: tuple[Path, dict[str, Any]]) -> None:
    go(page, "#/round/1/1")
    listing = page.locator(".listing").nth(0)
    trainers = report[1]["round/1/1"]["trainers"]
    scores = sorted(trainer["scoreNanos"] for trainer in trainers)
    head = listing.locator("th", has_text="score")
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    with page.expect_download() as saved:
        listing.get_by_role("button", name="as JSON").click()
    rows = json.loads(Path(saved.value.path()).read_text())
    assert [row["score, mnat"] for row in rows] == scores
    head.locator("button").click()
    with page.expect_download() as saved:
        listing.get_by_role("button", name="as CSV").click()
    lines = Path(saved.value.path()).read_text().splitlines()
    assert [int(line.split(",")[-6]) for line in lines[1:]] == scores[::-1]
    assert saved.value.suggested_filename == "trainers-of-round-1.csv"
    page.locator("summary", has_text="events of the chain").click()
    events = page.locator(".listing", has=page.get_by_label("filter Events of round 1"))
    events.locator("input").fill("phase")
    shown = events.locator("tbody tr")
    assert shown.count() == sum(event["event"] == "PhaseStarted" for event in report[1]["round/1/1"]["timeline"])


def test_cells_that_a_spreadsheet_would_compute_stay_text(page: Page) -> None:
    with page.expect_download() as saved:
        page.evaluate(
            "() => { const one = Tables.table('t', [['a'], ['b']], [['=1+1', '-2'], ['@x', 'say \"hi\", you']]);"
            "document.body.append(one); one.querySelector('[aria-label$=CSV]').click(); }"
        )
    assert Path(saved.value.path()).read_text() == 'a,b\n\'=1+1,-2\n\'@x,"say ""hi"", you"\n'


@pytest.mark.parametrize(
    ("scheme", "rules"),
    [("light", ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]), ("dark", ["color-contrast"])],
    ids=["light", "dark"],
)
def test_pages_keep_the_rules_of_accessibility(page: Page, world: RoleWorld, scheme: Any, rules: list[str]) -> None:
    """axe-core's rules for WCAG 2.2 A and AA, on every kind of page; in the dark, whose colours alone are others, those
    of colours."""
    page.emulate_media(color_scheme=scheme)
    page.add_script_tag(content=AXE.read_text("utf-8"))
    for address in (
        "#/",
        "#/accounts",
        "#/network",
        "#/task/1",
        "#/round/1/1",
        f"#/account/{world.trainers[0].account}",
    ):
        go(page, address)
        page.evaluate("() => document.querySelectorAll('main details').forEach(one => { one.open = true; })")
        found = page.evaluate("rules => axe.run(document, {runOnly: rules})", rules)["violations"]
        told = [(one["id"], one["nodes"][0]["html"][:200], one["nodes"][0]["failureSummary"]) for one in found]
        assert told == [], address


def test_page_keyboard_alone_reaches_and_verifies(page: Page) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.className") == "skip"
    go(page, "#/round/1/1")
    page.locator("details.proof summary").first.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.dataset.verify") == "leaf"
    page.keyboard.press("Enter")
    assert page.locator("p.result[data-kind=leaf]").first.inner_text().startswith("holds")


OUTSIDE_THEIR_FIGURE = """() => [...document.querySelectorAll("figure svg text")].filter((text) => {
  const at = text.getBoundingClientRect(), figure = text.closest("figure").getBoundingClientRect();
  return at.left < figure.left - 1 || at.right > figure.right + 1;
}).map((text) => text.textContent)"""
"""Words of pictures that nobody sees without scrolling sideways."""


@pytest.mark.parametrize("width", [PHONE["width"], 390, 1920])
def test_page_width_nothing_cut_off(page: Page, world: RoleWorld, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 740})
    for address in ("#/", "#/task/1", "#/round/1/1", f"#/account/{world.trainers[0].account}"):
        go(page, address)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width, address
        assert page.evaluate(OUTSIDE_THEIR_FIGURE) == [], address


def test_page_theme_switches_and_follows_the_system(page: Page) -> None:
    background = "() => getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="light")
    light = page.evaluate(background)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(background)
    assert light != dark
    page.locator("#theme").click()
    assert page.evaluate(background) == light


def test_render_hostile_text_stays_text(browser: Browser, tmp_path: Path, report: tuple[Path, dict[str, Any]]) -> None:
    """A task's name comes from its sponsor, a participant's from itself."""
    hostile = "</script><script>document.title='owned'</script><img src=x onerror=document.title='owned'>"
    data = json.loads(json.dumps(report[1]))
    data["overview"]["tasks"][0]["name"] = data["task/1"]["name"] = hostile
    said = {"name": hostile, "url": 'https://a.example/"onmouseover="x', "contact": hostile, "issued": 1}
    data[f"account/{data['overview']['accounts'][0]}"]["profile"] = said
    data["people"]["people"][0]["name"] = hostile
    path = tmp_path / "hostile.html"
    path.write_text(render(data), encoding="utf-8")
    opened = browser.new_page()
    opened.goto(path.as_uri() + "#/task/1")
    opened.wait_for_selector("svg")
    assert hostile in opened.inner_text("h1")
    assert not opened.title().startswith("owned")
    who = data["overview"]["accounts"][0]
    opened.goto(path.as_uri() + f"#/account/{who}")
    opened.wait_for_selector(".profile")
    assert hostile in opened.inner_text(".profile")
    assert who in opened.inner_text("h1"), "a name took the address's place"
    for address in ("#/accounts", "#/find/script"):
        opened.goto(path.as_uri() + address)
        opened.wait_for_selector("main table")
        assert hostile in opened.inner_text("main table")
        assert who[:8] in opened.inner_text("main table")
    assert not opened.title().startswith("owned")
    opened.close()


def test_serve_live_update_health_and_metrics(browser: Browser, world: RoleWorld, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "deltaproof", "serve", "--rpc", world.node.rpc_url, "--contract", world.contract,
        "--store", str(world.store_folder), "--index", str(tmp_path / "i.sqlite"), "--port", str(port),
        "--poll-seconds", "0.3",
    ]  # fmt: skip
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        health = _wait_for(url + "/health")
        assert health["ok"]
        opened = browser.new_page()
        opened.goto(url + "/#/task/1")
        opened.wait_for_selector("svg")
        opened.wait_for_function("() => document.getElementById('live').textContent.startsWith('live, block')")
        before = int(opened.inner_text("#live").split()[-1])

        world.open_round()
        opened.wait_for_function(
            "before => Number(document.getElementById('live').textContent.split(' ').pop()) > before",
            arg=before,
            timeout=20_000,
        )
        opened.get_by_role("link", name="round 2").wait_for(timeout=20_000)
        opened.goto(url + "/#/round/1/1")
        opened.locator("h2", has_text="Audit:").wait_for(timeout=120_000)
        assert ", 0 failed" in opened.inner_text("main")

        with urllib.request.urlopen(url + "/metrics") as answer:
            assert b"deltaproof_index_block" in answer.read()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(url + "/api/task/77")
        opened.goto(url)  # a page that listens must not keep the server from ending
        server.terminate()
        server.wait(timeout=60)
        opened.close()
    finally:
        server.kill()


def _wait_for(url: str) -> dict[str, Any]:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url) as answer:
                return json.load(answer)  # type: ignore[no-any-return]
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"nothing answers at {url}")
