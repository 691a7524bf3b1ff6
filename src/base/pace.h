/* SPDX-License-Identifier: Apache-2.0 */
/* How often something may be done that takes CPU time. */
#ifndef LS_PACE_H
#define LS_PACE_H

#include <stdint.h>

#define PACE_COSTS 4

struct pace_limits {
	uint64_t least_ns;	/* a pause is no shorter than this */
	uint64_t share;		/* its usual cost is one in so many */
	uint64_t most_ns;	/* nor longer than this while there is credit */
	uint64_t credit_ns;	/* CPU time beyond the share, which fills it again; 0: none */
};

/* Zeroed: it may be done at once. */
struct pace {
	uint64_t due_ns;	/* when it may be done again */
	uint64_t costs[PACE_COSTS];	/* of the last ones */
	unsigned count;		/* ever done */
	uint64_t spent_ns, last_ns;	/* of the credit; when that was */
};

/*
 * It was done at `now_ns` (CLOCK_MONOTONIC) and took `cost_ns` of CPU time.  What is new is
 * read once and known to the next: the usual cost is the least of the last few, and nothing
 * before there are so many.
 */
void pace_done(struct pace *pace, const struct pace_limits *limits, uint64_t now_ns,
	       uint64_t cost_ns);

#endif
