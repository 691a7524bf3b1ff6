/* SPDX-License-Identifier: Apache-2.0 */
/* Instruction pointers -> library and symbol. */
#ifndef LS_NATIVE_H
#define LS_NATIVE_H

#include <stdint.h>

struct target;
struct native_cache;	/* opaque: ELF images by path and inode */

struct native_cache *native_cache_new(void);
void native_cache_free(struct native_cache *cache);

/*
 * "library" or "library:symbol" of an address in a process, interned; NULL for
 * anonymous memory and for the interpreter's own evaluation of Python code (so that
 * only what an extension or C library does is named).
 */
const char *native_name(struct native_cache *cache, struct target *target, uint64_t ip);

#endif
