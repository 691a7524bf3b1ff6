/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files that implement py_object.h only. */
#ifndef LS_PY_READ_H
#define LS_PY_READ_H

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "discover/py_object.h"

/* Names that are looked up; longer ones are never found. */
#define PY_MAX_NAME 128

/* tp_flags, the same in 3.11 to 3.14. */
#define PY_TYPE_INLINE_VALUES (1u << 2)
#define PY_TYPE_MANAGED_DICT (1u << 4)
#define PY_TYPE_HEAP (1u << 9)
#define PY_TYPE_LONG (1u << 24)
#define PY_TYPE_LIST (1u << 25)
#define PY_TYPE_TUPLE (1u << 26)
#define PY_TYPE_BYTES (1u << 27)
#define PY_TYPE_UNICODE (1u << 28)
#define PY_TYPE_DICT (1u << 29)
#define PY_TYPE_TYPE (1u << 31)

static inline uint64_t load_u64(const void *bytes, size_t offset)
{
	uint64_t value;

	memcpy(&value, (const char *)bytes + offset, sizeof(value));
	return value;
}

static inline uint32_t load_u32(const void *bytes, size_t offset)
{
	uint32_t value;

	memcpy(&value, (const char *)bytes + offset, sizeof(value));
	return value;
}

/* A pointer inside an object; -ENOENT when this interpreter has no such field. */
static inline int read_pointer(const struct py_reader *py, uint64_t object, uint16_t offset,
			       uint64_t *ret_value)
{
	if (offset == LS_ABSENT)
		return -ENOENT;
	if (!object)
		return -EFAULT;
	return mem_read_u64(py->mem, object + offset, ret_value);
}

/* How many bytes hold these four words; the offsets may come from the target. */
static inline size_t words_end(uint16_t a, uint16_t b, uint16_t c, uint16_t d)
{
	uint16_t ab = a > b ? a : b, cd = c > d ? c : d;

	return (size_t)(ab > cd ? ab : cd) + sizeof(uint64_t);
}

/* What instances need to know of their type, read at once. */
struct py_type_info {
	uint64_t type;
	uint32_t flags;
	int64_t basicsize, itemsize, dictoffset;
	uint64_t base, mro;
};

int py_type_info(const struct py_reader *py, uint64_t type, struct py_type_info *ret_info);

/* 0 when the object's type has one of these PY_TYPE_* flags, else -EPROTO. */
int py_check_flags(const struct py_reader *py, uint64_t object, uint32_t flags);

/*
 * First of `count` str objects (0: none there) that equals the ASCII `name`;
 * -ENOENT.  Reads them in batches.
 */
int py_find_name(const struct py_reader *py, const uint64_t *strings, size_t count,
		 const char *name, size_t *ret_index);

/* The items of a tuple or list in an array that the caller frees; their number or -errno. */
ssize_t py_sequence_items(const struct py_reader *py, uint64_t object, uint64_t **ret_items);

/* Method resolution order of a type, itself first; at most `max`; their number or -errno. */
ssize_t py_type_mro(const struct py_reader *py, uint64_t type, uint64_t *ret_types, size_t max);

/* Entries of a PyDictKeysObject. */
struct py_keys {
	uint64_t *keys;		/* owned, and the values in the same block */
	uint64_t *values;	/* of a combined table */
	size_t count;
	bool split;
};

int py_keys_load(const struct py_reader *py, uint64_t address, struct py_keys *ret_keys);
void py_keys_free(struct py_keys *keys);

/* Value `index` of PyDictValues; -ENOENT when it is not set. */
int py_values_get(const struct py_reader *py, uint64_t values, size_t index,
		  uint64_t *ret_value);

#endif
