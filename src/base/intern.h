/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interned strings: equal text, equal pointer, valid until the program ends.
 * Whoever holds one may compare by address and never frees it.
 */
#ifndef LS_INTERN_H
#define LS_INTERN_H

#include <stddef.h>

/* The interned copy of `length` bytes (control bytes become '?'); NULL when out of memory. */
const char *intern_bytes(const char *text, size_t length);

/* The interned copy of a string; NULL stays NULL. */
const char *intern(const char *text);

#endif
