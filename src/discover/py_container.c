// SPDX-License-Identifier: Apache-2.0
/* Dictionaries, their key tables and sets of a live CPython, and the modules. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "discover/py_object.h"
#include "discover/py_read.h"

/* dk_kind */
enum {
	KEYS_GENERAL = 0,	/* entries of hash, key, value */
	KEYS_UNICODE = 1,	/* entries of key, value */
	KEYS_SPLIT = 2,		/* the same, the values are elsewhere */
};

#define KEYS_MAX_HEADER 64
#define KEYS_MAX_INDEX_LOG2 22
#define SET_MAX_SLOTS (4u * PY_MAX_ITEMS)
#define SET_BATCH 1024
#define SET_DUMMY_HASH UINT64_MAX

void py_keys_free(struct py_keys *keys)
{
	free(keys->keys);
	keys->keys = keys->values = NULL;
}

int py_keys_load(const struct py_reader *py, uint64_t address, struct py_keys *ret_keys)
{
	const struct py_layout *at = py->layout;
	uint8_t header[KEYS_MAX_HEADER];
	_cleanup_free_ uint8_t *table = NULL;
	size_t stride, count, first, need, i;
	uint8_t kind, index_log2;
	uint64_t *block;
	int error;

	if (!address)
		return -EFAULT;
	need = words_end(at->keys_log2_size, at->keys_log2_index_bytes, at->keys_kind,
			 at->keys_nentries);
	if (need > sizeof(header))
		return -EPROTO;
	error = mem_read(py->mem, address, header, need);
	if (error)
		return error;
	kind = header[at->keys_kind];
	index_log2 = header[at->keys_log2_index_bytes];
	count = load_u64(header, at->keys_nentries);
	if (kind > KEYS_SPLIT || index_log2 > KEYS_MAX_INDEX_LOG2 ||
	    header[at->keys_log2_size] > KEYS_MAX_INDEX_LOG2 ||
	    count > 1ull << header[at->keys_log2_size])
		return -EPROTO;
	if (count > PY_MAX_ITEMS)
		return -E2BIG;
	stride = kind == KEYS_GENERAL ? 24 : 16;
	first = kind == KEYS_GENERAL ? 8 : 0;
	table = malloc(count * stride + 1);
	block = calloc(count * 2 + 1, sizeof(*block));
	if (!table || !block)
		error = -ENOMEM;
	else if (count)
		error = mem_read(py->mem, address + at->keys_indices + (1ull << index_log2), table,
				 count * stride);
	if (error) {
		free(block);
		return error;
	}
	for (i = 0; i < count; i++) {
		block[i] = load_u64(table, i * stride + first);
		block[count + i] = load_u64(table, i * stride + first + 8);
	}
	*ret_keys = (struct py_keys){
		.keys = block,
		.values = block + count,
		.count = count,
		.split = kind == KEYS_SPLIT,
	};
	return 0;
}

int py_values_get(const struct py_reader *py, uint64_t values, size_t index,
		  uint64_t *ret_value)
{
	const struct py_layout *at = py->layout;
	uint8_t head[8];
	uint64_t value;
	int error;

	if (!values)
		return -EFAULT;
	/* 3.13+: the first byte is the number of places. */
	if (at->values_valid != LS_ABSENT) {
		error = mem_read(py->mem, values, head, sizeof(head));
		if (error)
			return error;
		if (index >= head[0])
			return -ENOENT;
	}
	error = mem_read_u64(py->mem, values + at->values_first + index * sizeof(value), &value);
	if (error)
		return error;
	if (!value)
		return -ENOENT;
	*ret_value = value;
	return 0;
}

/* Key table of a dict, and where its values are when they are not in it. */
static int dict_load(const struct py_reader *py, uint64_t dict, struct py_keys *ret_keys,
		     uint64_t *ret_values)
{
	const struct py_layout *at = py->layout;
	uint8_t header[KEYS_MAX_HEADER];
	size_t length = words_end(at->ob_type, at->dict_keys, at->dict_values, 0);
	struct py_keys keys;
	uint64_t values;
	uint32_t flags;
	int error;

	if (!dict)
		return -EFAULT;
	if (length > sizeof(header))
		return -EPROTO;
	error = mem_read(py->mem, dict, header, length);
	if (!error)
		error = mem_read_u32(py->mem, load_u64(header, at->ob_type) + at->type_flags,
				     &flags);
	if (error)
		return error;
	if (!(flags & PY_TYPE_DICT))
		return -EPROTO;
	error = py_keys_load(py, load_u64(header, at->dict_keys), &keys);
	if (error)
		return error;
	values = load_u64(header, at->dict_values);
	if (keys.split != !!values) {	/* torn: read while it was converted */
		py_keys_free(&keys);
		return -EPROTO;
	}
	*ret_keys = keys;
	*ret_values = values;
	return 0;
}

static int dict_value(const struct py_reader *py, const struct py_keys *keys, uint64_t values,
		      size_t index, uint64_t *ret_value)
{
	if (values)
		return py_values_get(py, values, index, ret_value);
	if (!keys->values[index])
		return -ENOENT;
	*ret_value = keys->values[index];
	return 0;
}

int py_dict_walk(const struct py_reader *py, uint64_t dict, py_dict_each each, void *context)
{
	struct py_keys keys;
	uint64_t values, value;
	size_t i;
	int result;

	result = dict_load(py, dict, &keys, &values);
	if (result)
		return result;
	for (i = 0; i < keys.count && !result; i++) {
		if (!keys.keys[i])
			continue;
		result = dict_value(py, &keys, values, i, &value);
		if (result == -ENOENT)
			result = 0;
		else if (!result)
			result = each(context, keys.keys[i], value);
	}
	py_keys_free(&keys);
	return result;
}

int py_dict_get(const struct py_reader *py, uint64_t dict, const char *key,
		uint64_t *ret_value)
{
	struct py_keys keys;
	uint64_t values;
	size_t i, index = 0;
	int error;

	error = dict_load(py, dict, &keys, &values);
	if (error)
		return error;
	/* Deleted entries keep their place, not their value. */
	for (i = 0; !values && i < keys.count; i++)
		if (!keys.values[i])
			keys.keys[i] = 0;
	error = py_find_name(py, keys.keys, keys.count, key, &index);
	if (!error)
		error = dict_value(py, &keys, values, index, ret_value);
	py_keys_free(&keys);
	return error;
}

/* The fields of `set` and `frozenset` are the same, neither has a flag in its type. */
static int check_set(const struct py_reader *py, uint64_t set)
{
	uint64_t types[PY_MAX_BASES], type;
	char name[16];
	ssize_t count, i;
	int error;

	error = py_type(py, set, &type);
	if (error)
		return error;
	count = py_type_mro(py, type, types, PY_MAX_BASES);
	if (count < 0)
		return (int)count;
	for (i = 0; i < count; i++) {
		error = py_type_name(py, types[i], name, sizeof(name));
		if (error)
			return error;
		if (strcmp(name, "set") == 0 || strcmp(name, "frozenset") == 0)
			return 0;
	}
	return -EPROTO;
}

int py_set_walk(const struct py_reader *py, uint64_t set, py_dict_each each, void *context)
{
	const struct py_layout *at = py->layout;
	uint64_t slots[SET_BATCH][2];	/* key, hash */
	uint64_t mask, table, i, batch, j, items = 0;
	int result;

	result = check_set(py, set);
	if (!result)
		result = read_pointer(py, set, at->set_mask, &mask);
	if (!result)
		result = read_pointer(py, set, at->set_table, &table);
	if (result)
		return result;
	if (mask & (mask + 1))
		return -EPROTO;
	if (mask >= SET_MAX_SLOTS)
		return -E2BIG;
	for (i = 0; i <= mask; i += batch) {
		batch = mask + 1 - i < SET_BATCH ? mask + 1 - i : SET_BATCH;
		result = mem_read(py->mem, table + i * sizeof(slots[0]), slots,
				  batch * sizeof(slots[0]));
		for (j = 0; j < batch && !result; j++) {
			if (!slots[j][0] || slots[j][1] == SET_DUMMY_HASH)
				continue;
			if (++items > PY_MAX_ITEMS)
				return -E2BIG;
			result = each(context, slots[j][0], 0);
		}
		if (result)
			return result;
	}
	return 0;
}

int py_module(const struct py_reader *py, uint64_t interp, const char *name,
	      uint64_t *ret_module)
{
	uint64_t modules;
	int error;

	error = read_pointer(py, interp, py->layout->interp_modules, &modules);
	if (error)
		return error;
	if (!modules)	/* the interpreter is starting */
		return -ENOENT;
	return py_dict_get(py, modules, name, ret_module);
}

int py_module_attribute(const struct py_reader *py, uint64_t module, const char *name,
			uint64_t *ret_value)
{
	uint64_t dict;
	int error;

	error = read_pointer(py, module, py->layout->module_dict, &dict);
	return error ? error : py_dict_get(py, dict, name, ret_value);
}
