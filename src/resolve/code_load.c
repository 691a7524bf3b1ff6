// SPDX-License-Identifier: Apache-2.0
/* Reads code objects out of a target, many at a time. */
#include "resolve/code_cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/intern.h"

static uint64_t get_u64(const uint8_t *bytes, size_t offset)
{
	uint64_t value;

	memcpy(&value, bytes + offset, sizeof(value));
	return value;
}

static uint32_t get_u32(const uint8_t *bytes, size_t offset)
{
	uint32_t value;

	memcpy(&value, bytes + offset, sizeof(value));
	return value;
}

/* Bytes from the start of a code object that hold all that is wanted; 0: layout cannot be right. */
size_t code_fixed_size(const struct py_layout *at)
{
	const uint16_t words[] = { at->ob_type, at->code_flags, at->code_firstlineno,
				   at->code_firsttraceable, at->code_filename, at->code_name,
				   at->code_qualname, at->code_linetable };
	size_t size = 0;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (words[i] + sizeof(uint64_t) > size)
			size = words[i] + sizeof(uint64_t);
	if (size > CODE_MAX_FIXED || at->unicode_ascii > CODE_TEXT_BYTES ||
	    at->unicode_length + sizeof(uint64_t) > at->unicode_ascii ||
	    at->unicode_state + sizeof(uint32_t) > at->unicode_ascii ||
	    at->bytes_data > CODE_TABLE_BYTES || at->var_size + sizeof(uint64_t) > at->bytes_data)
		return 0;
	return size;
}

/* Length of the longest of `folders` that `path` is in or is, plus one; 0: in none. */
static size_t longest_folder(const char *path, const char *const *folders)
{
	size_t longest = 0;

	for (; folders && *folders; folders++) {
		size_t length = strlen(*folders);

		while (length && (*folders)[length - 1] == '/')
			length--;
		if (**folders && !strncmp(path, *folders, length) &&
		    (!path[length] || path[length] == '/') && length + 1 > longest)
			longest = length + 1;
	}
	return longest;
}

static bool has_component(const char *path, const char *name)
{
	size_t length = strlen(name);

	for (const char *at = path; (at = strstr(at, name)); at += length)
		if ((at == path || at[-1] == '/') && at[length] == '/')
			return true;
	return false;
}

static enum code_origin origin_of(const struct code_options *options, const char *file)
{
	const char *const stdlib[] = { options ? options->stdlib_path : NULL, NULL };
	size_t application = longest_folder(file, options ? options->app_paths : NULL);
	size_t library = longest_folder(file, options ? options->library_paths : NULL);

	if (application || library)
		return application >= library ? CODE_APPLICATION : CODE_LIBRARY;
	if (!*file || *file == '<')
		return CODE_FROZEN;
	if (has_component(file, "site-packages") || has_component(file, "dist-packages"))
		return CODE_LIBRARY;
	return longest_folder(file, stdlib) ? CODE_STDLIB : CODE_APPLICATION;
}

/*
 * The allocator keeps a pointer, or nothing, where a freed object had its reference
 * count: 32 bits, or all ones, and from 3.14 on flags in the uppermost 16.
 */
static bool is_alive(const uint8_t *fixed)
{
	uint64_t count = get_u64(fixed, 0);

	return (uint32_t)count && !(uint16_t)(count >> 32);
}

static struct code_raw decode(const struct py_layout *at, const uint8_t *fixed)
{
	struct code_raw raw = {
		.type = get_u64(fixed, at->ob_type),
		.line_table = get_u64(fixed, at->code_linetable),
		.text[TEXT_FILE] = get_u64(fixed, at->code_filename),
		.text[TEXT_NAME] = get_u64(fixed, at->code_name),
		.text[TEXT_QUALNAME] = get_u64(fixed, at->code_qualname),
		.flags = get_u32(fixed, at->code_flags),
		.first_line = get_u32(fixed, at->code_firstlineno),
		.first_traceable = get_u32(fixed, at->code_firsttraceable),
		.alive = is_alive(fixed),
	};

	raw.check = code_check_word(raw.first_line, raw.flags, raw.text[TEXT_FILE],
				    raw.text[TEXT_NAME], raw.line_table);
	return raw;
}

static bool is_code_type(struct code_cache *cache, uint64_t type)
{
	char name[sizeof("code") + 1];

	if (cache->code_type && type == cache->code_type)
		return true;
	if (py_type_name(cache->py, type, name, sizeof(name)) || strcmp(name, "code") != 0)
		return false;
	cache->code_type = type;
	return true;
}

/* Reads the fixed part of whatever is not settled yet; `errors` has one word for each. */
static void read_fixed(struct code_cache *cache, int32_t *errors)
{
	struct mem_piece pieces[CODE_BATCH];
	size_t owner[CODE_BATCH], count = 0;

	for (size_t i = 0; i < cache->pending_count; i++) {
		struct pending *pending = &cache->pending[i];

		if (pending->result)
			continue;
		pieces[count] = (struct mem_piece){ .address = pending->address,
						    .buffer = pending->fixed,
						    .length = (uint32_t)cache->fixed_size };
		owner[count++] = i;
	}
	mem_read_pieces(cache->py->mem, pieces, count);
	for (size_t i = 0; i < count; i++)
		errors[owner[i]] = pieces[i].error;
}

/* Fixed parts: tells which objects still are what the events saw. */
static void load_fixed(struct code_cache *cache)
{
	int32_t errors[CODE_BATCH] = {};

	read_fixed(cache, errors);
	for (size_t i = 0; i < cache->pending_count; i++) {
		struct pending *pending = &cache->pending[i];
		const struct code_info *known = NULL;

		if (pending->result)
			continue;
		if (errors[i]) {
			code_settle_recent(cache, pending, &cache->unreadable);
			continue;
		}
		pending->raw = decode(cache->py->layout, pending->fixed);
		if (!pending->raw.alive ||
		    (pending->wanted && pending->wanted != pending->raw.check))
			code_settle_recent(cache, pending, &cache->stale);
		else if (!is_code_type(cache, pending->raw.type))
			code_settle_recent(cache, pending,
					   pending->wanted ? &cache->not_code : &cache->stale);
		else if (!pending->wanted)
			known = code_cache_find(cache, pending->address, pending->raw.check);
		if (known)
			pending->result = known;
	}
}

/*
 * Names and line tables, as many bytes as most of them have.  What is longer,
 * or so near to the end of its mapping that this fails, is read on its own later.
 */
static void read_texts(struct code_cache *cache)
{
	struct mem_piece pieces[CODE_BATCH * (TEXT_COUNT + 1)];
	bool *ok[CODE_BATCH * (TEXT_COUNT + 1)];
	size_t count = 0;

	for (size_t i = 0; i < cache->pending_count; i++) {
		struct pending *pending = &cache->pending[i];

		if (pending->result)
			continue;
		for (size_t t = 0; t < TEXT_COUNT; t++) {
			ok[count] = &pending->text_read[t];
			pieces[count++] = (struct mem_piece){ .address = pending->raw.text[t],
							      .buffer = pending->text[t],
							      .length = CODE_TEXT_BYTES };
		}
		ok[count] = &pending->table_read;
		pieces[count++] = (struct mem_piece){ .address = pending->raw.line_table,
						      .buffer = pending->table,
						      .length = CODE_TABLE_BYTES };
	}
	mem_read_pieces(cache->py->mem, pieces, count);
	for (size_t i = 0; i < count; i++)
		*ok[i] = !pieces[i].error;
}

/* A str, interned; NULL when unreadable or out of memory. */
static const char *text_of(const struct code_cache *cache, const struct pending *pending, int which)
{
	const struct py_layout *at = cache->py->layout;
	const uint8_t *bytes = pending->text[which];
	uint32_t ascii = 1u << 2 | 1u << 5 | 1u << 6;	/* one byte each, compact, ASCII */
	uint64_t length;

	if (!pending->text_read[which])
		return py_string_intern(cache->py, pending->raw.text[which]);
	length = get_u64(bytes, at->unicode_length);
	if ((get_u32(bytes, at->unicode_state) & (7u << 2 | 1u << 5 | 1u << 6)) != ascii ||
	    length > (uint64_t)CODE_TEXT_BYTES - at->unicode_ascii)
		return py_string_intern(cache->py, pending->raw.text[which]);
	for (size_t i = 0; i < length; i++)
		if (bytes[at->unicode_ascii + i] > 0x7f)
			return NULL;
	return intern_bytes((const char *)bytes + at->unicode_ascii, length);
}

/* The line table in memory of its own; without one every line is unknown. */
static void load_table(const struct code_cache *cache, const struct pending *pending,
		       struct code_info *info)
{
	const struct py_layout *at = cache->py->layout;
	uint64_t length = 0;
	uint8_t *copy;
	ssize_t full;

	if (pending->table_read) {
		length = get_u64(pending->table, at->var_size);
	} else {
		full = py_bytes(cache->py, pending->raw.line_table, NULL, 0);
		if (full > 0)
			length = (uint64_t)full;
	}
	if (!length || length > CODE_MAX_TABLE)
		return;
	copy = malloc(length);
	if (!copy)
		return;
	if (pending->table_read && length <= (uint64_t)CODE_TABLE_BYTES - at->bytes_data)
		memcpy(copy, pending->table + at->bytes_data, length);
	else if (py_bytes(cache->py, pending->raw.line_table, copy, length) != (ssize_t)length)
		length = 0;
	if (!length) {
		free(copy);
		return;
	}
	info->line_table = copy;
	info->line_table_size = (uint32_t)length;
}

static void load_info(struct code_cache *cache, struct pending *pending)
{
	struct code_info *info = calloc(1, sizeof(*info));
	const char *text[TEXT_COUNT];

	pending->loaded = info;
	if (!info) {
		pending->result = &cache->unreadable;
		return;
	}
	for (int i = 0; i < TEXT_COUNT; i++) {
		text[i] = text_of(cache, pending, i);
		if (!text[i])
			text[i] = cache->unreadable.file;
	}
	info->file = text[TEXT_FILE];
	info->function = text[TEXT_NAME];
	info->qualname = text[TEXT_QUALNAME];
	info->first_line = pending->raw.first_line;
	info->flags = pending->raw.flags;
	info->check = pending->raw.check;
	info->first_traceable = pending->raw.first_traceable;
	info->origin = origin_of(cache->options, info->file);
	load_table(cache, pending, info);
}

/* Fixed parts once more: what changed while its names were read is not what it was. */
static void verify(struct code_cache *cache)
{
	int32_t errors[CODE_BATCH] = {};

	read_fixed(cache, errors);
	for (size_t i = 0; i < cache->pending_count; i++) {
		struct pending *pending = &cache->pending[i];
		struct code_raw now;

		if (pending->result)
			continue;
		now = decode(cache->py->layout, pending->fixed);
		if (errors[i] || memcmp(&now, &pending->raw, sizeof(now)) != 0)
			code_settle_recent(cache, pending, &cache->stale);
		else
			code_settle_loaded(cache, pending);
	}
}

/* Settles all that is pending, in three system calls when nothing is unusual. */
void code_load_pending(struct code_cache *cache)
{
	if (!cache->pending_count)
		return;
	load_fixed(cache);
	read_texts(cache);
	for (size_t i = 0; i < cache->pending_count; i++)
		if (!cache->pending[i].result)
			load_info(cache, &cache->pending[i]);
	verify(cache);
	for (size_t i = 0; i < cache->pending_count; i++) {
		code_info_free(cache->pending[i].loaded);
		cache->pending[i].loaded = NULL;
	}
}
