// SPDX-License-Identifier: Apache-2.0
#include "cli/pool_looks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/units.h"

#define READ_PAUSE_NS (20 * NS_PER_MS)	/* numbers of one pool are read at most so often */
#define READ_SHARE 200		/* of its cost: half a percent of a CPU */
#define THREADS_PAUSE_NS (50 * NS_PER_MS)	/* the same for stacks of its threads */
#define THREADS_SHARE 200
#define THREADS_AT_ONCE 8
#define THREADS_MAX 512
#define QUEUE_KNOWN_NS NS_PER_S

static struct place site_of(const struct pool_frames *frames)
{
	for (size_t i = 0; i < frames->count; i++)
		if (frames->items[i].code->origin == CODE_APPLICATION &&
		    frames->items[i].code->file[0])
			return place_of(&frames->items[i]);
	return (struct place){ 0 };
}

static struct executors *executors_of(struct pool_looks *looks)
{
	if (!looks->executors_read && executors_read(looks->observed->target, &looks->executors))
		looks->executors.count = 0;
	looks->executors_read = true;
	return &looks->executors;
}

/* The row of a pool that was found; 0: no room. */
static uint32_t row_of(struct pool_looks *looks, const struct task_info *task,
		       const struct pool_frames *frames, const struct pool_wait_seen *seen)
{
	struct observed *observed = looks->observed;
	uint32_t number = pools_row(&looks->observation->window.pools, observed->pid,
				    seen->signature, seen->object);
	struct pool_row *row = pools_at(&looks->observation->window.pools, number);

	if (row && !row->name)
		row->name = pool_name(observed->tasks, observed->target, task, frames, seen);
	return number;
}

/* The executor that a queued call waits for; 0: it has begun, or there is no room. */
static uint32_t executor_row(struct pool_looks *looks, uint64_t call)
{
	const struct target *target = looks->observed->target;
	const struct executor *executor = executor_of_call(target, executors_of(looks), call);
	struct pool_row *row;
	uint32_t number;

	/* it left its queue meanwhile; else that is one which cannot be read */
	if (!executor && !executor_call_queued(target, call))
		return 0;
	number = pools_row(&looks->observation->window.pools, looks->observed->pid,
			   executor_signature, executor ? executor->object : 0);
	row = pools_at(&looks->observation->window.pools, number);
	if (row && executor)
		row->name = executor->name;
	return number;
}

/* The pool that a task of these frames waits for; 0: it went on, or there is no room. */
static uint32_t reach_pool(struct pool_looks *looks, const struct task_info *task,
			   const struct pool_frames *frames, struct pool_wait_seen *seen)
{
	struct observed *observed = looks->observed;
	struct pool_memory *memory = observed->pools;
	uint64_t queue = pool_queue(observed->tasks, task, frames, seen);
	uint32_t pool;
	size_t at;

	for (size_t i = 0; queue && i < LOOK_QUEUES; i++) {
		if (memory->queues[i].queue != queue ||
		    memory->queues[i].until_ns < looks->snapshot->time_ns)
			continue;
		seen->call = task_frame_object(observed->tasks, task, frames->at[seen->frame]);
		return memory->queues[i].pool;
	}
	if (pool_reach(observed->tasks, observed->target, &observed->config, task, frames, seen))
		return 0;
	pool = row_of(looks, task, frames, seen);
	if (queue && seen->object && pool) {
		at = memory->next_queue++ % LOOK_QUEUES;
		memory->queues[at].queue = queue;
		memory->queues[at].until_ns = looks->snapshot->time_ns + QUEUE_KNOWN_NS;
		memory->queues[at].pool = pool;
	}
	return pool;
}

/* Number of the pool that a task waits for, 0: it waits for none. */
static uint32_t pool_of(struct pool_looks *looks, const struct task_info *task,
			const struct pool_frames *frames, uint64_t *ret_call)
{
	struct observed *observed = looks->observed;
	const struct target *target = observed->target;
	struct pool_memory *memory = observed->pools;
	struct pool_wait_seen seen = { 0 };
	size_t at = (task->task >> 4) * 0x9e3779b97f4a7c15ull >> 32 & (LOOK_MEMORY - 1);
	bool known = memory->items[at].task == task->task &&
		     memory->items[at].since_ns == task->since_ns;
	bool queued = false;
	uint32_t pool = 0;

	if (known && memory->items[at].pool && !memory->items[at].queued) {
		*ret_call = memory->items[at].call;
		return memory->items[at].pool;
	}
	seen.signature = pool_match(task, frames, &seen.frame);
	if (seen.signature) {
		pool = reach_pool(looks, task, frames, &seen);
		if (!pool)
			return 0;
	} else if (task->thread_call) {
		seen.call = known ? memory->items[at].call
				  : executor_call(target, &observed->config, task);
	}
	/* it may begin at any time without a trace in the chain */
	if (!seen.signature && seen.call && executor_call_queued(target, seen.call)) {
		queued = true;
		pool = known ? memory->items[at].pool : 0;
		pool = pool ? pool : executor_row(looks, seen.call);
	}
	memory->items[at].task = task->task;
	memory->items[at].since_ns = task->since_ns;
	memory->items[at].call = *ret_call = seen.call;
	memory->items[at].pool = pool;
	memory->items[at].queued = queued;
	return pool;
}

static void note_waiting(struct pool_looks *looks, uint32_t pool)
{
	size_t i = 0;

	while (i < looks->pool_count && looks->pools[i].pool != pool)
		i++;
	if (i == LOOK_POOLS)
		return;
	if (i == looks->pool_count) {
		looks->pools[looks->pool_count].pool = pool;
		looks->pools[looks->pool_count++].waiting = 0;
	}
	looks->pools[i].waiting++;
}

void pool_looks_task(struct pool_looks *looks, const struct task_info *task,
		     const struct pool_frames *frames, const struct activity *activity,
		     struct pool_look *look)
{
	struct place site = site_of(frames);
	uint64_t call = 0;
	uint32_t pool = pool_of(looks, task, frames, &call);

	pool_locks_task(looks, task, activity, &site, pool);
	if (pool) {
		note_waiting(looks, pool);
		if (!look->pool)
			*look = (struct pool_look){ .pool = pool, .call = call,
						    .future = task->end_object, .site = site };
	} else if (site.file && looks->holder_count < LOOK_HOLDERS) {
		looks->holders[looks->holder_count++] = (struct pool_holder){
			.route = activity->route.route, .method = activity->route.method,
			.folded = activity->route.folded, .place = site,
			.since_ns = looks->snapshot->time_ns - task->since_ns };
	}
}

/* ---- threads ------------------------------------------------------------------- */

struct thread_look {
	struct walk_result walk;
	struct event_call call;
	struct frame frames[LS_MAX_FRAMES];
	struct thread_state_ref threads[THREADS_MAX];
	struct activity activity;
};

/* Does the stack begin where threads of this kind of pool are given their work? */
static bool is_worker(const struct pool_row *row, const struct activity *activity)
{
	const char *qualname = pool_class(row->signature) == POOL_THREADS ? "WorkerThread.run"
									  : "_WorkItem.run";

	for (size_t i = activity->frame_count; i-- > 0;)
		if (!strcmp(activity->frames[i].code->qualname, qualname))
			return true;
	return false;
}

static bool is_of_executor(struct pool_looks *looks, const struct pool_row *row, uint64_t ident)
{
	const struct executors *executors;

	if (pool_class(row->signature) != POOL_EXECUTOR || !row->object)
		return true;
	executors = executors_of(looks);
	for (size_t i = 0; i < executors->thread_count; i++)
		if (executors->threads[i].ident == ident)
			return executors->items[executors->threads[i].executor].object ==
			       row->object;
	return false;
}

/* What one thread runs for the pool, if it is one of its. */
static bool look_at_thread(struct pool_looks *looks, struct pool_row *row,
			   struct thread_look *thread, uint64_t tstate)
{
	struct observed *observed = looks->observed;
	struct activity *activity = &thread->activity;
	struct pool_holder holder;

	if (walk_thread(observed->target->mem, &observed->config, &observed->roles, tstate, 0,
			&thread->walk))
		return false;
	memset(&thread->call, 0, sizeof(thread->call));
	thread->call.header.kind = EVENT_CALL;
	thread->call.header.tgid = (uint32_t)observed->pid;
	thread->call.header.time_ns = looks->snapshot->time_ns;
	thread->call.request = thread->walk.request;
	thread->call.stack = thread->walk.stack;
	if (attribute_event(&observed->view, &thread->call.header, thread->frames, activity) ||
	    !is_worker(row, activity) || !activity->culprit.file)
		return false;
	if (pool_class(row->signature) == POOL_THREADS && row->object &&
	    !pool_has_borrower(&observed->target->py, row->object, thread->walk.request.task))
		return false;
	holder = (struct pool_holder){
		.route = activity->route.route, .method = activity->route.method,
		.folded = activity->route.folded, .place = activity->culprit,
	};
	pools_hold(row, &holder);
	return true;
}

/* Some of the threads, others each time. */
static void look_at_threads(struct pool_looks *looks, struct pool_row *row)
{
	_cleanup_free_ struct thread_look *thread = NULL;
	uint64_t start = monotonic_ns(), pause;
	unsigned looked = 0;
	ssize_t count;
	size_t first;

	if (looks->snapshot->time_ns < row->threads_ns)
		return;
	thread = malloc(sizeof(*thread));
	count = thread ? target_thread_states(looks->observed->target, thread->threads,
					      THREADS_MAX)
		       : 0;
	first = count > 0 ? (size_t)(start / NS_PER_MS) % (size_t)count : 0;
	for (ssize_t i = 0; i < count && looked < THREADS_AT_ONCE; i++) {
		const struct thread_state_ref *it = &thread->threads[(first + (size_t)i) %
								     (size_t)count];

		if (is_of_executor(looks, row, it->ident))
			looked += look_at_thread(looks, row, thread, it->tstate);
	}
	pause = (monotonic_ns() - start) * THREADS_SHARE;
	row->threads_ns = start + (pause > THREADS_PAUSE_NS ? pause : THREADS_PAUSE_NS);
}

/* ---- pools --------------------------------------------------------------------- */

static void read_pool(struct pool_looks *looks, struct pool_row *row, unsigned waiting)
{
	struct pool_numbers numbers;
	uint64_t start = monotonic_ns(), pause;

	if (start < row->read_ns) {
		pools_note(row, &row->last, waiting);
		return;
	}
	if (pool_class(row->signature) == POOL_EXECUTOR)
		numbers = executor_numbers(looks->observed->target, row->object);
	else
		numbers = pool_read(&looks->observed->target->py, row->signature, row->object);
	pools_note(row, &numbers, waiting);
	pause = (monotonic_ns() - start) * READ_SHARE;
	row->read_ns = start + (pause > READ_PAUSE_NS ? pause : READ_PAUSE_NS);
}

static void add_holders(const struct pool_looks *looks, struct pool_row *row)
{
	for (size_t i = 0; i < looks->holder_count; i++)
		if (pools_used_by(row, looks->holders[i].route, looks->holders[i].method))
			pools_hold(row, &looks->holders[i]);
}

void pool_looks_end(struct pool_looks *looks)
{
	for (size_t i = 0; i < looks->pool_count; i++) {
		struct pool_row *row = pools_at(&looks->observation->window.pools,
						looks->pools[i].pool);

		if (!row)
			continue;
		read_pool(looks, row, looks->pools[i].waiting);
		if (!row->full)
			continue;
		switch (pool_class(row->signature)) {
		case POOL_THREADS:
		case POOL_EXECUTOR:
			look_at_threads(looks, row);
			break;
		case POOL_DATABASE:
		case POOL_HTTP:
			add_holders(looks, row);
			break;
		case POOL_LOCK:
			pool_locks_hold(looks, row, looks->pools[i].pool);
			break;
		}
	}
}
