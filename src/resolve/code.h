/* SPDX-License-Identifier: Apache-2.0 */
/* Code objects -> file, function, qualified name, line. One cache per process. */
#ifndef LS_CODE_H
#define LS_CODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "events.h"

struct py_reader;

enum code_origin {
	CODE_APPLICATION,
	CODE_STDLIB,
	CODE_LIBRARY,	/* site-packages, dist-packages */
	CODE_FROZEN,	/* <frozen ...>, <string>, ... */
};

struct code_info {
	const char *file, *function, *qualname;	/* interned; "" when unreadable */
	uint32_t first_line;
	uint32_t flags;		/* co_flags */
	uint32_t check;
	uint32_t first_traceable;	/* in 2-byte units */
	enum code_origin origin;
	bool stale;		/* its address held another code object by the time it was read */
	uint8_t *line_table;	/* owned by the cache */
	uint32_t line_table_size;
};

/* A frame as everything after resolve knows it. All borrowed from the cache or interned. */
struct frame {
	const struct code_info *code;	/* never NULL: unreadable frames have one of their own */
	uint32_t line;		/* 0: not known */
	uint8_t owner;
};

struct code_cache;	/* opaque */

/* Where application code and libraries are told apart; lists are borrowed, NULL-terminated. */
struct code_options {
	const char *stdlib_path;	/* of the target, may be NULL */
	const char *const *app_paths;	/* --app-path: counts as application */
	const char *const *library_paths;	/* --library-path: counts as library */
};

struct code_cache *code_cache_new(const struct py_reader *py, const struct code_options *options);
void code_cache_free(struct code_cache *cache);

/*
 * The code object at `address` whose check word was `check` when the event was
 * made (0: do not compare).  Never NULL except when out of memory.  A mismatch gives
 * an info with `stale` set and no names.
 */
const struct code_info *code_cache_get(struct code_cache *cache, uint64_t address,
				       uint32_t check);

/*
 * Resolves the frames of a record into `frames` (room for `size`), leaf first,
 * leaving out frames that are not Python code or have not begun ("incomplete").
 * Reads all that is unknown in few system calls.  Returns how many.
 */
size_t code_cache_resolve(struct code_cache *cache, const struct frame_record *records,
			  size_t count, struct frame *frames, size_t size);

/*
 * Line of an instruction: `unit` is its offset in 2-byte units, `minor` the
 * version.  3.11+ location tables; 3.10 and older tables as well (for them
 * `unit` is what NOTES call the address / 2).  0 when there is none.
 */
uint32_t line_of_instruction(const uint8_t *table, size_t size, uint32_t first_line,
			     uint32_t unit, unsigned minor);

/* The check word; the same function as the probes use (bpf/py_frames.bpf.h). */
uint32_t code_check_word(uint32_t first_line, uint32_t flags, uint64_t file, uint64_t name,
			 uint64_t line_table);

#endif
