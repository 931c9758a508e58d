"""The command line as a user meets it: help that teaches, JSON for scripts, one clear message for every bad input."""

from __future__ import annotations

import json
import re
import shutil
import socket
import tomllib
from pathlib import Path

import pytest

from deltaproof import __version__
from deltaproof.chain.local_node import Node
from deltaproof.cli.common import console
from deltaproof.protocol.evidence.rows import canonical_row, write_shard
from deltaproof.protocol.rules import CONTRACTS_VERSION
from deltaproof.tuning.base_models.presets import minimal_model
from tests.cli.conftest import Run, read_options


@pytest.mark.parametrize(
    "command",
    [
        (), ("chain", "up"), ("deploy",), ("faucet",), ("task", "create"), ("task", "init"), ("task", "show"),
        ("task", "list"), ("task", "results"),
        ("sponsor", "run"), ("trainer", "run"), ("verifier", "run"), ("claim",),
        ("stake", "leave"), ("bond", "clear"), ("agent", "status"), ("history",), ("audit",), ("demo",),
        ("doctor",), ("calibrate",),
    ],
)  # fmt: skip
def test_help_of_every_command_explains_its_options(run: Run, command: tuple[str, ...]) -> None:
    code, out, _ = run(*command, "--help")
    assert code == 0
    assert "Usage: deltaproof" in out
    assert "--help" in out


def test_version_is_that_of_the_package(run: Run) -> None:
    assert run("--version") == (0, f"deltaproof {__version__} (contracts of version {CONTRACTS_VERSION})\n", "")


@pytest.mark.parametrize(
    ("typed", "word"), [("deltaproof tra", "trainer"), ("deltaproof trainer run --ch", "--checkpointing")]
)
def test_completion_offers_commands_and_options(
    run: Run, monkeypatch: pytest.MonkeyPatch, typed: str, word: str
) -> None:
    monkeypatch.setenv("_DELTAPROOF_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
    code, out, _ = run()
    assert (code, out.split()) == (0, [word])


def test_task_is_not_created_for_a_store_that_does_not_answer(run: Run, deployed: list[str], draft: Path) -> None:
    away = [*deployed, "--store", "http://127.0.0.1:9"]
    code, _, err = run("task", "create", str(draft), *away, "--fund", "1100wei", "--accept-risk", "--json")
    assert code == 1
    assert "no answer from http://127.0.0.1:9" in err
    code, _, err = run("task", "show", *deployed[:6], "--task", "1")
    assert "there is no task 1" in err


def test_task_create_and_show_print_json_for_scripts(run: Run, deployed: list[str], draft: Path) -> None:
    code, out, err = run("task", "create", str(draft), *deployed, "--fund", "1100wei", "--accept-risk", "--json")
    assert code == 0, err
    created = json.loads(out)
    code, out, _ = run("task", "show", *read_options(deployed), "--task", str(created["task"]), "--json")
    shown = json.loads(out)
    assert code == 0
    assert shown["balance"] == "1100"
    assert shown["spec_hash"] == created["spec_hash"]
    assert shown["adapter"] == created["start_digest"]
    listed = json.loads(run("task", "list", *read_options(deployed), "--all", "--json")[1])
    assert [task["task"] for task in listed["tasks"]] == [created["task"]]


def test_task_init_writes_a_draft_that_passes_the_check(run: Run, tmp_path: Path) -> None:
    model = f"path:{minimal_model(tmp_path / 'model', 'bert')}"
    write_shard(tmp_path / "held.jsonl", [canonical_row({"text": f"row {i}", "label": i % 3}) for i in range(60)])
    begin = ("task", "init", "--model", model, "--data", str(tmp_path / "held.jsonl"), "--out", str(tmp_path / "new"))
    code, out, err = run(*begin, "--rounds", "2", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert (told["kind"], told["validation_rows"], told["test_rows"]) == ("sequence-classification", 25, 10)
    code, out, err = run("task", "check", told["draft"], "--speed", "1000", "--json")
    assert code == 0, err
    text = Path(told["draft"]).read_text()
    assert "num_labels = 3" in text
    assert 'rows = "distinct"' in text
    assert json.loads(out)["economics"]["names"]["gain"] < 1.05
    code, _, err = run(*begin)
    assert code == 1
    assert "is there already" in err
    assert "min_verifiers = 3 " in text
    code, _, err = run(*begin[:-1], str(tmp_path / "known"), "--rounds", "2", "--trainers", "6", "--verifiers", "5")
    assert code == 0, err
    known = tomllib.loads((tmp_path / "known" / "task.toml").read_text())["verification"]
    assert (known["min_trainers"], known["min_verifiers"]) == (4, 3), "more than half of those who are expected"
    code, _, err = run(*begin[:-1], str(tmp_path / "other"), "--rounds", "20")
    assert code == 1
    assert "192 at least" in err


def test_task_init_of_small_deltas_sends_a_fraction_of_the_bytes(run: Run, tmp_path: Path) -> None:
    model = f"path:{minimal_model(tmp_path / 'model', 'bert')}"
    write_shard(tmp_path / "held.jsonl", [canonical_row({"text": f"row {i}", "label": i % 2}) for i in range(60)])
    begin = ("task", "init", "--model", model, "--data", str(tmp_path / "held.jsonl"), "--small-deltas")
    code, _, err = run(*begin, "--out", str(tmp_path), "--rounds", "1")
    assert code == 0, err
    code, out, err = run("task", "check", str(tmp_path / "task.toml"), "--speed", "1000", "--json")
    assert code == 0, err
    work = json.loads(out)["work"]
    assert work["published_bytes"] < work["values"], "under eight bits a value"
    drafted = tomllib.loads((tmp_path / "task.toml").read_text())
    assert drafted["method"]["options"]["layers_to_transform"] == [1], "the upper of two layers"
    code, _, err = run(*begin, "--out", str(tmp_path / "ia3"), "--rounds", "1", "--method", "ia3")
    assert code == 1
    assert "lora alone" in err


def test_task_list_shows_what_one_can_take_part_in(
    run: Run, deployed: list[str], draft: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_width", 80)
    draft.write_text(draft.read_text().replace('name = "tiny"', f'name = "tiny{" and long" * 20}"'))
    code, out, err = run("task", "create", str(draft), *deployed, "--fund", "1100wei", "--accept-risk", "--json")
    assert code == 0, err
    number = json.loads(out)["task"]
    code, out, err = run("task", "create", str(draft), *deployed, "--accept-risk", "--json")
    assert code == 0, err
    unfunded = json.loads(out)["task"]
    where = read_options(deployed)
    code, out, _ = run("task", "list", *where)
    assert code == 0
    assert "tiny" in out
    assert max(map(len, out.splitlines())) <= 80
    assert sum("lora" in line for line in out.splitlines()) == 1  # one line a task
    assert f"{unfunded} tasks, {unfunded - number} not shown" in out
    listed = {task["task"]: task for task in json.loads(run("task", "list", *where, "--all", "--json")[1])["tasks"]}
    assert (listed[number]["open"], listed[unfunded]["open"]) == (True, False)
    assert listed[number]["budget_per_round"] == "1000"
    assert json.loads(run("task", "list", *where, "--method", "adalora", "--json")[1])["tasks"] == []

    def found(*filters: str) -> set[int]:
        code, out, err = run("task", "list", *where, *filters, "--all", "--json")
        assert code == 0, err
        return {task["task"] for task in json.loads(out)["tasks"]} & {number, unfunded}

    both, token = {number, unfunded}, listed[number]["token"]
    assert found("--token", token) == found("--token", "demo") == found("--min-pay", "250wei") == both
    assert (
        found("--model", "path:*/model")
        == found("--max-size", "1")
        == found("--kind", "sequence-classification")
        == both
    )
    assert (
        found("--token", "OTHER") | found("--min-pay", "1") | found("--model", "hub:*") | found("--max-size", "0.001")
        == set()
    )
    code, out, err = run("task", "list", *where, "--estimate", "--role", "verifier", "--json")
    assert code == 0, err
    guess = {task["task"]: task["estimate"] for task in json.loads(out)["tasks"]}[number]
    assert (guess["role"], guess["phase_seconds"]) == ("verifier", 60)
    assert 10_000 < guess["weights_bytes"] < 1_000_000
    assert 0 < guess["seconds_per_round"] < 60
    assert int(guess["gas_price_wei"]) > 0
    code, out, _ = run("task", "list", *where, "--estimate")
    assert code == 0
    assert "work here" in out
    assert "people" not in out, "80 columns have no room for both"
    assert "gas of a round: about 255,000" in out
    code, _, err = run("task", "list", *where, "--role", "sponsor")
    assert (code, "--role is trainer or verifier" in err) == (1, True)
    code, out, _ = run("task", "show", *where, "--task", str(number))
    assert code == 0
    assert "budget per round: 0.000000000000001 DEMO (Most that the trainers of one round earn together)" in out
    assert "visibility: public (Who reads the openings of drawn steps, with their rows: " in out
    code, out, _ = run("task", "list", *where[:4], "--store", str(draft.parent / "empty"), "--all", "--json")
    assert code == 0
    assert {task["name"] for task in json.loads(out)["tasks"]} == {None}
    assert all(task["problem"] for task in json.loads(out)["tasks"])


def test_doctor_measures_a_task_and_fails_if_a_phase_is_too_short(run: Run, deployed: list[str], draft: Path) -> None:
    code, out, err = run("task", "create", str(draft), *deployed, "--fund", "1100wei", "--accept-risk", "--json")
    assert code == 0, err
    task = ["--task", str(json.loads(out)["task"]), *read_options(deployed), "--json"]
    code, out, err = run("doctor", *task, "--device", "auto")
    assert code == 0, err
    told = json.loads(out)
    assert told["machine"]["devices"][0] == "cpu"
    assert {"step", "replay", "evaluation", "load"} == told["seconds"].keys()
    assert {"exact", "bounded"} == told["step_by_mode"].keys()
    assert all(seconds > 0 for seconds in told["seconds"].values())
    work = told["phases"]["attest_commit"]["work"]
    code, out, _ = run("doctor", *task, "--trainers", "1000000")
    assert code == 1
    many = json.loads(out)["phases"]["attest_commit"]
    assert many["work"] > max(many["phase"], 1000 * work)


def test_calibrate_prints_what_a_spec_needs(run: Run, draft: Path) -> None:
    draft.write_text(draft.read_text().replace("[training]", '[training]\nnumeric = "bounded"'))
    code, out, err = run("calibrate", str(draft), "--steps", "3", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["device"], found["judge_device"], found["steps"]) == ("cpu", "cpu", 3)
    assert 0 < found["total"] < found["bound_total"] < 1e-3
    assert 0 < found["tensor"] < found["bound_tensor"] < 1e-2
    assert "bound_t" not in draft.read_text()
    code, _, err = run("calibrate", str(draft), "--steps", "1", "--write", "--json")
    assert code == 0, err
    assert 0 < tomllib.loads(draft.read_text())["training"]["bound_total"] <= found["bound_total"]


@pytest.mark.parametrize("command", ["doctor", "trainer run", "verifier run", "audit", "task results"])
def test_device_that_is_not_here_is_named(run: Run, command: str, draft: Path, deployed: list[str]) -> None:
    needed = {
        "doctor": [], "audit": read_options(deployed)[:6], "verifier run": [*deployed, "--task", "1"],
        "trainer run": [*deployed, "--task", "1", "--data", str(draft.parent / "rows.jsonl")],
        "task results": [*read_options(deployed)[:6], "--task", "1"],
    }  # fmt: skip
    code, _, err = run(*command.split(), *needed[command], "--device", "cuda:77")
    assert code == 1
    assert "deltaproof doctor" in err


def test_task_create_terms_that_pay_a_cheat_are_refused_with_better_ones(
    run: Run, deployed: list[str], draft: Path
) -> None:
    command = ["task", "create", str(draft), *deployed, "--fund", "1100wei", "--json"]
    code, out, err = run(*command)
    assert code == 1
    problems = json.loads(out)["problems"]
    assert "verification.min_verifier_stake" in {problem["key"] for problem in problems}
    assert all("or pass --accept-risk" in problem["remedy"] for problem in problems)
    assert "buys a quorum" in err, "the table comes first"
    better = dict(part.split(" = ") for part in problems[0]["remedy"].removeprefix("better: ").split("; ")[:-1])
    text = draft.read_text()
    for key, value in better.items():
        name = key.partition(".")[2]
        text = re.sub(rf"^{name} = .*$", f"{name} = {value}", text, flags=re.MULTILINE)
    draft.write_text(text)
    code, out, err = run(*command)
    assert code == 0, err
    told = json.loads(out)["economics"]
    assert not any(attack["pays"] for attack in told["attacks"])
    assert told["better"] == {}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "learning_rate = 0.1",
            "learning_rat = 0.1",
            "optimizer.learning_rat: unknown key; did you mean 'learning_rate'",
        ),
        ("steps = 4\n", "", "training.steps: missing"),
        ("steps = 4", 'steps = "four"', "training.steps"),
        ("batch_size = 2", "batch_size = 0", "training.batch_size"),
        ("rows = 4", "rows = 400", "needed are 400, for 1 round of 400"),
        ('test = "rows.jsonl"', "", "[sponsor] lacks 'test'"),
        ("[sponsor]", '[sponsor]\nshards = "rows.jsonl"', "shards must be a list of files"),
        ("[sponsor]", '[sponsor]\nshards = ["rows.jsonl", "rows.jsonl"]', "hold the same rows; name each shard once"),
        ("[sponsor]", '[data]\nroots = ["0x11"]\n[sponsor]\nshards = ["rows.jsonl"]', "data.roots in the draft is"),
        ('name = "lora"', 'name = "lorra"', "lorra"),
        ("r = 2", "rr = 2", "'rr'"),
        ("[task]", "[task", "not valid TOML"),
    ],
)
def test_task_create_wrong_spec_is_refused_naming_the_key(
    run: Run, deployed: list[str], draft: Path, old: str, new: str, message: str
) -> None:
    text = draft.read_text()
    assert old in text
    draft.write_text(text.replace(old, new, 1))
    code, _, err = run("task", "create", str(draft), *deployed)
    assert code == 1
    assert message in err


def test_task_create_more_funding_than_balance_is_refused(run: Run, deployed: list[str], draft: Path) -> None:
    code, _, err = run("task", "create", str(draft), *deployed, "--fund", "1000.5")
    assert code == 1
    assert "holds 1000 DEMO" in err
    assert "is to pay 1000.5 DEMO; send it some (deltaproof faucet" in err
    assert "--amount '0.5 DEMO'" in err


def test_deploy_unfunded_key_says_what_it_needs(run: Run, node: Node) -> None:
    code, _, err = run("deploy", "--rpc", node.rpc_url, "--key", "0x" + "17" * 32)
    assert code == 1
    assert re.search(r"has 0 of the chain's coin and may need 0\.\d+ for gas; send it some", err)


@pytest.mark.parametrize("role", ["trainer", "verifier"])
def test_role_without_stake_tokens_says_how_much_is_missing_before_it_loads_the_model(
    run: Run, node: Node, deployed: list[str], draft: Path, role: str
) -> None:
    assert run("task", "create", str(draft), *deployed, "--fund", "1100wei", "--accept-risk")[0] == 0
    poor = [*deployed]
    poor[poor.index("--key") + 1] = node.private_keys[5]
    data = ["--data", str(draft.parent / "rows.jsonl")] if role == "trainer" else []
    code, out, err = run(role, "run", *poor, "--task", "1", *data)
    assert code == 1
    assert "loading the model" not in out
    # A verifier keeps a fifth of its stake free.
    needed = {"trainer": "0.00000000000000001", "verifier": "0.000000000000000013"}[role]
    assert f"has to stake {needed} DEMO more; send it some (deltaproof faucet 0x" in err


@pytest.mark.parametrize("command", [("task", "show", "--task", "1"), ("history",)])
def test_rpc_that_is_not_there_is_named(run: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    nowhere = f"http://127.0.0.1:{port}"
    contract = "0x" + "11" * 20
    code, _, err = run(*command, "--rpc", nowhere, "--contract", contract, "--store", str(tmp_path))
    assert code == 1
    assert nowhere in err
    assert "Connection refused" in err


def test_contract_address_without_contract_is_named(run: Run, node: Node, tmp_path: Path) -> None:
    contract = "0x" + "11" * 20
    options = ["--rpc", node.rpc_url, "--contract", contract, "--store", str(tmp_path), "--task", "1"]
    code, _, err = run("task", "show", *options)
    assert code == 1
    assert f"no contract at {contract}" in err


def test_task_that_does_not_exist_is_named(run: Run, deployed: list[str]) -> None:
    code, _, err = run("task", "show", *read_options(deployed), "--task", "7")
    assert code == 1
    assert "there is no task 7" in err


def test_missing_and_altered_artifacts_are_told_apart(
    run: Run, deployed: list[str], draft: Path, tmp_path: Path
) -> None:
    assert run("task", "create", str(draft), *deployed, "--fund", "1100wei", "--accept-risk")[0] == 0
    show = ["task", "show", *read_options(deployed), "--task", "1"]
    (spec,) = (tmp_path / "store" / "blob").iterdir()
    original = spec.read_bytes()
    spec.write_bytes(original.replace(b"tiny", b"tinY"))
    code, _, err = run(*show)
    assert code == 1
    assert "altered" in err or "SHA-256" in err
    shutil.rmtree(tmp_path / "store" / "blob")
    code, _, err = run(*show)
    assert code == 1
    assert spec.name in err
    spec.parent.mkdir()
    spec.write_bytes(original)
    assert run(*show)[0] == 0


def test_chain_up_port_in_use_is_named(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, err = run("chain", "up", "--port", str(port))
    assert code == 1
    assert f"port {port} on 127.0.0.1 is in use" in err


def test_key_file_that_is_not_there_is_named(run: Run, node: Node, tmp_path: Path) -> None:
    missing = tmp_path / "nobody.key"
    code, _, err = run("deploy", "--rpc", node.rpc_url, "--key", str(missing))
    assert code == 1
    assert f"cannot read key file {missing}" in err
    assert "`deltaproof chain up` prints some" in err


def test_key_outside_the_curve_is_refused_without_showing_it(run: Run, node: Node) -> None:
    code, out, err = run("deploy", "--rpc", node.rpc_url, "--key", "0x" + "ff" * 32)
    assert code == 1
    assert "no valid private key" in err
    assert "ffff" not in out + err


def test_error_with_json_is_a_json_object(run: Run, node: Node) -> None:
    code, out, _ = run("deploy", "--rpc", node.rpc_url, "--key", "0x" + "17" * 32, "--json")
    assert code == 1
    assert json.loads(out)["event"] == "error"


def test_demo_folder_of_another_seed_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "demo.json").write_text('{"seed": 5, "chain": "anvil"}')
    code, _, err = run("demo", "--runs", str(tmp_path), "--name", "x", "--seed", "6")
    assert code == 1
    assert "choose another --name" in err
