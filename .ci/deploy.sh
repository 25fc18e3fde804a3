#!/usr/bin/env bash
# Usage: deploy.sh DIR (the folder with the tools)
# Checks what is in deploy/ without a cluster, a daemon or a running systemd. All
# checks run, so that one look shows all there is to mend.
set -uo pipefail

bin=$1
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root" || exit 1

# The tools, and the versions whose schemas are the measure.
kustomize=sigs.k8s.io/kustomize/kustomize/v5@v5.7.1
kubeconform=github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0
kubernetes=k8s.io/kubernetes@v1.37.2
compose=github.com/compose-spec/compose-go/v2@v2.16.2

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=()

check() {
	local name=$1
	shift
	if ! "$@" >"$tmp/output" 2>&1; then
		cat "$tmp/output"
		echo "FAIL  $name"
		failed+=("$name")
	fi
}

# The folder of a module in Go's cache; go.mod knows nothing of it.
module() {
	local json
	json=$(cd "$tmp" && GOFLAGS=-mod=mod GOWORK=off go mod download -json "$1") || { echo "$json" >&2; return 1; }
	sed -nE 's/^[[:space:]]*"Dir": "(.*)",?$/\1/p' <<<"$json"
}

# The schemas are made again when a version or their maker changes.
make_schemas() {
	local key swagger spec
	key=$(echo "$kubernetes $compose" | cat - .ci/schemas.go | cksum | cut -d' ' -f1)
	schemas=$bin/schemas-$key
	if [ -d "$schemas" ]; then
		return 0
	fi
	echo "making the schemas of Kubernetes ${kubernetes##*@} and of compose ${compose##*@}"
	swagger=$(module "$kubernetes") && spec=$(module "$compose") || return 1
	rm -rf "$bin"/schemas-*
	go run .ci/schemas.go "$tmp/schemas" "$swagger/api/openapi-spec/swagger.json" "$spec/schema/compose-spec.json" &&
		mkdir -p "$bin" && mv "$tmp/schemas" "$schemas"
}

conform() {
	"$bin/kubeconform" -strict -schema-location "$schemas/{{.ResourceKind}}{{.KindSuffix}}.json" "$@"
}

# rejects FILE WORD: the file must be refused, and for this reason.
rejects() {
	local output
	if output=$(conform "$1" 2>&1); then
		echo "the validator accepts a wrong $2: it proves nothing"
		return 1
	fi
	grep -q "$2" <<<"$output" || { echo "the validator refuses, but says nothing of $2: $output"; return 1; }
}

# changed FROM TO FILE: FILE is made from FROM by the sed command TO, which must
# have changed something.
changed() {
	sed -E "$2" "$1" >"$3"
	! cmp -s "$1" "$3" || { echo "sed '$2' changes nothing in $1"; return 1; }
}

manifests() {
	"$bin/kustomize" build "deploy/kubernetes/$1" >"$tmp/$1.yaml" && conform "$tmp/$1.yaml"
}

compose_as_kind() {
	printf 'apiVersion: compose/v1\nkind: Compose\n' | cat - deploy/compose/compose.yaml >"$tmp/compose.yaml"
	conform "$tmp/compose.yaml"
}

# A validator that accepts everything would go unnoticed.
validator_refuses() {
	changed "$tmp/base.yaml" 's/^  replicas: [0-9]+$/  replicas: "three"/' "$tmp/type.yaml" && rejects "$tmp/type.yaml" replicas &&
		changed "$tmp/base.yaml" 's/^  serviceName:/  servceName:/' "$tmp/field.yaml" && rejects "$tmp/field.yaml" servceName &&
		changed "$tmp/base.yaml" 's/^( *)failureThreshold:/\1failureTreshold:/' "$tmp/deep.yaml" && rejects "$tmp/deep.yaml" failureTreshold &&
		changed "$tmp/compose.yaml" 's/^  restart: .*$/  restrat: always/' "$tmp/service.yaml" && rejects "$tmp/service.yaml" restrat
}

# What systemd does not understand it only warns of: nothing may be said. The
# program need not be installed here.
unit() {
	local said
	mkdir -p "$tmp/units" && printf '#!/bin/sh\n' >"$tmp/units/ozmo" && chmod +x "$tmp/units/ozmo"
	changed deploy/systemd/ozmo.service "s#/usr/local/bin/ozmo#$tmp/units/ozmo#" "$tmp/units/ozmo.service" || return 1
	said=$(systemd-analyze verify "$tmp/units/ozmo.service" 2>&1) || { echo "$said"; return 1; }
	[ -z "$said" ] || { echo "$said"; return 1; }
	changed "$tmp/units/ozmo.service" 's/^TimeoutStopSec=/TimeoutStopSecs=/' "$tmp/units/wrong.service" || return 1
	said=$(systemd-analyze verify "$tmp/units/wrong.service" 2>&1)
	[ -n "$said" ] || { echo "systemd-analyze says nothing of a wrong key: it proves nothing"; return 1; }
	# Exposure from 0 to 10, in tenths.
	systemd-analyze security --offline=true --threshold=20 --no-pager "$tmp/units/ozmo.service" || return 1
}

sysusers() {
	mkdir -p "$tmp/root" && systemd-sysusers --dry-run --root="$tmp/root" "$root/deploy/systemd/ozmo.sysusers"
}

check kustomize bash .ci/tool.sh "$bin" "$kustomize"
check kubeconform bash .ci/tool.sh "$bin" "$kubeconform"
check schemas make_schemas
if [ "${#failed[@]}" -eq 0 ]; then
	check "kubernetes/base" manifests base
	check "kubernetes/example" manifests example
	check "compose.yaml" compose_as_kind
	check "the validator refuses what is wrong" validator_refuses
fi
if command -v systemd-analyze >/dev/null; then
	check "ozmo.service" unit
	check "ozmo.sysusers" sysusers
else
	echo "systemd-analyze is not here: deploy/systemd is not checked (Debian package systemd)"
fi

if [ "${#failed[@]}" -gt 0 ]; then
	echo
	printf 'deploy check failed: %s\n' "${failed[@]}"
	exit 1
fi
