// SPDX-License-Identifier: Apache-2.0
/* Local variables of the frames of an await chain, and what is on their stacks. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "resolve/tasks_internal.h"

#define MAX_LOCAL 256	/* arguments come first: nobody asks for more */
#define MAX_HEAD 256	/* of a coroutine and its frame, before the locals */
#define MAX_INSIDE 64	/* frames of one chain that are looked at */

static uint64_t word_at(const uint8_t *bytes, size_t offset)
{
	uint64_t word;

	memcpy(&word, bytes + offset, sizeof(word));
	return word;
}

/* The link of a frame: those that are no frames are left out of frames[]. */
static const struct task_link *link_of(const struct task_entry *entry, size_t frame)
{
	for (uint32_t i = entry->link_count; i-- > 0;) {
		const struct task_link *link = &entry->links[i];

		if (link->kind != OBJECT_COROUTINE && link->kind != OBJECT_GENERATOR)
			continue;
		if (!frame--)
			return link;
	}
	return NULL;
}

/* Is it still the frame that was walked, where it was? */
static bool is_link(const struct task_watch *watch, const struct task_link *link,
		    const uint8_t *bytes, size_t frame)
{
	const struct py_layout *at = watch->layout;

	return (int8_t)bytes[0] == link->state &&
	       (word_at(bytes, frame + at->frame_code) & ~(uint64_t)at->stackref_tags) ==
		       link->code &&
	       word_at(bytes, frame + at->frame_instr) == link->instruction;
}

/*
 * Reads a frame up to the end of `slots` locals and stack slots.  0; -EAGAIN: it went on;
 * -errno.
 */
static int read_slots(struct task_watch *watch, const struct task_link *link, uint32_t slots,
		      uint8_t *bytes, uint8_t *again)
{
	const struct py_layout *at = watch->layout;
	size_t begin = at->gen_frame - at->gen_state;
	size_t size = begin + at->frame_locals + 8ull * slots;
	int error = mem_read(watch->mem, link->object + at->gen_state, bytes, size);

	if (error)
		return error;
	if (!is_link(watch, link, bytes, begin))
		return -EAGAIN;
	/* what was copied while it changed differs the second time */
	error = mem_read(watch->mem, link->object + at->gen_state, again, size);
	if (error)
		return error;
	return memcmp(bytes, again, size) ? -EAGAIN : 0;
}

/* One past the last slot that is in use, locals included; 0: not known. */
static uint32_t top_of(const struct task_watch *watch, const struct task_link *link)
{
	const struct py_layout *at = watch->layout;
	uint64_t frame = link->object + at->gen_frame, top;
	uint32_t slots = 0;

	if (at->frame_stackpointer != LS_ABSENT) {
		if (mem_read_u64(watch->mem, frame + at->frame_stackpointer, &top))
			return 0;
		top = (top - frame - at->frame_locals) / 8;
		slots = top < MAX_LOCAL ? (uint32_t)top : 0;
	} else if (mem_read_u32(watch->mem, frame + at->frame_stacktop, &slots)) {
		return 0;
	}
	return slots < MAX_LOCAL ? slots : 0;
}

/* A condition is entered by taking its lock. */
static bool is_entered_by(const struct task_watch *watch, uint64_t manager, uint64_t object)
{
	const struct py_reader *py = &watch->target->py;
	uint64_t lock;

	return manager == object || (py_is(py, manager, "Condition") &&
				     !py_instance_attribute(py, manager, "_lock", &lock) &&
				     lock == object);
}

/* Before 3.14 a bound `__aexit__` is kept, since then the function and the manager. */
static bool leads_to(const struct task_watch *watch, uint64_t slot, uint64_t object)
{
	uint64_t type, manager = slot & ~(uint64_t)watch->layout->stackref_tags;

	if (!manager)
		return false;
	if (watch->layout->frame_stackpointer == LS_ABSENT &&
	    (mem_read_u64(watch->mem, manager + watch->layout->ob_type, &type) ||
	     type != watch->config->type_method ||
	     mem_read_u64(watch->mem, manager + watch->layout->method_self, &manager)))
		return false;
	return is_entered_by(watch, manager, object);
}

static bool is_inside(struct task_watch *watch, const struct task_link *link, uint64_t object)
{
	const struct py_layout *at = watch->layout;
	size_t locals = (size_t)at->gen_frame - at->gen_state + at->frame_locals;
	uint8_t bytes[MAX_HEAD + 8 * MAX_LOCAL], again[sizeof(bytes)];
	uint32_t top = top_of(watch, link);
	uint64_t names;
	ssize_t first;

	if (!top || locals + 8ull * top > sizeof(bytes) ||
	    mem_read_u64(watch->mem, link->code + at->code_localsplusnames, &names) ||
	    read_slots(watch, link, top, bytes, again))
		return false;
	first = py_sequence_size(&watch->target->py, names);
	for (size_t i = first < 0 ? top : (size_t)first; i < top; i++)
		if (leads_to(watch, word_at(bytes, locals + 8 * i), object))
			return true;
	return false;
}

bool task_is_inside(struct task_watch *watch, const struct task_info *task, uint64_t object)
{
	const struct task_entry *entry = task_entry_find(watch, task->task);

	if (!entry || entry->bad || watch->layout->gen_state > watch->layout->gen_frame)
		return false;
	for (uint32_t i = 0; i < entry->link_count && i < MAX_INSIDE; i++)
		if ((entry->links[i].kind == OBJECT_COROUTINE ||
		     entry->links[i].kind == OBJECT_GENERATOR) &&
		    is_inside(watch, &entry->links[i], object))
			return true;
	return false;
}

int task_frame_local(struct task_watch *watch, const struct task_info *task, size_t frame,
		     uint32_t local, uint64_t *ret_object)
{
	const struct py_layout *at = watch->layout;
	const struct task_entry *entry = task_entry_find(watch, task->task);
	const struct task_link *link = entry && !entry->bad ? link_of(entry, frame) : NULL;
	size_t begin = at->gen_frame - at->gen_state, locals = begin + at->frame_locals;
	size_t size = locals + 8ull * (local + 1);
	_cleanup_free_ uint8_t *bytes = NULL;
	uint64_t object, again, type;
	int error;

	if (!link || local >= MAX_LOCAL || at->gen_state > at->gen_frame)
		return -ENOENT;
	bytes = malloc(size);
	if (!bytes)
		return -ENOMEM;
	error = mem_read(watch->mem, link->object + at->gen_state, bytes, size);
	if (error)
		return error;
	object = word_at(bytes, size - 8);
	if (!is_link(watch, link, bytes, begin))
		return -EAGAIN;
	/* what was copied while it changed differs the second time */
	error = mem_read(watch->mem, link->object + at->gen_state, bytes, size);
	if (error)
		return error;
	again = word_at(bytes, size - 8);
	if (again != object || !is_link(watch, link, bytes, begin))
		return -EAGAIN;
	object &= ~(uint64_t)at->stackref_tags;
	if (!object)
		return -ENOENT;
	error = mem_read_u64(watch->mem, object + at->ob_type, &type);
	if (error)
		return error;
	if (type == watch->config->type_cell) {
		error = mem_read_u64(watch->mem, object + at->cell_ref, &object);
		if (error || !object)
			return error ? error : -ENOENT;
	}
	*ret_object = object;
	return 0;
}

uint64_t task_frame_object(const struct task_watch *watch, const struct task_info *task,
			   size_t frame)
{
	const struct task_entry *entry = task_entry_find(watch, task->task);
	const struct task_link *link = entry ? link_of(entry, frame) : NULL;

	return link ? link->object : 0;
}
