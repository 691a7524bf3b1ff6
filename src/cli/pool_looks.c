// SPDX-License-Identifier: Apache-2.0
#include "cli/pool_looks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "cli/pool_threads.h"

#define QUEUE_KNOWN_NS NS_PER_S
#define AWAITING_MAX 8	/* tasks that await each other */

/* The numbers of one pool; half a percent of a CPU. */
static const struct pace_limits read_pace = { .least_ns = 20 * NS_PER_MS, .share = 200 };

struct place pool_looks_site(const struct pool_frames *frames)
{
	for (size_t i = 0; i < frames->count; i++)
		if (frames->items[i].code->origin == CODE_APPLICATION &&
		    frames->items[i].code->file[0])
			return place_of(&frames->items[i]);
	return (struct place){ 0 };
}

static const struct task_info *task_at(const struct task_snapshot *snapshot, uint64_t address)
{
	for (size_t i = 0; i < snapshot->count; i++)
		if (snapshot->tasks[i].task == address)
			return &snapshot->tasks[i];
	return NULL;
}

/* Where the application awaits a task; file NULL: that is not known. */
static struct place awaited_at(struct pool_looks *looks, uint64_t address)
{
	struct code_cache *codes = looks->observed->view.codes;
	const struct task_info *task;
	struct place site = { 0 };
	struct frame frame;

	if (address == looks->awaiting)
		return looks->awaiting_at;
	looks->awaiting = address;
	for (unsigned up = 0; address && !site.file && up < AWAITING_MAX; up++) {
		const struct pool_frames one = { .items = &frame, .count = 1 };

		task = task_at(looks->snapshot, address);
		for (size_t i = 0; task && !site.file && i < task->frame_count; i++)
			if (code_cache_resolve(codes, &task->frames[i], 1, &frame, 1))
				site = pool_looks_site(&one);
		address = task && task->awaited_by_count ? task->awaited_by[0] : 0;
	}
	return looks->awaiting_at = site;
}

struct executors *pool_looks_executors(struct pool_looks *looks)
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
	const struct executor *executor = NULL;
	int error = executor_of_call(target, pool_looks_executors(looks), call, &executor);
	struct pool_row *row;
	uint32_t number;

	/*
	 * A thread has it and may wait for the GIL to begin, or it left its queue meanwhile;
	 * else that is one which cannot be read.
	 */
	if (error == -ENOENT || (error && executor_call_place(target, call) != CALL_QUEUED))
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

/* It is to be read: so many more wait for it, which may be none. */
static void note(struct pool_looks *looks, uint32_t pool, unsigned waiting)
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
	looks->pools[i].waiting += waiting;
}

void pool_looks_waiting(struct pool_looks *looks, uint32_t pool)
{
	note(looks, pool, 1);
}

void pool_looks_used(struct pool_looks *looks, uint32_t pool)
{
	note(looks, pool, 0);
}

/* The pool of a connection that a task uses, where there is no waiting for one; 0: none. */
static uint32_t used_by(struct pool_looks *looks, const struct task_info *task,
			const struct pool_frames *frames)
{
	struct observed *observed = looks->observed;
	struct pool_wait_seen seen = { 0 };

	seen.signature = pool_match_use(frames, &seen.frame);
	if (!seen.signature ||
	    pool_reach(observed->tasks, observed->target, &observed->config, task, frames, &seen) ||
	    !seen.object)
		return 0;
	return row_of(looks, task, frames, &seen);
}

/* Number of the pool that a task waits for, 0: it waits for none. */
static uint32_t pool_of(struct pool_looks *looks, const struct task_info *task,
			const struct pool_frames *frames, struct pool_look *look, bool *ret_left)
{
	struct observed *observed = looks->observed;
	const struct target *target = observed->target;
	struct pool_memory *memory = observed->pools;
	struct pool_wait_seen seen = { 0 };
	size_t at = (task->task >> 4) * 0x9e3779b97f4a7c15ull >> 32 & (LOOK_MEMORY - 1);
	bool known = memory->items[at].task == task->task &&
		     memory->items[at].since_ns == task->since_ns;
	enum call_place place = known ? memory->items[at].place : CALL_NOWHERE;
	uint32_t pool = 0;

	if (known && memory->items[at].pool && place != CALL_QUEUED) {
		look->call = memory->items[at].call;
		return memory->items[at].pool;
	}
	seen.signature = pool_match(task, frames, &seen.frame);
	if (seen.signature) {
		pool = reach_pool(looks, task, frames, &seen);
		if (!pool) {
			*ret_left = true;
			return 0;
		}
	} else if (task->thread_call) {
		seen.call = known ? memory->items[at].call
				  : executor_call(target, &observed->config, task);
	}
	/* it may begin at any time without a trace in the chain */
	if (!seen.signature && seen.call && place <= CALL_QUEUED)
		place = executor_call_place(target, seen.call);
	if (place == CALL_QUEUED) {
		pool = known ? memory->items[at].pool : 0;
		pool = pool ? pool : executor_row(looks, seen.call);
	}
	memory->items[at].task = task->task;
	memory->items[at].since_ns = task->since_ns;
	memory->items[at].call = look->call = seen.call;
	look->in_process = place == CALL_IN_PROCESS;
	memory->items[at].pool = pool;
	memory->items[at].place = place;
	if (!known)
		memory->items[at].used = pool ? 0 : used_by(looks, task, frames);
	if (memory->items[at].used)
		pool_looks_used(looks, memory->items[at].used);
	return pool;
}

void pool_looks_task(struct pool_looks *looks, const struct task_info *task,
		     const struct pool_frames *frames, const struct activity *activity,
		     struct pool_look *look)
{
	struct place own = pool_looks_site(frames);
	/* a library's coroutine in a task of its own: who awaits that */
	struct place site = own.file || !task->awaited_by_count
				    ? own
				    : awaited_at(looks, task->awaited_by[0]);
	struct pool_look found = { .future = task->end_object, .site = site };
	bool left = false;	/* it went on while it was looked at */
	uint32_t pool = found.pool = pool_of(looks, task, frames, &found, &left);

	pool_locks_task(looks, task, activity, &site, pool);
	if (found.in_process) {
		look->in_process = true;
		look->call = found.call;
	}
	if (pool) {
		pool_looks_waiting(looks, pool);
		if (!look->pool)
			*look = found;
	} else if (left) {
		look->ready = true;
	} else if (site.file && looks->holder_count < LOOK_HOLDERS) {
		looks->holder_requests[looks->holder_count] = activity->request;
		looks->holders[looks->holder_count++] = (struct pool_holder){
			.route = activity->route.route, .method = activity->route.method,
			.folded = activity->route.folded, .place = site,
			.since_ns = looks->snapshot->time_ns - task->since_ns };
	}
}

/* ---- pools --------------------------------------------------------------------- */

static void read_pool(struct pool_looks *looks, struct pool_row *row, unsigned waiting)
{
	struct pool_numbers numbers;
	uint64_t now = monotonic_ns(), start = thread_cpu_ns();

	if (now < row->reads.due_ns) {
		pools_note(row, &row->last, waiting);
		return;
	}
	if (pool_class(row->signature) == POOL_EXECUTOR)
		numbers = executor_numbers(looks->observed->target, row->object);
	else
		numbers = pool_read(&looks->observed->target->py, row->signature, row->object);
	pools_note(row, &numbers, waiting);
	pace_done(&row->reads, &read_pace, now, thread_cpu_ns() - start);
}

void pool_looks_not_holding(struct pool_looks *looks, uint64_t request)
{
	for (size_t i = looks->holder_count; i-- > 0;) {
		if (looks->holder_requests[i] != request)
			continue;
		looks->holders[i] = looks->holders[--looks->holder_count];
		looks->holder_requests[i] = looks->holder_requests[looks->holder_count];
	}
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
			pool_threads_hold(looks, row);
			break;
		case POOL_DATABASE:
		case POOL_HTTP:
		case POOL_LIMITER:
			if (pool_of_threads(row->signature))
				pool_threads_hold(looks, row);
			add_holders(looks, row);
			break;
		case POOL_LOCK:
			pool_locks_hold(looks, row, looks->pools[i].pool);
			break;
		}
	}
}
