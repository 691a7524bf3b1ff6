/* SPDX-License-Identifier: Apache-2.0 */
/* Waits for a pool: one is from asking to getting, put together from snapshots. */
#ifndef LS_POOL_WAIT_H
#define LS_POOL_WAIT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "attribute/activity.h"
#include "attribute/timeline.h"

/* What a snapshot says of a request that waits for a pool. */
struct pool_look {
	uint32_t pool;		/* number of its row, 0: it waits for none */
	bool full;		/* nothing was left of it */
	bool ready;		/* of what waits for none something can go on */
	uint64_t call, future;	/* call of the pool's function, what it awaits: tell waits apart */
	struct place site;	/* innermost application frame; file NULL: there is none */
	uint64_t since_ns;	/* it did not wait before, 0: not known */
	bool thread;		/* it is a thread of it that waits */
	bool in_process;	/* it waits for no pool: a process of an executor has `call` */
};

/* A wait as it is handed on. */
struct pool_wait {
	pid_t pid;
	uint32_t pool;
	struct route_name route;
	struct place site;
	uint64_t start_ns, end_ns;
	unsigned seen, full;	/* snapshots that saw it, and in which nothing was left */
	bool again;		/* its request has waited for this pool before */
	bool ongoing;
};

#define POOL_THREAD_WAITS 16	/* of one call of a thread */

/* When a request's threads have waited for pools. */
struct thread_waits {
	struct {
		struct time_span at;
		struct place site;
	} items[POOL_THREAD_WAITS];
	size_t count;
};

/* The wait of a request that is going on; zeroed: none is. */
struct open_pool_wait {
	struct pool_look look;
	uint64_t start_ns, seen_ns;
	uint64_t ran_ns;	/* its code had the loop again then; 0: not since it was seen */
	bool used;		/* and it used a connection or a thread */
	uint64_t left_ns;	/* it was woken then, maybe for nothing; 0: not since it was seen */
	unsigned seen, full;
	uint32_t before;	/* pool that it has waited for before, 0: none */
	uint64_t before_ns;	/* until then */
};

struct open_request;
struct tracker;

/* Its code had the loop, or a part of it. */
void pool_wait_ran(struct open_request *request, uint64_t at_ns);

/*
 * A thread of it has run `what` from start to end: that is its code's time, but for what
 * it waited for pools.  0 or -ENOMEM.
 */
int pool_wait_thread_done(struct tracker *tracker, struct open_request *request,
			  const struct place *what, uint64_t start_ns, uint64_t end_ns);

/* It has used a connection, or a thread: what it waits for after that is another one. */
void pool_wait_used(struct open_request *request);

/* It was last known to wait for a pool at that time, 0: it never was. */
uint64_t pool_wait_known_until(const struct open_request *request);

/* The same, if it still goes on and it is no thread of its that waits. */
uint64_t pool_wait_queued_until(const struct open_request *request);

/* It is over, if there is one. */
void pool_wait_end(struct tracker *tracker, struct open_request *request, uint64_t end_ns,
		   bool ongoing);

#endif
