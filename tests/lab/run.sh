#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs loopscope against the services of the lab and scores what it reports:
#
#   tests/lab/run.sh [--loop uvloop|asyncio] [--python PYTHON] [--old] [--quick]
#                    [--only SERVER_OR_CASE ...] [--kinds KIND ... | --kinds all]
#                    [--out DIR] [--dry]
#
# Makes the virtual environment, starts a private PostgreSQL and Redis where the
# chosen cases need them, and stops them.  --dry leaves loopscope and the score
# away.  LOOPSCOPE names another program than build/loopscope, LAB_* the ports
# (labkit/settings.py).  Needs root.  The exit status is that of the score.
set -euo pipefail

usage() {
	sed -n '3,/^set /{ s/^# \{0,1\}//p }' "$0"
}

lab=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$lab/../.." && pwd)
cache=${LOOPSCOPE_CACHE:-$HOME/.cache/loopscope}
loopscope=${LOOPSCOPE:-$root/build/loopscope}

loop=uvloop
python=
old=()
quick=()
dry=
out=
only=()
kinds=()
default_kinds=(blocking_call cpu_stall gc_pause gil_contention lock_wait log_backpressure)

while [ $# -gt 0 ]; do
	option=$1
	shift
	values=()
	while [ $# -gt 0 ] && [[ $1 != --* ]]; do
		values+=("$1")
		shift
	done
	case $option in
	--loop | --python | --out) wanted=1 ;;
	--only | --kinds) wanted=${#values[@]} ;;
	*) wanted=0 ;;
	esac
	if [ ${#values[@]} != "$wanted" ]; then
		echo "run.sh: $option takes $wanted values, not ${#values[@]}" >&2
		exit 2
	fi
	case $option in
	--loop) loop=${values[0]} ;;
	--python) python=${values[0]} ;;
	--out) out=${values[0]} ;;
	--only) only+=("${values[@]}") ;;
	--kinds) kinds+=("${values[@]}") ;;
	--old) old=(--old) ;;
	--quick) quick=(--quick) ;;
	--dry) dry=yes ;;
	--help)
		usage
		exit 0
		;;
	*)
		usage >&2
		exit 2
		;;
	esac
done

case $loop in
uvloop | asyncio) ;;
*)
	echo "run.sh: no such loop: $loop" >&2
	exit 2
	;;
esac
if [ ${#kinds[@]} = 0 ]; then
	kinds=("${default_kinds[@]}")
elif [ "${kinds[*]}" = all ]; then
	kinds=()
fi
if [ "$(id -u)" != 0 ]; then
	echo "run.sh: the lab needs root" >&2
	exit 1
fi
if [ -z "$dry" ] && [ ! -x "$loopscope" ]; then
	echo "run.sh: no $loopscope: make it first" >&2
	exit 1
fi

# The newest of these versions that runs: pyenv's, then the distribution's.
find_python() {
	local version candidate
	for version; do
		for candidate in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$version".*/bin/python3 \
			"/usr/bin/python$version" "/usr/local/bin/python$version"; do
			if "$candidate" -c 'import ensurepip, ssl' 2>/dev/null; then
				echo "$candidate"
				return
			fi
		done
	done
	command -v python3
}
if [ -z "$python" ]; then
	if [ ${#old[@]} -gt 0 ]; then
		python=$(find_python 3.11 3.10)
	else
		python=$(find_python 3.13 3.12 3.11)
	fi
fi
version=$("$python" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])')
venv=$cache/lab-$version${old:+-old}
out=${out:-$root/build/lab/$loop-$version${old:+-old}}

# Two runs would measure each other.
mkdir -p "$cache"
exec 9>"$cache/lab.lock"
if ! flock -n 9; then
	echo "run.sh: waiting for another run of the lab" >&2
	flock 9
fi

# Nothing is written into the tree but the reports.
export PYTHONPYCACHEPREFIX=$cache/pycache
cd "$lab"
labkit/setup --python "$python" --venv "$venv" "${old[@]}" >/dev/null 9>&-

# What the scorer would judge: the servers, then the cases.
choice=$("$venv/bin/python" - "${quick[@]}" --only "${only[@]}" --kinds "${kinds[@]}" <<'PYTHON'
import argparse
import json

from labkit.score import choose

parser = argparse.ArgumentParser()
parser.add_argument("--quick", action="store_true")
parser.add_argument("--only", nargs="*", default=[])
parser.add_argument("--kinds", nargs="*", default=[])
with open("expectations.json") as file:
    suite = json.load(file)
cases = choose(suite, parser.parse_args())
servers = {case["server"] for case in cases}
print(" ".join(sorted({need for name in servers for need in suite["servers"][name]["needs"]})))
print(" ".join(case["id"] for case in cases))
PYTHON
)
needs=${choice%%$'\n'*}
read -ra cases <<<"${choice#*$'\n'}"
if [ ${#cases[@]} = 0 ]; then
	echo "run.sh: no case is of these kinds and names" >&2
	exit 2
fi

# What an earlier run left must not be scored.
mkdir -p "$out"
out=$(cd "$out" && pwd)
for case in "${cases[@]}"; do
	rm -f "$out/$case.json" "$out/$case.truth.json"
done

state=
runner=
# shellcheck disable=SC2317,SC2329
stop() {
	if [ -n "$runner" ]; then
		# Interrupted it ends its services; terminated it would leave them.
		kill -INT "$runner" 2>/dev/null || true
		wait "$runner" || true
	fi
	if [ -n "$state" ]; then
		labkit/setup services stop --dir "$state" 9>&- || true
		rm -rf "$state"
	fi
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

case $needs in
*postgres* | *redis*)
	# The servers run as a user of their own, who must be able to enter.
	state=$(mktemp -d)
	chmod 711 "$state"
	labkit/setup services start --dir "$state" 9>&-
	;;
esac

attach=()
if [ -z "$dry" ]; then
	command=$(printf '%q attach -p {pid} --force -q -o %q/{case}.json' "$loopscope" "$out")
	attach=(--attach "$command")
fi

# A job of its own: a shell waits for signals only beside one, and without job
# control it would ignore SIGINT.
status=0
set -m
"$venv/bin/python" -m labkit.run --truth lite --attempts 1 --loop "$loop" --out "$out" \
	"${attach[@]}" --only "${cases[@]}" </dev/null 9>&- &
runner=$!
set +m
wait "$runner" || status=$?
runner=
if [ -z "$dry" ]; then
	echo
	"$venv/bin/python" -m labkit.score --reports "$out" --only "${cases[@]}" \
		--json "$out/score.json" || status=$?
fi
echo "reports in $out"
exit "$status"
