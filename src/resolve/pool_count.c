// SPDX-License-Identifier: Apache-2.0
/* Numbers of pools, from attributes of their objects. */
#include "resolve/pool_count.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"

#define NO_LIMIT (1ll << 31)	/* redis: nobody asked for one */
#define MAX_ITEMS 512	/* that are looked at one by one */
#define TYPE_TUPLE_OR_LIST (1u << 25 | 1u << 26)	/* tp_flags, the same in 3.11 to 3.14 */
#define TYPE_DICT (1u << 29)
#define DEQUE_MAXLEN 64		/* Modules/_collectionsmodule.c: after five words of its own */

static int count_item(void *context, uint64_t key, uint64_t value)
{
	(void)key;
	(void)value;
	++*(int64_t *)context;
	return 0;
}

static int length_of(const struct py_reader *py, uint64_t object, int64_t *ret_length)
{
	uint64_t type, length;
	uint32_t flags;
	char name[32];
	int64_t items = 0;
	int error = py_type(py, object, &type);

	if (!error)
		error = mem_read_u32(py->mem, type + py->layout->type_flags, &flags);
	if (error)
		return error;
	if (flags & TYPE_TUPLE_OR_LIST) {
		ssize_t size = py_sequence_size(py, object);

		*ret_length = size;
		return size < 0 ? (int)size : 0;
	}
	if (flags & TYPE_DICT) {
		error = mem_read_u64(py->mem, object + py->layout->dict_used, &length);
		*ret_length = (int64_t)length;
		return error ? error : length > INT32_MAX ? -EPROTO : 0;
	}
	error = py_type_name(py, type, name, sizeof(name));
	if (error)
		return error;
	if (!strcmp(name, "collections.deque")) {
		error = mem_read_u64(py->mem, object + py->layout->var_size, &length);
		*ret_length = (int64_t)length;
		return error ? error : length > INT32_MAX ? -EPROTO : 0;
	}
	if (strcmp(name, "NoneType"))
		error = py_set_walk(py, object, count_item, &items);
	*ret_length = items;
	return error;
}

struct lengths {
	const struct py_reader *py;
	int64_t sum, longest, items;
};

static int add_length(void *context, uint64_t key, uint64_t value)
{
	struct lengths *lengths = context;
	int64_t length;
	int error;

	(void)key;
	if (++lengths->items > MAX_ITEMS)
		return -E2BIG;
	error = length_of(lengths->py, value, &length);
	if (error)
		return error;
	lengths->sum += length;
	if (length > lengths->longest)
		lengths->longest = length;
	return 0;
}

static int lengths_of(const struct py_reader *py, uint64_t dict, bool longest, int64_t *ret_count)
{
	struct lengths lengths = { .py = py };
	int error = py_dict_walk(py, dict, add_length, &lengths);

	*ret_count = longest ? lengths.longest : lengths.sum;
	return error;
}

/* Items whose attribute is None, or is not. */
static int count_items(const struct py_reader *py, uint64_t list, const char *attribute, bool none,
		       int64_t *ret_count)
{
	ssize_t size = py_sequence_size(py, list);
	uint64_t item, value, type, type_none = 0;
	int64_t count = 0;
	int error = 0;

	if (size < 0 || size > MAX_ITEMS)
		return size < 0 ? (int)size : -E2BIG;
	for (ssize_t i = 0; i < size && !error; i++) {
		error = py_sequence_item(py, list, (size_t)i, &item) ?:
			py_instance_attribute(py, item, attribute, &value) ?:
			py_type(py, value, &type);
		if (error)
			break;
		if (type != type_none && py_is(py, value, "NoneType"))
			type_none = type;
		count += (type == type_none) == none;
	}
	*ret_count = count;
	return error;
}

static int capacity_of(const struct py_reader *py, uint64_t deque, int64_t *ret_capacity)
{
	uint64_t value;
	int error;

	if (!py_is(py, deque, "collections.deque"))
		return -EPROTO;
	error = mem_read_u64(py->mem, deque + DEQUE_MAXLEN, &value);
	*ret_capacity = (int64_t)value;
	return error ? error : *ret_capacity <= 0 ? -ENOENT : 0;
}

static int count_term(const struct py_reader *py, const struct count_term *term, uint64_t object,
		      int64_t *ret_count)
{
	uint64_t value;
	int error = 0;

	*ret_count = 1;
	if (term->how != COUNT_ONE)
		error = py_instance_path(py, object, term->path, &value);
	if (error)
		return error;
	switch (term->how) {
	case COUNT_ONE:
		return 0;
	case COUNT_PRESENT:
		*ret_count = !py_is(py, value, "NoneType");
		return 0;
	case COUNT_INT:
		return py_long(py, value, ret_count);
	case COUNT_LIMIT:
		error = py_long(py, value, ret_count);
		return error ? error : *ret_count < 0 || *ret_count >= NO_LIMIT ? -ENOENT : 0;
	case COUNT_LENGTH:
		return length_of(py, value, ret_count);
	case COUNT_LENGTHS:
	case COUNT_LONGEST:
		return lengths_of(py, value, term->how == COUNT_LONGEST, ret_count);
	case COUNT_CAPACITY:
		return capacity_of(py, value, ret_count);
	case COUNT_SET:
	case COUNT_UNSET:
		return count_items(py, value, term->attribute, term->how == COUNT_UNSET,
				   ret_count);
	case COUNT_END:
		break;
	}
	return -EINVAL;
}

/* The sum of the terms; negative: not known. */
static int64_t sum(const struct py_reader *py, const struct count_term *terms, size_t room,
		   uint64_t object)
{
	int64_t total = 0, count = 0;

	if (terms[0].how == COUNT_END)
		return -1;
	for (size_t i = 0; i < room && terms[i].how != COUNT_END; i++) {
		if (count_term(py, &terms[i], object, &count))
			return -1;
		total += terms[i].sign * count;
	}
	return total < 0 ? -1 : total;
}

struct pool_numbers pool_count(const struct py_reader *py, const struct pool_counts *counts,
			       uint64_t object)
{
	struct pool_numbers numbers = {
		.size = sum(py, counts->size, COUNT_TERMS, object),
		.in_use = sum(py, counts->in_use, COUNT_TERMS, object),
		.waiting = sum(py, counts->waiting, COUNT_TERMS, object),
	};
	int64_t size = sum(py, &counts->key_size, 1, object), in_use;

	if (!numbers.size)	/* without a limit */
		numbers.size = -1;
	if (size <= 0 || (numbers.size >= 0 && numbers.in_use >= numbers.size))
		return numbers;
	in_use = sum(py, &counts->key_in_use, 1, object);
	if (in_use < size)
		return numbers;
	numbers.size = size;
	numbers.in_use = in_use;
	return numbers;
}
