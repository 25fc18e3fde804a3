#!/usr/bin/env bash
# Usage: packages.sh PREFIX
# Prints the packages that have a test function whose name begins with PREFIX,
# one a line (./fsm, ./worker/match …), so that nothing else need be built.
set -euo pipefail

find . -name '*_test.go' -not -path '*/.*' -not -path '*/testdata/*' -print0 |
	{ xargs -0 -r grep -lE "^func $1" || true; } | xargs -r -n1 dirname | sort -u
