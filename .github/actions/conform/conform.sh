#!/usr/bin/env bash
# Judges what the inputs name. Leaves report, JUnit, badge and summary, and ends with the status of the judge.
set -uo pipefail

given=0
for input in "$TARGET" "$PROGRAM" "$TESTS"; do [[ -n $input ]] && given=$((given + 1)); done
if [[ $given != 1 ]]; then
    echo "::error::one of target, program and tests must be given, got $given of them"
    exit 2
fi

mkdir -p "$RESULTS"
report=$RESULTS/report.json junit=$RESULTS/junit.xml
options=(--tier "$TIER" --json "$report" --junit "$junit")
[[ -n $OFFERS ]] && options+=(--offers "$OFFERS")
[[ -n $LEDGER ]] && options+=(--ledger "$LEDGER")

status=0
if [[ -n $TESTS ]]; then
    read -ra words <<<"$TESTS"
    "$PYTHON" -m pytest "${words[@]}" --sgd-ref-report "$report" --sgd-ref-report "$junit" || status=$?
elif [[ -n $TARGET ]]; then
    "$PYTHON" -m sgd_ref.command.main conform "$TARGET" "${options[@]}" || status=$?
else
    read -ra words <<<"$PROGRAM"
    "$PYTHON" -m sgd_ref.command.main conform "${options[@]}" -- "${words[@]}" || status=$?
fi

echo "results=$RESULTS" >>"$GITHUB_OUTPUT"
if [[ -f $report ]]; then
    "$PYTHON" -m sgd_ref.command.main summary "$report" --badge "$RESULTS/badge.json" >>"$GITHUB_STEP_SUMMARY"
fi
exit "$status"
