// SPDX-License-Identifier: Apache-2.0
#include "cli/pool_locks.h"

#include "base/units.h"
#include "cli/pool_looks.h"

/* The holder of one lock; half a percent of a CPU. */
static const struct pace_limits holder_pace = { .least_ns = 20 * NS_PER_MS, .share = 200 };

void pool_locks_task(struct pool_looks *looks, const struct task_info *task,
		     const struct activity *activity, const struct place *site, uint32_t pool)
{
	struct lock_tasks *tasks = &looks->lock_tasks;

	if (!site->file || tasks->count == LOCK_TASKS)
		return;
	tasks->items[tasks->count].holder = (struct pool_holder){
		.route = activity->route.route, .method = activity->route.method,
		.folded = activity->route.folded, .place = *site,
		.since_ns = looks->snapshot->time_ns - task->since_ns };
	tasks->items[tasks->count].task = task;
	tasks->items[tasks->count++].pool = pool;
}

/*
 * It is one, and it is inside of the lock.  Who took it in another way than by
 * `async with`, or for no request, is not found.
 */
void pool_locks_hold(struct pool_looks *looks, struct pool_row *row, uint32_t pool)
{
	const struct lock_tasks *tasks = &looks->lock_tasks;
	uint64_t start = thread_cpu_ns();
	size_t i = 0;

	if (!row->object || looks->snapshot->time_ns < row->holders_looked_for.due_ns)
		return;
	while (i < tasks->count &&
	       (tasks->items[i].pool == pool ||
		!task_is_inside(looks->observed->tasks, tasks->items[i].task, row->object)))
		i++;
	if (i < tasks->count)
		pools_hold(row, &tasks->items[i].holder);
	pace_done(&row->holders_looked_for, &holder_pace, monotonic_ns(),
		  thread_cpu_ns() - start);
}
