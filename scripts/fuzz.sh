#!/usr/bin/env bash
# Runs every fuzz target of the module for the given time, one after another. Ends with 1 when one found something.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-10s} status=0
while IFS=: read -r file target; do
	package=./$(dirname "$file")
	echo "== $package $target"
	# Making an input that is new, but no finding, smaller would take most of the time.
	go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 10x "$package" || status=1
done < <(git ls-files '*_test.go' | xargs grep -HoE '^func Fuzz[A-Za-z0-9_]*' | sed 's/:func /:/' | sort)
exit $status
