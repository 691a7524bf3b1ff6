// SPDX-License-Identifier: Apache-2.0
/*
 * The queue of an executor: _queue.SimpleQueue.  Up to 3.12 it is a list and the position
 * of its first item, from 3.13 on a ring.  Its owner goes on meanwhile: what differs when it
 * is read again is read again, a few times.
 */
#include "resolve/executor_queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/mem.h"

#define READ_TRIES 4
#define QUEUE_ITEMS (1 << 24)	/* more cannot be right */

/* Where the items are: `count` of them in a ring of `capacity` words, the first at `first`. */
struct queue_view {
	uint64_t items, capacity, first, count;
};

/* Behind the last field there is the list of weak references, and nothing else. */
static int check_queue(const struct py_reader *py, uint64_t queue)
{
	const struct py_layout *at = py->layout;
	uint16_t last = at->queue_count == LS_ABSENT ? at->queue_position : at->queue_count;
	uint64_t type, size;
	int error;

	if (!py_is(py, queue, "_queue.SimpleQueue"))
		return -ENOENT;
	error = py_type(py, queue, &type) ?:
		mem_read_u64(py->mem, type + at->type_basicsize, &size);
	return error ? error : size == last + 16u ? 0 : -EPROTO;
}

static int read_list(const struct py_reader *py, uint64_t queue, struct queue_view *ret_view)
{
	const struct py_layout *at = py->layout;
	uint64_t list, position, size, items;
	int error = mem_read_u64(py->mem, queue + at->queue_list, &list) ?:
		    mem_read_u64(py->mem, queue + at->queue_position, &position) ?:
		    mem_read_u64(py->mem, list + at->var_size, &size) ?:
		    mem_read_u64(py->mem, list + at->list_items, &items);

	if (error)
		return error;
	if (position > size)
		return -EAGAIN;
	*ret_view = (struct queue_view){ items, size, position, size - position };
	return 0;
}

static int read_ring(const struct py_reader *py, uint64_t queue, struct queue_view *ret_view)
{
	const struct py_layout *at = py->layout;
	struct queue_view view;
	int error = mem_read_u64(py->mem, queue + at->queue_items, &view.items) ?:
		    mem_read_u64(py->mem, queue + at->queue_capacity, &view.capacity) ?:
		    mem_read_u64(py->mem, queue + at->queue_get, &view.first) ?:
		    mem_read_u64(py->mem, queue + at->queue_count, &view.count);

	if (error)
		return error;
	if (view.count > view.capacity || view.first >= view.capacity)
		return -EAGAIN;
	*ret_view = view;
	return 0;
}

static int read_view(const struct py_reader *py, uint64_t queue, struct queue_view *ret_view)
{
	int error = py->layout->queue_list != LS_ABSENT ? read_list(py, queue, ret_view)
							: read_ring(py, queue, ret_view);

	return !error && ret_view->count > QUEUE_ITEMS ? -EPROTO : error;
}

/* The newest items of a view, at most `room`. */
static int read_items(const struct py_reader *py, const struct queue_view *view, uint64_t *items,
		      size_t room)
{
	size_t count = view->count < room ? view->count : room, first, before_end;
	int error;

	if (!count)
		return 0;
	first = (view->first + view->count - count) % view->capacity;
	before_end = view->capacity - first < count ? view->capacity - first : count;
	error = mem_read(py->mem, view->items + 8 * first, items, 8 * before_end);
	if (!error && count > before_end)
		error = mem_read(py->mem, view->items, items + before_end,
				 8 * (count - before_end));
	return error;
}

ssize_t executor_queue_items(const struct py_reader *py, uint64_t queue, uint64_t *items,
			     size_t room, int64_t *ret_length)
{
	struct queue_view before, after;
	int error = check_queue(py, queue);

	for (int try = 0; try < READ_TRIES && !error; try++) {
		error = read_view(py, queue, &before);
		if (!error)
			error = read_items(py, &before, items, room) ?:
				read_view(py, queue, &after);
		if (!error && !memcmp(&before, &after, sizeof(before))) {
			*ret_length = (int64_t)before.count;
			return (ssize_t)(before.count < room ? before.count : room);
		}
		/* torn: it was moved to another place, or shortened */
		if (error == -EFAULT || error == -EAGAIN)
			error = 0;
	}
	return error ? error : -EAGAIN;
}

/* ---- one attribute of many objects ---------------------------------------------- */

struct many {
	const struct py_reader *py;
	const uint64_t *objects;
	uint64_t *words;
	struct mem_piece *pieces;
	size_t count;
};

/* Reads a word beside each object, 0 where it cannot be read. */
static void read_words(const struct many *many, const uint64_t *objects, int64_t offset)
{
	for (size_t i = 0; i < many->count; i++)
		many->pieces[i] = (struct mem_piece){ .address = objects[i] ? objects[i] + offset
									    : 0,
						      .buffer = &many->words[i], .length = 8 };
	mem_read_pieces(many->py->mem, many->pieces, many->count);
	for (size_t i = 0; i < many->count; i++)
		if (many->pieces[i].error)
			many->words[i] = 0;
}

/* From objects to where each keeps its values: see managed_storage() in discover. */
static int find_values(const struct many *many, uint64_t type, uint64_t *values)
{
	const struct py_layout *at = many->py->layout;
	uint64_t size;

	memcpy(values, many->objects, many->count * sizeof(*values));
	switch (at->managed_dict) {
	case LS_DICT_VALUES_PTR:
		read_words(many, values, -32);
		memcpy(values, many->words, many->count * sizeof(*values));
		return 0;
	case LS_DICT_TAGGED:
		read_words(many, values, -24);
		for (size_t i = 0; i < many->count; i++)
			values[i] = many->words[i] & 1 ? many->words[i] + 1 : 0;
		return 0;
	case LS_DICT_INLINE:
		if (mem_read_u64(many->py->mem, type + at->type_basicsize, &size) ||
		    size > UINT16_MAX)
			return -EPROTO;
		for (size_t i = 0; i < many->count; i++)
			values[i] += values[i] ? size : 0;
		read_words(many, values, 0);
		for (size_t i = 0; i < many->count; i++)
			if (!(many->words[i] >> 8 * at->values_valid & 1))
				values[i] = 0;
		return 0;
	}
	return -EPROTO;
}

int executor_queue_futures(const struct py_reader *py, uint64_t *items, size_t count)
{
	_cleanup_free_ struct mem_piece *pieces = calloc(count + 1, sizeof(*pieces));
	_cleanup_free_ uint64_t *words = calloc(count + 1, sizeof(*words));
	_cleanup_free_ uint64_t *values = calloc(count + 1, sizeof(*values));
	struct many many = { py, items, words, pieces, count };
	uint64_t type = 0;
	uint32_t index;
	int error;

	if (!pieces || !words || !values)
		return -ENOMEM;
	/* what ends the threads is None */
	for (size_t i = 0; i < count && !type; i++)
		if (py_is(py, items[i], "_WorkItem"))
			py_type(py, items[i], &type);
	if (!type)
		return -ENOENT;
	read_words(&many, items, py->layout->ob_type);
	for (size_t i = 0; i < count; i++)
		if (words[i] != type)
			items[i] = 0;
	error = py_type_shared_index(py, type, "future", &index) ?:
		find_values(&many, type, values);
	if (error)
		return error;
	read_words(&many, values, py->layout->values_first + 8 * (int64_t)index);
	memcpy(items, words, count * sizeof(*items));
	return 0;
}
