/* SPDX-License-Identifier: Apache-2.0 */
/* Counts and lengths, exact: every value is kept up to a bound, then a histogram of 1 %. */
#ifndef LS_DISTRIBUTION_H
#define LS_DISTRIBUTION_H

#include <stddef.h>
#include <stdint.h>

#define DISTRIBUTION_EXACT 4096	/* values kept one by one */

struct distribution {
	uint64_t count, total_ns, min_ns, max_ns;
	uint64_t *items;	/* owned: values, or buckets beyond DISTRIBUTION_EXACT */
	size_t capacity;
};

/* What a report shows of it; all ns. */
struct summary {
	uint64_t count, total, mean, min, p50, p90, p99, max;
};

/* 0 or -ENOMEM. */
int distribution_add(struct distribution *distribution, uint64_t ns);
void distribution_summary(const struct distribution *distribution, struct summary *ret_summary);
void distribution_free(struct distribution *distribution);

#endif
