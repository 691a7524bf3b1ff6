// SPDX-License-Identifier: Apache-2.0
#include "resolve/thread_frames.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "events.h"

#define HEAD_BYTES 128
#define MAX_LOCAL 256	/* arguments come first: nobody asks for more */

static uint64_t word_at(const uint8_t *bytes, size_t offset)
{
	uint64_t word;

	memcpy(&word, bytes + offset, sizeof(word));
	return word;
}

/* Follows a pointer of each thread, 0 where that fails; `values` may be `bases`. */
static void follow(const struct target *target, const uint64_t *bases, uint64_t *values,
		   struct mem_piece *pieces, size_t count, uint16_t offset)
{
	for (size_t i = 0; i < count; i++)
		pieces[i] = (struct mem_piece){ .address = bases[i] ? bases[i] + offset : 0,
						.buffer = &values[i], .length = 8 };
	mem_read_pieces(target->mem, pieces, count);
	for (size_t i = 0; i < count; i++)
		if (pieces[i].error)
			values[i] = 0;
}

static void take_top(const struct py_layout *at, const uint8_t *head, uint64_t frame,
		     struct thread_top *top)
{
	top->frame = frame;
	top->code = word_at(head, at->frame_code) & ~(uint64_t)at->stackref_tags;
	top->instruction = word_at(head, at->frame_instr);
	top->previous = word_at(head, at->frame_previous);
}

int thread_tops(const struct target *target, const struct thread_state_ref *threads, size_t count,
		struct thread_top *tops)
{
	const struct py_layout *at = &target->layout;
	_cleanup_free_ struct mem_piece *pieces = calloc(count + 1, sizeof(*pieces));
	_cleanup_free_ uint64_t *frames = calloc(count + 1, sizeof(*frames));
	_cleanup_free_ uint8_t *heads = calloc(count + 1, HEAD_BYTES);

	if (!pieces || !frames || !heads)
		return -ENOMEM;
	if (at->frame_locals > HEAD_BYTES)
		return -EPROTO;
	for (size_t i = 0; i < count; i++)
		frames[i] = threads[i].tstate;
	if (at->tstate_frame != LS_ABSENT) {
		follow(target, frames, frames, pieces, count, at->tstate_frame);
	} else {
		follow(target, frames, frames, pieces, count, at->tstate_cframe);
		follow(target, frames, frames, pieces, count, at->cframe_frame);
	}
	for (size_t i = 0; i < count; i++)
		pieces[i] = (struct mem_piece){ .address = frames[i],
						.buffer = heads + i * HEAD_BYTES,
						.length = at->frame_locals };
	mem_read_pieces(target->mem, pieces, count);
	memset(tops, 0, count * sizeof(*tops));
	for (size_t i = 0; i < count; i++)
		if (frames[i] && !pieces[i].error)
			take_top(at, heads + i * HEAD_BYTES, frames[i], &tops[i]);
	return 0;
}

int thread_frame(const struct target *target, const struct thread_top *top, size_t number,
		 uint64_t *ret_frame)
{
	const struct py_layout *at = &target->layout;
	uint64_t frame = top->frame;
	uint8_t head[HEAD_BYTES];
	int error;

	if (at->frame_locals > sizeof(head))
		return -EPROTO;
	for (int i = 0; i < LS_MAX_WALK && frame; i++) {
		error = mem_read(target->mem, frame, head, at->frame_locals);
		if (error)
			return error;
		/* those without code of Python's are in no stack */
		if (head[at->frame_owner] < at->owner_shim &&
		    word_at(head, at->frame_code) & ~(uint64_t)at->stackref_tags && !number--) {
			*ret_frame = frame;
			return 0;
		}
		frame = word_at(head, at->frame_previous);
	}
	return -ENOENT;
}

int thread_local_object(const struct target *target, const struct process_config *config,
			uint64_t frame, uint32_t local, uint64_t *ret_object)
{
	const struct py_layout *at = &target->layout;
	uint64_t object, type;
	int error;

	if (local >= MAX_LOCAL)
		return -ENOENT;
	error = mem_read_u64(target->mem, frame + at->frame_locals + 8ull * local, &object);
	if (error)
		return error;
	object &= ~(uint64_t)at->stackref_tags;
	if (!object)
		return -ENOENT;
	error = mem_read_u64(target->mem, object + at->ob_type, &type);
	if (!error && type == config->type_cell)
		error = mem_read_u64(target->mem, object + at->cell_ref, &object);
	if (error || !object)
		return error ? error : -ENOENT;
	*ret_object = object;
	return 0;
}
