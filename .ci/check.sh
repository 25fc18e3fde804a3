#!/usr/bin/env bash
# Usage: check.sh DIR (the folder with the tools)
# Everything about the source that needs no test run. All checks run, so that
# one look shows all there is to mend.
set -uo pipefail

bin=$1
failed=()

check() {
	local name=$1 start=$SECONDS
	shift
	if "$@"; then
		echo "ok    $name ($((SECONDS - start))s)"
	else
		echo "FAIL  $name ($((SECONDS - start))s)"
		failed+=("$name")
	fi
}

formatted() {
	local files
	files=$("$bin/gofumpt" -l . 2>&1) || { echo "$files"; return 1; }
	[ -z "$files" ] || { echo "not formatted (run bin/gofumpt -w on them):"; echo "$files"; return 1; }
}

# A replace directive would break `go install` of this module.
no_replace() {
	! grep -nE '^[[:space:]]*replace([[:space:]]|\()' go.mod
}

check gofumpt formatted
check "no replace in go.mod" no_replace
check "go mod tidy" go mod tidy -diff
check "go vet" go vet ./...
check deploy bash .ci/deploy.sh "$bin"
check golangci-lint "$bin/golangci-lint" run ./...

if [ "${#failed[@]}" -gt 0 ]; then
	echo
	printf 'check failed: %s\n' "${failed[@]}"
	exit 1
fi
