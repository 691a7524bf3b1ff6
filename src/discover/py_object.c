// SPDX-License-Identifier: Apache-2.0
/* Scalars, sequences and types of a live CPython. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/intern.h"
#include "base/mem.h"
#include "discover/py_object.h"
#include "discover/py_read.h"

#define PY_MAX_HEADER 96	/* enough for every struct that precedes the data of an object */
#define PY_INTERN_BYTES 4096

int py_type(const struct py_reader *py, uint64_t object, uint64_t *ret_type)
{
	return read_pointer(py, object, py->layout->ob_type, ret_type);
}

int py_type_name(const struct py_reader *py, uint64_t type, char *buffer, size_t size)
{
	uint64_t name;
	ssize_t length;
	int error;

	error = read_pointer(py, type, py->layout->type_name, &name);
	if (error)
		return error;
	length = mem_read_string(py->mem, name, buffer, size);
	return length < 0 ? (int)length : 0;
}

bool py_is(const struct py_reader *py, uint64_t object, const char *type_name)
{
	char name[PY_MAX_NAME];
	uint64_t type;

	if (py_type(py, object, &type) || py_type_name(py, type, name, sizeof(name)))
		return false;
	return strcmp(name, type_name) == 0;
}

int py_type_info(const struct py_reader *py, uint64_t type, struct py_type_info *ret_info)
{
	const struct py_layout *at = py->layout;
	uint8_t bytes[512];
	size_t length = at->type_mro + sizeof(uint64_t);
	int error;

	if (!type)
		return -EFAULT;
	if (length > sizeof(bytes) || at->type_flags + 8u > length ||
	    at->type_basicsize + 8u > length || at->type_itemsize + 8u > length ||
	    at->type_dictoffset + 8u > length || at->type_base + 8u > length)
		return -EPROTO;
	error = mem_read(py->mem, type, bytes, length);
	if (error)
		return error;
	*ret_info = (struct py_type_info){
		.type = type,
		.flags = load_u32(bytes, at->type_flags),
		.basicsize = (int64_t)load_u64(bytes, at->type_basicsize),
		.itemsize = (int64_t)load_u64(bytes, at->type_itemsize),
		.dictoffset = (int64_t)load_u64(bytes, at->type_dictoffset),
		.base = load_u64(bytes, at->type_base),
		.mro = load_u64(bytes, at->type_mro),
	};
	return 0;
}

int py_check_flags(const struct py_reader *py, uint64_t object, uint32_t flags)
{
	uint64_t type;
	uint32_t have;
	int error;

	error = py_type(py, object, &type);
	if (error)
		return error;
	error = mem_read_u32(py->mem, type + py->layout->type_flags, &have);
	if (error)
		return error;
	return have & flags ? 0 : -EPROTO;
}

/* The head of an object and, in the same system call as its data, the flags of its type. */
static int read_typed(const struct py_reader *py, uint64_t type, uint32_t flags,
		      uint64_t address, void *buffer, size_t length)
{
	uint32_t have = 0;
	struct mem_piece pieces[2] = {
		{ .address = type + py->layout->type_flags, .buffer = &have,
		  .length = sizeof(have) },
		{ .address = address, .buffer = buffer, .length = (uint32_t)length },
	};

	if (length > MEM_MAX_READ)
		return -E2BIG;
	mem_read_pieces(py->mem, pieces, length ? 2 : 1);
	if (pieces[0].error)
		return pieces[0].error;
	if (!(have & flags))
		return -EPROTO;
	return length ? pieces[1].error : 0;
}

static int read_header(const struct py_reader *py, uint64_t object, uint8_t *header, size_t length)
{
	if (!object)
		return -EFAULT;
	if (length > PY_MAX_HEADER)
		return -EPROTO;
	return mem_read(py->mem, object, header, length);
}

struct string_info {
	uint64_t type;
	uint64_t data;
	uint64_t length;	/* in characters */
	unsigned kind;		/* bytes per character */
	bool ascii;
};

static int string_info(const struct py_reader *py, uint64_t object, struct string_info *ret_info)
{
	const struct py_layout *at = py->layout;
	uint8_t header[PY_MAX_HEADER];
	struct string_info info = {};
	uint32_t state;
	int error;

	error = read_header(py, object, header, words_end(at->ob_type, at->unicode_length,
							  at->unicode_state, 0));
	if (error)
		return error;
	info.type = load_u64(header, at->ob_type);
	info.length = load_u64(header, at->unicode_length);
	state = load_u32(header, at->unicode_state);
	info.kind = state >> 2 & 7;
	info.ascii = state & 1u << 6;
	if ((info.kind != 1 && info.kind != 2 && info.kind != 4) || info.length > INT64_MAX / 8 ||
	    (info.ascii && info.kind != 1))
		return -EPROTO;
	if (state & 1u << 5)
		info.data = object + (info.ascii ? at->unicode_ascii : at->unicode_compact);
	else
		error = mem_read_u64(py->mem, object + at->unicode_data, &info.data);
	if (error)
		return error;
	*ret_info = info;
	return 0;
}

static size_t encode_utf8(uint32_t c, char *out)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c >= 0xd800 && c < 0xe000)
		c = 0xfffd;	/* a lone surrogate has no UTF-8 */
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

static uint32_t char_at(const void *data, size_t index, unsigned kind)
{
	uint16_t wide;

	if (kind == 1)
		return ((const uint8_t *)data)[index];
	if (kind == 4)
		return load_u32(data, index * 4);
	memcpy(&wide, (const char *)data + index * 2, sizeof(wide));
	return wide;
}

/* Length of the text or -EPROTO; whole characters only. */
static ssize_t to_utf8(const void *data, size_t count, unsigned kind, char *buffer, size_t size)
{
	size_t used = 0, length, i;
	char bytes[4];
	uint32_t c;

	for (i = 0; kind == 4 && i < count; i++)
		if (char_at(data, i, kind) > 0x10ffff)
			return -EPROTO;
	for (i = 0; i < count; i++) {
		c = char_at(data, i, kind);
		length = encode_utf8(c, bytes);
		if (used + length >= size)
			break;
		memcpy(buffer + used, bytes, length);
		used += length;
	}
	buffer[used] = '\0';
	return (ssize_t)used;
}

ssize_t py_string(const struct py_reader *py, uint64_t object, char *buffer, size_t size)
{
	_cleanup_free_ uint8_t *heap = NULL;
	struct string_info info;
	uint8_t stack[1024], *data = stack;
	size_t count;
	int error;

	if (!size)
		return -EINVAL;
	error = string_info(py, object, &info);
	if (error)
		return error;
	/* No character takes less than one byte of the buffer. */
	count = info.length < size - 1 ? info.length : size - 1;
	if (count > MEM_MAX_READ / 4)
		count = MEM_MAX_READ / 4;
	if (count * info.kind > sizeof(stack)) {
		heap = malloc(count * info.kind);
		if (!heap)
			return -ENOMEM;
		data = heap;
	}
	error = read_typed(py, info.type, PY_TYPE_UNICODE, info.data, data, count * info.kind);
	if (error)
		return error;
	return to_utf8(data, count, info.kind, buffer, size);
}

const char *py_string_intern(const struct py_reader *py, uint64_t object)
{
	char buffer[PY_INTERN_BYTES + 1];
	ssize_t length;

	length = py_string(py, object, buffer, sizeof(buffer));
	return length < 0 ? NULL : intern_bytes(buffer, (size_t)length);
}

/* Number of digits and sign, which 3.12 moved into one word. */
static int long_shape(const struct py_layout *at, uint64_t tag, size_t *ret_digits,
		      bool *ret_negative)
{
	int64_t count = (int64_t)tag;

	if (at->version >= 0x030c) {
		if ((tag & 3) == 3)
			return -EPROTO;
		*ret_negative = (tag & 3) == 2;
		*ret_digits = (tag & 3) == 1 ? 0 : tag >> 3;
	} else {
		*ret_negative = count < 0;
		*ret_digits = count < 0 ? -(size_t)count : (size_t)count;
	}
	return 0;
}

int py_long(const struct py_reader *py, uint64_t object, int64_t *ret_value)
{
	const struct py_layout *at = py->layout;
	uint8_t header[PY_MAX_HEADER];
	uint32_t digits[3];
	unsigned __int128 value = 0;
	size_t count, i;
	bool negative;
	int error;

	error = read_header(py, object, header, words_end(at->ob_type, at->long_tag, 0, 0));
	if (!error)
		error = long_shape(at, load_u64(header, at->long_tag), &count, &negative);
	if (error)
		return error;
	error = read_typed(py, load_u64(header, at->ob_type), PY_TYPE_LONG,
			   object + at->long_digit, digits,
			   count > 3 ? 0 : count * sizeof(digits[0]));
	if (error)
		return error;
	if (count > 3)
		return -ERANGE;
	for (i = count; i > 0; i--) {
		if (digits[i - 1] >> 30)
			return -EPROTO;
		value = value << 30 | digits[i - 1];
	}
	if (value > (unsigned __int128)INT64_MAX + negative)
		return -ERANGE;
	*ret_value = negative ? (int64_t)(0 - (uint64_t)value) : (int64_t)value;
	return 0;
}

ssize_t py_bytes(const struct py_reader *py, uint64_t object, void *buffer, size_t size)
{
	const struct py_layout *at = py->layout;
	uint8_t header[PY_MAX_HEADER];
	uint64_t length;
	int error;

	error = read_header(py, object, header, words_end(at->ob_type, at->var_size, 0, 0));
	if (error)
		return error;
	length = load_u64(header, at->var_size);
	if (length > INT64_MAX)
		return -EPROTO;
	error = read_typed(py, load_u64(header, at->ob_type), PY_TYPE_BYTES,
			   object + at->bytes_data, buffer, length < size ? length : size);
	return error ? error : (ssize_t)length;
}

/* Where the items of a tuple or list are, and their number. */
static ssize_t sequence_info(const struct py_reader *py, uint64_t object, uint64_t *ret_items)
{
	const struct py_layout *at = py->layout;
	uint8_t header[PY_MAX_HEADER];
	uint64_t count, items = 0;
	uint32_t flags;
	int error;

	error = read_header(py, object, header, words_end(at->ob_type, at->var_size, 0, 0));
	if (!error)
		error = mem_read_u32(py->mem, load_u64(header, at->ob_type) + at->type_flags,
				     &flags);
	if (error)
		return error;
	count = load_u64(header, at->var_size);
	if (flags & PY_TYPE_TUPLE)
		items = object + at->tuple_items;
	else if (!(flags & PY_TYPE_LIST) || count > INT64_MAX)
		return -EPROTO;
	else if (count)
		error = mem_read_u64(py->mem, object + at->list_items, &items);
	if (error)
		return error;
	if (count > PY_MAX_ITEMS)
		return -E2BIG;
	*ret_items = items;
	return (ssize_t)count;
}

ssize_t py_sequence_size(const struct py_reader *py, uint64_t object)
{
	uint64_t items;

	return sequence_info(py, object, &items);
}

int py_sequence_item(const struct py_reader *py, uint64_t object, size_t index,
		     uint64_t *ret_item)
{
	uint64_t items = 0;
	ssize_t count = sequence_info(py, object, &items);

	if (count < 0)
		return (int)count;
	if (index >= (size_t)count)
		return -ENOENT;
	return mem_read_u64(py->mem, items + index * sizeof(uint64_t), ret_item);
}

ssize_t py_sequence_items(const struct py_reader *py, uint64_t object, uint64_t **ret_items)
{
	_cleanup_free_ uint64_t *copy = NULL;
	uint64_t items = 0;
	ssize_t count = sequence_info(py, object, &items);
	int error = 0;

	if (count < 0)
		return count;
	copy = calloc((size_t)count + 1, sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	if (count)
		error = mem_read(py->mem, items, copy, (size_t)count * sizeof(*copy));
	if (error)
		return error;
	*ret_items = copy;
	copy = NULL;
	return count;
}

#define FIND_BATCH 32

int py_find_name(const struct py_reader *py, const uint64_t *strings, size_t count,
		 const char *name, size_t *ret_index)
{
	const struct py_layout *at = py->layout;
	uint8_t heads[FIND_BATCH][PY_MAX_HEADER + PY_MAX_NAME];
	struct mem_piece pieces[FIND_BATCH];
	size_t length = strlen(name), base, batch, i;
	uint32_t state;

	if (length >= PY_MAX_NAME)
		return -ENOENT;
	if (at->unicode_ascii > PY_MAX_HEADER ||
	    words_end(at->unicode_length, at->unicode_state, 0, 0) > at->unicode_ascii)
		return -EPROTO;
	for (base = 0; base < count; base += batch) {
		batch = count - base < FIND_BATCH ? count - base : FIND_BATCH;
		for (i = 0; i < batch; i++)
			pieces[i] = (struct mem_piece){
				.address = strings[base + i], .buffer = heads[i],
				.length = (uint32_t)(at->unicode_ascii + length) };
		mem_read_pieces(py->mem, pieces, batch);
		for (i = 0; i < batch; i++) {
			/* One that ends before these bytes do is shorter: no match. */
			if (!strings[base + i] || pieces[i].error)
				continue;
			state = load_u32(heads[i], at->unicode_state);
			if (load_u64(heads[i], at->unicode_length) != length ||
			    (state & (7u << 2 | 1u << 5 | 1u << 6)) !=
				    (1u << 2 | 1u << 5 | 1u << 6) ||
			    memcmp(heads[i] + at->unicode_ascii, name, length) != 0 ||
			    py_check_flags(py, strings[base + i], PY_TYPE_UNICODE))
				continue;
			*ret_index = base + i;
			return 0;
		}
	}
	return -ENOENT;
}
