#!/usr/bin/env bash
# Usage: tool.sh DIR PACKAGE@VERSION
# Makes sure that DIR holds the tool in exactly that version. A binary that is
# already right costs a few milliseconds and needs no network.
set -euo pipefail

bin=$1 spec=$2
package=${spec%@*} version=${spec##*@}
name=${package##*/}
if [[ $name =~ ^v[0-9]+$ ]]; then # a major version; the program has the name before it
	name=${package%/*} name=${name##*/}
fi

if ! command -v go >/dev/null; then
	echo "go is not in PATH: install Go (https://go.dev/dl), the version that go.mod names or newer" >&2
	exit 1
fi
if [ -x "$bin/$name" ]; then
	# A Go binary records the package and module version it was built from.
	info=$(go version -m "$bin/$name" 2>/dev/null || true)
	have_path=$(awk '$1 == "path" { print $2 }' <<<"$info")
	have_version=$(awk '$1 == "mod" { print $3 }' <<<"$info")
	if [ "$have_path" = "$package" ] && [ "$have_version" = "$version" ]; then
		exit 0
	fi
fi

echo "building $name $version"
# `go install P@V` ignores the module it is started in. golangci-lint only
# reads code whose Go version is not newer than the one it was built with, so
# the tools are built with the toolchain that this module selects.
toolchain=$(go env GOVERSION)
if [[ $toolchain =~ ^go1\.[0-9]+(\.[0-9]+)?$ ]]; then
	export GOTOOLCHAIN=$toolchain+auto
fi
mkdir -p "$bin"
GOBIN=$bin CGO_ENABLED=0 go install "$spec"
