"""For every test: no model hub is asked for anything, and torch keeps to one thread, so that timings do not depend on
what else the machine does. Set before anything imports torch or transformers."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
