/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that hold something of a pool or wait for one, inside cli. */
#ifndef LS_POOL_THREADS_H
#define LS_POOL_THREADS_H

#include "aggregate/pools.h"
#include "cli/pool_looks.h"

/* A thread that waits for a pool, and for which request. */
struct thread_wait {
	uint64_t root, root_serial;
	struct pool_look look;	/* pool 0: it did when it was looked at last, a while ago */
};

/* Threads that wait, at most `room`; how many. */
size_t pool_threads_waiting(struct pool_looks *looks, struct thread_wait *waits, size_t room);

/* What a thread runs for a request, called for each of those that are looked at. */
typedef void (*pool_thread_runs)(void *context, const struct request_record *request,
				 const struct frame *frames, const uint64_t *codes, size_t count);
void pool_threads_running(struct pool_looks *looks, pool_thread_runs runs, void *context);

/* Looks at some of the threads, others each time, for those that hold something of a pool. */
void pool_threads_hold(struct pool_looks *looks, struct pool_row *row);

#endif
