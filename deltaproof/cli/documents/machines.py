"""Documents of chains, beacons, machines, methods, data and control policies."""

from __future__ import annotations

from typing import Literal, NotRequired

from deltaproof.cli.documents.forms import AccountAddress, Hex32, Json, Printed, Units

__all__ = [
    "BlockhashBeacon",
    "Calibrated",
    "CheckedRows",
    "ConvertedRows",
    "Deployed",
    "DivergedTrial",
    "DoctorsFindings",
    "DrandBeacon",
    "EvaluatedPolicy",
    "ExposedRows",
    "LeftOut",
    "ListedMethod",
    "MachineFacts",
    "MethodList",
    "Minted",
    "PlayedPolicies",
    "PricedDeployment",
    "PrintedAgreement",
    "PrintedInterval",
    "PrintedMachine",
    "PrintedSpread",
    "PrintedTrial",
    "PublishedRounds",
    "Recommended",
    "SecondsOfWork",
    "TrainedPolicy",
    "TriedMethod",
    "WorkInPhase",
    "WorkerFacts",
]  # fmt: skip


class Deployed(Printed):
    """The contracts by their names in docs/contracts.md."""

    chain_id: int
    tasks: AccountAddress
    """What `--contract` takes; the others are read from it."""
    registry: AccountAddress
    beacon: AccountAddress
    terms: AccountAddress
    trainers: AccountAddress
    verifiers: AccountAddress
    vault: AccountAddress
    fees: AccountAddress
    court: AccountAddress
    jury: AccountAddress
    faults: AccountAddress
    settlements: AccountAddress
    token: AccountAddress
    """The ERC-20 that is staked."""


class PricedDeployment(Printed):
    """With `--dry-run`: what a deployment costs."""

    chain_id: int
    gas: int
    """At least; what constructors write, about a hundredth, comes on top."""
    fee: Units
    """At today's price, in the smallest unit of the chain's own coin. A rollup takes more, for its data."""
    account: AccountAddress
    """Who pays, and becomes guardian."""
    dry_run: Literal[True]


class Minted(Printed):
    """Demo tokens."""

    token: AccountAddress
    amount: Units
    """For each account."""
    accounts: list[AccountAddress]


class BlockhashBeacon(Printed):
    """Seeds are hashes of later blocks."""

    beacon: Literal["blockhash"]
    contract: AccountAddress


class DrandBeacon(Printed):
    """Seeds are rounds of drand."""

    beacon: Literal["drand"]
    contract: AccountAddress
    evmnet: bool
    """Whether it is evmnet of the League of Entropy."""
    missing: list[int]
    """Rounds that requests wait for."""
    network: Json
    """As drand's `/info` tells it."""
    lead_seconds: int
    patience_seconds: int


class PublishedRounds(Printed):
    """Rounds of drand that were brought to the chain."""

    published: list[int]


class MachineFacts(Printed):
    """What was found on this machine."""

    devices: list[str]
    cores: int
    threads: int
    memory_mib: int
    instructions: str
    blas: str
    python: str
    torch: str
    cuda: str | None
    numpy: str
    transformers: str


class WorkerFacts(MachineFacts):
    """What a worker found where it is."""

    host: str


class PrintedMachine(Printed):
    """`doctor` without `--task`."""

    machine: MachineFacts
    worker_machines: NotRequired[list[WorkerFacts]]
    """With `--backend ray`: one for each worker."""


class SecondsOfWork(Printed):
    """Measured here."""

    load: float
    step: float
    replay: float
    evaluation: float


class WorkInPhase(Printed):
    """Seconds of a phase's work, as measured on this machine, and of the phase."""

    work: float
    phase: int


class DoctorsFindings(Printed):
    """`doctor --task`: whether this machine keeps up. Exit code 1 if a phase is too short."""

    machine: MachineFacts
    worker_machines: NotRequired[list[WorkerFacts]]
    """With `--backend ray`: one for each worker."""
    task: int
    device: str
    trainers: int
    """Planned for."""
    workers: int
    seconds: SecondsOfWork
    step_by_mode: dict[str, float]
    """Seconds of a step in the modes `exact` and `bounded`."""
    peak_mib: int
    phases: dict[str, WorkInPhase]
    """`commit` and `attest_commit`."""


class Calibrated(Printed):
    """How far two honest machines differ."""

    device: str
    judge_device: str
    steps: int
    precision: str
    total: float
    """Largest difference, of the whole gradient."""
    tensor: float
    """Of one tensor's gradient."""
    worst_tensor: str
    tie_noise: float
    near_ties: int
    values: int
    bound_total: NotRequired[float]
    """For the spec; not where arithmetic is exact."""
    bound_tensor: NotRequired[float]
    written: NotRequired[dict[str, float]]
    """With `--write`: what stands in the spec now."""


class ListedMethod(Printed):
    """A delta-tuning method; sizes with `--model`."""

    method: str
    family: str
    paper: str
    aggregation: str
    values: NotRequired[int]
    """Trained values in this model."""
    delta_bytes: NotRequired[int]
    """Of a round's delta, uncoded."""
    state_bytes: NotRequired[int]
    """Of state and gradient in training."""
    problem: NotRequired[str | None]
    """Why it does not fit the model."""


class MethodList(Printed):
    """Every method that a task can name."""

    methods: list[ListedMethod]


class TriedMethod(Printed):
    """A method's sizes in a model."""

    name: str
    values: int
    delta_bytes: int
    state_bytes: int
    problem: str | None


class PrintedTrial(Printed):
    """A few steps of a method; losses in nats, on rows that were not trained on."""

    size: TriedMethod
    loss_before: float
    loss_after: float
    accuracy: float
    gain: float


class DivergedTrial(Printed):
    """A method whose training left the finite numbers."""

    size: TriedMethod
    learning_rate: float
    """It was tried with."""
    problem: str
    """In which step, and what was not finite."""


class Recommended(Printed):
    """The method that gained most within the bytes, and the others."""

    recommended: str
    sensitivity: dict[str, float]
    """Mean squared gradient by kind of module."""
    trials: list[PrintedTrial]
    """The best first."""
    diverged: list[DivergedTrial]
    """Methods that could not be judged."""


class LeftOut(Printed):
    """A record that a task cannot use."""

    where: str
    why: str


class ConvertedRows(Printed):
    """Rows that were written."""

    out: str
    rows: int
    records: int
    """Of the source."""
    repeated: int
    left_out: list[LeftOut]
    """With `--drop-bad`."""


class PrintedSpread(Printed):
    """Least, middle and most."""

    least: int
    median: float
    most: int


class ExposedRows(Printed):
    """How many rows others are expected to see."""

    rows: int
    steps_per_round: int
    """Opened in a round."""
    expected_in_a_round: float
    expected_in_all: float
    """Different rows over all rounds."""
    readers: str
    delta_readers: str
    """Of deltas and adapters, which tell something of all rows."""
    named: bool
    """Whether the task names its shards, so that their salts are public."""


class CheckedRows(Printed):
    """What is in a shard. Exit code 1 if the task would not take it."""

    source: str
    rows: int
    distinct: int
    alike: int
    """Of the distinct, rows that differ from an earlier one in case, spaces or Unicode form alone."""
    contradicting: int
    """Of the distinct, rows whose text an earlier row has under another label."""
    row_bytes: PrintedSpread | None
    tokens: PrintedSpread | None
    cut: int
    """Rows of more tokens than the model reads."""
    labels: dict[str, int]
    """Rows by label."""
    problems: list[str]
    opened: ExposedRows | None
    """Null without a task."""
    root: Hex32 | None
    """What enrolment commits; null while the home's secret is not known."""
    root_salts: str
    """`public`, `home` or `none`."""


class PrintedAgreement(Printed):
    """How often the frozen policy acts as the network that it was read from."""

    observations: int
    equal: int
    largest_gap: float
    """Where they differ: how far apart the two logits were."""


class TrainedPolicy(Printed):
    """A control policy that a task can name."""

    policy: str
    digest: Hex32
    rounds: int
    """Trained on."""
    started_from: str
    """The best fixed policy."""
    schedule: list[list[int]]
    """The schedule that training began with: an action for each round."""
    agreement: PrintedAgreement


class PrintedInterval(Printed):
    """A mean with its 95 % bootstrap interval over traces."""

    mean: float
    low: float
    high: float


class EvaluatedPolicy(Printed):
    """A policy on held-out traces; means of an episode."""

    policy: str
    reward: PrintedInterval
    """Nats."""
    gain: float
    """Nats."""
    seconds: float
    bytes: float
    joules: float
    accuracy: float
    agents_lead: PrintedInterval
    """The agent's reward less this policy's, trace by trace."""


class PlayedPolicies(Printed):
    """A frozen policy beside a schedule, fixed ones and a random one."""

    traces: int
    policies: list[EvaluatedPolicy]
