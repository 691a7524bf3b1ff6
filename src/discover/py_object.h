/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects of a live CPython, read from outside.  Everything is bounded: strings
 * by the buffer, containers by PY_MAX_ITEMS, chains of types by PY_MAX_BASES.
 * Functions return 0 or -errno and leave their outputs untouched on failure;
 * -ENOENT means "not there", -EFAULT unreadable, -EPROTO "cannot be right".
 */
#ifndef LS_PY_OBJECT_H
#define LS_PY_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "target_config.h"

#define PY_MAX_ITEMS 65536
#define PY_MAX_BASES 64

struct mem;

/* How to read one interpreter; both borrowed. */
struct py_reader {
	const struct mem *mem;
	const struct py_layout *layout;
};

/* Type of an object; its name ("dict", "_asyncio.Task", "APIRoute"). */
int py_type(const struct py_reader *py, uint64_t object, uint64_t *ret_type);
int py_type_name(const struct py_reader *py, uint64_t type, char *buffer, size_t size);

/* True when the type of the object has this tp_name. */
bool py_is(const struct py_reader *py, uint64_t object, const char *type_name);

/* A str as UTF-8, cut at the buffer; returns its length or -errno. */
ssize_t py_string(const struct py_reader *py, uint64_t object, char *buffer, size_t size);

/* The same, interned; NULL when it is no readable str. At most 4,096 bytes. */
const char *py_string_intern(const struct py_reader *py, uint64_t object);

/* An int that fits; 0, -ERANGE, -errno. */
int py_long(const struct py_reader *py, uint64_t object, int64_t *ret_value);

/* bytes: reads up to `size`; returns its full length or -errno. */
ssize_t py_bytes(const struct py_reader *py, uint64_t object, void *buffer, size_t size);

/* tuple or list (subclasses too): number of items; item `index`. */
ssize_t py_sequence_size(const struct py_reader *py, uint64_t object);
int py_sequence_item(const struct py_reader *py, uint64_t object, size_t index,
		     uint64_t *ret_item);

/*
 * Calls `each` for every entry of a dict until it returns non-zero, which is
 * then returned.  Handles combined, unicode and split tables.
 */
typedef int (*py_dict_each)(void *context, uint64_t key, uint64_t value);
int py_dict_walk(const struct py_reader *py, uint64_t dict, py_dict_each each, void *context);

/* Value of a str key. */
int py_dict_get(const struct py_reader *py, uint64_t dict, const char *key,
		uint64_t *ret_value);

/* Calls `each(context, item, 0)` for every item of a set or frozenset. */
int py_set_walk(const struct py_reader *py, uint64_t set, py_dict_each each, void *context);

/*
 * Instance attribute by name: inline values, managed and plain dictionaries,
 * __slots__, then class attributes along tp_mro.
 */
int py_attribute(const struct py_reader *py, uint64_t object, const char *name,
		 uint64_t *ret_value);

/* The same, skipping class attributes. */
int py_instance_attribute(const struct py_reader *py, uint64_t object, const char *name,
			  uint64_t *ret_value);

/* "a.b.c" from an object on. */
int py_path(const struct py_reader *py, uint64_t object, const char *path,
	    uint64_t *ret_value);

/* The same along attributes of instances only. */
int py_instance_path(const struct py_reader *py, uint64_t object, const char *path,
		     uint64_t *ret_value);

/* A class attribute or function found along tp_mro of a type. */
int py_type_attribute(const struct py_reader *py, uint64_t type, const char *name,
		      uint64_t *ret_value);

/*
 * Index of `name` in the shared keys of a heap type's instances (the index of
 * its value, too); -ENOENT when no instance has set it yet.
 */
int py_type_shared_index(const struct py_reader *py, uint64_t type, const char *name,
			 uint32_t *ret_index);

/* Offset in instances of a __slots__ member of a type or its bases; -ENOENT. */
int py_type_slot_offset(const struct py_reader *py, uint64_t type, const char *name,
			uint32_t *ret_offset);

/* Code object of a function, bound method, partial or staticmethod/classmethod wrapper. */
int py_callable_code(const struct py_reader *py, uint64_t callable, uint64_t *ret_code);

/* Index of a local variable (or cell, or free variable) of a code object; -ENOENT. */
int py_code_local(const struct py_reader *py, uint64_t code, const char *name,
		  uint32_t *ret_index);

/* Code object with this co_name among the constants of another one, in order; -ENOENT. */
int py_code_nested(const struct py_reader *py, uint64_t code, const char *name,
		   uint64_t *ret_code);

/* An imported module ("uvicorn.server") of an interpreter; -ENOENT when not imported. */
int py_module(const struct py_reader *py, uint64_t interp, const char *name,
	      uint64_t *ret_module);

/* Attribute of a module's dictionary. */
int py_module_attribute(const struct py_reader *py, uint64_t module, const char *name,
			uint64_t *ret_value);

#endif
