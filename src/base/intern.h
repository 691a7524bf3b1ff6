/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interned strings: equal text, equal pointer, valid until the program ends.
 * Whoever holds one may compare by address and never frees it.
 */
#ifndef LS_INTERN_H
#define LS_INTERN_H

#include <stddef.h>
#include <stdint.h>

/* The interned copy of `length` bytes (control bytes become '?'); NULL when out of memory. */
const char *intern_bytes(const char *text, size_t length);

/* The interned copy of a string; NULL stays NULL. */
const char *intern(const char *text);

#define INTERN_PASSING_MAX 16384
#define INTERN_OTHER "_other"

/*
 * The same for names that a program makes up as it goes, of tasks, threads, files: only so
 * many different ones are kept, any further one is INTERN_OTHER.
 */
const char *intern_passing(const char *text);

/* How often that was so. */
uint64_t intern_others(void);

#endif
