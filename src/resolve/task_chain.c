// SPDX-License-Identifier: Apache-2.0
/* From a task's coroutine to what it awaits in the end, many tasks at a time. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/vec.h"
#include "resolve/tasks_internal.h"

#define GUESS_BYTES 512		/* most coroutines end within that many */
#define MAX_LOCALS 65536	/* of one frame */
#define HASTY_BATCH 128		/* tasks between two looks at the clock, where there is a limit */
#define CODE_WINDOW 128		/* of a code object, flags to line table */
/* pycore_opcode: what an await goes on with, and the bits of its argument that say so. */
#define RESUME 151
#define RESUME_QUICK_311 150
#define RESUME_INSTRUMENTED_312 240
#define RESUME_AFTER_AWAIT 2

static uint64_t word_at(const uint8_t *bytes, size_t offset)
{
	uint64_t word;

	memcpy(&word, bytes + offset, sizeof(word));
	return word;
}

/* A coroutine, generator or asynchronous generator up to its local variables. */
static size_t fixed_size(const struct py_layout *at)
{
	return (size_t)at->gen_frame + at->frame_locals;
}

/* Where a walk stands; objects of one level are read at once. */
struct step {
	struct task_entry *entry;
	uint64_t object;
	const uint8_t *bytes;
	size_t size;
};

static int add_link(struct task_watch *watch, struct task_entry *entry,
		    const struct task_link *link)
{
	void *items = entry->links;
	size_t capacity = entry->link_capacity;
	int error;

	if (entry->link_count >= watch->limits.max_chain ||
	    watch->frame_total >= TASK_MAX_FRAMES)
		return -E2BIG;
	error = vec_reserve(&items, &capacity, entry->link_count + 1, sizeof(*link),
			    watch->limits.max_chain);
	entry->links = items;
	entry->link_capacity = (uint32_t)capacity;
	if (error)
		return error;
	entry->links[entry->link_count++] = *link;
	watch->frame_total++;
	return 0;
}

static void give_up(struct task_entry *entry, enum task_reason reason)
{
	entry->bad = true;
	entry->reason = (uint8_t)reason;
	entry->walking = false;
}

static void arrive(struct task_entry *entry, enum task_end end, uint64_t object,
		   const char *type)
{
	entry->end = (uint8_t)end;
	entry->end_object = object;
	entry->end_type = type;
	entry->walking = false;
}

/* A generator of 3.12 and older does not say whether it awaits or yields: its code does. */
static bool awaits(const struct task_watch *watch, const struct task_link *link)
{
	const struct py_layout *at = watch->layout;
	uint8_t next[2];

	if (link->state != at->state_suspended)
		return false;
	if (link->kind == OBJECT_COROUTINE || at->version >= 0x030d)
		return true;
	if (pages_read(watch->pages, link->instruction + 2, next, sizeof(next)))
		return false;
	return (next[0] == RESUME || next[0] == RESUME_QUICK_311 ||
		next[0] == RESUME_INSTRUMENTED_312) && (next[1] & 3) >= RESUME_AFTER_AWAIT;
}

/* Offset of the object on top of a frame's stack, 0: it cannot be there. */
static uint32_t top_slot(const struct py_layout *at, uint64_t object, const uint8_t *bytes)
{
	uint64_t slot, first = fixed_size(at);

	if (at->frame_stackpointer != LS_ABSENT) {
		slot = word_at(bytes, (size_t)at->gen_frame + at->frame_stackpointer) - 8 - object;
	} else {
		int32_t top;

		memcpy(&top, bytes + at->gen_frame + at->frame_stacktop, sizeof(top));
		slot = first + 8ull * (uint64_t)((int64_t)top - 1);
	}
	if (slot < first || slot > first + 8ull * MAX_LOCALS || slot & 7)
		return 0;
	return (uint32_t)slot;
}

/* The fields of a coroutine that are compared later. */
static void decode_link(const struct task_watch *watch, const uint8_t *bytes,
			struct task_link *link)
{
	const struct py_layout *at = watch->layout;

	link->code = word_at(bytes, (size_t)at->gen_frame + at->frame_code) &
		     ~(uint64_t)at->stackref_tags;
	link->instruction = word_at(bytes, (size_t)at->gen_frame + at->frame_instr);
	link->state = (int8_t)bytes[at->gen_state];
	link->owner = bytes[at->gen_frame + at->frame_owner];
}

/* A frame; false when the walk of its task has come to an end. */
static void step_frame(struct task_watch *watch, struct step *step, enum object_kind kind)
{
	const struct py_layout *at = watch->layout;
	struct task_entry *entry = step->entry;
	int8_t created = at->state_suspended - (at->version >= 0x030d ? 2 : 1);
	struct task_link link = { .object = step->object, .kind = (uint8_t)kind };
	bool follow;
	int error;

	decode_link(watch, step->bytes, &link);
	if (link.state > 0) {	/* it has ended */
		give_up(entry, TASK_REASON_TORN);
		return;
	}
	if (link.state == at->state_executing) {
		if (entry->link_count)
			give_up(entry, TASK_REASON_TORN);
		entry->running = !entry->link_count;
		entry->walking = false;
		if (entry->running)
			entry->root_code = link.code;
		return;
	}
	follow = link.state != created && awaits(watch, &link);
	if (follow) {
		link.slot = top_slot(at, step->object, step->bytes);
		if (!link.slot) {
			give_up(entry, TASK_REASON_TORN);
			return;
		}
		if (link.slot + 8ull <= step->size)
			link.next = word_at(step->bytes, link.slot);
		else if (pages_read(watch->pages, step->object + link.slot, &link.next,
				    sizeof(link.next))) {
			give_up(entry, TASK_REASON_UNREADABLE);
			return;
		}
		link.next &= ~(uint64_t)at->stackref_tags;
	}
	error = add_link(watch, entry, &link);
	if (error)
		arrive(entry, TASK_END_CUT, step->object, NULL);
	else if (!link.next)
		arrive(entry, TASK_END_NONE, 0, NULL);
}

/* One object of a chain: notes what it is and where the chain goes on. */
static void take_step(struct task_watch *watch, struct step *step)
{
	const struct py_layout *at = watch->layout;
	struct task_entry *entry = step->entry;
	const struct object_type *type =
		task_object_type(watch, word_at(step->bytes, at->ob_type));
	struct task_link link = { .object = step->object, .kind = (uint8_t)type->kind };

	switch (type->kind) {
	case OBJECT_COROUTINE:
	case OBJECT_GENERATOR:
		step_frame(watch, step, type->kind);
		return;
	case OBJECT_HOP:
	case OBJECT_FUTURE_ITER:
		link.slot = at->method_func;	/* the first field of all of them */
		link.next = word_at(step->bytes, link.slot);
		if (!link.next)
			arrive(entry, TASK_END_NONE, 0, NULL);
		else if (add_link(watch, entry, &link))
			arrive(entry, TASK_END_CUT, step->object, NULL);
		return;
	case OBJECT_FUTURE:
		arrive(entry, TASK_END_FUTURE, step->object, type->name);
		break;
	case OBJECT_GATHER:
		arrive(entry, TASK_END_GATHER, step->object, type->name);
		break;
	case OBJECT_TASK:
		arrive(entry, TASK_END_TASK, step->object, type->name);
		break;
	default:
		arrive(entry, TASK_END_OPAQUE, step->object, type->name);
		return;
	}
	/* A task waits for the future at the end of its chain, or is about to. */
	if (entry->head.waiter && entry->head.waiter != step->object)
		give_up(entry, TASK_REASON_TORN);
}

/* Brent's way to find a circle: a mark that moves to each power of two. */
static bool in_circle(struct task_entry *entry, uint64_t object)
{
	uint32_t count = entry->link_count;

	if (count && object == entry->tortoise)
		return true;
	if (!(count & (count - 1)))
		entry->tortoise = object;
	return false;
}

/* Takes a step with each object of one level. */
static void walk_level(struct task_watch *watch, struct step *steps, size_t count)
{
	size_t least = fixed_size(watch->layout), hop = watch->layout->method_func + 8u;
	uint8_t buffer[GUESS_BYTES];

	for (size_t i = 0; i < count; i++)
		pages_want(watch->pages, steps[i].object, GUESS_BYTES);
	pages_load(watch->pages);
	for (size_t i = 0; i < count; i++) {
		struct step *step = &steps[i];

		step->size = pages_readable(watch->pages, step->object, GUESS_BYTES);
		step->bytes = step->size < hop ? NULL
					       : pages_at(watch->pages, step->object, step->size,
							  buffer);
		if (step->bytes && step->size < least) {	/* a small one, on its own */
			memmove(buffer, step->bytes, step->size);
			memset(buffer + step->size, 0, least - step->size);
			step->bytes = buffer;
		}
		if (step->bytes)
			take_step(watch, step);
		else
			give_up(step->entry, TASK_REASON_UNREADABLE);
	}
}

static void begin(struct task_watch *watch, struct task_entry *entry)
{
	uint32_t kept = entry->good_links < entry->link_count ? entry->good_links
							      : entry->link_count;

	kept -= kept == entry->link_count && kept;	/* the last one says how it goes on */
	watch->frame_total -= entry->link_count - kept;
	entry->link_count = kept;
	entry->frame_count = 0;
	entry->tortoise = 0;
	entry->walking = true;
	entry->bad = entry->running = entry->differs = false;
	entry->end = TASK_END_NONE;
	entry->end_object = 0;
	entry->end_type = NULL;
	/* not initialised yet, it has ended, or its memory is something else's by now */
	if (!entry->head.coroutine || !entry->head.loop || !entry->head.name)
		give_up(entry, TASK_REASON_TORN);
}

/* One walk of at most TASK_BATCH tasks, level by level. */
static int walk_once(struct task_watch *watch, struct task_entry **entries, size_t count)
{
	_cleanup_free_ struct step *steps = calloc(count, sizeof(*steps));
	size_t used;

	if (!steps)
		return -ENOMEM;
	if (GUESS_BYTES < fixed_size(watch->layout))
		return -EPROTO;
	pages_clear(watch->pages);
	for (size_t i = 0; i < count; i++)
		begin(watch, entries[i]);
	for (;;) {
		used = 0;
		for (size_t i = 0; i < count; i++) {
			struct task_entry *entry = entries[i];
			uint64_t object;

			if (!entry->walking)
				continue;
			object = entry->link_count ? entry->links[entry->link_count - 1].next
						   : entry->head.coroutine;
			if (in_circle(entry, object))
				give_up(entry, TASK_REASON_CYCLE);
			else
				steps[used++] = (struct step){ .entry = entry, .object = object };
		}
		if (!used)
			return 0;
		walk_level(watch, steps, used);
	}
}

/* ---- frames ---------------------------------------------------------------- */

/* Check words of code objects are read once in each snapshot: those may be freed between. */
static uint32_t *find_check(struct task_watch *watch, uint64_t code)
{
	for (size_t i = 0; i < watch->checks.count; i++)
		if (watch->checks.items[i].code == code)
			return &watch->checks.items[i].check;
	return NULL;
}

static uint32_t read_check(struct task_watch *watch, uint64_t code)
{
	const struct py_layout *at = watch->layout;
	size_t base = at->code_flags, size = at->code_linetable + 8u - base;
	uint8_t bytes[CODE_WINDOW];
	uint32_t flags, line, *known = find_check(watch, code), check = 0;

	if (known)
		return *known;
	if (size <= sizeof(bytes) && !pages_read(watch->pages, code + base, bytes, size)) {
		memcpy(&flags, bytes, sizeof(flags));
		memcpy(&line, bytes + at->code_firstlineno - base, sizeof(line));
		check = code_check_word(line, flags, word_at(bytes, at->code_filename - base),
					word_at(bytes, at->code_name - base),
					word_at(bytes, at->code_linetable - base));
	}
	if (!vec_grow(&watch->checks, TASK_BATCH))
		watch->checks.items[watch->checks.count++] = (struct check_word){ code, check };
	return check;
}

/* What read_check() will ask for, of all tasks at once. */
static void want_checks(struct task_watch *watch, struct task_entry **entries, size_t count)
{
	const struct py_layout *at = watch->layout;

	for (size_t i = 0; i < count; i++) {
		const struct task_entry *entry = entries[i];

		for (uint32_t k = 0; k < entry->link_count && !entry->bad; k++)
			if (entry->links[k].code && !entry->links[k].check)
				pages_want(watch->pages, entry->links[k].code + at->code_flags,
					   at->code_linetable + 8u - at->code_flags);
	}
	pages_load(watch->pages);
}

/* The frames of the links, leaf first. */
static int make_frames(struct task_watch *watch, struct task_entry *entry)
{
	void *items = entry->frames;
	size_t capacity = entry->frame_capacity;
	int error = vec_reserve(&items, &capacity, entry->link_count, sizeof(*entry->frames),
				SIZE_MAX);

	entry->frames = items;
	entry->frame_capacity = (uint32_t)capacity;
	entry->frame_count = 0;
	if (error)
		return error;
	for (uint32_t i = entry->link_count; i-- > 0;) {
		struct task_link *link = &entry->links[i];
		uint64_t unit;

		if (link->kind != OBJECT_COROUTINE && link->kind != OBJECT_GENERATOR)
			continue;
		if (!link->check)
			link->check = read_check(watch, link->code);
		unit = (link->instruction - link->code - watch->layout->code_adaptive) / 2;
		if (unit >= FRAME_NOT_STARTED)
			unit = FRAME_NOT_STARTED;
		entry->frames[entry->frame_count++] = (struct frame_record){
			.code = link->code,
			.check = link->check,
			.where = (uint32_t)unit | (uint32_t)link->owner << FRAME_OFFSET_BITS,
		};
	}
	if (entry->link_count)
		entry->root_code = entry->links[0].code;
	return 0;
}

int task_walk(struct task_watch *watch, struct task_entry **entries, size_t count)
{
	_cleanup_free_ struct task_entry **again = calloc(TASK_BATCH, sizeof(*again));
	size_t left, batch = watch->deadline_ns ? HASTY_BATCH : TASK_BATCH;
	int error;

	if (!again)
		return -ENOMEM;
	for (size_t base = 0; base < count; base += batch) {
		/* the first ones are walked, however late it is: others have their turn later */
		if (base && task_out_of_time(watch)) {
			for (size_t i = base; i < count; i++)
				give_up(entries[i], TASK_REASON_BUDGET);
			watch->whole = false;
			break;
		}
		left = count - base < batch ? count - base : batch;
		memcpy(again, entries + base, left * sizeof(*again));
		for (int try = 0; try < TASK_TRIES && left; try++) {
			size_t torn = 0;

			error = walk_once(watch, again, left);
			if (error)
				return error;
			want_checks(watch, again, left);
			for (size_t i = 0; i < left; i++)
				if (!again[i]->bad && !again[i]->running &&
				    make_frames(watch, again[i]))
					return -ENOMEM;
			task_check(watch, again, left, false);
			for (size_t i = 0; i < left; i++) {
				struct task_entry *entry = again[i];

				if (entry->differs)
					give_up(entry, TASK_REASON_TORN);
				entry->dirty = entry->bad || entry->running;
				entry->changed = true;
				if (entry->bad)
					again[torn++] = entry;
			}
			left = torn;
			/* another task may have come to the address of one */
			task_read_names(watch, again, left);
		}
	}
	return 0;
}
