// SPDX-License-Identifier: Apache-2.0
/* Snapshots of tasks while requests wait: which callable, pool or timer they wait for. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "attribute/waits.h"
#include "base/log.h"
#include "base/units.h"
#include "cli/observed.h"
#include "cli/pool_looks.h"
#include "cli/pool_threads.h"

#define SNAPSHOT_AFTER_NS (8 * NS_PER_MS)	/* a request that is over by then needs none */
#define SNAPSHOT_BUDGET_NS (5 * NS_PER_MS)
#define SNAPSHOT_TASKS 2000
#define SNAPSHOT_CHAIN 256
/* Less than one percent of a CPU; ten a second while that is too little for a moment only. */
static const struct pace_limits snapshot_pace = {
	.least_ns = 10 * NS_PER_MS, .share = 125, .most_ns = 100 * NS_PER_MS,
	.credit_ns = 100 * NS_PER_MS,
};

#define MAX_WAITING 512		/* requests told apart in one snapshot */
#define MAX_THREAD_WAITS 256	/* threads of theirs that wait for a pool */

/* One request of a snapshot, with what its tasks say together. */
struct waiting {
	struct activity activity;
	struct request_wait wait;
	struct pool_look pool;	/* that one of its tasks waits for */
	uint64_t root, root_serial;	/* its first task */
	bool ready;		/* one of its tasks runs or can go on */
	bool unsure;		/* a thread of it waited for a pool a while ago */
};

static struct waiting *waiting_of(struct waiting *items, size_t *count,
				  const struct activity *activity,
				  const struct request_record *request)
{
	for (size_t i = 0; i < *count; i++)
		if (items[i].activity.request == activity->request)
			return &items[i];
	if (*count == MAX_WAITING)
		return NULL;
	items[*count] = (struct waiting){ .activity = *activity,
					  .wait = { .part = PART_other_wait },
					  .root = request->root,
					  .root_serial = request->root_serial };
	return &items[(*count)++];
}

static void add_task(struct observed *observed, const struct task_info *task,
		     struct waiting *items, size_t *count, struct pool_looks *looks)
{
	struct frame frames[SNAPSHOT_CHAIN];
	uint64_t codes[SNAPSHOT_CHAIN];
	uint32_t at[SNAPSHOT_CHAIN];
	struct pool_frames chain = { .items = frames, .at = at };
	struct activity activity;
	struct waiting *waiting;
	size_t kept = 0;

	attribute_request(&observed->view, observed->pid, task->loop_tid, task->request,
			  &activity);
	/* most websockets wait for their clients */
	if (!activity.request ||
	    (activity.websocket && !tracker_is_busy(looks->observation->tracker, &activity,
						    looks->snapshot->time_ns)))
		return;
	waiting = waiting_of(items, count, &activity, task->request);
	if (!waiting)
		return;
	if (task->state == TASK_RUNNING || task->end == TASK_END_NONE) {
		waiting->ready = true;
		return;
	}
	/* frames and their code objects side by side: unreadable ones are left out of both */
	for (size_t i = 0; i < task->frame_count && kept < SNAPSHOT_CHAIN; i++)
		if (code_cache_resolve(observed->view.codes, &task->frames[i], 1, &frames[kept],
				       1)) {
			at[kept] = (uint32_t)i;
			codes[kept++] = task->frames[i].code;
		}
	chain.count = kept;
	pool_looks_task(looks, task, &chain, &activity, &waiting->pool);
	wait_add_task(&waiting->wait, tracker_stacks(looks->observation->tracker), task,
		      activity.route.injected, frames, codes, kept);
	if (waiting->pool.in_process && waiting->wait.part == PART_thread_queue) {
		waiting->wait.part = PART_thread_run;
		waiting->wait.mark ^= waiting->pool.call;
	}
}

static void take_thread_wait(struct pool_looks *looks, const struct thread_wait *wait,
			     struct waiting *items, size_t count)
{
	struct stack_set *stacks = tracker_stacks(looks->observation->tracker);
	const struct stack *task;

	for (size_t i = 0; i < count && wait->root; i++) {
		struct waiting *item = &items[i];

		if (item->root != wait->root || item->root_serial != wait->root_serial)
			continue;
		pool_looks_not_holding(looks, item->activity.request);
		item->unsure = !wait->look.pool;
		task = item->wait.stack;
		if (!item->pool.pool) {
			item->pool = wait->look;
			/* a library's own thread: who waits for it */
			if (!item->pool.site.file && task && task->has_site)
				item->pool.site = *stack_site(task);
		}
		/* it has its thread */
		if (item->wait.part == PART_thread_queue) {
			item->wait.part = PART_pool_wait;
			item->wait.mark ^= wait->look.call;
			item->wait.stack = stack_of_place(stacks, &wait->look.site) ?: task;
		}
	}
}

struct waiting_items {
	struct waiting *items;
	size_t count;
};

/* What a thread runs for one of them. */
static void take_running(void *context, const struct request_record *request,
			 const struct frame *frames, const uint64_t *codes, size_t frame_count)
{
	struct waiting_items *waiting = context;

	for (size_t i = 0; i < waiting->count; i++)
		if (waiting->items[i].root == request->root &&
		    waiting->items[i].root_serial == request->root_serial)
			wait_add_thread(&waiting->items[i].wait,
					waiting->items[i].activity.route.injected, frames, codes,
					frame_count);
}

static bool runs_callable(const struct waiting *item)
{
	return item->wait.part == PART_thread_queue && !item->ready &&
	       item->activity.route.injected && item->activity.route.injected->count;
}

/* Threads of theirs may wait for a pool, too. */
static void add_threads(struct pool_looks *looks, struct waiting *items, size_t count)
{
	struct waiting_items all = { items, count };
	struct thread_wait waits[MAX_THREAD_WAITS];
	size_t waiting = 0;
	bool in_thread = false;

	for (size_t i = 0; i < count && !in_thread; i++)
		in_thread = items[i].wait.part == PART_thread_queue && !items[i].ready;
	for (size_t i = 0; i < count; i++) {
		if (!runs_callable(&items[i]))
			continue;
		pool_threads_running(looks, take_running, &all);
		break;
	}
	if (in_thread)
		waiting = pool_threads_waiting(looks, waits, MAX_THREAD_WAITS);
	for (size_t i = 0; i < waiting; i++) {
		if (waits[i].look.pool)
			pool_looks_waiting(looks, waits[i].look.pool);
		take_thread_wait(looks, &waits[i], items, count);
	}
}

/* Which pools they wait for, once those are read. */
static void say_pools(struct pool_looks *looks, struct waiting *items, size_t count)
{
	struct observation *observation = looks->observation;

	/* others of their routes may be who holds it */
	for (size_t i = 0; i < count; i++) {
		struct pool_row *row = pools_at(&observation->window.pools, items[i].pool.pool);

		if (row)
			pools_waits(row, &items[i].activity.route, &items[i].pool.site);
	}
	pool_looks_end(looks);
	for (size_t i = 0; i < count; i++) {
		const struct pool_row *row = pools_at(&observation->window.pools,
						      items[i].pool.pool);

		items[i].pool.ready |= items[i].ready;
		items[i].pool.full = row && row->full;
		if (items[i].unsure)
			continue;
		tracker_pool_wait(observation->tracker, &items[i].activity, &items[i].pool,
				  looks->snapshot->time_ns);
	}
}

/*
 * What stays the same for as long as all loops of a process sleep in their selectors, when
 * no task of theirs changes; 0: one of them does not.
 */
static uint64_t asleep(const struct observation *observation, const struct observed *observed)
{
	uint64_t state = observed->scan.modules + observed->roles.count + 1;
	size_t loops = 0;

	for (size_t i = 0; i < observed->loop_count; i++) {
		const struct observed_loop *loop = &observed->loops[i];
		const volatile struct loop_slot *slot = loop_slot_of(observation, loop);

		if (!slot)
			continue;
		/* of the step that it was in when it was registered nothing may be known */
		if (slot->state != LOOP_ACTIVE || slot->step_start_ns ||
		    slot->seq == loop->next_seq)
			return 0;
		state = state * 0x9e3779b97f4a7c15ull + slot->seq;
		loops++;
	}
	return loops == observed->target->loop_count ? state : 0;
}

static int take(const struct observation *observation, struct observed *observed,
		const struct task_snapshot **ret_snapshot)
{
	uint64_t state = asleep(observation, observed);
	const struct task_limits limits = {
		.max_tasks = SNAPSHOT_TASKS, .max_chain = SNAPSHOT_CHAIN,
		.budget_ns = SNAPSHOT_BUDGET_NS, .requests_only = true,
		.unchanged = state && state == observed->asleep_since,
	};
	int error = task_watch_snapshot(observed->tasks, &limits, ret_snapshot);

	observed->asleep_since = !error && asleep(observation, observed) == state ? state : 0;
	return error;
}

static void look(struct observation *observation, struct observed *observed, uint64_t now)
{
	const struct task_snapshot *snapshot;
	/* a thread that waits for a CPU costs nobody anything */
	uint64_t began = thread_cpu_ns(), of_pools = 0;
	struct pool_looks *looks = calloc(1, sizeof(*looks));
	struct waiting *items;
	size_t count = 0;

	if (!observed->tasks)
		observed->tasks = task_watch_new(observed->target, &observed->config,
						 &observed->roles);
	if (!observed->pools)
		observed->pools = calloc(1, sizeof(*observed->pools));
	items = malloc(MAX_WAITING * sizeof(*items));
	if (!items || !looks || !observed->tasks || !observed->pools) {
		free(items);
		free(looks);
		return;
	}
	if (!take(observation, observed, &snapshot)) {
		looks->observation = observation;
		looks->observed = observed;
		looks->snapshot = snapshot;
		for (size_t i = 0; i < snapshot->count; i++)
			if (snapshot->tasks[i].request)
				add_task(observed, &snapshot->tasks[i], items, &count, looks);
		of_pools = thread_cpu_ns();
		add_threads(looks, items, count);
		say_pools(looks, items, count);
		of_pools = thread_cpu_ns() - of_pools;
		for (size_t i = 0; i < count; i++)
			if (!items[i].unsure && !items[i].activity.websocket &&
			    tracker_wait(observation->tracker, &items[i].activity,
					 items[i].ready ? NULL : &items[i].wait,
					 snapshot->time_ns))
				log_debug("out of memory: a snapshot of pid %d is not whole",
					  observed->pid);
	}
	free(items);
	free(looks);
	/* pools have a pace of their own */
	pace_done(&observed->snapshots, &snapshot_pace, now, thread_cpu_ns() - began - of_pools);
}

void snapshots_tick(struct observation *observation, uint64_t now)
{
	if (!tracker_open_requests(observation->tracker, now - SNAPSHOT_AFTER_NS, 1))
		return;
	for (size_t i = 0; i < observation->count; i++) {
		struct observed *observed = observation->items[i];

		if (!observed->ended && observed->target && observed->loop_count &&
		    now >= observed->snapshots.due_ns)
			look(observation, observed, now);
	}
}
