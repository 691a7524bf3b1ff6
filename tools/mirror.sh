#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# tools/mirror.sh Debian|Ubuntu [security]
#
# Prints the mirror of that distribution (of its security updates) as this
# machine's apt knows it; nothing when it knows none.
# shellcheck disable=SC2016
apt-get indextargets --format '$(ORIGIN) $(SITE)' 2>/dev/null |
	awk -v origin="$1" -v security="${2:-}" '$1 == origin && !n {
		if (($2 ~ /security/) == (security != "")) { print $2; n = 1 }
	}'
