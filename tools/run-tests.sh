#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# tools/run-tests.sh [unit|bpf|kernel|fuzz|pytest|kernels ...] [-- PYTEST ARGUMENTS]
#
# Runs what `make test` built; without arguments everything but kernels, which is
# what kernel is for more of them.  The last line is "N passed, N failed"; the exit
# status is 0 when nothing failed.
set -euo pipefail

cd "$(dirname "$0")/.."
python=$(tools/test-python.sh)
command=("$python" -B tools/run_tests.py "$@")

# Probes need root; the environment is kept, the cache is the caller's.  What
# only root needs is not in the PATH of every user.
if [ "$(id -u)" != 0 ]; then
	exec sudo --preserve-env env "HOME=$HOME" "PATH=$PATH:/usr/sbin:/sbin" "${command[@]}"
fi
exec "${command[@]}"
