#!/bin/sh
# Every check and test, through `make test`, which puts the tools on the search path. Goes on after a failure, so that one run shows all
# of them, and leaves with status 1 if there was any. What needs one processor runs in two lanes beside each other, each told as a whole;
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
contracts() {
    step forge fmt --check
    step forge test
    step python scripts/contract_tests.py
}
style > "$work/style" 2>&1 &
contracts > "$work/contracts" 2>&1
wait
cat "$work/style" "$work/contracts"
[ ! -e "$work/failed" ] || { echo; cat "$work/failed"; }
# In the order that tests/conftest.py gives them: a file with few tests that take long must not come last.
step pytest -n 4 --dist loadfile --no-loadscope-reorder -r R --durations 60 --durations-min 3
[ ! -e "$work/failed" ]
