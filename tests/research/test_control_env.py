"""The environment of `deltaproof control`: real rounds, simulated costs, an agent that is frozen as it was trained."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

pytest.importorskip("gymnasium")
pytest.importorskip("stable_baselines3")
pytest.importorskip("sklearn")

from gymnasium.utils.env_checker import check_env

from deltaproof.cli import app
from deltaproof.errors import UsageError
from deltaproof.protocol.terms.control import DeviceState, KnobTable
from deltaproof.research.control.costs import MEMORY_BYTES, Prices, fits, spent
from deltaproof.research.control.digits import Digits
from deltaproof.research.control.environment import CLASSES, FederationEnv, trace_seed
from deltaproof.research.control.evaluating import Schedule, mean_interval, play_episode, rank_fixed, search_schedule
from deltaproof.research.control.measuring import measured_memory
from deltaproof.research.control.rounds import Federation
from deltaproof.research.control.training import Plan, agreement, frozen, train
from deltaproof.tuning.control.carrying import carried
from deltaproof.tuning.control.policy import FixedPolicy, load_policy
from deltaproof.tuning.errors import MethodError

KNOBS = KnobTable(steps=(1, 2), ranks=(1, 4), codecs=("float32", "int4"))
EVERYBODY = (1, 2, 3, 1, 0, 0)


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    torch.set_num_threads(1)
    yield Federation(Digits(epochs=2), KNOBS)
    patch.undo()


@pytest.fixture
def env(federation: Federation) -> FederationEnv:
    return FederationEnv(federation, horizon=2)


def test_environment_keeps_gymnasiums_rules(env: FederationEnv) -> None:
    check_env(env, skip_render_check=True)


def test_equal_traces_and_actions_give_equal_episodes(env: FederationEnv) -> None:
    """Once from scratch and once from what the federation kept, which has to be the same."""
    trace = trace_seed("tests", 0)
    first = play_episode(env, FixedPolicy(EVERYBODY), trace)
    env.federation._rounds._values.clear()
    env.federation._runs._values.clear()
    assert play_episode(env, FixedPolicy(EVERYBODY), trace) == first
    assert first.gain != 0
    assert play_episode(env, FixedPolicy(EVERYBODY), trace_seed("tests", 1)).seconds != first.seconds


def test_gain_is_the_loss_that_the_full_model_lost(env: FederationEnv) -> None:
    env.reset(options={"trace": trace_seed("tests", 0)})
    report = env.play(EVERYBODY)
    before, after = env.federation.start.evaluation.loss, env._adapter.evaluation.loss
    assert report.gain == pytest.approx(before - after, abs=1e-9)
    assert report.reward == pytest.approx(report.gain - report.spent.price(env.prices), abs=1e-12)
    assert env.observation.gained_nanos == env.observation.last_nanos == round(report.gain * 1e9)


def test_emulator_steps_rank_codec_and_participants_all_matter(federation: Federation) -> None:
    start = federation.start
    base = federation.play(start, 0, [0, 1, 2], 1, 1, "float32")
    others = [
        federation.play(start, 0, [0, 1, 1], 1, 1, "float32"),
        federation.play(start, 0, [0, None, 2], 1, 1, "float32"),
        federation.play(start, 0, [0, 1, 2], 2, 1, "float32"),
        federation.play(start, 0, [0, 1, 2], 1, 4, "float32"),
        federation.play(start, 0, [0, 1, 2], 1, 1, "int4"),
    ]
    digests = {outcome.adapter.digest for outcome in (base, *others)}
    assert len(digests) == 6
    assert base.up_bytes == base.down_bytes == 4 * len(base.adapter.theta)
    assert others[4].up_bytes < base.up_bytes / 5, "four bits a value, scales and a header"
    assert others[3].up_bytes > base.up_bytes


def test_round_without_anybody_changes_nothing(federation: Federation) -> None:
    outcome = federation.play(federation.start, 0, [None, None, None], 2, 1, "float32")
    assert outcome.adapter.digest == federation.start.digest


def test_rank_changes_without_changing_what_the_adapter_does(federation: Federation) -> None:
    trained = federation.play(federation.start, 0, [0, 1, 2], 2, 1, "float32").adapter
    small, large = federation.bench(2, 1), federation.bench(2, 4)
    grown = carried(trained.theta, small, large)
    assert len(grown) > len(trained.theta)
    assert federation.evaluate(grown, 4).loss == pytest.approx(trained.evaluation.loss, abs=1e-5)
    again = carried(grown, large, small)
    assert federation.evaluate(again, 1).loss == pytest.approx(trained.evaluation.loss, abs=1e-5)
    assert carried(trained.theta, small, small) is trained.theta


def test_rank_of_other_modules_is_refused(federation: Federation, tmp_path: Path) -> None:
    from deltaproof.tuning.training.workbench import Workbench
    from tests.tuning.rehearsal import minimal_spec

    other = Workbench.from_spec(minimal_spec(tmp_path / "bert"))
    with pytest.raises(MethodError, match="same modules"):
        carried(federation.start.theta, federation.bench(0, 1), other)


def test_costs_by_hand() -> None:
    slow = DeviceState(speed_milli=500, memory_bytes=10**9, up_bytes_per_second=1000, down_bytes_per_second=2000)
    tight = slow.model_copy(update={"memory_bytes": MEMORY_BYTES[1][2] - 1})
    assert fits(slow, 2, 1)
    assert not fits(tight, 2, 1)
    devices = (slow, tight, slow)
    found = spent(devices, CLASSES, (0, 2, None), rank=1, steps=2, down_bytes=400, up_bytes=100)
    assert found.seconds == pytest.approx(400 / 2000 + 100 / 1000 + 2 * 0.006 / 0.5)
    assert found.bytes == 400 + 100 + 400, "who lacks the memory has received, and sends nothing"
    assert found.joules == pytest.approx((0.2 + 0.1) * 1.0 + 0.024 * 3.0 + 0.2 * 1.0)
    assert found.price(Prices(1.0, 1e6, 0.0)) == pytest.approx(found.seconds + found.bytes)


def test_frozen_memory_is_what_a_step_takes(federation: Federation) -> None:
    for rank, sizes in MEMORY_BYTES.items():
        for emulator, frozen_bytes in enumerate(sizes):
            measured = measured_memory(federation, federation.bench(emulator, rank))
            assert measured == pytest.approx(frozen_bytes, rel=0.05)


def test_device_without_the_memory_takes_no_part(env: FederationEnv) -> None:
    for number in range(50):
        env.reset(options={"trace": trace_seed("tests", number)})
        able = [fits(device, 2, 4) for device in env.observation.devices]
        if not all(able):
            break
    report = env.play((3, 3, 3, 0, 1, 0))
    assert report.took_part == sum(able) < 3


def test_agent_is_frozen_as_it_was_trained(env: FederationEnv, tmp_path: Path) -> None:
    plan = Plan(steps=20, rollout=10, batch=10, epochs=2, start=(EVERYBODY, EVERYBODY), confidence=0.9)
    model = train(env, plan, tmp_path)
    policy = frozen(model)
    seen = [o for n in range(10) for o in play_episode(env, policy, trace_seed("tests", n)).seen]
    agreed = agreement(model, policy, seen)
    assert agreed.equal == agreed.observations == 20
    assert load_policy(policy.to_bytes()).decide(seen[0]) == policy.decide(seen[0])

    assert frozen(train(env, plan, tmp_path)).digest() == policy.digest(), "a finished run trains no further"
    longer = train(env, Plan(**{**plan.__dict__, "steps": 30}), tmp_path)
    assert longer.num_timesteps == 30
    assert frozen(longer).digest() != policy.digest()
    with pytest.raises(UsageError, match="another plan"):
        train(env, Plan(seed=1), tmp_path)


def test_agent_starts_with_the_schedule(env: FederationEnv, tmp_path: Path) -> None:
    schedule = ((0, 3, 2, 1, 1, 0), (1, 0, 2, 0, 1, 1))
    assert env.horizon == len(schedule)
    policy = frozen(train(env, Plan(steps=0, start=schedule), tmp_path))
    for number in range(20):
        played = play_episode(env, policy, trace_seed("tests", number))
        assert played.actions == schedule


def test_schedule_search_finds_what_is_better_in_one_round(federation: Federation) -> None:
    small = FederationEnv(federation, horizon=2)
    traces = [trace_seed("tests", number) for number in range(2)]
    start = (0, 0, 1, 0, 0, 0)  # one weak device alone: there is much to mend
    found = search_schedule(small, start, traces)
    before, after = (
        np.mean([play_episode(small, policy, trace).reward for trace in traces])
        for policy in (FixedPolicy(start), found)
    )
    assert after > before
    assert len(found.actions) == 2
    for level in range(small.sizes[-1]):
        other = Schedule(((*found.actions[0][:-1], level), found.actions[1]))
        tried = np.mean([play_episode(small, other, trace).reward for trace in traces])
        assert tried <= after + 1e-12, "the knob that was set last is at its best level"


def test_ranking_tries_every_fixed_policy_and_puts_the_best_first(federation: Federation) -> None:
    small = FederationEnv(federation, horizon=1)
    traces = [trace_seed("tests", number) for number in range(3)]
    found = rank_fixed(small, traces)
    assert len({ranked.action for ranked in found}) == 6 * 8
    best = found[0]
    by_hand = np.mean([play_episode(small, FixedPolicy(best.action), trace).reward for trace in traces])
    assert best.reward == pytest.approx(float(by_hand))
    assert best.traces == 3
    assert all(best.reward >= other.reward for other in found if other.traces == 3)


def test_interval_of_a_mean_covers_it_and_shrinks() -> None:
    draw = np.random.Generator(np.random.PCG64(0))
    few, many = (mean_interval(list(draw.normal(1.0, 1.0, size))) for size in (20, 500))
    assert few.low < 1.0 < few.high
    assert many.high - many.low < few.high - few.low
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])


def test_commands_train_and_compare(env: FederationEnv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a smaller federation than theirs, which takes a tenth of the time."""
    monkeypatch.setattr("deltaproof.cli.control._environment", lambda: env)
    folder = tmp_path / "run"
    arguments = ["control", "train", str(folder), "--steps", "1", "--fixed-traces", "1", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["agreement"]["equal"] == answer["agreement"]["observations"] > 0
    again = CliRunner().invoke(app, arguments)
    assert json.loads(again.stdout) == answer
    assert "fixed policies on" not in again.stderr, "ranking and schedule are kept, a finished run trains no further"
    assert "round 1 of" not in again.stderr
    compared = CliRunner().invoke(
        app, ["control", "evaluate", answer["policy"], "--traces", "2", "--fixed-traces", "1", "--shown", "1", "--json"]
    )
    assert compared.exit_code == 0, compared.output
    rows = {row["policy"]: row for row in json.loads(compared.stdout)["policies"]}
    assert set(rows) == {"agent", "schedule", f"fixed: {answer['started_from']}", "random"}
    assert rows["agent"]["agents_lead"]["mean"] == 0
