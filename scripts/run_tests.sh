#!/bin/sh
# Every check and test, through `make test`, which puts the tools on the search path. Goes on after a failure, so that one run shows all
# of them, and leaves with status 1 if there was any. What needs one processor runs in lanes beside each other, each told as a whole;
# pytest has both processors, and comes last: its closing line ends the output.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
step() {
    echo
    echo "== $*"
    "$@" || echo "   failed: $*" >> "$work/failed"
}
style() {
    step ruff check .
    step ruff format --check .
    step mypy
}
forged() {
    step forge fmt --check
    step forge test
}
style > "$work/style" 2>&1 &
forged > "$work/forged" 2>&1 &  # most of it is one compiler, which takes as long as the two others together
step python scripts/contract_tests.py > "$work/contracts" 2>&1
wait
cat "$work/style" "$work/forged" "$work/contracts"
[ ! -e "$work/failed" ] || { echo; cat "$work/failed"; }
# In the order that tests/conftest.py gives them: a file with few tests that take long must not come last.
step pytest -n 4 --dist loadfile --no-loadscope-reorder -r R --durations 60 --durations-min 3
[ ! -e "$work/failed" ]
