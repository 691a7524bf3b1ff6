#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# tools/kernels.sh                   names the suites whose kernels are tested
# tools/kernels.sh [--update] SUITE  brings the kernel of one and prints its path
#
# SUITE is a release of Debian or Ubuntu, or "own": that of this machine.  The
# package comes from the mirror that this machine's apt uses, through an apt state
# of its own, so that nothing changes for the machine.  Of the package only the
# kernel is kept, in ${LOOPSCOPE_CACHE:-~/.cache/loopscope}/kernels; what is there
# is not asked for again without --update.
set -euo pipefail

tools=$(cd "$(dirname "$0")" && pwd)
cache=${LOOPSCOPE_CACHE:-$HOME/.cache/loopscope}/kernels
# shellcheck disable=SC1091
distribution=$(. /etc/os-release && echo "$ID")
# shellcheck disable=SC1091
own=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
export LC_ALL=C

# The kernels for machines of a cloud: the smallest, with all that the probes need.
case $distribution in
debian)
	origin=Debian suites=(bullseye bookworm trixie sid)
	package=linux-image-cloud-amd64 keyring=debian-archive-keyring.gpg
	;;
ubuntu)
	origin=Ubuntu suites=(jammy noble)
	package=linux-image-virtual keyring=ubuntu-archive-keyring.gpg
	[[ " ${suites[*]} " == *" $own "* ]] || suites+=("$own")
	;;
*)
	echo "kernels: no kernels are known for $distribution, only for Debian and Ubuntu" >&2
	exit 1
	;;
esac

update=
if [ "${1:-}" = --update ]; then
	update=yes
	shift
fi
if [ $# = 0 ] && [ -z "$update" ]; then
	printf '%s\n' "${suites[@]}"
	exit
elif [ $# != 1 ]; then
	sed -n '3,/^set /{ s/^# \{0,1\}//p }' "$0" >&2
	exit 2
fi
suite=$1
[ "$suite" != own ] || suite=$own

folder=$cache/$suite
mkdir -p "$folder"
exec 9>"$folder/lock"
flock 9
# It says what it finds; there is one at most.
if [ -z "$update" ] && compgen -G "$folder/vmlinuz-*"; then
	exit
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# quietly WHAT COMMAND...: its output is shown when it fails.
quietly() {
	local what=$1
	shift
	echo "kernels: $what" >&2
	if ! "$@" </dev/null >"$work/log" 2>&1 9>&-; then
		tail -n 20 "$work/log" >&2
		echo "kernels: failed: $what" >&2
		return 1
	fi
}

# with_state COMMAND...: apt with a state of its own and nothing of the machine's settings.
with_state() {
	"$@" -qq -o "Dir::State=$work/apt" -o "Dir::State::status=$work/apt/status" \
		-o "Dir::Cache=$work/apt/cache" -o "Dir::Etc::sourcelist=$work/apt/sources.list" \
		-o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferences=/dev/null \
		-o Dir::Etc::preferencesparts=/dev/null -o APT::Architecture=amd64 \
		-o APT::Architectures=amd64 -o APT::Sandbox::User=root -o Acquire::Languages=none
}

# Where the packages of the suite are; updates are where new kernels are.
sources() {
	local mirror security options="[signed-by=/usr/share/keyrings/$keyring]"
	mirror=$("$tools/mirror.sh" $origin)
	security=$("$tools/mirror.sh" $origin security)
	if [ -z "$mirror" ]; then
		echo "kernels: apt knows no mirror of $origin: apt-get update?" >&2
		return 1
	fi
	echo "deb $options $mirror $suite main"
	if [ $origin = Ubuntu ]; then
		echo "deb $options $mirror $suite-updates main"
	elif [ "$suite" != sid ] && [ -n "$security" ]; then
		echo "deb $options $security $suite-security main"
	fi
}

# depends PACKAGE PREFIX: on which package of that prefix and a version it depends.
depends() {
	with_state apt-cache depends "$1" | sed -n "s/.*Depends: \\($2[0-9].*\\)/\\1/p"
}

mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$work/root"
: >"$work/apt/status"
sources >"$work/apt/sources.list"
quietly "apt-get update for $suite" with_state apt-get update
image=$(depends "$package" linux-image-)
if [ -z "$image" ]; then
	echo "kernels: $suite has no $package" >&2
	exit 1
fi
kernel=$folder/vmlinuz-${image#linux-image-}
if [ ! -f "$kernel" ]; then
	# Debian has split them since 6.19: the image only says where the kernel is.
	binary=$(depends "$image" linux-binary-)
	cd "$work"
	quietly "apt-get download ${binary:-$image}" with_state apt-get download "${binary:-$image}"
	dpkg-deb --fsys-tarfile ./*.deb | tar -x -C root --wildcards --no-anchored 'vmlinuz*'
	mapfile -t found < <(find root -type f -name 'vmlinuz*')
	if [ ${#found[@]} != 1 ]; then
		echo "kernels: ${binary:-$image} has ${#found[@]} kernels in it" >&2
		exit 1
	fi
	rm -f "$folder"/vmlinuz-*
	cp "${found[0]}" "$folder/new"
	mv "$folder/new" "$kernel"
fi
echo "$kernel"
