"""Every method: seeded start, a round that replays, a cheat that does not, aggregates, several rounds, deliverables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from deltaproof.protocol.evidence.state import component_root
from deltaproof.protocol.terms.spec import OptionValue
from deltaproof.tuning.base_models.batches import make_batch
from deltaproof.tuning.base_models.loss import logits_of
from deltaproof.tuning.base_models.presets import Architecture
from deltaproof.tuning.combining.evaluation import Evaluator
from deltaproof.tuning.combining.mixing import aggregate_thetas, members_of
from deltaproof.tuning.errors import MethodError
from deltaproof.tuning.methods import METHODS, load_adapter, method_names
from deltaproof.tuning.methods.deliverable import read_tensors
from deltaproof.tuning.methods.diff_pruning import gate_values
from deltaproof.tuning.numerics.precision import computing_in
from deltaproof.tuning.numerics.products import Tensors
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
    prunes = played.spec.method.name in ("adalora", "diff_pruning")  # a single adapter, too
    assert abs(evaluator.evaluate(alone).loss - evaluator.evaluate(theta).loss) < (1.0 if prunes else 1e-6)
    assert prunes or lost < 1e-6
    assert played.spec.method.name != "adalora" or lost > 0.01, "half of its triplets go"
    # What is said to be lost is what is missing in the adapter, module by module.
    before, after = members_of(bench, [theta, alone])
    assert lost == pytest.approx(missing_share(bench, before, after), abs=1e-5)
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


def test_aggregate_with_values_near_the_end_of_the_range_is_finite(played: Rehearsal) -> None:
    """Else one trainer's delta, however it came about, would leave every verifier without a next adapter."""
    bench, theta = played.bench, played.trained.theta
    for size in (1e20, 3.4e38):
        huge = (np.sign(theta) * size).astype(np.float32)
        both, lost = aggregate_thetas(bench, [theta, huge], None)
        assert np.isfinite(both).all()
        assert 0.0 <= lost <= 1.0


def missing_share(bench: Workbench, before: Tensors, after: Tensors) -> float:
    """Relative norm of the difference of all products, or of the changes that a method makes sparse, multiplied out."""

    def weights(member: Tensors) -> np.ndarray:
        products = [pair.scale * member[pair.b].astype(np.float64) @ member[pair.a] for pair in bench.pairs]
        changes = [values.astype(np.float64) for name, values in sorted(member.items()) if name.endswith(".diff")]
        return np.concatenate([part.reshape(-1) for part in (*products, *changes)] or [np.ones(1)])

    old, new = weights(before), weights(after)
    return float(np.linalg.norm(old - new) / np.linalg.norm(old))


def test_a_mean_of_vera_says_what_one_rank_cannot_hold(tmp_path: Path) -> None:
    """Two adapters in different directions: their mean has rank two, and the method's form has one."""
    bench = Workbench.from_spec(minimal_spec(tmp_path / "bert", method=method_section("vera", tmp_path / "bert")))
    rng = np.random.default_rng(0)
    thetas = [rng.normal(size=bench.layout.size).astype(np.float32) for _ in range(2)]
    mean, lost = aggregate_thetas(bench, thetas, None)
    one, two, after = members_of(bench, [*thetas, mean])
    products = [
        (
            pair.scale * (one[pair.b] @ one[pair.a] + two[pair.b] @ two[pair.a]) / 2,
            pair.scale * after[pair.b] @ after[pair.a],
        )
        for pair in bench.pairs
    ]
    whole = np.sqrt(sum(np.sum(exact.astype(np.float64) ** 2) for exact, _ in products))
    missing = np.sqrt(sum(np.sum((exact.astype(np.float64) - kept) ** 2) for exact, kept in products))
    assert lost == pytest.approx(missing / whole, abs=1e-4)
    assert lost > 0.3


def test_diff_pruning_reaches_its_target_and_a_deliverable_smaller_than_dense(tmp_path: Path) -> None:
    section = method_section("diff_pruning", tmp_path / "bert")
    section["options"]["fraction"] = 0.02
    bench = Workbench.from_spec(minimal_spec(tmp_path / "bert", method=section))
    rng = np.random.default_rng(0)
    theta = bench.initial_state() + rng.normal(scale=0.01, size=bench.layout.size).astype(np.float32)
    aggregate, _ = aggregate_thetas(bench, [theta, bench.initial_state()], None)
    changes = [values for name, values in members_of(bench, [aggregate])[0].items() if name.endswith(".diff")]
    count = sum(values.size for values in changes)
    assert sum(np.count_nonzero(values) for values in changes) == round(0.02 * count)
    bench.export(aggregate, tmp_path / "adapter")
    held = read_tensors(tmp_path / "adapter")
    assert sum(len(values) for name, values in held.items() if name.endswith(".indices")) == round(0.02 * count)
    assert (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_size < 4 * count / 2
    again, lost = aggregate_thetas(bench, [aggregate], None)
    assert lost < 1e-6, "what is sparse already stays as it is"
    assert np.allclose(again, aggregate, atol=1e-7)


def test_gates_close_within_a_round(tmp_path: Path) -> None:
    """A hundred steps of a common learning rate are enough where the price of an open gate is all that a gate feels."""
    bench = Workbench.from_spec(
        minimal_spec(tmp_path / "bert", method=method_section("diff_pruning", tmp_path / "bert"))
    )
    bench.load(torch.from_numpy(bench.initial_state()))
    gates = [p for name, p in bench.model.named_parameters() if name.endswith(".gates")]
    optimizer = torch.optim.Adam(gates, lr=1e-3)
    for _ in range(100):
        optimizer.zero_grad()
        penalty = bench.method.penalty(bench.model)
        assert penalty is not None
        (1e6 * penalty).backward()  # beyond Adam's epsilon
        optimizer.step()
    assert all((gate_values(gate.detach().numpy()) == 0).all() for gate in gates)


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
    theta, _ = aggregate_thetas(bench, [theta], None)  # what is delivered is an aggregate
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


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("target_modules", "(([a-z.0-9_])+)+!", "may take for ever to match"),
        ("target_modules", "(.|.)" * 20 + "!", "may take for ever to match"),
        ("target_modules", "a?" * 20 + "a" * 20, "may take for ever to match"),
        ("exclude_modules", "(a*)*b", "may take for ever to match"),
        ("target_modules", "(query", "is no expression"),
        ("target_modules", ("query", "(a+)+"), "is no plain name"),
        ("modules_to_save", ("(([a-z.])+)+!",), "is no plain name"),
        ("layers_pattern", "(([a-z.])+)+!", "is no plain name"),
    ],
)
def test_name_of_modules_that_is_matched_for_ever_is_refused(option: str, value: OptionValue, why: str) -> None:
    """Attack: a task whose method never finishes to attach, so that a process with all of its tasks stands still."""
    with pytest.raises(MethodError, match=why):
        METHODS["lora"]({"r": 2, option: value})


@pytest.mark.parametrize(
    ("method", "option", "why"),
    [
        ("lora", "r", "1,000,000,000, more than 4,096"),
        ("adalora", "init_r", "more than 4,096"),
        ("prefix", "num_virtual_tokens", "more than 4,096"),
        ("prompt", "num_virtual_tokens", "more than 4,096"),
        ("p_tuning", "encoder_hidden_size", "more than 4,096"),
        ("houlsby", "size", "more than 4,096"),
        ("last_layers", "layers", "more than 4,096"),
    ],
)
def test_size_that_no_memory_holds_is_refused(method: str, option: str, why: str) -> None:
    """Attack: a rank of a billion, whose tensors are made before anybody counts their values."""
    with pytest.raises(MethodError, match=why):
        METHODS[method]({option: 10**9})


@pytest.mark.parametrize("option", ["token_dim", "num_layers", "num_attention_heads", "num_transformer_submodules"])
def test_shape_of_the_model_is_no_option_of_a_prompt(option: str) -> None:
    for method in ("prefix", "prompt", "p_tuning"):
        with pytest.raises(MethodError, match="it follows from the model"):
            METHODS[method]({option: 4_096})


@pytest.mark.parametrize(
    "value", ["all-linear", r".*\.layer\.\d+\..*(query|value)", ("query", "attention.output.dense")]
)
def test_modules_are_named_by_a_plain_expression_or_a_list(value: OptionValue) -> None:
    METHODS["lora"]({"r": 2, "target_modules": value})
