// SPDX-License-Identifier: Apache-2.0
/* Local variables of the frames of an await chain. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "resolve/tasks_internal.h"

#define MAX_LOCAL 256	/* arguments come first: nobody asks for more */

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
