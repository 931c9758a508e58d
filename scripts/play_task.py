"""Play the smallest whole task with whatever deltaproof is installed, in the current folder.

``python -I play_task.py [FORBIDDEN]``; with FORBIDDEN, a folder that no module of ours may come from.
"""

from __future__ import annotations

import sys
from pathlib import Path

WORK = """
[task]
name = "from a wheel"
[model]
kind = "sequence-classification"
source = "path:{model}"
num_labels = 2
max_tokens = 16
[method]
name = "lora"
[method.options]
r = 2
[optimizer]
name = "sgd"
learning_rate = 0.1
[training]
steps = 4
batch_size = 2
"""
TERMS = """[codec]
byte_limit = 1_000_000
[validation]
rows = 8
[rewards]
rounds = 1
budget_per_round = 1000
verifier_fee_bps = 1_000
[verification]
samples = 1
commit_bond = 1
slash_bps = 5_000
min_trainer_stake = 10
min_verifier_stake = 10
[phases]
commit = 300
reveal = 300
opening = 300
attest_commit = 300
attest_reveal = 300
settle = 300
window = 1
[sponsor]
validation = "rows.jsonl"
test = "rows.jsonl"
"""
"""What a draft says of money, people and time; the tests' small tasks and a benchmark begin with it, too."""
SECONDS = 180.0


def main(forbidden: str | None) -> int:
    """Deploy, fund, train, verify, audit; raises what goes wrong."""
    import deltaproof
    import incentives
    import trainer
    import verifier

    for package in (deltaproof, incentives, trainer, verifier):
        home = Path(str(package.__file__)).resolve()
        if forbidden is not None and home.is_relative_to(forbidden):
            raise SystemExit(f"{package.__name__} comes from {home}, not from the wheel")
        if not home.with_name("py.typed").is_file():
            raise SystemExit(f"{package.__name__} has no py.typed")
    play(Path.cwd(), forbidden)
    return 0


def play(folder: Path, forbidden: str | None) -> None:
    """The task, one command after the other; roles at the same time."""
    from eth_account import Account

    from deltaproof.chain.local_node import development_keys
    from deltaproof.demo.processes import Supervisor
    from deltaproof.protocol.evidence.rows import canonical_row, write_shard
    from deltaproof.tuning.base_models.presets import minimal_model

    (folder / "task.toml").write_text((WORK + TERMS).format(model=minimal_model(folder / "model", "bert")))
    rows = [canonical_row({"text": f"row {i}", "label": i % 2}) for i in range(16)]
    write_shard(folder / "rows.jsonl", rows)
    keys = development_keys(3)
    with Supervisor(folder / "logs", {"DELTAPROOF_STORE": str(folder / "store")}) as commands:

        def run(*arguments: str) -> dict[str, object]:
            return commands.run(arguments[0], arguments, timeout=SECONDS, environment=settings)

        chain = commands.start("chain", ["chain", "up", "--accounts", "3"])
        url = str(commands.wait_for(chain, "ready", SECONDS).fields["rpc_url"])
        settings = {"DELTAPROOF_RPC": url, "DELTAPROOF_KEY": keys[0], "DELTAPROOF_HOME": str(folder / "sponsor")}
        settings["DELTAPROOF_CONTRACT"] = str(run("deploy")["tasks"])
        run("faucet", *(str(Account.from_key(key).address) for key in keys), "--amount", "100000wei")
        task = str(run("task", "create", "task.toml", "--fund", "1100wei", "--accept-risk")["task"])
        workers = [
            commands.start(
                role,
                [role, "run", "--task", task, *options],
                settings | {"DELTAPROOF_KEY": key, "DELTAPROOF_HOME": role},
            )
            for role, key, options in (
                ("verifier", keys[1], ()),
                ("trainer", keys[2], ("--data", "rows.jsonl")),
                ("sponsor", keys[0], ()),
            )
        ]
        for worker in workers:
            if worker.process.wait(SECONDS) != 0:
                raise SystemExit(f"{worker.name} failed:\n{worker.tail(20)}")
        run("task", "results", "--task", task, "--out", "adapter")
        audit = run("audit", "--task", task)
        if audit["failed"] != 0 or not (folder / "adapter" / "adapter_config.json").is_file():
            raise SystemExit(f"the audit of the task: {audit}")
        if forbidden is not None:
            demo = commands.run("demo", ["demo", "--rounds", "1"], timeout=SECONDS, may_fail=True)
            if "the demo needs a checkout" not in str(demo.get("message")):
                raise SystemExit(f"the demo outside of a checkout: {demo}")
        print(f"deployed, funded, trained, verified, paid; audit: {audit['passed']} checks passed, none failed")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else None))
