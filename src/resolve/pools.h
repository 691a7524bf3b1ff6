/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools that tasks wait for: which one a suspended task is in, and its numbers as
 * its library keeps them.  A new library is one row of the table in pool_table.c.
 */
#ifndef LS_POOLS_H
#define LS_POOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "resolve/tasks.h"

struct pool_signature;	/* opaque: a row of pool_table.c */
struct target;

/* POOL_LOCK: one task at a time. */
enum pool_class {
	POOL_THREADS, POOL_EXECUTOR, POOL_DATABASE, POOL_HTTP, POOL_LIMITER, POOL_LOCK
};

/* Negative: not known. */
struct pool_numbers {
	int64_t size, in_use, waiting;
};

/* A chain of frames, resolved; `at` says for each which of task->frames[] it is. */
struct pool_frames {
	const struct frame *items;	/* leaf first */
	const uint32_t *at;
	size_t count;
};

/* A pool that a task waits for. */
struct pool_wait_seen {
	const struct pool_signature *signature;
	uint64_t object;	/* 0: it could not be reached */
	uint64_t call;		/* tells a wait from the next one */
	size_t frame;		/* of the chain, which names the pool */
};

const char *pool_kind(const struct pool_signature *signature);
enum pool_class pool_class(const struct pool_signature *signature);

/* Is it threads that wait for it? */
bool pool_of_threads(const struct pool_signature *signature);

/* Does its frame say by itself that no connection or thread is left? */
bool pool_wait_means_full(const struct pool_signature *signature);

/* The kind of pool that the frames say the task waits for; NULL: it waits for none. */
const struct pool_signature *pool_match(const struct task_info *task,
					const struct pool_frames *frames, size_t *ret_frame);

/* A pool that raises when it is empty: the task uses what it got of it. */
const struct pool_signature *pool_match_use(const struct pool_frames *frames, size_t *ret_frame);

/* The same for the stack of a thread; its pool is the first argument of that frame. */
const struct pool_signature *pool_match_thread(const struct pool_frames *frames, size_t *ret_frame);

/* The same for one that has what a pool of pool_match_use() gives. */
const struct pool_signature *pool_match_thread_use(const struct pool_frames *frames,
						   size_t *ret_frame);

/* May this be the innermost frame of a thread that one of those two finds? */
bool pool_thread_may_match(const struct code_info *code);

/*
 * From the first argument of a match's frame to its pool, which *object becomes; 0: there is
 * no way.  0; -ENOENT: it is none.
 */
int pool_of_argument(const struct target *target, const struct pool_signature *signature,
		     uint64_t *object);

/*
 * The pool of a match; -EAGAIN: the task has gone on; -ENOENT: it is none.  `config` is
 * the target's.
 */
int pool_reach(struct task_watch *watch, const struct target *target,
	       const struct process_config *config, const struct task_info *task,
	       const struct pool_frames *frames, struct pool_wait_seen *seen);

/*
 * The queue that stands for a pool that is far to reach, where the task awaits it; 0: the
 * pool is near, or the task does not.
 */
uint64_t pool_queue(struct task_watch *watch, const struct task_info *task,
		    const struct pool_frames *frames, const struct pool_wait_seen *seen);

/* What a pool is called, interned: by its program, else by its kind. */
const char *pool_name(struct task_watch *watch, const struct target *target,
		      const struct task_info *task, const struct pool_frames *frames,
		      const struct pool_wait_seen *seen);

const char *pool_thread_name(const struct target *target, uint64_t object);

/*
 * Reads the numbers twice; what differs or is not where this version of the library is
 * known to have it is not known.
 */
struct pool_numbers pool_read(const struct py_reader *py, const struct pool_signature *signature,
			      uint64_t object);

/* Is `task` one of those that hold a token of a limiter? True as well when it cannot be told. */
bool pool_has_borrower(const struct py_reader *py, uint64_t limiter, uint64_t task);

/* ---- ThreadPoolExecutor ------------------------------------------------------ */

#define EXECUTORS_MAX 32
#define EXECUTOR_THREADS 256	/* of all of them that are kept */
#define EXECUTOR_CALLS 2048	/* queued ones, the same */

struct executor {
	uint64_t object;
	const char *name;	/* interned */
};

struct executors {
	struct executor items[EXECUTORS_MAX];
	size_t count;
	struct {
		uint64_t ident;		/* pthread_self() */
		uint32_t executor;
	} threads[EXECUTOR_THREADS];
	size_t thread_count;
	struct {
		uint64_t call;
		uint32_t executor;
	} calls[EXECUTOR_CALLS];
	size_t call_count;
	bool calls_read;
	bool partial;	/* there may be more executors or calls than these */
};

/* 0; -ENOENT: there are none. */
int executors_read(const struct target *target, struct executors *ret_executors);

/* The executor's future of a call that a task waits for; 0: it waits for none. */
uint64_t executor_call(const struct target *target, const struct process_config *config,
		       const struct task_info *task);

/*
 * The executor in whose queue it is.  0; -ENOENT: in none, so that a thread has taken it from
 * there; -ENODATA: in none of those that can be read.
 */
int executor_of_call(const struct target *target, struct executors *executors, uint64_t call,
		     const struct executor **ret_executor);

/* Threads there may be, those that work, calls in its queue. */
struct pool_numbers executor_numbers(const struct target *target, uint64_t object);

enum call_place {
	CALL_NOWHERE,	/* it is done, or could not be read */
	CALL_QUEUED,	/* it has not begun */
	CALL_IN_THREAD,
	CALL_IN_PROCESS,	/* of a ProcessPoolExecutor */
};

enum call_place executor_call_place(const struct target *target, uint64_t call);

extern const struct pool_signature *const executor_signature;

#endif
