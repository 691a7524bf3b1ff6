// SPDX-License-Identifier: Apache-2.0
#include "aggregate/groups.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/vec.h"

/*
 * Strings are interned, but a route may come from two processes: compare the text.
 * Whose work it was tells groups apart only where nothing else does: threads and
 * tasks that run one function are many.
 */
static bool group_is(const struct group *group, enum window_class class,
		     const struct activity *activity)
{
	bool owned = !activity->culprit.file && !activity->request;

	return group->class == class && text_same(group->route, activity->route.route) &&
	       text_same(group->method, activity->route.method) &&
	       text_same(group->culprit.file, activity->culprit.file) &&
	       text_same(group->culprit.qualname, activity->culprit.qualname) &&
	       (!owned || (text_same(group->owner_task, activity->owner_task) &&
			   text_same(group->owner_thread, activity->owner_thread)));
}

int group_find(struct window *window, enum window_class class, const struct activity *activity)
{
	struct group *group;
	int error;

	for (size_t i = 0; i < window->group_count; i++)
		if (group_is(window->groups[i], class, activity))
			return (int)i;
	error = vec_reserve((void **)&window->groups, &window->group_capacity,
			    window->group_count + 1, sizeof(*window->groups), WINDOW_MAX_GROUPS);
	if (error) {
		window->lost_groups += error == -E2BIG;
		return error == -E2BIG ? -ENOSPC : error;
	}
	group = calloc(1, sizeof(*group));
	if (!group)
		return -ENOMEM;
	group->class = class;
	group->route = activity->route.route;
	group->method = activity->route.method;
	group->folded = activity->route.folded;
	group->culprit = activity->culprit;
	if (!activity->request) {
		group->owner_task = activity->owner_task;
		group->owner_thread = activity->owner_thread;
	}
	window->groups[window->group_count++] = group;
	return (int)window->group_count - 1;
}

void group_free(struct group *group)
{
	if (!group)
		return;
	for (size_t i = 0; i < group->stack_count; i++)
		free(group->stacks[i].frames);
	free(group->victims.items);
	free(group->cells.items);
	free(group->index);
	free(group);
}

static void note_line(struct group *group, const struct activity *activity, uint64_t ns)
{
	struct line_share *share = NULL;
	size_t room = sizeof(group->lines) / sizeof(group->lines[0]);

	for (size_t i = 0; i < group->line_count && !share; i++)
		if (group->lines[i].culprit.line == activity->culprit.line &&
		    group->lines[i].number == activity->number)
			share = &group->lines[i];
	if (!share) {
		share = &group->lines[group->line_count < room ? group->line_count++ : room - 1];
		*share = (struct line_share){ .culprit = activity->culprit,
					      .number = activity->number };
	}
	share->total_ns += ns;
	share->count++;
	if (!share->library.file)
		share->library = activity->library;
	if (!share->peer)
		share->peer = activity->peer;
	if (!share->detail)
		share->detail = activity->detail;
}

static uint64_t hash_frames(const struct frame *frames, size_t count)
{
	uint64_t hash = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < count; i++) {
		hash = (hash ^ (uintptr_t)frames[i].code->qualname) * 0x100000001b3ull;
		hash = (hash ^ (uintptr_t)frames[i].code->file ^ frames[i].line) *
		       0x100000001b3ull;
	}
	return hash;
}

static void note_stack(struct group *group, const struct activity *activity, uint64_t ns)
{
	uint64_t hash = hash_frames(activity->frames, activity->frame_count);
	struct stack_share *stack;

	if (!activity->frame_count)
		return;
	for (size_t i = 0; i < group->stack_count; i++) {
		if (group->stacks[i].hash != hash)
			continue;
		group->stacks[i].count++;
		group->stacks[i].total_ns += ns;
		return;
	}
	if (group->stack_count >= WINDOW_MAX_STACKS)
		return;
	stack = &group->stacks[group->stack_count];
	stack->frames = calloc(activity->frame_count, sizeof(*stack->frames));
	if (!stack->frames)
		return;
	for (size_t i = 0; i < activity->frame_count; i++) {
		const struct frame *frame = &activity->frames[i];

		stack->frames[i] = (struct place){ frame->code->file, frame->code->function,
						   frame->code->qualname, frame->line };
	}
	stack->frame_count = activity->frame_count;
	stack->hash = hash;
	stack->count = 1;
	stack->total_ns = ns;
	stack->truncated = activity->truncated;
	group->stack_count++;
}

static void note_native(struct group *group, const char *native)
{
	size_t room = sizeof(group->natives) / sizeof(group->natives[0]), i;

	group->noted++;
	if (!native)
		return;
	for (i = 0; i < group->native_count && group->natives[i].name != native;)
		i++;
	if (i == room)
		return;
	if (i == group->native_count)
		group->natives[group->native_count++].name = native;
	group->natives[i].count++;
}

void group_note(struct group *group, const struct activity *activity, uint64_t ns)
{
	note_line(group, activity, ns);
	note_native(group, activity->native);
	note_stack(group, activity, ns);
}

static int index_grow(struct group *group)
{
	size_t size = group->index_size ? group->index_size * 2 : 64;
	uint32_t *table = calloc(size, sizeof(*table));

	if (!table)
		return -ENOMEM;
	for (size_t i = 0; i < group->cells.count; i++) {
		size_t at = group->cells.items[i].key & (size - 1);

		while (table[at])
			at = (at + 1) & (size - 1);
		table[at] = (uint32_t)i + 1;
	}
	free(group->index);
	group->index = table;
	group->index_size = size;
	return 0;
}

/* Position of the cell of `key`, made when it is new; -ENOSPC, -ENOMEM. */
static int cell_find(struct group *group, uint64_t key)
{
	size_t at;
	int error;

	if (group->cells.count * 2 >= group->index_size) {
		error = index_grow(group);
		if (error)
			return error;
	}
	for (at = key & (group->index_size - 1); group->index[at];
	     at = (at + 1) & (group->index_size - 1))
		if (group->cells.items[group->index[at] - 1].key == key)
			return (int)group->index[at] - 1;
	error = vec_grow(&group->cells, WINDOW_MAX_CELLS);
	if (error) {
		group->cells_lost += error == -E2BIG;
		return error == -E2BIG ? -ENOSPC : error;
	}
	group->cells.items[group->cells.count] = (struct cell){ .key = key };
	group->index[at] = (uint32_t)++group->cells.count;
	return (int)group->cells.count - 1;
}

/*
 * What is summed up: a request; of a websocket, or of work that belongs to no
 * request, what one connection or task does in one step.
 */
static uint64_t cell_key(const struct activity *activity)
{
	uint64_t key = ((uint64_t)activity->tid << 32) ^ activity->step_seq;

	if (activity->request && !activity->websocket)
		return activity->request;
	key *= 0xff51afd7ed558ccdull;
	key ^= key >> 32;
	key ^= activity->request ? activity->request : activity->task;
	key *= 0x9e3779b97f4a7c15ull;
	return key ^ key >> 29;
}

static void touch(struct pending_step *pending, int group, int cell, uint64_t ns)
{
	size_t i = 0;

	if (!pending)
		return;
	while (i < pending->touched_count && (pending->touched[i].group != (uint32_t)group ||
					      pending->touched[i].cell != (uint32_t)cell))
		i++;
	if (i == sizeof(pending->touched) / sizeof(pending->touched[0]))
		return;
	if (i == pending->touched_count) {
		pending->touched[i].group = (uint32_t)group;
		pending->touched[i].cell = (uint32_t)cell;
		pending->touched[i].ns = 0;
		pending->touched_count++;
	}
	pending->touched[i].ns += ns;
}

/* From where on it is an occurrence all of it counts; samples are spread over their step. */
static void log_cell(struct window *window, const struct group *group, const struct cell *cell,
		     const struct activity *activity, uint64_t ns)
{
	struct time_span at = { activity->time_ns - ns, activity->time_ns };

	if (cell->total_ns < window->stall_ns)
		return;
	if (cell->total_ns - ns < window->stall_ns) {
		at.start_ns = cell->first_ns;
		ns = cell->total_ns;
	}
	if (cell->samples && activity->start_ns < at.start_ns)
		at.start_ns = activity->start_ns;
	slow_log_cause(&window->slow, CAUSE_GROUP, group, &at, ns);
}

int group_add(struct window *window, enum window_class class, const struct activity *activity,
	      uint64_t ns, uint32_t calls, uint32_t samples, struct pending_step *pending)
{
	int group = group_find(window, class, activity), position;
	struct cell *cell;

	if (group < 0)
		return group == -ENOSPC ? 0 : group;
	position = cell_find(window->groups[group], cell_key(activity));
	group_note(window->groups[group], activity, ns);
	if (position < 0)
		return position == -ENOSPC ? 0 : position;
	window->groups[group]->added_ns += ns;
	window->groups[group]->sampled_ns += samples ? ns : 0;
	cell = &window->groups[group]->cells.items[position];
	if (!cell->first_ns || activity->time_ns - ns < cell->first_ns)
		cell->first_ns = activity->time_ns - ns;
	if (activity->time_ns > cell->last_ns)
		cell->last_ns = activity->time_ns;
	cell->total_ns += ns;
	cell->calls += calls;
	cell->samples += samples;
	cell->pid = activity->pid;
	cell->request = activity->request != 0;
	cell->ongoing |= activity->ongoing;
	cell->since_before |= !!(activity->flags & EVENT_F_SINCE_BEFORE);
	touch(pending, group, position, ns);
	log_cell(window, window->groups[group], cell, activity, ns);
	return 0;
}
