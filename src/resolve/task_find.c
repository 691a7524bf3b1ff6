// SPDX-License-Identifier: Apache-2.0
/* Where asyncio keeps its tasks: sets up to 3.13, a list for each thread from 3.14 on. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "base/vec.h"
#include "resolve/tasks_internal.h"

#define MAX_HEADS 4096		/* lists: one for each thread, one for each interpreter */
#define MAX_INTERPRETERS 64
#define MAX_SLOTS (1u << 22)	/* of a set */
#define SLOT_BATCH 8192
#define LOOK_AGAIN_NS NS_PER_S
#define SETS_AGAIN_NS (100 * NS_PER_MS)	/* for sets that were not found */
#define DUMMY_HASH UINT64_MAX
/* New tasks are at a list's tail: so many known ones in a row and the rest is known, too. */
#define KNOWN_IN_A_ROW 16

struct candidate {
	uint64_t address, key;	/* key: its weak reference, 0: none */
};

struct candidates {
	struct candidate *items;
	size_t count, capacity;
};

static void not_kept(struct task_watch *watch)
{
	watch->snapshot.reasons[TASK_REASON_LIMIT]++;
	watch->snapshot.dropped++;
}

/* An entry for a task whose head was just read. */
static struct task_entry *add_task(struct task_watch *watch, uint64_t address,
				   const struct task_head *head)
{
	struct task_entry *entry = task_entry_add(watch, address);

	if (!entry) {
		not_kept(watch);
		return NULL;
	}
	entry->member = watch->sequence;
	entry->checked = watch->sequence;
	task_head_take(entry, head);
	return entry;
}

static bool is_task(struct task_watch *watch, const struct task_head *head)
{
	return task_object_type(watch, head->type)->kind == OBJECT_TASK;
}

static int read_head(struct task_watch *watch, uint64_t address, struct task_head *ret_head,
		     uint64_t *ret_next, uint64_t *ret_prev)
{
	uint8_t bytes[512];
	size_t size = task_head_size(watch->layout);
	int error = size > sizeof(bytes) ? -EPROTO
					 : pages_read(watch->pages, address, bytes, size);

	if (!error)
		task_head_decode(watch->layout, bytes, ret_head, ret_next, ret_prev);
	return error;
}

/* ---- sets ------------------------------------------------------------------ */

/* What the weak reference says, when the hash of a task is not that of its address. */
static void add_by_reference(struct task_watch *watch, uint64_t reference)
{
	struct task_entry *entry;
	struct task_head head;
	uint64_t address, next, prev;

	if (!reference ||
	    mem_read_u64(watch->mem, reference + watch->layout->weakref_object, &address))
		return;
	entry = task_entry_find(watch, address);
	if (entry) {
		entry->member = watch->sequence;
		return;
	}
	if (read_head(watch, address, &head, &next, &prev))
		return;
	if (is_task(watch, &head))
		add_task(watch, address, &head);
	else if (strcmp(task_object_type(watch, head.type)->name, "NoneType"))
		watch->snapshot.reasons[TASK_REASON_FOREIGN]++;
}

/* Heads of tasks that were not known, many at once. */
static void read_candidates(struct task_watch *watch, const struct candidates *list)
{
	size_t size = task_head_size(watch->layout), batch;
	struct task_head head;
	uint64_t next, prev;

	for (size_t base = 0; base < list->count; base += batch) {
		batch = list->count - base < TASK_BATCH ? list->count - base : TASK_BATCH;
		pages_clear(watch->pages);
		for (size_t i = 0; i < batch; i++)
			pages_want(watch->pages, list->items[base + i].address, size);
		pages_load(watch->pages);
		for (size_t i = 0; i < batch; i++) {
			const struct candidate *candidate = &list->items[base + i];

			if (!read_head(watch, candidate->address, &head, &next, &prev) &&
			    is_task(watch, &head))
				add_task(watch, candidate->address, &head);
			else
				add_by_reference(watch, candidate->key);
		}
	}
}

/*
 * One slot of a set: key and hash.  The hash of a weak reference is that of its
 * object, which for a task is its address turned by four bits.
 */
static int take_slot(struct task_watch *watch, const uint64_t slot[2], bool weak,
		     struct candidates *list)
{
	uint64_t address = weak ? slot[1] << 4 | slot[1] >> 60 : slot[0];
	struct task_entry *entry;
	int error;

	if (!slot[0] || slot[1] == DUMMY_HASH)
		return 0;
	entry = task_entry_find(watch, address);
	if (entry) {
		entry->member = watch->sequence;
		return 0;
	}
	error = vec_grow(list, MAX_SLOTS);
	if (!error)
		list->items[list->count++] = (struct candidate){ address, weak ? slot[0] : 0 };
	return error;
}

/* -EAGAIN when it was resized meanwhile. */
static int read_set(struct task_watch *watch, uint64_t set, bool weak, struct candidates *list)
{
	const struct py_layout *at = watch->layout;
	_cleanup_free_ uint64_t(*slots)[2] = malloc(SLOT_BATCH * sizeof(*slots));
	uint64_t mask, table, now, batch;
	int error;

	if (!slots)
		return -ENOMEM;
	error = mem_read_u64(watch->mem, set + at->set_mask, &mask);
	if (!error)
		error = mem_read_u64(watch->mem, set + at->set_table, &table);
	if (error)
		return error;
	if (mask & (mask + 1) || mask >= MAX_SLOTS)
		return -EAGAIN;
	for (uint64_t i = 0; i <= mask; i += batch) {
		batch = mask + 1 - i < SLOT_BATCH ? mask + 1 - i : SLOT_BATCH;
		error = mem_read(watch->mem, table + i * sizeof(*slots), slots,
				 batch * sizeof(*slots));
		for (uint64_t k = 0; k < batch && !error; k++)
			error = take_slot(watch, slots[k], weak, list);
		if (error)
			return error == -ENOMEM ? error : -EAGAIN;
	}
	error = mem_read_u64(watch->mem, set + at->set_table, &now);
	if (!error && now != table)
		error = -EAGAIN;
	return error;
}

static int whole_set(struct task_watch *watch, uint64_t set, bool weak)
{
	struct candidates list = { 0 };
	int error = -EAGAIN;

	for (int try = 0; try < TASK_TRIES && error == -EAGAIN; try++) {
		list.count = 0;
		error = read_set(watch, set, weak, &list);
	}
	if (error == -EAGAIN) {
		watch->snapshot.reasons[TASK_REASON_LIST]++;
		watch->all_members = false;
		error = 0;
	}
	if (!error)
		read_candidates(watch, &list);
	free(list.items);
	return error;
}

/* The set inside a WeakSet, or the set itself. */
static uint64_t find_set(const struct task_watch *watch, const char *name, bool weak)
{
	static const char *const modules[] = { "_asyncio", "asyncio.tasks" };
	const struct py_reader *py = &watch->target->py;
	uint64_t module, set;

	for (size_t i = 0; i < sizeof(modules) / sizeof(modules[0]); i++) {
		if (py_module(py, watch->target->interp, modules[i], &module) ||
		    py_module_attribute(py, module, name, &set))
			continue;
		if (!weak || !py_instance_attribute(py, set, "data", &set))
			return set;
	}
	return 0;
}

static int find_in_sets(struct task_watch *watch)
{
	bool old = watch->layout->version < 0x030c;
	uint64_t now = monotonic_ns();
	int error;

	if (!watch->scheduled_set) {
		if (watch->sets_ns && now - watch->sets_ns < SETS_AGAIN_NS)
			return -EAGAIN;
		watch->sets_ns = now;
		watch->scheduled_set = find_set(watch, old ? "_all_tasks" : "_scheduled_tasks",
						true);
		watch->eager_set = old ? 0 : find_set(watch, "_eager_tasks", false);
	}
	if (!watch->scheduled_set)
		return -EAGAIN;
	watch->all_members = true;
	error = whole_set(watch, watch->scheduled_set, true);
	if (!error && watch->eager_set)
		error = whole_set(watch, watch->eager_set, false);
	return error;
}

/* ---- lists ----------------------------------------------------------------- */

struct heads {
	uint64_t *items;
	size_t count, capacity;
};

static int add_head(struct heads *heads, uint64_t head)
{
	int error = vec_grow(heads, MAX_HEADS);

	if (!error)
		heads->items[heads->count++] = head;
	return error == -E2BIG ? 0 : error;
}

/* Every thread of every interpreter, and the tasks that ended threads left behind. */
static int all_heads(const struct task_watch *watch, struct heads *heads)
{
	const struct py_layout *at = watch->layout;
	const struct target *target = watch->target;
	uint64_t interp, tstate;
	int error = mem_read_u64(watch->mem, target->runtime + at->runtime_interpreters_head,
				 &interp);

	for (int i = 0; i < MAX_INTERPRETERS && !error && interp; i++) {
		error = add_head(heads, interp + at->interp_tasks_head);
		if (!error)
			error = mem_read_u64(watch->mem, interp + at->interp_tstate_head, &tstate);
		for (int k = 0; k < MAX_HEADS && !error && tstate; k++) {
			error = add_head(heads, tstate + at->tstate_tasks_head);
			if (!error)
				error = mem_read_u64(watch->mem, tstate + at->tstate_next,
						     &tstate);
		}
		if (!error)
			error = mem_read_u64(watch->mem, interp + at->interp_next, &interp);
	}
	return error == -EFAULT ? 0 : error;	/* a thread that ended meanwhile */
}

/* What is behind and before a node, as of now.  -EAGAIN: it is no task of the list any more. */
static int take_node(struct task_watch *watch, uint64_t node, bool fresh, uint64_t ret_links[2],
		     bool *ret_known)
{
	uint64_t address = node - watch->layout->task_node;
	struct task_entry *entry = task_entry_find(watch, address);
	struct task_head head;

	*ret_known = entry && !entry->fresh;
	if (!entry || entry->checked != watch->sequence || fresh) {
		if (read_head(watch, address, &head, &ret_links[0], &ret_links[1]) ||
		    !is_task(watch, &head) || !ret_links[0] || !ret_links[1])
			return -EAGAIN;
		if (entry) {
			entry->checked = watch->sequence;
			task_head_take(entry, &head);
		} else {
			entry = add_task(watch, address, &head);
		}
		if (!entry)
			return 0;
		entry->node_next = ret_links[0];
		entry->node_prev = ret_links[1];
	}
	entry->member = watch->sequence;
	ret_links[0] = entry->node_next;
	ret_links[1] = entry->node_prev;
	return ret_links[0] && ret_links[1] ? 0 : -EAGAIN;
}

/* Forwards, the whole list; or from its tail to where nothing is new. */
static int walk_list(struct task_watch *watch, uint64_t head, bool fresh, bool backwards)
{
	size_t in_a_row = 0;
	uint64_t node, links[2];
	int error = mem_read(watch->mem, head, links, sizeof(links));
	bool known;

	pages_clear(watch->pages);
	if (error || !links[0])	/* a thread that is gone; one that has no list yet */
		return 0;
	node = links[backwards];
	for (size_t i = 0; node != head; i++) {
		if (i >= 4 * watch->limits.max_tasks ||
		    (i && i % TASK_BATCH == 0 && task_out_of_time(watch)))
			return -E2BIG;
		error = take_node(watch, node, fresh, links, &known);
		if (error)
			return error;
		in_a_row = known ? in_a_row + 1 : 0;
		if (backwards && in_a_row >= KNOWN_IN_A_ROW)
			return 0;
		node = links[backwards];
	}
	return 0;
}

static int find_in_lists(struct task_watch *watch)
{
	uint64_t now = monotonic_ns();
	bool whole = !watch->requests_only || now - watch->full_ns >= LOOK_AGAIN_NS;
	struct heads heads = { 0 };
	int error = 0;

	if (watch->layout->tstate_tasks_head == LS_ABSENT || watch->layout->task_node == LS_ABSENT)
		return -EAGAIN;
	if (whole)
		error = all_heads(watch, &heads);
	for (size_t i = 0; i < watch->target->loop_count && !whole && !error; i++)
		error = add_head(&heads, watch->target->loops[i].tstate +
						 watch->layout->tstate_tasks_head);
	watch->all_members = whole;
	for (size_t i = 0; i < heads.count && !error; i++) {
		int result = -EAGAIN;

		for (int try = 0; try < TASK_TRIES && result == -EAGAIN; try++)
			result = walk_list(watch, heads.items[i], try > 0, !whole);
		if (result) {
			watch->snapshot.reasons[TASK_REASON_LIST]++;
			watch->all_members = false;
		}
	}
	free(heads.items);
	if (whole)
		watch->full_ns = now;
	return error;
}

int task_find_all(struct task_watch *watch)
{
	return watch->layout->version >= 0x030e ? find_in_lists(watch) : find_in_sets(watch);
}
