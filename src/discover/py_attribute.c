// SPDX-License-Identifier: Apache-2.0
/* Attributes of objects and types, and what code objects say of themselves. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "discover/py_object.h"
#include "discover/py_read.h"

#define PY_MAX_WRAPPERS 16
#define PY_MAX_PATH 16

/* PyMemberDef.type of members that hold an object. */
#define MEMBER_TYPE_OFFSET 8
#define MEMBER_OBJECT 6
#define MEMBER_OBJECT_EX 16

/* staticmethod and classmethod: the callable follows the object's head. */
#define WRAPPER_CALLABLE 16

ssize_t py_type_mro(const struct py_reader *py, uint64_t type, uint64_t *ret_types, size_t max)
{
	_cleanup_free_ uint64_t *items = NULL;
	struct py_type_info info;
	size_t count = 0;
	ssize_t length;
	int error;

	error = py_type_info(py, type, &info);
	if (error)
		return error;
	if (info.mro) {
		length = py_sequence_items(py, info.mro, &items);
		if (length < 0)
			return length;
		if ((size_t)length > max)
			return -E2BIG;
		memcpy(ret_types, items, (size_t)length * sizeof(*items));
		return length;
	}
	/* A type that is not ready yet has no order, only bases. */
	while (type && count < max) {
		error = py_type_info(py, type, &info);
		if (error)
			return error;
		ret_types[count++] = type;
		type = info.base;
	}
	return type ? -E2BIG : (ssize_t)count;
}

int py_type_attribute(const struct py_reader *py, uint64_t type, const char *name,
		      uint64_t *ret_value)
{
	uint64_t types[PY_MAX_BASES], dicts[PY_MAX_BASES] = {};
	struct mem_piece pieces[PY_MAX_BASES];
	ssize_t count, i;
	int error;

	count = py_type_mro(py, type, types, PY_MAX_BASES);
	if (count < 0)
		return (int)count;
	for (i = 0; i < count; i++)
		pieces[i] = (struct mem_piece){ .address = types[i] + py->layout->type_dict,
						.buffer = &dicts[i],
						.length = sizeof(dicts[i]) };
	mem_read_pieces(py->mem, pieces, (size_t)count);
	for (i = 0; i < count; i++) {
		if (pieces[i].error)
			return pieces[i].error;
		/* From 3.12 on the built-in types keep theirs in the interpreter. */
		if (!dicts[i])
			continue;
		error = py_dict_get(py, dicts[i], name, ret_value);
		if (error != -ENOENT)
			return error;
	}
	return -ENOENT;
}

static int cached_keys(const struct py_reader *py, const struct py_type_info *type,
		       const char *name, size_t *ret_index)
{
	struct py_keys keys;
	uint64_t address;
	int error;

	if (!(type->flags & PY_TYPE_HEAP))
		return -ENOENT;
	error = read_pointer(py, type->type, py->layout->type_cached_keys, &address);
	if (error)
		return error;
	if (!address)
		return -ENOENT;
	error = py_keys_load(py, address, &keys);
	if (error)
		return error;
	error = py_find_name(py, keys.keys, keys.count, name, ret_index);
	py_keys_free(&keys);
	return error;
}

int py_type_shared_index(const struct py_reader *py, uint64_t type, const char *name,
			 uint32_t *ret_index)
{
	struct py_type_info info;
	size_t index = 0;
	int error;

	error = py_type_info(py, type, &info);
	if (!error)
		error = cached_keys(py, &info, name, &index);
	if (!error)
		*ret_index = (uint32_t)index;
	return error;
}

int py_type_slot_offset(const struct py_reader *py, uint64_t type, const char *name,
			uint32_t *ret_offset)
{
	uint64_t descriptor, member, offset;
	uint32_t kind;
	int error;

	error = py_type_attribute(py, type, name, &descriptor);
	if (error)
		return error;
	if (!py_is(py, descriptor, "member_descriptor"))
		return -ENOENT;
	error = read_pointer(py, descriptor, py->layout->member_descr_member, &member);
	if (!error)
		error = mem_read_u32(py->mem, member + MEMBER_TYPE_OFFSET, &kind);
	if (!error)
		error = read_pointer(py, member, py->layout->member_def_offset, &offset);
	if (error)
		return error;
	if (kind != MEMBER_OBJECT && kind != MEMBER_OBJECT_EX)
		return -ENOENT;
	if (offset > UINT16_MAX)
		return -EPROTO;
	*ret_offset = (uint32_t)offset;
	return 0;
}

/*
 * Where an instance with a managed dictionary keeps its attributes: values by
 * index of the type's shared keys, or a dictionary.  Either may be 0.
 */
static int managed_storage(const struct py_reader *py, uint64_t object,
			   const struct py_type_info *type, uint64_t *ret_values,
			   uint64_t *ret_dict)
{
	const struct py_layout *at = py->layout;
	uint64_t words[2], head;
	int error;

	/* The words at -32 and -24, in front of the collector's head. */
	error = mem_read(py->mem, object - 32, words, sizeof(words));
	if (error)
		return error;
	*ret_values = 0;
	*ret_dict = words[1];
	switch (at->managed_dict) {
	case LS_DICT_VALUES_PTR:
		*ret_values = words[0];
		return 0;
	case LS_DICT_TAGGED:
		if (words[1] & 1) {
			*ret_values = words[1] + 1;
			*ret_dict = 0;
		}
		return 0;
	case LS_DICT_INLINE:
		if (!(type->flags & PY_TYPE_INLINE_VALUES))
			return 0;
		if (type->basicsize <= 0 || type->basicsize > UINT16_MAX ||
		    at->values_valid >= sizeof(head))
			return -EPROTO;
		error = mem_read_u64(py->mem, object + (uint64_t)type->basicsize, &head);
		if (error)
			return error;
		if (head >> 8 * at->values_valid & 1)
			*ret_values = object + (uint64_t)type->basicsize;
		return 0;
	}
	return -EPROTO;
}

/* Address of the word that points to the dictionary of an instance; -ENOENT: it has none. */
static int dict_word(const struct py_reader *py, uint64_t object, const struct py_type_info *type,
		     uint64_t *ret_address)
{
	int64_t offset = type->dictoffset, items;
	uint64_t size;
	int error;

	if (!offset)
		return -ENOENT;
	if (offset > UINT16_MAX || offset < -UINT16_MAX)
		return -EPROTO;
	if (offset < 0) {
		/* Counted from the end of an object of variable size. */
		error = mem_read_u64(py->mem, object + py->layout->var_size, &size);
		if (error)
			return error;
		items = (int64_t)size;
		if (items < -PY_MAX_ITEMS || items > PY_MAX_ITEMS || type->itemsize < 0 ||
		    type->itemsize > UINT16_MAX || type->basicsize < 0 ||
		    type->basicsize > UINT16_MAX)
			return -EPROTO;
		items = items < 0 ? -items : items;
		offset += (type->basicsize + items * type->itemsize + 7) & ~7ll;
		if (offset <= 0)
			return -EPROTO;
	}
	*ret_address = object + (uint64_t)offset;
	return 0;
}

static int dictionary_attribute(const struct py_reader *py, uint64_t object,
				const struct py_type_info *type, const char *name,
				uint64_t *ret_value)
{
	uint64_t values = 0, dict = 0, word;
	size_t index = 0;
	int error;

	if (type->flags & PY_TYPE_MANAGED_DICT) {
		error = managed_storage(py, object, type, &values, &dict);
		if (!error && values) {
			error = cached_keys(py, type, name, &index);
			return error ? error : py_values_get(py, values, index, ret_value);
		}
	} else {
		error = dict_word(py, object, type, &word);
		if (!error)
			error = mem_read_u64(py->mem, word, &dict);
	}
	if (error)
		return error;
	return dict ? py_dict_get(py, dict, name, ret_value) : -ENOENT;
}

int py_instance_attribute(const struct py_reader *py, uint64_t object, const char *name,
			  uint64_t *ret_value)
{
	struct py_type_info info;
	uint64_t type, value;
	uint32_t offset;
	int error;

	error = py_type(py, object, &type);
	if (!error)
		error = py_type_info(py, type, &info);
	if (!error)
		error = dictionary_attribute(py, object, &info, name, ret_value);
	if (error != -ENOENT)
		return error;
	error = py_type_slot_offset(py, type, name, &offset);
	if (!error)
		error = mem_read_u64(py->mem, object + offset, &value);
	if (error)
		return error;
	if (!value)
		return -ENOENT;
	*ret_value = value;
	return 0;
}

int py_attribute(const struct py_reader *py, uint64_t object, const char *name,
		 uint64_t *ret_value)
{
	uint64_t type;
	int error;

	if (!py_check_flags(py, object, PY_TYPE_TYPE))
		return py_type_attribute(py, object, name, ret_value);
	error = py_instance_attribute(py, object, name, ret_value);
	if (error != -ENOENT)
		return error;
	error = py_type(py, object, &type);
	return error ? error : py_type_attribute(py, type, name, ret_value);
}

static int follow(const struct py_reader *py, uint64_t object, const char *path,
		  int (*get)(const struct py_reader *py, uint64_t object, const char *name,
			     uint64_t *ret_value),
		  uint64_t *ret_value)
{
	char name[PY_MAX_NAME];
	size_t length;
	int i, error;

	for (i = 0; i < PY_MAX_PATH; i++) {
		length = strcspn(path, ".");
		if (!length || length >= sizeof(name))
			return -EINVAL;
		memcpy(name, path, length);
		name[length] = '\0';
		error = get(py, object, name, &object);
		if (error)
			return error;
		path += length;
		if (!*path++) {
			*ret_value = object;
			return 0;
		}
	}
	return -E2BIG;
}

int py_path(const struct py_reader *py, uint64_t object, const char *path, uint64_t *ret_value)
{
	return follow(py, object, path, py_attribute, ret_value);
}

int py_instance_path(const struct py_reader *py, uint64_t object, const char *path,
		     uint64_t *ret_value)
{
	return follow(py, object, path, py_instance_attribute, ret_value);
}

int py_callable_code(const struct py_reader *py, uint64_t callable, uint64_t *ret_code)
{
	const struct py_layout *at = py->layout;
	char name[32];
	uint64_t type, code;
	int i, error;

	for (i = 0; i < PY_MAX_WRAPPERS; i++) {
		error = py_type(py, callable, &type);
		if (!error)
			error = py_type_name(py, type, name, sizeof(name));
		if (error)
			return error;
		if (strcmp(name, "function") == 0) {
			error = read_pointer(py, callable, at->function_code, &code);
			if (!error && !py_is(py, code, "code"))
				error = -EPROTO;
			if (!error)
				*ret_code = code;
			return error;
		}
		if (strcmp(name, "method") == 0)
			error = read_pointer(py, callable, at->method_func, &callable);
		else if (strcmp(name, "functools.partial") == 0)
			error = read_pointer(py, callable, at->partial_fn, &callable);
		else if (strcmp(name, "staticmethod") == 0 || strcmp(name, "classmethod") == 0)
			error = read_pointer(py, callable, WRAPPER_CALLABLE, &callable);
		else
			return -ENOENT;
		if (error)
			return error;
	}
	return -E2BIG;
}

int py_code_local(const struct py_reader *py, uint64_t code, const char *name,
		  uint32_t *ret_index)
{
	_cleanup_free_ uint64_t *names = NULL;
	uint64_t tuple;
	size_t index = 0;
	ssize_t count;
	int error;

	error = read_pointer(py, code, py->layout->code_localsplusnames, &tuple);
	if (error)
		return error;
	count = py_sequence_items(py, tuple, &names);
	if (count < 0)
		return (int)count;
	error = py_find_name(py, names, (size_t)count, name, &index);
	if (!error)
		*ret_index = (uint32_t)index;
	return error;
}

/* Reads the word at `offset` of each of `count` objects into `values`, 0 where it cannot. */
static int read_words(const struct py_reader *py, const uint64_t *objects, uint64_t *values,
		      size_t count, uint16_t offset)
{
	_cleanup_free_ struct mem_piece *pieces = calloc(count + 1, sizeof(*pieces));
	size_t i;

	if (!pieces)
		return -ENOMEM;
	for (i = 0; i < count; i++)
		pieces[i] = (struct mem_piece){ .address = objects[i] ? objects[i] + offset : 0,
						.buffer = &values[i],
						.length = sizeof(values[i]) };
	mem_read_pieces(py->mem, pieces, count);
	for (i = 0; i < count; i++)
		if (pieces[i].error)
			values[i] = 0;
	return 0;
}

int py_code_nested(const struct py_reader *py, uint64_t code, const char *name,
		   uint64_t *ret_code)
{
	_cleanup_free_ uint64_t *consts = NULL, *words = NULL;
	uint64_t tuple, type;
	size_t index = 0, i;
	ssize_t count;
	int error;

	error = py_type(py, code, &type);
	if (!error)
		error = read_pointer(py, code, py->layout->code_consts, &tuple);
	if (error)
		return error;
	count = py_sequence_items(py, tuple, &consts);
	if (count < 0)
		return (int)count;
	words = calloc((size_t)count + 1, sizeof(*words));
	if (!words)
		return -ENOMEM;
	error = read_words(py, consts, words, (size_t)count, py->layout->ob_type);
	if (error)
		return error;
	for (i = 0; i < (size_t)count; i++)
		if (words[i] != type)
			consts[i] = 0;
	error = read_words(py, consts, words, (size_t)count, py->layout->code_name);
	if (!error)
		error = py_find_name(py, words, (size_t)count, name, &index);
	if (!error)
		*ret_code = consts[index];
	return error;
}
