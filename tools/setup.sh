#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs the packages of Debian 12+ or Ubuntu 24.04+ that are missing:
#
#   tools/setup.sh [build|demo|test|lint]
#
# Needs root, or sudo.  Says what it installs; does nothing when nothing is
# missing.  Starts no service and enables none: tests start their own.
set -euo pipefail

what=${1:-build}
# dpkg wants what is not there after a plain `su`.
export PATH=$PATH:/usr/sbin:/sbin

packages=(clang llvm make gcc libc6-dev pkg-config libbpf-dev libelf-dev zlib1g-dev
	libcjson-dev libpcre2-dev uthash-dev)
case $what in
build) ;;
demo) packages+=(python3 python3-venv) ;;
test) packages+=(python3 python3-venv libpython3-dev libcmocka-dev wrk redis-server
	postgresql mariadb-server openssl debootstrap debian-archive-keyring jq
	qemu-system-x86 busybox-static) ;;
lint) packages+=(python3 python3-venv libcmocka-dev cppcheck shellcheck) ;;
*)
	echo "usage: tools/setup.sh [build|demo|test|lint]" >&2
	exit 2
	;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	echo "setup: no apt here; needed are (by Debian's names): ${packages[*]} bpftool" >&2
	echo "setup: going on, the build tells what is missing" >&2
	exit 0
fi

sudo=()
if [ "$(id -u)" != 0 ]; then
	sudo=(sudo)
fi

# Names of those arguments that are not installed.
missing() {
	local have
	# It fails when it has never heard of one, and tells of the others.
	have=" $({ dpkg-query -W -f='${binary:Package}=${db:Status-Status}\n' "$@" 2>/dev/null || true; } |
		sed -n 's/\(:[a-z0-9]*\)\{0,1\}=installed$//p' | tr '\n' ' ')"
	for package; do
		case $have in
		*" $package "*) ;;
		*) echo "$package" ;;
		esac
	done
}

# The compiler's run-time library for sanitizers and fuzzers has its version.  An
# old one has a newer one beside it, for the probes as that compiles them.
compiler_packages() {
	local version
	if [ "$what" = test ]; then
		version=$(clang -dumpversion | cut -d. -f1)
		echo "libclang-rt-$version-dev"
		if [ "$version" -lt 18 ]; then
			echo clang-19
		fi
	fi
}

# Ubuntu has no package of that name, but two that bring it.
bpftool_packages() {
	if apt-cache policy bpftool | grep 'Candidate: [0-9]' >/dev/null; then
		echo bpftool
	else
		echo linux-tools-common linux-tools-generic
	fi
}

updated=
install_packages() {
	if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
		echo "setup: root or sudo is needed to install: $*" >&2
		exit 1
	fi
	if [ -z "$updated" ]; then
		echo "setup: apt-get update"
		"${sudo[@]}" apt-get update -qq
		updated=yes
	fi
	echo "setup: apt-get install $*"
	"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq --no-install-recommends "$@" </dev/null >"$log" 2>&1 || {
		tail -n 20 "$log" >&2
		echo "setup: apt-get install failed" >&2
		exit 1
	}
}

# Servers would be started by their packages; policy-rc.d forbids it meanwhile.
policy=/usr/sbin/policy-rc.d
log=
saved=
forbid_services() {
	log=$(mktemp)
	saved=$(mktemp -d)
	trap restore_services EXIT
	if [ -e "$policy" ] || [ -L "$policy" ]; then
		"${sudo[@]}" cp -a "$policy" "$saved/policy"
		"${sudo[@]}" rm -f "$policy"
	fi
	printf '#!/bin/sh\nexit 101\n' >"$saved/none"
	"${sudo[@]}" install -m 755 "$saved/none" "$policy"
}
restore_services() {
	"${sudo[@]}" rm -f "$policy"
	if [ -e "$saved/policy" ] || [ -L "$saved/policy" ]; then
		"${sudo[@]}" cp -a "$saved/policy" "$policy"
	fi
	"${sudo[@]}" rm -rf "$saved" "$log"
}

# A package enables its service for the next boot, too.
disable_services() {
	local package unit
	for package; do
		case $package in
		redis-server) unit=redis-server.service ;;
		postgresql) unit=postgresql.service ;;
		mariadb-server) unit=mariadb.service ;;
		*) continue ;;
		esac
		if command -v systemctl >/dev/null; then
			echo "setup: systemctl disable $unit (it was not there before)"
			"${sudo[@]}" systemctl disable "$unit" >/dev/null 2>&1 || true
		fi
	done
}

mapfile -t wanted < <(missing "${packages[@]}")
if [ ${#wanted[@]} -gt 0 ]; then
	forbid_services
	install_packages "${wanted[@]}"
	disable_services "${wanted[@]}"
fi

mapfile -t compiler < <(compiler_packages)
mapfile -t wanted < <([ ${#compiler[@]} = 0 ] || missing "${compiler[@]}")
if ! "$(dirname "$0")/bpftool.sh" version >/dev/null 2>&1; then
	if [ -z "$updated" ]; then
		echo "setup: apt-get update"
		"${sudo[@]}" apt-get update -qq
		updated=yes
	fi
	read -ra tools < <(bpftool_packages)
	wanted+=("${tools[@]}")
fi
if [ ${#wanted[@]} -gt 0 ]; then
	[ -n "$saved" ] || forbid_services
	install_packages "${wanted[@]}"
fi
