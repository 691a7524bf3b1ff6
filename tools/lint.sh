#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# tools/lint.sh            every check, one line each; what failed is shown
# tools/lint.sh --format   formats the C sources instead
set -uo pipefail

cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cache=${LOOPSCOPE_CACHE:-$HOME/.cache/loopscope}
python=$(tools/venv.sh "${PYTHON:-/usr/bin/python3}" "$cache/lint" tools/lint-requirements.txt) ||
	exit 1
clang_format=${python%/*}/clang-format
export PYTHONDONTWRITEBYTECODE=1

# Files of the project: what git knows or would add; without git what is there.
files() {
	if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
		git ls-files --cached --others --exclude-standard
	else
		find . -type f -not -path './build*' -not -path '*/__pycache__/*' -printf '%P\n'
	fi | sort -u | while IFS= read -r file; do
		[ ! -f "$file" ] || printf '%s\n' "$file"
	done
}
files >"$work/files"
mapfile -t c_files < <(grep -E '\.[ch]$' "$work/files")
mapfile -t python_files < <(grep -E '\.py$' "$work/files")
# The services of the lab are there to be bad.
mapfile -t own_python < <(grep -E '\.py$' "$work/files" | grep -v '^tests/lab/services/')
mapfile -t shell_files < <(grep -E '\.sh$|^\.ci/run$' "$work/files")

if [ "${1:-}" = --format ]; then
	exec "$python" tools/format.py "$clang_format" "${c_files[@]}"
fi

# check NAME COMMAND...: its output is shown when it fails.
failed=0
check() {
	local name=$1
	shift
	if "$@" >"$work/out" 2>&1; then
		echo "ok      $name"
	else
		echo "FAILED  $name"
		sed 's/^/        /' "$work/out"
		failed=$((failed + 1))
	fi
}

compile() {
	make --no-print-directory syntax "CC=$1"
}

# Each ABI header alone, for both sides, without implicit padding.
padding() {
	local header compiler bad=0
	local system
	system=$(clang -v -E - </dev/null 2>&1 |
		sed -n '/<...> search starts here:/,/End of search list./{ s| \(/.*\)|-idirafter \1|p }')
	for header in include/*.h; do
		for compiler in gcc clang "clang -target bpf $system"; do
			# shellcheck disable=SC2086
			$compiler -std=gnu11 -Wall -Wextra -Wpadded -Werror -fsyntax-only -Iinclude \
				-include "$header" -x c /dev/null || bad=1
		done
	done
	return $bad
}

format() {
	"$python" tools/format.py "$clang_format" --check "${c_files[@]}"
}

lab_names() {
	if [ -e tests/lab/expectations.json ]; then
		"$python" tools/check_names.py tests/lab/expectations.json src bpf
	elif grep -q '^tests/lab/' "$work/files"; then
		echo "tests/lab/expectations.json: not there, so nothing says which names are the lab's"
		return 1
	fi
}

static_analysis() {
	cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr -j 2 \
		--enable=warning,performance,portability --template=gcc \
		--suppressions-list=tools/cppcheck-suppressions \
		--library=tools/cppcheck.cfg -D__GNUC__ -D_GNU_SOURCE -Isrc -Iinclude -Ibpf src
}

# What nobody should read here: loose ends, and how the text came about.
words() {
	local bad=0 names='[c]laude|[a]nthropic|[a]gent session|(^|[^[:alnum:]_.])[/]work/'
	local text
	mapfile -t text < <(grep -vE '^(tests/lab/services/|tools/lint\.sh$|LICENSE|bpf/LICENSE)' "$work/files")
	if grep -nHE '\b(TODO|FIXME|XXX)\b' "${text[@]}" | grep -vE '\b(TODO|FIXME)\(#[0-9]+\)'; then
		echo "(a loose end has the number of its issue: TODO(#12))"
		bad=1
	fi
	if grep -nHiE "$names" "${text[@]}"; then
		bad=1
	fi
	return $bad
}

licences() {
	local file bad=0
	while IFS= read -r file; do
		if ! head -n 3 "$file" | grep -q 'SPDX-License-Identifier: '; then
			echo "$file: no SPDX line"
			bad=1
		fi
	done < <(grep -E '\.([chs]|py|sh)$|^Makefile$' "$work/files" | grep -v '^tests/lab/services/')
	return $bad
}

check "gcc -Werror" compile gcc
check "clang -Werror" compile clang
check "ABI headers: no padding" padding
check "clang-format" format
check "layers" tools/check-layers.sh
check "no names of the lab in the product" lab_names
check "cppcheck" static_analysis
if [ ${#own_python[@]} -gt 0 ]; then
	check "ruff" "${python%/*}/ruff" check --no-cache --quiet "${own_python[@]}"
fi
check "python compiles" "$python" -c 'import sys
for name in sys.argv[1:]:
    compile(open(name, encoding="utf-8").read(), name, "exec")' "${python_files[@]}"
check "shellcheck" shellcheck "${shell_files[@]}"
check "words" words
check "licences" licences
for generator in tools/gen-*.py; do
	check "up to date: $generator" "$python" "$generator" --check
done

if [ $failed -gt 0 ]; then
	echo "lint: $failed checks failed"
	exit 1
fi
