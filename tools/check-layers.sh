#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# tools/check-layers.sh [ROOT]
#
# Data flows one way: a stage includes base, include/, itself and earlier stages
# only.  Stages on one line of the list do not know each other.
set -euo pipefail

cd "${1:-$(dirname "$0")/..}"

order='base
discover
attach
collect
resolve
attribute
aggregate
detect
record export
cli agent'

declare -A rank
level=0
while read -ra stages; do
	level=$((level + 1))
	for stage in "${stages[@]}"; do
		rank[$stage]=$level
	done
done <<<"$order"

bad=0
complain() {
	echo "$1: $2" >&2
	bad=1
}

# file:line:included
includes() {
	grep -rnoE --include='*.[ch]' '^[[:space:]]*#[[:space:]]*include[[:space:]]*["<][^">]+[">]' "$@" |
		sed -E 's/#[[:space:]]*include[[:space:]]*["<]([^">]+)[">]/\1/; s/:[[:space:]]+/:/g'
}

# Sets `to` to the stage of a header as it is included; empty when it is no stage's.
stage_of() {
	to=
	case $1 in
	loopscope.skel.h) to=attach ;;
	*/*) [ ! -e "src/$1" ] || to=${1%%/*} ;;
	esac
}

for directory in src/*/; do
	stage=${directory#src/} stage=${stage%/}
	[ ! -d "$directory" ] || [ -n "${rank[$stage]:-}" ] ||
		complain "$directory" "is no stage that tools/check-layers.sh knows"
done

while IFS=: read -r file line header; do
	[ -n "$file" ] || continue
	case $header in
	*..*) complain "$file:$line" "includes \"$header\": write it relative to src/" ;;
	py_frames.bpf.h) # the walk of the probes, compiled for the host: threads, tasks
		[ "$file" = src/resolve/walk.c ] || [ "$file" = src/resolve/task_links.c ] ||
			complain "$file:$line" "includes \"$header\", which belongs to bpf/"
		;;
	*.bpf.h) complain "$file:$line" "includes \"$header\", which belongs to bpf/" ;;
	esac
	from=${file#src/}
	case $from in
	*/*) from=${from%%/*} ;;
	*) continue ;; # main.c is above all stages
	esac
	stage_of "$header"
	if [ -z "$to" ]; then
		if [[ $header != */* && -e $(dirname "$file")/$header ]]; then
			complain "$file:$line" "includes \"$header\": write \"$from/$header\""
		fi
		continue
	fi
	if [ "$from" = "$to" ]; then
		continue
	fi
	if [ "${rank[$to]:-0}" -ge "${rank[$from]:-0}" ]; then
		complain "$file:$line" "$from includes \"$header\" of $to, which is no earlier stage"
	fi
done < <(includes src)

# What both sides compile knows neither side; probes know no stage.
while IFS=: read -r file line header; do
	[ -n "$file" ] || continue
	stage_of "$header"
	if [ -n "$to" ] || [[ $header == *..* ]]; then
		complain "$file:$line" "includes \"$header\" of src/"
	fi
	if [[ $file == include/* && -e bpf/$header ]]; then
		complain "$file:$line" "includes \"$header\" of bpf/"
	fi
done < <(includes include bpf)

exit $bad
