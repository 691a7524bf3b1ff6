// SPDX-License-Identifier: Apache-2.0
#include "resolve/tasks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "base/vec.h"
#include "resolve/tasks_internal.h"
#include "scratch.h"

#define FIRST_TABLE 1024
/* Tasks that run for no request are looked at in turn when there are more. */
#define HEADS_EACH_TIME 2048
#define HEADS_IN_TURN 512
#define MAX_FAILURES 5		/* of a walk: then it is tried in one of 32 snapshots */
#define LEAST_AWAITED 128	/* tasks whose awaiters are read however late it is */
#define WALK_TURN 61		/* a prime: so much later among the tasks each walk begins */

/* ---- entries ----------------------------------------------------------------- */

static size_t slot_of(const struct task_watch *watch, uint64_t address)
{
	size_t i = (address >> 4) * 0x9e3779b97f4a7c15ull >> 32;

	for (;; i++) {
		uint32_t index = watch->table[i & (watch->table_size - 1)];

		if (!index || watch->entries.items[index - 1]->address == address)
			return i & (watch->table_size - 1);
	}
}

struct task_entry *task_entry_find(const struct task_watch *watch, uint64_t address)
{
	uint32_t index = watch->table[slot_of(watch, address)];

	return index ? watch->entries.items[index - 1] : NULL;
}

static void fill_table(struct task_watch *watch)
{
	memset(watch->table, 0, watch->table_size * sizeof(*watch->table));
	for (size_t i = 0; i < watch->entries.count; i++)
		watch->table[slot_of(watch, watch->entries.items[i]->address)] = (uint32_t)i + 1;
}

static bool grow_table(struct task_watch *watch)
{
	uint32_t *table;

	if (watch->entries.count < watch->table_size / 2)
		return true;
	table = calloc(watch->table_size * 2, sizeof(*table));
	if (!table)
		return false;
	free(watch->table);
	watch->table = table;
	watch->table_size *= 2;
	fill_table(watch);
	return true;
}

void task_entry_renew(struct task_entry *entry)
{
	entry->fresh = entry->stale_name = entry->stale_awaiters = true;
	entry->reason = TASK_REASON_BUDGET;
	entry->good_links = 0;
	entry->root_code = 0;
	entry->awaiter_count = 0;
}

struct task_entry *task_entry_add(struct task_watch *watch, uint64_t address)
{
	struct task_entry *entry = task_entry_find(watch, address);

	if (entry)
		return entry;
	if (vec_grow(&watch->entries, watch->limits.max_tasks) || !grow_table(watch))
		return NULL;
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return NULL;
	entry->address = address;
	entry->dirty = true;
	task_entry_renew(entry);
	watch->entries.items[watch->entries.count++] = entry;
	watch->table[slot_of(watch, address)] = (uint32_t)watch->entries.count;
	return entry;
}

static void entry_free(struct task_watch *watch, struct task_entry *entry)
{
	watch->frame_total -= entry->link_count;
	free(entry->name);
	free(entry->links);
	free(entry->frames);
	free(entry->awaiters);
	free(entry->request);
	free(entry);
}

struct task_watch *task_watch_new(const struct target *target,
				  const struct process_config *config,
				  const struct role_table *roles)
{
	struct task_watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return NULL;
	watch->target = target;
	watch->config = config;
	watch->roles = roles;
	watch->mem = target->mem;
	watch->layout = &target->layout;
	watch->table_size = FIRST_TABLE;
	watch->table = calloc(FIRST_TABLE, sizeof(*watch->table));
	watch->scratch = calloc(1, sizeof(*watch->scratch));
	watch->pages = pages_new(target->mem, TASK_PAGES);
	if (!watch->table || !watch->scratch || !watch->pages) {
		task_watch_free(watch);
		return NULL;
	}
	return watch;
}

void task_watch_free(struct task_watch *watch)
{
	if (!watch)
		return;
	for (size_t i = 0; i < watch->entries.count; i++)
		entry_free(watch, watch->entries.items[i]);
	free(watch->entries.items);
	free(watch->table);
	free(watch->checks.items);
	free(watch->infos.items);
	free(watch->children);
	free(watch->scratch);
	pages_free(watch->pages);
	free(watch);
}

bool task_out_of_time(const struct task_watch *watch)
{
	return watch->deadline_ns && monotonic_ns() >= watch->deadline_ns;
}

bool task_is_open(struct task_watch *watch, const struct task_entry *entry)
{
	/* from 3.14 on one that is destroyed leaves its list */
	if (watch->layout->task_node != LS_ABSENT && !entry->node_next)
		return false;
	return !entry->head.state &&
	       task_object_type(watch, entry->head.type)->kind == OBJECT_TASK;
}

/* Forgets those that are gone. */
static void sweep(struct task_watch *watch)
{
	size_t kept = 0;

	for (size_t i = 0; i < watch->entries.count; i++) {
		struct task_entry *entry = watch->entries.items[i];
		bool gone = watch->all_members ? entry->member != watch->sequence
					       : entry->checked == watch->sequence &&
							 !task_is_open(watch, entry);

		if (gone)
			entry_free(watch, entry);
		else
			watch->entries.items[kept++] = entry;
	}
	if (kept == watch->entries.count)
		return;
	watch->entries.count = kept;
	fill_table(watch);
}

/* ---- what is read -------------------------------------------------------------- */

struct picked {
	struct task_entry **items;
	size_t count;
};

static int pick_room(const struct task_watch *watch, struct picked *picked)
{
	picked->count = 0;
	picked->items = calloc(watch->entries.count + 1, sizeof(*picked->items));
	return picked->items ? 0 : -ENOMEM;
}

/* Chains of all tasks, or of those of requests and the heads of the others. */
static int check_known(struct task_watch *watch)
{
	_cleanup_free_ struct task_entry **chains = NULL, **heads = NULL;
	size_t chain_count = 0, head_count = 0, count = watch->entries.count;

	chains = calloc(count + 1, sizeof(*chains));
	heads = calloc(count + 1, sizeof(*heads));
	if (!chains || !heads)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct task_entry *entry = watch->entries.items[i];

		entry->changed = false;
		if (!entry->fresh && !entry->head.state &&
		    (!watch->requests_only || entry->related))
			chains[chain_count++] = entry;
		else
			heads[head_count++] = entry;
	}
	task_check(watch, chains, chain_count, false);
	if (head_count > HEADS_EACH_TIME) {
		size_t first = watch->turn++ * HEADS_IN_TURN % head_count;
		size_t part = head_count - first;

		task_check(watch, heads + first, part < HEADS_IN_TURN ? part : HEADS_IN_TURN,
			   true);
	} else {
		task_check(watch, heads, head_count, true);
	}
	watch->whole = head_count <= HEADS_EACH_TIME;
	return 0;
}

/* A chain that was bad is tried again and again, less and less often while its head stays. */
static void walked(const struct task_watch *watch, struct task_entry *entry)
{
	entry->fresh = entry->bad;
	if (!entry->bad || entry->reason == TASK_REASON_BUDGET) {
		entry->failures = 0;
		return;
	}
	entry->try_again = watch->sequence + (1u << entry->failures);
	if (entry->failures < MAX_FAILURES)
		entry->failures++;
}

/*
 * Walks those whose chain is not known; the new ones, or all that are wanted.  It begins
 * with another one each time, for there may be no time for all of them.
 */
static int walk_dirty(struct task_watch *watch, bool related)
{
	_cleanup_free_ struct task_entry **items = NULL;
	size_t count = watch->entries.count, first;
	struct picked picked;
	int error = pick_room(watch, &picked);

	items = picked.items;
	first = count ? watch->sequence * WALK_TURN % count : 0;
	for (size_t i = 0; i < count && !error; i++) {
		struct task_entry *entry = watch->entries.items[(first + i) % count];
		bool wanted = (entry->fresh && watch->sequence >= entry->try_again) ||
			      !watch->requests_only || entry->related;

		if (entry->dirty && wanted && task_is_open(watch, entry) &&
		    (!related || !entry->changed))
			items[picked.count++] = entry;
	}
	if (!error && picked.count) {
		task_read_names(watch, items, picked.count);
		error = task_walk(watch, items, picked.count);
	}
	for (size_t i = 0; i < picked.count && !error; i++) {
		walked(watch, items[i]);
		items[i]->since_ns = watch->snapshot.time_ns;
		items[i]->thread_call = items[i]->end == TASK_END_FUTURE && !items[i]->bad &&
					task_waits_for_thread(watch, items[i]->end_object);
	}
	watch->snapshot.walked += picked.count;
	return error;
}

const struct event_loop *task_loop(const struct task_watch *watch, uint64_t loop)
{
	for (size_t i = 0; i < watch->target->loop_count; i++)
		if (watch->target->loops[i].loop == loop)
			return &watch->target->loops[i];
	return NULL;
}

/* Frames of a task that runs; one that went on to wait meanwhile is walked again. */
static int read_running(struct task_watch *watch, struct task_entry *entry)
{
	const struct event_loop *loop = task_loop(watch, entry->head.loop);
	int error = -EAGAIN;

	for (int try = 0; try < TASK_TRIES && error == -EAGAIN; try++) {
		if (!entry->running || entry->bad)
			return 0;
		if (!loop)
			break;
		error = task_running_frames(watch, entry, loop->tstate);
		if (error == -EAGAIN) {
			int failed = task_walk(watch, &entry, 1);

			if (failed)
				return failed;
		}
	}
	if (error != -EAGAIN)
		return error;
	if (entry->running)	/* below it is a stack that cannot be told from another one's */
		entry->end = TASK_END_CUT;
	return 0;
}

static int read_all_running(struct task_watch *watch)
{
	int error = 0;

	for (size_t i = 0; i < watch->entries.count && !error; i++)
		if (watch->entries.items[i]->running && !watch->entries.items[i]->bad)
			error = read_running(watch, watch->entries.items[i]);
	return error;
}

static int read_awaiters(struct task_watch *watch)
{
	size_t read = 0, count = watch->entries.count;
	size_t first = count ? watch->sequence * WALK_TURN % count : 0;
	int error = 0;

	pages_clear(watch->pages);
	for (size_t i = 0; i < count && !error; i++) {
		struct task_entry *entry = watch->entries.items[(first + i) % count];

		entry->related_known = false;
		if (!(entry->stale_awaiters || entry->open_awaiters) || !task_is_open(watch, entry))
			continue;
		if (read++ < LEAST_AWAITED || !task_out_of_time(watch))
			error = task_read_awaiters(watch, entry);
		else
			watch->whole = false;
	}
	return error;
}

/* ---- a snapshot ---------------------------------------------------------------- */

static int take_snapshot(struct task_watch *watch)
{
	int error = check_known(watch);

	if (!error)
		error = task_find_all(watch);
	if (error)
		return error;
	sweep(watch);
	error = walk_dirty(watch, false);
	if (!error)
		error = read_awaiters(watch);
	if (!error && watch->requests_only) {
		task_relate(watch);
		error = walk_dirty(watch, true);
	}
	if (!error)
		error = read_all_running(watch);
	if (!error)
		error = task_report(watch);
	return error;
}

/* Nothing was left out of the last snapshot that the next one may find. */
static bool is_whole(const struct task_watch *watch)
{
	return watch->whole && !watch->snapshot.dropped &&
	       !watch->snapshot.reasons[TASK_REASON_LIST];
}

int task_watch_snapshot(struct task_watch *watch, const struct task_limits *limits,
			const struct task_snapshot **ret_snapshot)
{
	static const struct task_limits none;
	int error;

	if (!watch->config->type_task || !watch->target->interp)
		return -EAGAIN;
	if (limits && limits->unchanged && is_whole(watch)) {
		watch->snapshot.time_ns = monotonic_ns();
		watch->snapshot.cost_ns = watch->snapshot.walked = 0;
		*ret_snapshot = &watch->snapshot;
		return 0;
	}
	watch->whole = false;
	watch->limits = limits ? *limits : none;
	watch->requests_only = watch->limits.requests_only;
	if (!watch->limits.max_tasks || watch->limits.max_tasks > TASK_MAX_TASKS)
		watch->limits.max_tasks = TASK_MAX_TASKS;
	if (!watch->limits.max_chain || watch->limits.max_chain > TASK_MAX_CHAIN)
		watch->limits.max_chain = TASK_MAX_CHAIN;
	watch->snapshot = (struct task_snapshot){ .time_ns = monotonic_ns() };
	watch->deadline_ns = watch->limits.budget_ns
				     ? watch->snapshot.time_ns + watch->limits.budget_ns
				     : 0;
	watch->sequence++;
	watch->checks.count = 0;
	error = take_snapshot(watch);
	if (error) {
		watch->whole = false;
		return error;
	}
	watch->snapshot.tasks = watch->infos.items;
	watch->snapshot.count = watch->infos.count;
	watch->snapshot.cost_ns = monotonic_ns() - watch->snapshot.time_ns;
	*ret_snapshot = &watch->snapshot;
	return 0;
}
