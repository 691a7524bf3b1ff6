#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# tools/interpreters.sh         brings the interpreters that the tests need
# tools/interpreters.sh --live  each with tests/requirements-live.txt installed
#
# Prints "VERSION LINK PATH [ROOT]": LINK is static or shared (interpreter in
# libpython), PATH the python, inside of ROOT where there is one (chroot).
# They are pyenv's where it is present, the distribution's, and Debian's and
# Ubuntu's in roots of their own below ${LOOPSCOPE_CACHE:-~/.cache/loopscope}.  Exit status 1
# names what is missing.  Needs root; quick when everything is there.
set -euo pipefail

needed=(3.11 3.12 3.13 3.14)
tools=$(cd "$(dirname "$0")" && pwd)
requirements=$tools/../tests/requirements-live.txt
cache=${LOOPSCOPE_CACHE:-$HOME/.cache/loopscope}

live=
case ${1:-} in
'') ;;
--live) live=yes ;;
*)
	sed -n '3,/^set /{ s/^# \{0,1\}//p }' "$0" >&2
	exit 2
	;;
esac
if [ "$(id -u)" != 0 ]; then
	echo "interpreters: needs root" >&2
	exit 1
fi

# Of users who are not root, and of `su`.
export PATH=$PATH:/usr/sbin:/sbin

mkdir -p "$cache"
exec 9>"$cache/interpreters.lock"
flock 9
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# quietly WHAT COMMAND...: its output is shown when it fails.
quietly() {
	local what=$1
	shift
	echo "interpreters: $what" >&2
	if ! "$@" </dev/null >"$log" 2>&1 9>&-; then
		tail -n 20 "$log" >&2
		echo "interpreters: failed: $what" >&2
		return 1
	fi
}

# Below a root that is no mount point (chroot) there is nothing to make private.
own_mounts=(unshare --mount)
"${own_mounts[@]}" true 2>/dev/null || own_mounts+=(--propagation unchanged)

# inside ROOT COMMAND...: with /proc of its own; nothing stays mounted.
inside() {
	local root=$1
	shift
	# shellcheck disable=SC2016
	[ -n "$root" ] && set -- "${own_mounts[@]}" sh -c \
		'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"' "$root" "$@"
	env LC_ALL=C DEBIAN_FRONTEND=noninteractive "$@"
}

# ---- packages, of the distribution (ROOT is "") or of a root -----------------------

install_packages() {
	local root=$1
	shift
	# For the tests' own roots a mirror of yesterday is good enough.
	quietly "apt-get update${root:+ in $root}" inside "$root" apt-get update -qq \
		${root:+-o Acquire::Check-Valid-Until=false}
	quietly "apt-get install $*${root:+ in $root}" inside "$root" apt-get install \
		-y -qq --no-install-recommends "$@"
}

installed() {
	local root=$1 states
	shift
	# shellcheck disable=SC2016
	states=$(inside "$root" dpkg-query -W -f='${db:Status-Status} ' "$@" 2>/dev/null) || return 1
	[[ " $states" =~ ^(\ installed)+\ $ ]]
}

# packaged ROOT X.Y: is there such a python, installed or to be had?
packaged() {
	local policy
	policy=$(inside "$1" apt-cache policy "python$2" 2>/dev/null)
	[[ $policy =~ (Installed|Candidate):\ [0-9] ]]
}

# library_package ROOT X.Y: Ubuntu's has another name for some versions.
library_package() {
	if [[ $(inside "$1" apt-cache policy "libpython$2t64" 2>/dev/null) =~ Candidate:\ [0-9] ]]; then
		echo "libpython$2t64"
	else
		echo "libpython$2"
	fi
}

# add_packaged ROOT X.Y: the distribution's static python, and one on its libpython.
add_packaged() {
	local root=$1 version=$2 package library program
	package=$(library_package "$root" "$version")
	if ! installed "$root" "python$version" "python$version-venv" "$package"; then
		install_packages "$root" "python$version" "python$version-venv" "$package" || return 0
	fi
	library=$(inside "$root" dpkg-query -L "$package" |
		grep "/libpython$version\.so\.1\.0\$")
	if [ -n "$root" ]; then
		program=/opt/loopscope/python$version
	else
		program=$cache/embedded/python$version
	fi
	if [ "$root$library" -nt "$root$program" ] || [ ! -x "$root$program" ]; then
		mkdir -p "$(dirname "$root$program")"
		# Its C library may be newer than that of this compiler.
		quietly "cc $root$program" "${CC:-cc}" -O2 -o "$root$program" \
			"$tools/embedded-python.c" "$root$library" -Wl,--allow-shlib-undefined || return 0
		touch "$root$program"
	fi
	add "/usr/bin/python$version" "$root"
	add "$program" "$root"
}

# ---- roots ---------------------------------------------------------------------------

# What pip needs to reach its index is the same inside.
copy_pip_settings() {
	local root=$1 file
	for file in /etc/pip.conf "${PIP_CONFIG_FILE:-}" "${PIP_CERT:-}" "${SSL_CERT_FILE:-}" \
		"${REQUESTS_CA_BUNDLE:-}" /etc/ssl/certs/ca-certificates.crt /etc/resolv.conf; do
		if [ -f "$file" ] && ! cmp -s "$file" "$root$file"; then
			mkdir -p "$(dirname "$root$file")"
			rm -f "$root$file"
			cp -L "$file" "$root$file"
		fi
	done
}

# Debian 12 has no keyring of Ubuntu; sid has one, and nothing else vouches for it.
ubuntu_keyring() {
	local keyring=/usr/share/keyrings/ubuntu-archive-keyring.gpg
	if [ ! -f "$keyring" ]; then
		if [ ! -f "$cache/sid$keyring" ]; then
			install_packages "$cache/sid" ubuntu-keyring || return 1
		fi
		keyring=$cache/sid$keyring
	fi
	echo "$keyring"
}

make_root() {
	local suite=$1 root=$cache/$1 keyring
	local arguments=(--variant=minbase --include=ca-certificates)
	if [ "$suite" = noble ]; then
		keyring=$(ubuntu_keyring) || return 1
		# The script of all of Ubuntu's releases has the name of the first.
		arguments+=("--components=main,universe" "--keyring=$keyring"
			"$suite" "$root.new" "$("$tools/mirror.sh" Ubuntu)" gutsy)
	else
		arguments+=("$suite" "$root.new" "$("$tools/mirror.sh" Debian)")
	fi
	rm -rf "$root.new"
	quietly "debootstrap $suite in $root" debootstrap "${arguments[@]}" || return 1
	mv "$root.new" "$root"
}

# add_root SUITE X.Y...
add_root() {
	local suite=$1 version
	shift
	if ! command -v debootstrap >/dev/null; then
		echo "interpreters: no debootstrap: tools/setup.sh test installs it" >&2
		return 0
	fi
	[ -d "$cache/$suite" ] || make_root "$suite" || return 0
	copy_pip_settings "$cache/$suite"
	for version; do
		if packaged "$cache/$suite" "$version"; then
			add_packaged "$cache/$suite" "$version"
		fi
	done
}

# ---- the list ------------------------------------------------------------------------

found=()
have=' '

# add PATH ROOT: looks at what it really is.
add() {
	local path=$1 root=$2 facts version link=static
	facts=$(inside "$root" env -u PYTHONHOME -u PYTHONPATH "$path" -c '
import ensurepip, ssl, sys
print("%d.%d.%d" % sys.version_info[:3])
if any("/libpython3." in line and ".so" in line for line in open("/proc/self/maps")):
    print("shared")') || return 0
	version=${facts%%$'\n'*}
	[[ $facts != *shared ]] || link=shared
	found+=("$version $link $path${root:+ $root}")
	have+="${version%.*} ${version%.*}-$link "
}

for version in "${needed[@]}"; do
	for python in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$version".*/bin/python"$version"; do
		[ ! -x "$python" ] || add "$python" ""
	done
	if command -v apt-cache >/dev/null && packaged "" "$version"; then
		add_packaged "" "$version"
	fi
done
add_root sid 3.14 3.13
# Releases that keep them for years, where nobody has both builds.
[[ $have == *" 3.12 "* ]] || add_root noble 3.12
[[ $have == *" 3.13-static "* && $have == *" 3.13-shared "* ]] || add_root trixie 3.13
[[ $have == *" 3.11-static "* && $have == *" 3.11-shared "* ]] || add_root bookworm 3.11

if [ -n "$live" ]; then
	prepared=()
	for line in "${found[@]}"; do
		read -r version link path root <<<"$line"
		script=$tools/venv.sh
		wanted=$requirements
		folder=$cache/live-$version-$link
		if [ -n "$root" ]; then
			mkdir -p "$root/opt/loopscope"
			cp "$script" "$wanted" "$root/opt/loopscope/"
			script=/opt/loopscope/venv.sh
			wanted=/opt/loopscope/$(basename "$requirements")
			folder=/opt/loopscope/live-$version-$link
		fi
		python=$(inside "$root" env -u PYTHONHOME -u PYTHONPATH \
			"$script" "$path" "$folder" "$wanted" 9>&-)
		prepared+=("$version $link $python${root:+ $root}")
	done
	found=("${prepared[@]}")
fi
printf '%s\n' "${found[@]}"

missing=()
for version in "${needed[@]}"; do
	[[ $have == *" $version "* ]] || missing+=("CPython $version")
done
for link in static shared; do
	[[ $have == *"-$link "* ]] || missing+=("a $link build")
done
if [ ${#missing[@]} -gt 0 ]; then
	printf 'interpreters: missing: %s\n' "${missing[@]}" >&2
	exit 1
fi
