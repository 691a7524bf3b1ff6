// SPDX-License-Identifier: Apache-2.0
/* Heads of tasks and frames of known chains, read in batches and compared. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/intern.h"
#include "resolve/tasks_internal.h"

#define BATCH_OWNERS 8192
#define MAX_PIECE 2048
#define NEAR_BYTES 1024		/* a slot so near to its frame is read with it */
#define STATIC_SPAN (1u << 20)	/* the interpreter's own types are that near to each other */
#define MAX_BASES 16
#define LEAST_HEAD 16
#define NAME_HEAD 32	/* of a name: an int is not longer */
#define NAME_BYTES 4096

static uint64_t word_at(const uint8_t *bytes, size_t offset)
{
	uint64_t word;

	memcpy(&word, bytes + offset, sizeof(word));
	return word;
}

/* ---- types ----------------------------------------------------------------- */

static const struct {
	const char *name;
	enum object_kind kind;
	bool builtin;	/* Cython and others have types with the same name */
} named_types[] = {
	{ "coroutine", OBJECT_COROUTINE, true },
	{ "generator", OBJECT_GENERATOR, true },
	{ "async_generator", OBJECT_GENERATOR, true },
	{ "coroutine_wrapper", OBJECT_HOP, true },
	{ "async_generator_asend", OBJECT_HOP, true },
	{ "async_generator_athrow", OBJECT_HOP, true },
	{ "anext_awaitable", OBJECT_HOP, true },
	{ "_asyncio.FutureIter", OBJECT_FUTURE_ITER, false },
};

static enum object_kind kind_of_type(const struct task_watch *watch, uint64_t type,
				     const char *name)
{
	uint64_t own = watch->config->type_coroutine, base = type;

	for (size_t i = 0; i < sizeof(named_types) / sizeof(named_types[0]); i++)
		if (!strcmp(named_types[i].name, name) &&
		    (!named_types[i].builtin || type - own + STATIC_SPAN < 2ull * STATIC_SPAN))
			return named_types[i].kind;
	for (int i = 0; i < MAX_BASES && base; i++) {
		if (base == watch->config->type_task)
			return OBJECT_TASK;
		if (base == watch->config->type_future)
			return strcmp(name, "_GatheringFuture") ? OBJECT_FUTURE : OBJECT_GATHER;
		if (mem_read_u64(watch->mem, base + watch->layout->type_base, &base))
			break;
	}
	return OBJECT_OTHER;
}

const struct object_type *task_object_type(struct task_watch *watch, uint64_t type)
{
	static const struct object_type unreadable = { .name = "" };
	struct object_type *slot;
	char name[128];

	for (size_t i = 0; i < watch->type_count && i < TASK_TYPES; i++)
		if (watch->types[i].type == type)
			return &watch->types[i];
	if (!type || py_type_name(&watch->target->py, type, name, sizeof(name)))
		return &unreadable;
	slot = &watch->types[watch->type_count++ % TASK_TYPES];
	*slot = (struct object_type){ type, kind_of_type(watch, type, name), intern(name) };
	if (!slot->name)
		slot->name = "";
	return slot;
}

/* ---- heads ----------------------------------------------------------------- */

size_t task_head_size(const struct py_layout *at)
{
	const uint16_t fields[] = { at->ob_type, at->future_loop, at->future_callback0,
				    at->future_callbacks, at->future_state, at->task_awaited_by,
				    at->task_awaited_by_is_set, at->task_fut_waiter,
				    at->task_coro, at->task_name, at->task_node };
	size_t size = LEAST_HEAD;

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (fields[i] != LS_ABSENT && fields[i] + 8u > size)
			size = fields[i] + 8u;
	return size + (at->task_node != LS_ABSENT ? 8 : 0);
}

void task_head_decode(const struct py_layout *at, const uint8_t *bytes,
		      struct task_head *ret_head, uint64_t *ret_next, uint64_t *ret_prev)
{
	struct task_head head = {
		.type = word_at(bytes, at->ob_type),
		.loop = word_at(bytes, at->future_loop),
		.callback0 = word_at(bytes, at->future_callback0),
		.callbacks = word_at(bytes, at->future_callbacks),
		.waiter = word_at(bytes, at->task_fut_waiter),
		.coroutine = word_at(bytes, at->task_coro),
		.name = word_at(bytes, at->task_name),
	};

	memcpy(&head.state, bytes + at->future_state, sizeof(head.state));
	*ret_next = *ret_prev = 0;
	if (at->task_awaited_by != LS_ABSENT) {
		head.awaited_by = word_at(bytes, at->task_awaited_by);
		head.awaited_by_is_set = bytes[at->task_awaited_by_is_set];
	}
	if (at->task_node != LS_ABSENT) {
		*ret_next = word_at(bytes, at->task_node);
		*ret_prev = word_at(bytes, at->task_node + 8u);
	}
	*ret_head = head;
}

void task_head_take(struct task_entry *entry, const struct task_head *head)
{
	const struct task_head *old = &entry->head;

	if (!memcmp(old, head, sizeof(*head)))
		return;
	entry->differs = true;
	entry->failures = 0;
	entry->try_again = 0;
	if (old->coroutine != head->coroutine)	/* another task at this address */
		task_entry_renew(entry);
	if (old->coroutine != head->coroutine || old->waiter != head->waiter ||
	    old->state != head->state)
		entry->dirty = true;
	if (old->name != head->name)
		entry->stale_name = entry->dirty = true;
	if (old->callback0 != head->callback0 || old->callbacks != head->callbacks ||
	    old->awaited_by != head->awaited_by ||
	    old->awaited_by_is_set != head->awaited_by_is_set)
		entry->stale_awaiters = true;
	entry->head = *head;
}

/* ---- a batch of pieces ------------------------------------------------------ */

enum what { WHAT_HEAD, WHAT_NAME, WHAT_LINK, WHAT_SLOT };

struct owner {
	struct task_entry *entry;
	uint64_t address;
	uint32_t length;
	uint32_t link, offset;	/* of the piece in its object */
	enum what what;
};

struct batch {
	struct task_watch *watch;
	struct owner owners[BATCH_OWNERS];
	size_t count;
};

/* The frame, and what it awaits when that was read with it. */
static bool same_link(const struct task_watch *watch, const struct task_link *link,
		      const uint8_t *bytes, const struct owner *owner)
{
	const struct py_layout *at = watch->layout;
	size_t frame = at->gen_frame - owner->offset;

	if (link->kind == OBJECT_COROUTINE || link->kind == OBJECT_GENERATOR) {
		if ((int8_t)bytes[at->gen_state - owner->offset] != link->state ||
		    (word_at(bytes, frame + at->frame_code) & ~(uint64_t)at->stackref_tags) !=
			    link->code ||
		    word_at(bytes, frame + at->frame_instr) != link->instruction)
			return false;
	}
	if (!link->slot || link->slot + 8ull > owner->offset + owner->length)
		return true;
	return (word_at(bytes, link->slot - owner->offset) & ~(uint64_t)at->stackref_tags) ==
	       (link->next & ~(uint64_t)at->stackref_tags);
}

static void settle_head(struct task_watch *watch, struct task_entry *entry, const uint8_t *bytes)
{
	struct task_head head;

	if (!bytes) {
		entry->differs = entry->dirty = true;
		entry->head.type = 0;	/* no task any more */
		return;
	}
	task_head_decode(watch->layout, bytes, &head, &entry->node_next, &entry->node_prev);
	entry->checked = watch->sequence;
	task_head_take(entry, &head);
}

static void settle(struct task_watch *watch, const struct owner *owner, const uint8_t *bytes)
{
	struct task_entry *entry = owner->entry;
	bool same = false;

	if (owner->what == WHAT_HEAD) {
		settle_head(watch, entry, bytes);
		return;
	}
	if (owner->what == WHAT_NAME) {
		if (!bytes || memcmp(bytes, entry->name_bytes, owner->length))
			entry->stale_name = entry->dirty = entry->stale_awaiters = true;
		return;
	}
	if (owner->link >= entry->good_links)
		return;
	if (bytes && owner->what == WHAT_LINK)
		same = same_link(watch, &entry->links[owner->link], bytes, owner);
	else if (bytes)
		same = (word_at(bytes, 0) & ~(uint64_t)watch->layout->stackref_tags) ==
		       entry->links[owner->link].next;
	if (same)
		return;
	entry->differs = entry->dirty = true;
	entry->good_links = owner->link;
}

static void flush(struct batch *batch)
{
	struct pages *pages = batch->watch->pages;
	uint8_t buffer[MAX_PIECE];

	pages_load(pages);
	for (size_t i = 0; i < batch->count; i++) {
		const struct owner *owner = &batch->owners[i];

		settle(batch->watch, owner,
		       pages_at(pages, owner->address, owner->length, buffer));
	}
	pages_clear(pages);
	batch->count = 0;
}

static void add_piece(struct batch *batch, uint64_t address, size_t length, struct owner owner)
{
	if (length > MAX_PIECE)	/* no layout has such a thing */
		length = MAX_PIECE;
	if (batch->count == BATCH_OWNERS || !pages_want(batch->watch->pages, address, length)) {
		flush(batch);
		pages_want(batch->watch->pages, address, length);
	}
	owner.address = address;
	owner.length = (uint32_t)length;
	batch->owners[batch->count++] = owner;
}

static void add_link_pieces(struct batch *batch, struct task_entry *entry, uint32_t index)
{
	const struct py_layout *at = batch->watch->layout;
	const struct task_link *link = &entry->links[index];
	struct owner owner = { .entry = entry, .what = WHAT_LINK, .link = index };
	size_t end = (size_t)at->gen_frame + at->frame_locals;

	if (link->kind == OBJECT_COROUTINE || link->kind == OBJECT_GENERATOR) {
		owner.offset = at->gen_state & ~7u;
		if (link->slot && link->slot + 8ull > end &&
		    link->slot + 8ull - owner.offset <= NEAR_BYTES)
			end = link->slot + 8ull;
		add_piece(batch, link->object + owner.offset, end - owner.offset, owner);
		if (!link->slot || link->slot + 8ull <= end)
			return;
		owner.what = WHAT_SLOT;
		add_piece(batch, link->object + link->slot, 8, owner);
		return;
	}
	owner.offset = link->slot;
	add_piece(batch, link->object + link->slot, 8, owner);
}

void task_check(struct task_watch *watch, struct task_entry **entries, size_t count,
		bool heads_only)
{
	_cleanup_free_ struct batch *batch = malloc(sizeof(*batch));

	if (!batch) {	/* nothing of what is known can be trusted then */
		for (size_t i = 0; i < count; i++)
			entries[i]->differs = entries[i]->dirty = true;
		for (size_t i = 0; i < count; i++)
			entries[i]->good_links = 0;
		return;
	}
	batch->watch = watch;
	batch->count = 0;
	pages_clear(watch->pages);
	for (size_t i = 0; i < count; i++) {
		struct task_entry *entry = entries[i];
		struct owner owner = { .entry = entry, .what = WHAT_HEAD };

		entry->differs = false;
		entry->good_links = heads_only || entry->bad ? 0 : entry->link_count;
		add_piece(batch, entry->address, task_head_size(watch->layout), owner);
		if (heads_only)
			continue;
		owner.what = WHAT_NAME;
		if (entry->name_size && !entry->stale_name)
			add_piece(batch, entry->head.name, entry->name_size, owner);
		for (uint32_t k = 0; k < entry->link_count && !entry->bad; k++)
			add_link_pieces(batch, entry, k);
	}
	flush(batch);
}

/* ---- names ------------------------------------------------------------------ */

/* Bytes of a name that are compared each time, after its first 32 were read. */
static uint32_t name_window(const struct task_watch *watch, const uint8_t *bytes)
{
	const struct py_layout *at = watch->layout;
	uint64_t type = word_at(bytes, at->ob_type), length;

	if (type != watch->config->type_unicode)
		return NAME_HEAD;
	length = word_at(bytes, at->unicode_length);
	if (length > TASK_NAME_WINDOW - (uint64_t)at->unicode_ascii)
		return TASK_NAME_WINDOW;
	return (uint32_t)(at->unicode_ascii + length);
}

/* asyncio numbers those that the program gave no name. */
static char *number_name(const struct task_watch *watch, const struct task_entry *entry)
{
	char text[32];
	int64_t number;

	if (py_long(&watch->target->py, entry->head.name, &number))
		return NULL;
	snprintf(text, sizeof(text), "Task-%lld", (long long)number);
	return strdup(text);
}

/* One digit of 30 bits, or a short str of ASCII, is there already. */
static char *short_name(const struct task_watch *watch, const struct task_entry *entry)
{
	const struct py_layout *at = watch->layout;
	const uint8_t *bytes = entry->name_bytes;
	uint32_t ascii = 1u << 2 | 1u << 5 | 1u << 6;	/* one byte each, compact, ASCII */
	uint32_t state, digit;
	uint64_t length;
	char text[32];

	if (word_at(bytes, at->ob_type) == watch->config->type_long) {
		if (word_at(bytes, at->long_tag) >> 3 > 1)
			return NULL;
		memcpy(&digit, bytes + at->long_digit, sizeof(digit));
		snprintf(text, sizeof(text), "Task-%u", digit);
		return strdup(text);
	}
	memcpy(&state, bytes + at->unicode_state, sizeof(state));
	length = word_at(bytes, at->unicode_length);
	if (word_at(bytes, at->ob_type) != watch->config->type_unicode ||
	    (state & (7u << 2 | 1u << 5 | 1u << 6)) != ascii ||
	    length > entry->name_size - (uint64_t)at->unicode_ascii)
		return NULL;
	return strndup((const char *)bytes + at->unicode_ascii, length);
}

static void take_name(struct task_watch *watch, struct task_entry *entry)
{
	char text[NAME_BYTES];

	entry->stale_name = false;
	entry->serial = task_read_serial(watch, entry);
	entry->name = short_name(watch, entry);
	if (entry->name)
		return;
	if (word_at(entry->name_bytes, watch->layout->ob_type) == watch->config->type_long)
		entry->name = number_name(watch, entry);
	else if (py_string(&watch->target->py, entry->head.name, text, sizeof(text)) >= 0)
		entry->name = strdup(text);
}

void task_read_names(struct task_watch *watch, struct task_entry **entries, size_t count)
{
	pages_clear(watch->pages);
	for (size_t i = 0; i < count; i++)
		if (entries[i]->stale_name && entries[i]->head.name)
			pages_want(watch->pages, entries[i]->head.name, TASK_NAME_WINDOW);
	pages_load(watch->pages);
	for (size_t i = 0; i < count; i++) {
		struct task_entry *entry = entries[i];

		if (!entry->stale_name)
			continue;
		free(entry->name);
		entry->name = NULL;
		entry->name_size = 0;
		memset(entry->name_bytes, 0, sizeof(entry->name_bytes));
		if (!entry->head.name ||
		    pages_read(watch->pages, entry->head.name, entry->name_bytes, NAME_HEAD))
			continue;
		entry->name_size = name_window(watch, entry->name_bytes);
		if (entry->name_size > NAME_HEAD &&
		    pages_read(watch->pages, entry->head.name, entry->name_bytes,
			       entry->name_size))
			entry->name_size = NAME_HEAD;
		take_name(watch, entry);
	}
}
