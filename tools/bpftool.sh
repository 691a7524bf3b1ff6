#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs the first bpftool that works.  Debian has it in /usr/sbin; Ubuntu's is a
# wrapper that refuses when the tools of exactly the running kernel are missing,
# though any version does for building.
for tool in bpftool /usr/sbin/bpftool /usr/local/sbin/bpftool \
	/usr/lib/linux-tools/*/bpftool /usr/lib/linux-tools-*/bpftool; do
	if "$tool" version >/dev/null 2>&1; then
		exec "$tool" "$@"
	fi
done
echo "bpftool.sh: no bpftool that works; tools/setup.sh build installs one" >&2
exit 1
