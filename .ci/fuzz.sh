#!/usr/bin/env bash
# Usage: fuzz.sh DURATION
# Runs every fuzz target of the tree for DURATION each and stops at the first
# finding, which `go test` leaves in the package's testdata/fuzz: commit it with
# the fix, and every later `go test` runs it.
set -euo pipefail

duration=$1
packages=$(bash "$(dirname "$0")/packages.sh" Fuzz)
count=0
for package in $packages; do
	targets=$(cat "$package"/*_test.go | sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' | sort)
	for target in $targets; do
		count=$((count + 1))
		echo "== $package $target ($duration)"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$duration" "$package"
	done
done
echo "DONE $count fuzz targets, no findings"
