"""Every method: seeded start, a round that replays, a cheat that does not, aggregates, several rounds, deliverables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from deltaproof.protocol.evidence.state import component_root
from deltaproof.tuning.base_models.batches import make_batch
from deltaproof.tuning.base_models.loss import logits_of
from deltaproof.tuning.base_models.presets import Architecture
from deltaproof.tuning.combining.evaluation import Evaluator
from deltaproof.tuning.combining.mixing import aggregate_thetas, members_of
from deltaproof.tuning.errors import MethodError
from deltaproof.tuning.methods import METHODS, load_adapter, method_names
from deltaproof.tuning.numerics.precision import computing_in
from deltaproof.tuning.training.workbench import Workbench
from tests.tuning.method_cases import CASES, method_section
from tests.tuning.rehearsal import Rehearsal, minimal_spec, rehearse, some_rows

AUTO = {
    "bert": transformers.AutoModelForSequenceClassification,
    "llama": transformers.AutoModelForCausalLM,
    "vit": transformers.AutoModelForImageClassification,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("methods") / "bert"


@pytest.fixture(scope="module", params=sorted(CASES))
def played(request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    """A round of each method."""
    spec = minimal_spec(
        folder,
        method=method_section(request.param, folder),
        training={"steps": 4},
        optimizer={"learning_rate": 0.01},
    )
    return rehearse(spec, tmp_path_factory.mktemp("round") / "round")


def test_every_method_has_a_case() -> None:
    assert set(CASES) == set(method_names())
    for method in METHODS.values():
        assert method.paper
        assert method.aggregation
        assert method.family in ("addition", "specification", "reparameterisation")


def test_start_follows_from_the_seed_alone(played: Rehearsal) -> None:
    torch.manual_seed(7)
    again = Workbench.from_spec(played.spec, precision="float32")
    assert np.array_equal(again.start, played.bench.start), "and does not depend on precision or global state"
    other = played.spec.model_copy(update={"method": played.spec.method.model_copy(update={"seed": bytes([1]) * 32})})
    if played.spec.method.name in ("bitfit", "layer_norm", "diff_pruning", "ia3", "shira", "sensitivity"):
        return  # these start from the base model; the seed decides the head
    assert not np.array_equal(Workbench.from_spec(other, precision="float32").start, again.start)


def test_round_replays_and_a_cheat_does_not(played: Rehearsal) -> None:
    assert not np.array_equal(played.trained.theta, played.bench.initial_state())
    judge = played.judge()
    openings = played.openings([0, 3])
    for opening in openings:
        verdict = judge.judge_step(opening, opening.before.step, played.replay_context)
        assert verdict.accepted, verdict.message
    first = openings[0]
    moved = first.gradient.copy()
    moved[int(np.abs(moved).argmax())] *= np.float32(1.001)
    forged = replace(first, gradient=moved, before=replace(first.before, grad_root=component_root(moved)))
    rejected = judge.judge_step(forged, 0, played.replay_context)
    assert not rejected.accepted


def test_forged_gradient_with_a_proper_transcript_is_caught(played: Rehearsal, tmp_path: Path) -> None:
    from deltaproof.demo.cheat import SkipHalf
    from deltaproof.replaying.replay import ReplayContext
    from trainer.conduct import RoundWork

    work = RoundWork(played.bench, played.context, played.bench.initial_state(), played.shard, tmp_path)
    cheat = SkipHalf()
    trained = cheat.train(work, lambda _: None)
    context = ReplayContext(played.context, trained.transcript_root, trained.theta_digest)
    verdict = played.judge().judge_step(next(iter(cheat.open(work, [1]))), 1, context)
    assert verdict.failed == "gradient", verdict.message


def test_aggregate_of_one_is_the_adapter_and_of_two_lies_between(played: Rehearsal) -> None:
    bench, theta = played.bench, played.trained.theta
    rows = some_rows("sequence-classification", 12)
    evaluator = Evaluator(bench, rows)
    alone, lost = aggregate_thetas(bench, [theta], None)
    allowed = 1.0 if played.spec.method.name == "adalora" else 1e-6  # a single adapter is pruned, too
    assert abs(evaluator.evaluate(alone).loss - evaluator.evaluate(theta).loss) < allowed
    assert lost < 1e-6
    start = bench.initial_state()
    both, _ = aggregate_thetas(bench, [theta, start], None)
    again, _ = aggregate_thetas(bench, [theta, start], None)
    assert np.array_equal(both, again)
    assert both.dtype == np.float32
    assert np.isfinite(both).all()
    losses = [evaluator.evaluate(t).loss for t in (theta, start)]
    assert min(losses) - 0.05 < evaluator.evaluate(both).loss < max(losses) + 0.05
    unfolded = members_of(bench, [theta, both])
    assert set(unfolded[0]) == set(unfolded[1])


def test_next_round_continues_from_the_aggregate(played: Rehearsal, tmp_path: Path) -> None:
    from deltaproof.replaying.replay import ReplayContext
    from deltaproof.tuning.training.recording import open_steps, train_round
    from tests.tuning.rehearsal import context_for

    bench = played.bench
    start, _ = aggregate_thetas(bench, [played.trained.theta, bench.initial_state()], None)
    context = context_for(bench, played.shard, round=2, start_digest=component_root(start))
    trained = train_round(bench, context, start, played.shard, tmp_path / "round-2")
    assert not np.array_equal(trained.theta, start)
    opening = next(open_steps(bench, context, played.shard, tmp_path / "round-2", [3]))
    verdict = played.judge().judge_step(
        opening, 3, ReplayContext(context, trained.transcript_root, trained.theta_digest)
    )
    assert verdict.accepted, verdict.message


def test_deliverable_gives_the_same_logits(played: Rehearsal, tmp_path: Path) -> None:
    assert_deliverable(played.bench, played.trained.theta, "bert", tmp_path)


def assert_deliverable(bench: Workbench, theta: np.ndarray, architecture: str, folder: Path) -> None:
    bench.export(theta, folder / "adapter")
    kind = bench.spec.model.kind
    batch = make_batch(some_rows(kind, 4), bench.spec.model, tokenizer=bench.tokenizer,
                       config=bench.model.config, parts=1).parts[0]  # fmt: skip
    inputs = {name: values for name, values in batch.items() if name != "labels"}
    options = {} if architecture == "llama" else {"num_labels": 2}
    source = bench.spec.model.source.removeprefix("path:")
    fresh = AUTO[architecture].from_pretrained(source, attn_implementation="eager", dtype=torch.float32, **options)
    fresh.config.use_cache = False
    loaded = load_adapter(fresh, folder / "adapter").double()
    with torch.no_grad(), computing_in("float64"):
        expected, found = (logits_of(model, inputs, kind) for model in (bench.model, loaded))
    assert torch.allclose(expected, found, atol=2e-6), float((expected - found).abs().max())


@pytest.mark.parametrize("architecture", ["llama", "vit"])
@pytest.mark.parametrize("name", sorted(CASES))
def test_methods_fit_other_models_or_say_why_not(
    name: str, architecture: Architecture, tmp_path_factory: pytest.TempPathFactory, folder: Path, tmp_path: Path
) -> None:
    place = folder.parent / architecture
    if (architecture, name) in REFUSED:
        with pytest.raises(MethodError, match=REFUSED[architecture, name]):
            Workbench.from_spec(minimal_spec(place, architecture, method=method_section(name, place, architecture)))
        return
    bench = Workbench.from_spec(minimal_spec(place, architecture, method=method_section(name, place, architecture)))
    rows = some_rows(bench.spec.model.kind, 4)
    gradient, _ = bench.gradient(rows, bytes(32))
    assert torch.count_nonzero(gradient)
    theta = bench.initial_state() - 0.02 * (gradient / gradient.norm()).float().numpy()
    assert Evaluator(bench, rows).evaluate(theta).loss < Evaluator(bench, rows).evaluate(bench.initial_state()).loss
    assert_deliverable(bench, theta.astype(np.float32), architecture, tmp_path)


REFUSED = {
    ("llama", "bitfit"): "has none",
    ("vit", "prefix"): "image model",
    ("vit", "prompt"): "image model",
    ("vit", "p_tuning"): "image model",
}


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("nothing", {}, "unknown PEFT method"),
        ("houlsby", {"sizes": 4}, "no option 'sizes'"),
        ("houlsby", {"size": "4"}, "size must be like"),
        ("houlsby", {"activation": "sin"}, "activation must be one of"),
        ("last_layers", {"layers": 9}, "has 2 layers, not 9"),
        ("shira", {"fraction": 0.0}, "fraction"),
        ("sensitivity", {}, "rows"),
        ("fusion", {"adapters": ["nowhere"]}, "digest each"),
        ("lokr", {"r": 4}, "no exact mean"),
        ("loha", {"r": 4, "rank_dropout": 0.1}, "global generator"),
        ("adalora", {"tinit": 5}, "reallocated between rounds"),
        ("prompt", {"prompt_tuning_init": "TEXT"}, "tokeniser"),
        ("oft", {"coft": True}, "refused"),
    ],
)
def test_what_cannot_be_replayed_or_aggregated_is_refused(
    folder: Path, name: str, options: dict[str, object], reason: str
) -> None:
    with pytest.raises(MethodError, match=reason):
        Workbench.from_spec(minimal_spec(folder, method={"name": name, "options": options}))


@pytest.mark.parametrize("name", sorted(CASES))
def test_method_that_says_it_has_shares_is_paid_by_them_and_no_other(name: str, folder: Path) -> None:
    spec = minimal_spec(
        folder,
        method=method_section(name, folder),
        scoring={"index": "aumann_shapley"},
        aggregation={"weights": "rows"},
    )
    if METHODS[name].has_shares():
        assert Workbench.from_spec(spec, precision="float32").method.has_shares()
    else:
        with pytest.raises(MethodError, match="shares of one sum"):
            Workbench.from_spec(spec, precision="float32")
