#!/usr/bin/env bash
# Makes this machine ready for `make test`: what the tests need beside Go is
# installed where that is allowed (apt-get, as root or with passwordless sudo);
# otherwise it is named, and the script fails.
set -euo pipefail

have() { command -v "$1" >/dev/null 2>&1; }

if ! have go; then
	echo "go is not in PATH: install Go (https://go.dev/dl), the version that go.mod names or newer" >&2
	exit 1
fi

# The race detector needs cgo: a C compiler that finds the C library.
compiles_c() {
	local cc
	cc=$(go env CC)
	have "${cc%% *}" && echo '#include <stdlib.h>
		int main(void) { return abs(0); }' | $cc -x c -o /dev/null - >/dev/null 2>&1
}

# Debian keeps the programs of a PostgreSQL server out of PATH.
have_postgres() {
	have postgres || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null
}

# One line a package: the Debian package, and the test that it is there.
needs=(
	"gcc           have $(go env CC | cut -d' ' -f1)"
	"libc6-dev     compiles_c"
	"redis-server  have redis-server"
	"postgresql    have_postgres"
	"systemd       have systemd-analyze"
	"iproute2      have ip"
)

missing() {
	local line package probe
	for line in "${needs[@]}"; do
		read -r package probe <<<"$line"
		$probe || echo "$package"
	done
}

mapfile -t packages < <(missing)
if [ "${#packages[@]}" -eq 0 ]; then
	exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
	as_root=(sudo -n)
fi
if have apt-get && { [ "$(id -u)" -eq 0 ] || { have sudo && sudo -n true 2>/dev/null; }; }; then
	echo "installing what the tests need: ${packages[*]}"
	"${as_root[@]}" apt-get update -qq
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
	mapfile -t packages < <(missing)
	if [ "${#packages[@]}" -eq 0 ]; then
		exit 0
	fi
	echo "still missing after the installation: ${packages[*]}" >&2
	exit 1
fi

echo "The tests need what these Debian packages contain: ${packages[*]}" >&2
if have apt-get; then
	echo "Install them: sudo apt-get install ${packages[*]}" >&2
else
	echo "Install their counterparts with your system's package manager." >&2
fi
echo "Then run the same command again." >&2
exit 1
