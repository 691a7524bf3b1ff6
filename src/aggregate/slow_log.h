/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What requests lost their time to, second by second, and what was going on then: what
 * verdicts are made of.  Of a long observation the slots get longer, not more.
 */
#ifndef LS_SLOW_LOG_H
#define LS_SLOW_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "attribute/requests.h"

#define SLOW_SLOTS 256
#define SLOW_SLOT_NS 1000000000ull	/* to begin with */
#define SLOW_CAUSES 24	/* told apart in one slot */

/* What keeps a request from going on. */
enum slow_loss {
	LOSS_LOOP,	/* the loop: its own code on it, or that of others */
	LOSS_POOL,	/* a pool of connections */
	LOSS_THREADS,	/* the way to a thread */
	LOSS_PEER,	/* a peer or a `Depends` callable */
	LOSS_OTHER,	/* something that nobody knows */
	LOSS_COUNT
};

enum slow_cause_kind {
	CAUSE_GROUP,	/* of: struct group that held a loop */
	CAUSE_GIL,	/* of: struct group that held the GIL; NULL: not sampled */
	CAUSE_STARVED,	/* the loop had no CPU */
	CAUSE_SATURATED,
	CAUSE_POOL,	/* of: struct pool_site that waited */
	CAUSE_THREADS,	/* of: the same, for a thread */
	CAUSE_PEER,	/* of: struct dependency_row */
	CAUSE_CALLABLE,	/* of: struct callable_row */
};

struct slow_cause {
	enum slow_cause_kind kind;
	const void *of;		/* borrowed: lives as long as the window */
	uint64_t ns;
};

struct slow_slot {
	uint64_t requests;	/* that ended in it */
	struct {
		uint64_t ns;	/* lost by requests that lost as much as a finding takes */
		uint64_t requests, max_ns;	/* of those that ended in it; their latency */
	} losses[LOSS_COUNT];
	struct slow_cause causes[SLOW_CAUSES];
	size_t cause_count;
};

struct slow_log {	/* zero it, then set start_ns and least_ns */
	uint64_t start_ns;	/* of the first slot, CLOCK_MONOTONIC */
	uint64_t slot_ns;	/* length of one; 0: none was used yet */
	uint64_t least_ns[LOSS_COUNT];	/* a request that lost less to it is not slow by it */
	struct slow_slot *slots;	/* owned: SLOW_SLOTS of them, NULL before the first use */
	uint64_t lost;		/* causes beyond SLOW_CAUSES, and those for want of memory */
};

/* A request has ended, or is as long as it is when the window ends. */
void slow_log_request(struct slow_log *log, const struct served_request *request);

/* A callable took `ns` of a request. */
void slow_log_callable(struct slow_log *log, const void *callable,
		       const struct served_request *request, uint64_t ns);

/* Something took `ns` of the time from start to end.  A NULL log is legal. */
void slow_log_cause(struct slow_log *log, enum slow_cause_kind kind, const void *of,
		    const struct time_span *at, uint64_t ns);

void slow_log_free(struct slow_log *log);	/* what it owns, not itself */

#endif
