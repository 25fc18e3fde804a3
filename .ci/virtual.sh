#!/usr/bin/env bash
# Runs the tests of a package in virtual time with the race detector.
#
# The detector's own runtime gives up now and then in such a bubble (go1.26.8:
# SIGSEGV outside Go code, or "CHECK failed" in tsan_rtl.cpp; golang/go#78156): two
# threads that run timers of one bubble share a context of the detector. After exactly
# that, and no data race, the tests run once more with one thread of Go.
#
# usage: virtual.sh BIN PACKAGE [flags of go test]
set -euo pipefail
bin=$1 package=$2
shift 2
log=$(mktemp)
trap 'rm -f "$log"' EXIT

if CGO_ENABLED=1 "$bin/gotestsum" --format pkgname -- -race -shuffle=on -timeout 30m "$@" "$package" 2>&1 | tee "$log"; then
	exit 0
fi
if grep -q 'DATA RACE' "$log" || ! grep -qE '^ *SIGSEGV: segmentation violation|ThreadSanitizer: CHECK failed' "$log"; then
	exit 1
fi
echo 'The race detector itself has crashed (see above): running these tests once more with GOMAXPROCS=1.'
GOMAXPROCS=1 CGO_ENABLED=1 "$bin/gotestsum" --format pkgname -- -race -shuffle=on -parallel 2 -timeout 30m "$@" "$package"
