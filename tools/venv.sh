#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# tools/venv.sh PYTHON DIR REQUIREMENTS
#
# Makes or refreshes a virtual environment with exactly the pinned requirements
# and prints the path of its python.  Quick when it is up to date.
set -euo pipefail

if [ $# != 3 ]; then
	echo "usage: tools/venv.sh PYTHON DIR REQUIREMENTS" >&2
	exit 2
fi
python=$1 dir=$2 requirements=$3

if ! command -v "$python" >/dev/null; then
	echo "venv: no $python" >&2
	exit 1
fi
if unpinned=$(grep -vE '^[[:space:]]*(#|$)|^[A-Za-z0-9._-]+(\[[a-z,]+\])?==[^=]+$' "$requirements"); then
	echo "venv: not pinned in $requirements: $unpinned" >&2
	exit 1
fi

mkdir -p "$(dirname "$dir")"
exec 9>"$dir.lock"
flock 9

stamp="$("$python" -c 'import sys; print(sys.executable, sys.version)') $(sha256sum <"$requirements")"
if [ -x "$dir/bin/python" ] && [ "$(cat "$dir/stamp" 2>/dev/null)" = "$stamp" ]; then
	echo "$dir/bin/python"
	exit 0
fi

echo "venv: $dir from $requirements" >&2
rm -rf "$dir"
"$python" -m venv "$dir" >&2
"$dir/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
	--requirement "$requirements" >&2
"$dir/bin/python" -m pip check --disable-pip-version-check >/dev/null
printf '%s\n' "$stamp" >"$dir/stamp"
echo "$dir/bin/python"
