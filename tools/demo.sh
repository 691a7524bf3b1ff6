#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# tools/demo.sh [SECONDS]
#
# Starts a FastAPI service that misbehaves, with load, and watches it with
# build/loopscope.  Leaves report.json, flame.svg and stacks.folded in build/demo.
# The exit status is 0 when the report has the findings that it must have, and
# none for the healthy routes.  Needs root, or sudo for loopscope alone.
set -euo pipefail

cd "$(dirname "$0")/.."
seconds=${1:-8}
out=build/demo
python=$(tools/venv.sh "${PYTHON:-/usr/bin/python3}" \
	"${LOOPSCOPE_CACHE:-$HOME/.cache/loopscope}/demo" tools/demo/requirements.txt)

sudo=()
if [ "$(id -u)" != 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "demo: root or sudo is needed to attach" >&2
		exit 5
	fi
	sudo=(sudo)
	"${sudo[@]}" true
fi

pids=()
cleanup() {
	if [ ${#pids[@]} -gt 0 ]; then
		kill "${pids[@]}" 2>/dev/null || true
		wait "${pids[@]}" 2>/dev/null || true
	fi
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# wait_for FILE PATTERN: prints what the parentheses of PATTERN match in FILE.
wait_for() {
	local i found
	for ((i = 0; i < 150; i++)); do
		found=$(sed -nE "s|.*$2.*|\1|p" "$1")
		if [ -n "$found" ]; then
			echo "${found%%$'\n'*}"
			return
		fi
		sleep 0.1
	done
	echo "demo: the service did not start:" >&2
	cat "$1" >&2
	return 1
}

mkdir -p "$out"
: >"$out/supplier.log" # what an earlier run wrote would name its port
: >"$out/service.log"
"$python" tools/demo/load.py supplier >>"$out/supplier.log" 2>&1 &
pids+=($!)
port=$(wait_for "$out/supplier.log" '^([0-9]+)$')

SUPPLIER=127.0.0.1:$port "$python" -m uvicorn service:app --app-dir tools/demo --port 0 \
	--no-access-log >>"$out/service.log" 2>&1 &
service=$!
pids+=("$service")
port=$(wait_for "$out/service.log" 'http://127\.0\.0\.1:([0-9]+)')

"$python" tools/demo/load.py clients "$port" >"$out/clients.log" 2>&1 &
pids+=($!)
sleep 1

command=(build/loopscope attach -p "$service" -d "$seconds" --force -o "$out/report.json"
	-o "$out/flame.svg" -o "$out/stacks.folded")
echo "\$ ${command[*]}"
"${sudo[@]}" "${command[@]}"

echo
echo "The whole report:            $out/report.json"
echo "Blocking time as flamegraph: $out/flame.svg (for any browser)"
echo "The same as folded stacks:   $out/stacks.folded"
echo
"$python" tools/demo/load.py check "$out/report.json"
