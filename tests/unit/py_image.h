/* SPDX-License-Identifier: Apache-2.0 */
/* Builds the objects of a CPython of any layout in a memory image; for one test program each. */
#ifndef LS_TEST_PY_IMAGE_H
#define LS_TEST_PY_IMAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "discover/py_layout.h"
#include "discover/py_object.h"

#define BASE 0x10000000ull
#ifndef ARENA
#define ARENA (4u << 20)
#endif

#define F_INLINE (1u << 2)
#define F_MANAGED (1u << 4)
#define F_HEAP (1u << 9)
#define F_LONG (1u << 24)
#define F_LIST (1u << 25)
#define F_TUPLE (1u << 26)
#define F_BYTES (1u << 27)
#define F_STR (1u << 28)
#define F_DICT (1u << 29)
#define F_TYPE (1u << 31)

/* A target whose objects lie one after the other. */
static uint8_t *arena;
static size_t used;
static struct mem_range range;
static struct py_layout layout;
static struct py_reader py;
static uint64_t t_type, t_str, t_int, t_tuple, t_list, t_dict, t_set, t_bytes, t_member;

static inline void put64(uint64_t at, uint64_t value)
{
	memcpy(arena + (at - BASE), &value, sizeof(value));
}

static inline void put32(uint64_t at, uint32_t value)
{
	memcpy(arena + (at - BASE), &value, sizeof(value));
}

static inline void put8(uint64_t at, uint8_t value)
{
	arena[at - BASE] = value;
}

static inline uint64_t get(size_t size)
{
	uint64_t at;

	used = (used + 15) & ~15ul;
	at = BASE + used;
	used += size;
	assert_true(used <= ARENA);
	return at;
}

static inline uint64_t text(const char *s)
{
	uint64_t at = get(strlen(s) + 1);

	memcpy(arena + (at - BASE), s, strlen(s) + 1);
	return at;
}

static inline uint64_t tuple(const uint64_t *items, size_t count)
{
	uint64_t at = get(layout.tuple_items + count * 8);
	size_t i;

	put64(at + layout.ob_type, t_tuple);
	put64(at + layout.var_size, count);
	for (i = 0; i < count; i++)
		put64(at + layout.tuple_items + i * 8, items[i]);
	return at;
}

static inline uint64_t type(const char *name, uint32_t flags, uint64_t base)
{
	uint64_t at = get(1024), order[2] = { at, base };

	put64(at + layout.ob_type, t_type);
	put64(at + layout.type_name, text(name));
	put64(at + layout.type_flags, flags);
	put64(at + layout.type_basicsize, 16);
	put64(at + layout.type_base, base);
	put64(at + layout.type_mro, tuple(order, base ? 2 : 1));
	return at;
}

/* The characters as they lie in memory. */
static inline uint64_t string_of(const void *data, size_t length, unsigned kind, bool ascii)
{
	size_t head = ascii ? layout.unicode_ascii : layout.unicode_compact;
	uint64_t at = get(head + (length + 1) * kind);

	put64(at + layout.ob_type, t_str);
	put64(at + layout.unicode_length, length);
	put32(at + layout.unicode_state, kind << 2 | 1u << 5 | (ascii ? 1u << 6 : 0));
	memcpy(arena + (at + head - BASE), data, length * kind);
	return at;
}

static inline uint64_t string(const char *s)
{
	return string_of(s, strlen(s), 1, true);
}

static inline uint64_t integer(bool negative, size_t digits, uint32_t low, uint32_t mid,
			       uint32_t high)
{
	uint64_t at = get(layout.long_digit + 12), tag;

	if (layout.version >= 0x030c)
		tag = digits << 3 | (digits ? (negative ? 2 : 0) : 1);
	else
		tag = negative ? -(uint64_t)digits : digits;
	put64(at + layout.ob_type, t_int);
	put64(at + layout.long_tag, tag);
	put32(at + layout.long_digit, low);
	put32(at + layout.long_digit + 4, mid);
	put32(at + layout.long_digit + 8, high);
	return at;
}

/* kind: 0 general, 1 unicode, 2 split. */
static inline uint64_t keys(unsigned kind, unsigned log2_size, size_t entries)
{
	uint64_t at = get(layout.keys_indices + (1ul << log2_size) + (entries + 1) * 24);

	put8(at + layout.keys_log2_size, log2_size);
	put8(at + layout.keys_log2_index_bytes, log2_size);
	put8(at + layout.keys_kind, kind);
	put64(at + layout.keys_nentries, entries);
	return at;
}

static inline void put_entry(uint64_t table, unsigned kind, unsigned log2_size, size_t index,
			     uint64_t key, uint64_t value)
{
	uint64_t at = table + layout.keys_indices + (1ull << log2_size);

	if (kind == 0) {
		put64(at + index * 24 + 8, key);
		put64(at + index * 24 + 16, value);
	} else {
		put64(at + index * 16, key);
		put64(at + index * 16 + 8, value);
	}
}

static inline uint64_t dict(uint64_t table, uint64_t values)
{
	uint64_t at = get(64);

	put64(at + layout.ob_type, t_dict);
	put64(at + layout.dict_keys, table);
	put64(at + layout.dict_values, values);
	return at;
}

static inline uint64_t dict_of_one(const char *key, uint64_t value)
{
	uint64_t table = keys(1, 3, 1);

	put_entry(table, 1, 3, 0, string(key), value);
	return dict(table, 0);
}

/* PyDictValues with two places. */
static inline uint64_t values_at(uint64_t at, uint64_t first, uint64_t second)
{
	if (layout.values_valid != LS_ABSENT) {
		put8(at, 2);
		put8(at + layout.values_valid, 1);
	}
	put64(at + layout.values_first, first);
	put64(at + layout.values_first + 8, second);
	return at;
}

static inline uint64_t object_of(uint64_t of, size_t before, size_t size)
{
	uint64_t at = get(before + size) + before;

	put64(at + layout.ob_type, of);
	return at;
}

static inline void build(const struct py_layout *row)
{
	memset(arena, 0, ARENA);
	used = 4096;
	layout = *row;
	t_type = 0;
	t_type = type("type", F_TYPE, 0);
	put64(t_type + layout.ob_type, t_type);
	t_tuple = type("tuple", F_TUPLE, 0);
	t_str = type("str", F_STR, 0);
	t_int = type("int", F_LONG, 0);
	t_list = type("list", F_LIST, 0);
	t_dict = type("dict", F_DICT, 0);
	t_set = type("set", 0, 0);
	t_bytes = type("bytes", F_BYTES, 0);
	t_member = type("member_descriptor", 0, 0);
	/* The orders made so far had no type of tuples to point to. */
	for (size_t i = 0; i < 3; i++) {
		uint64_t of[] = { t_type, t_tuple, t_str }, order;

		order = tuple(&of[i], 1);
		put64(of[i] + layout.type_mro, order);
	}
}

static inline void each_layout(void (*check)(void))
{
	unsigned i;

	assert_true(py_layout_count >= 4);
	for (i = 0; i < py_layout_count; i++) {
		build(&py_layouts[i]);
		check();
	}
}

static inline int image_set_up(void **state)
{
	(void)state;
	arena = malloc(ARENA);
	if (!arena)
		return -1;
	range = (struct mem_range){ .address = BASE, .bytes = arena, .length = ARENA };
	py.layout = &layout;
	py.mem = mem_open_image(&range, 1);
	return py.mem ? 0 : -1;
}

static inline int image_tear_down(void **state)
{
	(void)state;
	mem_free((struct mem *)py.mem);
	free(arena);
	return 0;
}

#endif
