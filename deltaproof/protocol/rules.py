"""Every number that decides a verdict, a score, a payout or a signature, and that no task may choose for itself.

docs/protocol/constants.md lists the same names and values with the rule that each belongs to; a test compares the two,
and fails if such a number is defined anywhere else. What a task chooses stands in its spec (`terms.spec`), what the
contracts alone decide by stands in the contracts. Change a number here only together with its page: everybody who
replays, scores or audits a task has to use the same one.
"""

# Units.
BPS = 10_000
NANOS = 1_000_000_000

# What a document, a row or a tree may hold; and the version of the contracts, which fixes all encodings.
CONTRACTS_VERSION = 2
CHUNK_VALUES = 256
CHUNK_BYTES = 4 * CHUNK_VALUES
OPTIMIZER_CONSTANTS = 16
MAX_VALUES = 2**30
MAX_ROWS = 2**28
MAX_ROW_BYTES = 64 * 1024
MAX_TREE_LEAVES = 2**32
MAX_LEAVES = 4_096
MAX_LEAF_PROOF = 64
MAX_CHECKS = 4_096
MAX_MESSAGE = 2_000
MAX_COALITIONS = 2**17
MAX_SPEC_BYTES = 256 * 1024
MAX_VALIDATION_BYTES = 256 * 1024 * 1024
MAX_ATTESTATION_BYTES = 16 * 1024 * 1024
MAX_PROPOSAL_BYTES = MAX_LEAVES * 512
MAX_EMULATOR_BYTES = 2**33
MAX_DEVICES = 64
MAX_JSON_DEPTH = 64
MAX_TENSORS = 4_096
OPENING_BYTES = 4_096
OPENING_PROOF_BYTES = 128
OPENING_ROW_BYTES = 256
OPENING_ESCAPE = 7
MAX_BLOCK_VALUES = 2**20

# What a task's terms may be; contracts/libraries/TaskRules.sol refuses the same.
MAX_ROUNDS = 1_024
MAX_BUDGET = 2**88 - 1
MAX_STAKE = 2**96 - 1
MAX_PROVER_BPS = 5_000
MIN_BASE_BPS = 500
MAJORITY_BPS = 5_001
MAX_PHASE_SECONDS = 90 * 86_400

# What else a task's terms may be. A spec is untrusted, and whoever reads one computes with its numbers before anything
# is replayed: each limit keeps the work finite, or the arithmetic inside float32.
MAX_TOKENS = 2**17
MAX_LABELS = 2**16
MAX_STEPS = 2**20
MAX_BATCH_ROWS = 2**16
MAX_DATA_ROWS = 2**24
MAX_ADAPTER_RANK = 4_096
MIN_LEARNING_RATE = 1e-12
MAX_LEARNING_RATE = 100.0
MAX_DECAY = 1.0 - 2.0**-20
MIN_EPS = 1e-10
MAX_EPS = 1.0
MAX_WEIGHT_DECAY = 10.0
MIN_CLIP_NORM = 1e-6
MAX_CLIP_NORM = 1e6
MAX_BOUND_TENSOR = 1e-2
MAX_BOUND_TOTAL = 2e-3
MAX_BOUND_FLOOR = 0.1
MIN_DRIFT_SIGMAS = 3.0
MAX_DRIFT_SIGMAS = 20.0
MAX_EVALUATIONS = 2**16
MAX_BETA = 999
MIN_VALIDATION_ROWS = 2
MAX_VALIDATION_ROWS = 2**20
MAX_SAMPLES = 4_000

# Signatures.
HASH_TO_CURVE_TRIES = 256
SAME_ADAPTER = 1e-6

# Before a verdict of "withheld".
WITHHELD_AFTER_BPS = 5_000

# A step, and its replay.
CLIP_EPSILON = 1e-6
LEARNT_ODDS = 2.0**-10
TIE_NOISE = 2.0**-36
TIE_STEP = 2.0**-10
FLOAT32_UNIT = 2.0**-24
ROUNDING_DRAWS = 3
ROUNDING_MARGIN = 32.0
OWN_ROUNDING_SHARE = 0.25
MIRROR_SHARE = 0.5
LOSS_TOLERANCE = 4.0
REPLAY_GROUPS = 4
GROUP_ROWS = 4
GROUP_TOLERANCE = 2.0**-36

# Drift over a trainer's samples.
STEADY_SHARE = 0.05
NOISE_FLOOR = 0.05

# Bounds that calibration proposes for a task.
CALIBRATION_MARGIN = 10.0

# Encoded deltas.
LARGEST_HALF = 65_504.0
NOISE_DRAW = 7
LOW_RANK_EXACT = 24
LOW_RANK_STEPS = 4
LOW_RANK_OVERSAMPLING = 4

# Aggregation.
AGGREGATE_EXACT_COLUMNS = 128
SUBSPACE_STEPS = 10
SUBSPACE_OVERSAMPLING = 16
SUBSPACE_ROUNDING = 1e-13
DEPENDENT_COLUMN = 1e-13
JACOBI_ORTHOGONAL = 1e-15
JACOBI_SWEEPS = 40

# Coalition values.
LOSS_CAP = 64.0
PASS_TOKENS = 512
COPY_DISCOUNT_BPS = BPS
COMMON_WORDS = 0.6
COALITIONS_PER_CALL = 32

# Standard errors.
BORDER_WEIGHT = 1e6

# What rounding explains between an attested number and an auditor's.
AUDIT_ROUNDING = 1e-5
AUDIT_ERROR_SHARE = 1e-2
AUDIT_DRIFT_SHARE = 0.5
AUDIT_CLOCK_SECONDS = 60

# Estimators. `AUTO_*` belong to the default one.
EXACT_PLAYERS = 24
AUTO_FIRST_SHARE = 0.6
AUTO_FIRST_PER_PLAYER = 8
AUTO_BORDER_PAIRS = 0.5
AUTO_BORDER_NEED = 0.125
AUTO_START_SPAN = 0.999
AUTO_WHOLE = 1e-9
AUTO_ENUMERATED = 64
AUTO_FIT = 2_048
AUTO_RANK_FROM = 256
AUTO_FINALISTS = 2
AUTO_CHOOSE_FROM = 512
AUTO_ROUNDING = 1e-5
AUTO_LEAST = 1e-100
AUTO_REACH = 0.1
AUTO_ROUGHNESS_BITS = 8
AUTO_RIDGES = tuple(10.0**-power for power in (7, 6, 5, 4.5, 4, 3.5, 3, 2.5, 2, 1.5, 1, 0.5, 0, -1))
AUTO_RIDGE_GROWTH = 10.0
AUTO_NOTHING = 1e-13
AUTO_SINGULAR = 1e-12
AUTO_GRID = 2.0**25
AUTO_NEAR = 8.0
AUTO_SET_SHARE = 0.1
AUTO_COLUMNS = 1_024
AUTO_ALL_COALITIONS = 11
AUTO_NODES = 6_144
AUTO_NODE_RIDGE = 1e-6
PRODUCT_SLICE_BITS = 23
PRODUCT_TERMS = 128
PRODUCT_TINY = 2.0**-900
FACTOR_BLOCK = 32
TRUNCATION = 0.01
WALKS_PER_EVALUATION = 8
SVARM_ROUNDS = 64
KERNELSHAP_RIDGE = 1e-9
