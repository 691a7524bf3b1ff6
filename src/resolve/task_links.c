// SPDX-License-Identifier: Apache-2.0
/*
 * Who awaits a task, and for which request it runs: with the code of the
 * probes, so that both mean the same request.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/vec.h"
#include "resolve/tasks_internal.h"

#define MAX_NODES 64		/* futures between a task and those who await it */
#define MAX_CALLBACKS 64	/* of one future */
#define MAX_SET_SLOTS 4096
#define REQUEST_TRIES 3

/* What the walk of the probes asks its surroundings for. */
static __thread const struct task_watch *walk_watch;
static __thread const struct task_entry *walk_entry;	/* whose name is here */
static __thread bool walk_now;	/* what runs must not come from pages that were read before */

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/* What was read with the name of a task need not be read again for its serial. */
static int read_target(void *to, size_t size, uint64_t address)
{
	const struct task_entry *entry = walk_entry;

	if (entry && address >= entry->head.name && address - entry->head.name < TASK_NAME_WINDOW &&
	    address - entry->head.name + size <= entry->name_size) {
		memcpy(to, entry->name_bytes + (address - entry->head.name), size);
		return 0;
	}
	if (walk_now)
		return mem_read(walk_watch->mem, address, to, size);
	return pages_read(walk_watch->pages, address, to, size);
}

static int read_word(const struct task_watch *watch, uint64_t address, uint64_t *ret_word)
{
	return pages_read(watch->pages, address, ret_word, sizeof(*ret_word));
}

#define ls_read_user(to, size, address) read_target((to), (size), (address))

/* From outside each walk is its own. */
static __u64 *ls_key_memo(const void *s, __u32 i)
{
	(void)s;
	(void)i;
	return NULL;
}

static const struct code_role *ls_code_role(const struct process_config *config, __u64 code)
{
	(void)config;
	return task_role(walk_watch, code);
}

#include "py_frames.bpf.h"

static void enter(const struct task_watch *watch, const struct task_entry *entry)
{
	walk_watch = watch;
	walk_entry = entry;
	walk_now = false;
}

const struct code_role *task_role(const struct task_watch *watch, uint64_t code)
{
	for (size_t i = 0; i < watch->roles->count; i++)
		if (watch->roles->items[i].code == code)
			return &watch->roles->items[i].role;
	return NULL;
}

uint64_t task_read_serial(struct task_watch *watch, const struct task_entry *entry)
{
	struct scratch *s = watch->scratch;

	enter(watch, entry);
	task_serial(s, watch->config, entry->head.name, 0);
	enter(watch, NULL);
	return s->walk.value;
}

/* `now`: from memory as it is, not from pages that were read before. */
static void read_request(struct task_watch *watch, uint64_t task, bool now,
			 struct request_record *ret_request)
{
	struct scratch *s = watch->scratch;

	enter(watch, NULL);
	walk_now = now;
	memset(&s->walk, 0, sizeof(s->walk));
	memset(&s->request, 0, sizeof(s->request));
	request_find(s, watch->config, task);
	*ret_request = s->request;
	walk_now = false;
}

static bool has_ended(const struct task_watch *watch, uint64_t task)
{
	uint32_t state;

	return mem_read_u32(watch->mem, task + watch->layout->future_state, &state) || state;
}

/*
 * It may end at any time, and what it was made of is soon made into another one: what is
 * the same twice, of a task that has not ended since, is of one request.
 */
bool task_read_request(struct task_watch *watch, uint64_t task, struct request_record *ret_request)
{
	struct request_record before;
	bool settled;

	read_request(watch, task, false, ret_request);
	for (int try = 0; try < REQUEST_TRIES; try++) {
		before = *ret_request;
		read_request(watch, task, true, ret_request);
		if (!memcmp(&before, ret_request, sizeof(before)))
			break;
	}
	settled = !memcmp(&before, ret_request, sizeof(before)) && !has_ended(watch, task);
	if (!settled)
		memset(ret_request, 0, sizeof(*ret_request));
	return settled;
}

/* ---- who awaits ------------------------------------------------------------- */

/* Tasks and futures met on the way; those found first come first. */
struct nodes {
	uint64_t items[MAX_NODES];
	size_t count;
};

static void add_node(struct nodes *nodes, uint64_t node)
{
	if (!node || nodes->count == MAX_NODES)
		return;
	for (size_t i = 0; i < nodes->count; i++)
		if (nodes->items[i] == node)
			return;
	nodes->items[nodes->count++] = node;
}

static void nodes_of_set(const struct task_watch *watch, uint64_t set, struct nodes *nodes)
{
	const struct py_layout *at = watch->layout;
	_cleanup_free_ uint64_t(*slots)[2] = NULL;
	uint64_t mask, table;

	if (read_word(watch, set + at->set_mask, &mask) ||
	    read_word(watch, set + at->set_table, &table) || mask >= MAX_SET_SLOTS)
		return;
	slots = calloc(mask + 1, sizeof(*slots));
	if (!slots || pages_read(watch->pages, table, slots, (mask + 1) * sizeof(*slots)))
		return;
	for (uint64_t i = 0; i <= mask; i++)
		if (slots[i][0] && slots[i][1] != UINT64_MAX)
			add_node(nodes, slots[i][0]);
}

static void nodes_of_callbacks(struct task_watch *watch, uint64_t callback0, uint64_t callbacks,
			       struct nodes *nodes)
{
	const struct py_layout *at = watch->layout;
	uint64_t items, callback, list[MAX_CALLBACKS];
	uint64_t count = 0;

	if (callback0)
		add_node(nodes, waiter_of_callback(watch->scratch, watch->config, callback0));
	if (!callbacks || read_word(watch, callbacks + at->var_size, &count) || !count ||
	    read_word(watch, callbacks + at->list_items, &items))
		return;
	if (count > MAX_CALLBACKS)
		count = MAX_CALLBACKS;
	if (pages_read(watch->pages, items, list, count * sizeof(list[0])))
		return;
	for (uint64_t i = 0; i < count; i++)
		if (list[i] && !read_word(watch, list[i] + at->tuple_items, &callback))
			add_node(nodes,
				 waiter_of_callback(watch->scratch, watch->config, callback));
}

/* Those that await a task or future directly; how many that are. */
static size_t next_nodes(struct task_watch *watch, const struct task_head *head,
			 struct nodes *nodes)
{
	size_t before = nodes->count;

	if (head->awaited_by && head->awaited_by_is_set)
		nodes_of_set(watch, head->awaited_by, nodes);
	else
		add_node(nodes, head->awaited_by);
	if (nodes->count == before)
		nodes_of_callbacks(watch, head->callback0, head->callbacks, nodes);
	return nodes->count - before;
}

/* The fields of a future; they are where those of a task are. */
static int read_future(const struct task_watch *watch, uint64_t future,
		       struct task_head *ret_head)
{
	const struct py_layout *at = watch->layout;
	uint8_t flag = 0;
	bool told = at->task_awaited_by != LS_ABSENT;

	*ret_head = (struct task_head){ 0 };
	if (read_word(watch, future + at->future_callback0, &ret_head->callback0) ||
	    read_word(watch, future + at->future_callbacks, &ret_head->callbacks) ||
	    (told && (read_word(watch, future + at->task_awaited_by, &ret_head->awaited_by) ||
		      pages_read(watch->pages, future + at->task_awaited_by_is_set, &flag, 1))))
		return -EFAULT;
	ret_head->awaited_by_is_set = flag;
	return 0;
}

static int add_awaiter(struct task_entry *entry, uint64_t task)
{
	void *items = entry->awaiters;
	size_t capacity = entry->awaiter_capacity;
	int error = vec_reserve(&items, &capacity, entry->awaiter_count + 1, sizeof(task),
				TASK_MAX_AWAITERS);

	entry->awaiters = items;
	entry->awaiter_capacity = (uint32_t)capacity;
	if (!error)
		entry->awaiters[entry->awaiter_count++] = task;
	return error == -E2BIG ? 0 : error;
}

int task_read_awaiters(struct task_watch *watch, struct task_entry *entry)
{
	struct nodes nodes = { .count = 0 };
	struct task_head head;
	uint64_t type;
	int error = 0;

	enter(watch, NULL);
	entry->awaiter_count = 0;
	entry->stale_awaiters = false;
	entry->open_awaiters = false;
	next_nodes(watch, &entry->head, &nodes);
	for (size_t i = 0; i < nodes.count && !error; i++) {
		if (nodes.items[i] == entry->address ||
		    read_word(watch, nodes.items[i] + watch->layout->ob_type, &type))
			continue;
		switch (task_object_type(watch, type)->kind) {
		case OBJECT_TASK:
			error = add_awaiter(entry, nodes.items[i]);
			break;
		case OBJECT_FUTURE:
		case OBJECT_GATHER:
			if (read_future(watch, nodes.items[i], &head) ||
			    !next_nodes(watch, &head, &nodes))
				entry->open_awaiters = true;
			break;
		default:
			break;
		}
	}
	return error;
}

/* ---- threads ----------------------------------------------------------------- */

/* asyncio chains the future of an executor to the one that the task awaits. */
bool task_waits_for_thread(struct task_watch *watch, uint64_t future)
{
	static const char suffix[] = "_chain_future.<locals>._call_check_cancel";
	const struct py_layout *at = watch->layout;
	uint64_t callback, type, name;
	char text[sizeof(suffix) + 1];

	if (read_word(watch, future + at->future_callback0, &callback) || !callback ||
	    read_word(watch, callback + at->ob_type, &type) ||
	    type != watch->config->type_function ||
	    read_word(watch, callback + at->function_qualname, &name) ||
	    py_string(&watch->target->py, name, text, sizeof(text)) < 0)
		return false;
	return !strcmp(text, suffix);
}

/* Frames from the leaf to the task's own coroutine, or as many as are kept; false: not met. */
static bool walk_down(struct task_watch *watch, uint64_t tstate, uint64_t last)
{
	struct scratch *s = watch->scratch;

	memset(&s->walk, 0, sizeof(s->walk));
	s->stack.count = 0;
	s->stack.end = STACK_TRUNCATED;
	s->walk.address = first_frame(watch->config, tstate);
	for (int i = 0; i < LS_MAX_WALK; i++) {
		bool met = s->walk.address == last;

		if (frame_step(s, watch->config) || met)
			return s->stack.end != STACK_FAULT &&
			       (met || s->stack.count == LS_MAX_FRAMES);
	}
	return false;
}

static bool same_frames(const struct frame_record *a, size_t count, const struct stack_record *b)
{
	if (count != b->count)
		return false;
	for (size_t i = 0; i < count; i++)
		if (a[i].code != b->frames[i].code || a[i].check != b->frames[i].check ||
		    (i && a[i].where != b->frames[i].where))
			return false;
	return true;
}

int task_running_frames(struct task_watch *watch, struct task_entry *entry, uint64_t tstate)
{
	const struct stack_record *stack = &watch->scratch->stack;
	uint64_t last = entry->head.coroutine + watch->layout->gen_frame;
	void *items = entry->frames;
	size_t capacity = entry->frame_capacity;
	int error = vec_reserve(&items, &capacity, LS_MAX_FRAMES, sizeof(*entry->frames),
				SIZE_MAX);
	bool met = false;

	entry->frames = items;
	entry->frame_capacity = (uint32_t)capacity;
	entry->frame_count = 0;
	if (error)
		return error;
	enter(watch, NULL);
	walk_now = true;
	for (int try = 0; try <= TASK_TRIES; try++) {
		met = walk_down(watch, tstate, last);
		if (try && same_frames(entry->frames, entry->frame_count, stack))
			break;
		memcpy(entry->frames, stack->frames, stack->count * sizeof(*entry->frames));
		entry->frame_count = stack->count;
	}
	if (!met) {
		entry->frame_count = 0;
		return -EAGAIN;
	}
	entry->end = entry->frame_count == LS_MAX_FRAMES ? TASK_END_CUT : TASK_END_NONE;
	return 0;
}
