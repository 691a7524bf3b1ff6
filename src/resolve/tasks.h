/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tasks of every event loop of a process wait for, read from outside
 * while they run on.  A chain is reported only when it was read twice and was
 * the same both times; what was not whole is left out and counted.
 *
 * A watch remembers what it saw.  Each snapshot reads the heads of all tasks
 * and the frames of the chains it knows in one batch; only tasks of which
 * something differs are walked again.
 */
#ifndef LS_TASKS_H
#define LS_TASKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "events.h"
#include "resolve/code.h"

struct target;
struct process_config;
struct role_table;
struct task_watch;	/* opaque, one per process */

#define TASK_MAX_TASKS 100000
#define TASK_MAX_CHAIN 10000
#define TASK_MAX_FRAMES (2u << 20)	/* of all chains of one process together */

/* What was left out of a snapshot, or is not whole. */
#define TASK_REASONS(X) \
	X(TORN, "torn_tasks", "tasks that changed whenever they were read") \
	X(UNREADABLE, "unreadable_tasks", "tasks with memory that could not be read") \
	X(CYCLE, "task_cycle", "tasks whose await chain ends in itself") \
	X(FOREIGN, "other_tasks", "tasks that are not asyncio's own and cannot be read") \
	X(LIMIT, "task_limit", "tasks beyond what is kept") \
	X(BUDGET, "task_budget", "tasks that there was no time to read") \
	X(LIST, "task_list", "lists of tasks that could not be read to their end") \
	X(DEEP, "deep_chains", "await chains that are deeper than what is kept")

enum task_reason {
#define X(id, name, text) TASK_REASON_##id,
	TASK_REASONS(X)
#undef X
	TASK_REASON_COUNT
};

struct task_limits {
	size_t max_tasks;	/* 0: TASK_MAX_TASKS */
	size_t max_chain;	/* frames of one chain; 0: TASK_MAX_CHAIN */
	uint64_t budget_ns;	/* what is left then is counted; 0: no limit */
	bool requests_only;	/* only tasks on the way of open HTTP and websocket requests */
	bool unchanged;		/* no loop has run since the last snapshot: if whole, it holds */
};

enum task_state {
	TASK_PENDING,	/* awaits something, or is ready to go on, or has not begun */
	TASK_RUNNING,	/* on the stack of a thread */
};

/* What stands at the end of an await chain. */
enum task_end {
	TASK_END_NONE,		/* nothing: it is ready, runs or has not begun */
	TASK_END_FUTURE,
	TASK_END_TASK,
	TASK_END_GATHER,	/* the future of asyncio.gather() */
	TASK_END_OPAQUE,	/* an awaitable that is no coroutine of Python's */
	TASK_END_CUT,		/* deeper than the limit */
};

/* Everything is borrowed from the watch until its next snapshot. */
struct task_info {
	uint64_t task;		/* address */
	uint64_t serial;	/* with the address its identity: see task_serial() of the probes */
	uint64_t loop;		/* address of its loop */
	int32_t loop_tid;	/* thread that runs it, 0: none does now */
	enum task_state state;
	const char *name;	/* as asyncio calls it; NULL: unreadable */
	const struct frame_record *frames;	/* leaf first, its own coroutine last */
	size_t frame_count;
	enum task_end end;
	uint64_t end_object;	/* future, task or awaitable it waits for, 0: none */
	const char *end_type;	/* interned name of its type, NULL: not known */
	const uint64_t *awaited_by;	/* tasks; the first one leads to the request */
	size_t awaited_by_count;
	const uint32_t *children;	/* indexes of tasks that are awaited by this one */
	size_t child_count;
	const struct request_record *request;	/* NULL: runs for none */
	uint64_t since_ns;	/* snapshot that first saw the chain as it is */
	bool thread_call;	/* the future of a call that runs in an executor */
};

struct task_snapshot {
	const struct task_info *tasks;
	size_t count;
	uint64_t time_ns, cost_ns;
	size_t known, walked;	/* tasks there are; those whose chain had to be walked */
	unsigned reasons[TASK_REASON_COUNT];	/* how many of each */
	unsigned dropped;	/* tasks that are missing altogether */
};

/*
 * All borrowed; `config` and `roles` may be filled anew between snapshots.
 * NULL when out of memory.
 */
struct task_watch *task_watch_new(const struct target *target,
				  const struct process_config *config,
				  const struct role_table *roles);
void task_watch_free(struct task_watch *watch);

/* 0; -EAGAIN asyncio is not loaded; -ESRCH, -EACCES, -ENOMEM.  NULL limits are the defaults. */
int task_watch_snapshot(struct task_watch *watch, const struct task_limits *limits,
			const struct task_snapshot **ret_snapshot);

/*
 * The object in a local variable of frames[`frame`] of a task of the last snapshot; of
 * a cell its content.  0; -EAGAIN: the task has gone on; -ENOENT: it is not set; -errno.
 */
int task_frame_local(struct task_watch *watch, const struct task_info *task, size_t frame,
		     uint32_t local, uint64_t *ret_object);

/*
 * Is a task of the last snapshot inside of `async with` of a lock, or of a condition with
 * that lock?  What it entered is on the stack of the frame until it leaves.
 */
bool task_is_inside(struct task_watch *watch, const struct task_info *task, uint64_t lock);

/* The coroutine of frames[`frame`], which tells one call of a function from the next; 0: none. */
uint64_t task_frame_object(const struct task_watch *watch, const struct task_info *task,
			   size_t frame);

/* What a task waits for. */
#define TASK_WAITS(X) \
	X(FUTURE, "future") X(SOCKET, "socket") X(TIMER, "timer") X(LOCK, "lock") \
	X(EVENT, "event") X(QUEUE, "queue") X(TASK, "task") X(THREAD, "thread") \
	X(SUBPROCESS, "subprocess") X(OTHER, "other")

enum task_wait_kind {
#define X(id, name) TASK_WAIT_##id,
	TASK_WAITS(X)
#undef X
	TASK_WAIT_COUNT
};

struct task_wait {
	enum task_wait_kind kind;
	const char *detail;	/* interned: "Queue.get", a type; "" */
	size_t frame;		/* of frames[]: the one that names it; count: none */
};

/*
 * Names it from the resolved frames of the task.  False: it waits for nothing,
 * it runs or is ready to.
 */
bool task_wait_find(const struct task_info *task, const struct frame *frames, size_t count,
		    struct task_wait *ret_wait);
const char *task_wait_name(enum task_wait_kind kind);

/*
 * Is the lock that frames[`acquire`] waits for taken by the application itself?  Those of
 * libraries guard connections: who waits there waits for a peer.
 */
bool task_lock_is_own(const struct frame *frames, size_t count, size_t acquire);

#endif
