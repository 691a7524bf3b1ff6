/* SPDX-License-Identifier: Apache-2.0 */
/* What snapshots say of pools, inside cli. */
#ifndef LS_POOL_LOOKS_H
#define LS_POOL_LOOKS_H

#include "aggregate/pools.h"
#include "cli/observed.h"
#include "cli/pool_locks.h"
#include "resolve/pools.h"
#include "resolve/thread_frames.h"

#define LOOK_HOLDERS 256	/* tasks of one snapshot that may hold something */
#define LOOK_POOLS 32		/* pools of one snapshot that are waited for */

#define LOOK_QUEUES 16
#define LOOK_THREADS 512	/* threads that are looked at */
#define LOOK_MEMORY 1024	/* tasks that are remembered, a power of two */

/* What was found out about chains that did not change since; one per process. */
struct pool_memory {
	struct {
		uint64_t task, since_ns;	/* of the chain */
		uint64_t call;
		uint32_t pool;		/* 0: none */
		uint32_t used;		/* one of which it has a connection, 0: not known */
		enum call_place place;	/* of a call of an executor; queued: it may have begun */
	} items[LOOK_MEMORY];
	struct {
		uint64_t queue, until_ns;	/* then it is looked for again */
		uint32_t pool;
	} queues[LOOK_QUEUES];
	size_t next_queue;
	struct thread_memory {
		uint64_t tstate;
		struct thread_top top;
		uint32_t pool;		/* 0: it waits for something else */
		bool uses;		/* it does not wait for the pool, it has a connection */
		uint64_t slot, mark;	/* what differs in its next wait there, 0: not known */
		struct place site;
		uint64_t root, root_serial;
		bool of_request;	/* the way from its task to a request was whole */
		uint64_t since_ns;	/* no earlier than that */
	} threads[LOOK_THREADS];
	size_t thread_count;
	struct pace threads_looked_at, running_looked_at;
	size_t next_thread;	/* to be looked at for what it runs */
	uint64_t threads_ns;	/* snapshot of the last look */
};

/* Of one snapshot of one process. */
struct pool_looks {
	struct observation *observation;
	struct observed *observed;
	const struct task_snapshot *snapshot;
	struct {
		uint32_t pool;
		unsigned waiting;
	} pools[LOOK_POOLS];
	size_t pool_count;
	struct pool_holder holders[LOOK_HOLDERS];
	uint64_t holder_requests[LOOK_HOLDERS];
	size_t holder_count;
	uint64_t awaiting;	/* task whose place was looked for last, of a task that it awaits */
	struct place awaiting_at;
	struct lock_tasks lock_tasks;
	struct executors executors;
	bool executors_read;
};

/* A task of a request: which pool it waits for, or where it is while it may hold one. */
void pool_looks_task(struct pool_looks *looks, const struct task_info *task,
		     const struct pool_frames *frames, const struct activity *activity,
		     struct pool_look *look);

/* The executors of the process, read once. */
struct executors *pool_looks_executors(struct pool_looks *looks);

/* The innermost application frame; file NULL: there is none. */
struct place pool_looks_site(const struct pool_frames *frames);

/* One more waits for that pool. */
void pool_looks_waiting(struct pool_looks *looks, uint32_t pool);

/* It is in use, and nobody ever waits for it. */
void pool_looks_used(struct pool_looks *looks, uint32_t pool);

/* A thread of that request waits for a pool: its tasks hold nothing. */
void pool_looks_not_holding(struct pool_looks *looks, uint64_t request);

/* All tasks are seen: reads the pools. */
void pool_looks_end(struct pool_looks *looks);

#endif
