#!/usr/bin/env bash
# Runs every fuzz target of the module for the given time, one after another. Ends with 1 when one found something.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-10s} status=0
for package in $(go list ./...); do
	for target in $(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
		echo "== $package $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package" || status=1
	done
done
exit $status
