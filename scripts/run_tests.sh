#!/bin/sh
# Every check and test, through `make test`, which puts the tools on the search path. Goes on after a failure, so that one run shows all
# of them, and leaves with status 1 if there was any. pytest comes last: its closing line ends the output.
failed=""
step() {
    echo
    echo "== $*"
    "$@" || failed="$failed
   failed: $*"
}
step ruff check .
step ruff format --check .
step mypy
step forge fmt --check
step forge test
step python scripts/contract_tests.py
[ -z "$failed" ] || echo "$failed"
# In the order of the folders: tests/chaos has few tests that take long, and must not come last.
step pytest -n 4 --dist loadfile --no-loadscope-reorder -r R --durations 60 --durations-min 3
[ -z "$failed" ]
