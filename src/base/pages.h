/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many small reads that lie near each other: what is wanted of a page at once,
 * and many pages with one system call.  What was read stays until pages_clear().
 */
#ifndef LS_PAGES_H
#define LS_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

struct pages;	/* opaque */

/* At most `limit` pages are held at a time.  `mem` is borrowed.  NULL: out of memory. */
struct pages *pages_new(const struct mem *mem, size_t limit);
void pages_free(struct pages *pages);
void pages_clear(struct pages *pages);

/* Notes what pages_load() is to read; false: no room for it. */
bool pages_want(struct pages *pages, uint64_t address, size_t length);
void pages_load(struct pages *pages);

/*
 * The bytes at `address`: in place, or in `buffer` when they are on two pages.
 * Reads what was not loaded, at once.  NULL: not readable.
 */
const uint8_t *pages_at(struct pages *pages, uint64_t address, size_t length, void *buffer);

/* As mem_read(). */
int pages_read(struct pages *pages, uint64_t address, void *buffer, size_t length);

/* How many of `length` bytes, at most a page, can be read from `address` on. */
size_t pages_readable(struct pages *pages, uint64_t address, size_t length);

#endif
