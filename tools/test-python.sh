#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints the path of the python that has what the tests need; makes it first.
# PYTHON chooses the interpreter it is made from.
root=$(dirname "$0")/..
cache=${LOOPSCOPE_CACHE:-$HOME/.cache/loopscope}
exec "$root/tools/venv.sh" "${PYTHON:-/usr/bin/python3}" "$cache/test" \
	"$root/tests/requirements.txt"
