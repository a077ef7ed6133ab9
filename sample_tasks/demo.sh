#!/bin/sh
# Runs the tour in a state folder of its own, so that it can be run again: in the app on a terminal, headless otherwise.
# Usage: demo.sh [MI4-TUI]
set -u
program=${1:-mi4-tui}
tour=$(dirname "$0")/tour.yaml
state=$(mktemp -d "${TMPDIR:-/tmp}/mi4-demo.XXXXXX") || exit 73

if [ -t 0 ] && [ -t 1 ]; then
    "$program" "$tour" --state-dir "$state"
    status=$?
    # The engine is a process of its own: whoever detached with q may want to come back to it.
    if "$program" status --state-dir "$state" --json 2>/dev/null | grep -q '"live": *true'; then
        printf 'The tour goes on. Look again: %s attach --state-dir %s\n' "$program" "$state"
        exit "$status"
    fi
else
    "$program" "$tour" --state-dir "$state" --no-ui
    status=$?
fi
rm -rf "$state"
exit "$status"
