/* SPDX-License-Identifier: Apache-2.0 */
/* Questions about strings that several stages ask. */
#ifndef LS_TEXT_H
#define LS_TEXT_H

#include <stdbool.h>
#include <string.h>

static inline bool text_ends_with(const char *text, const char *tail)
{
	size_t length = strlen(text), size = strlen(tail);

	return length >= size && !strcmp(text + length - size, tail);
}

/* Equal, or both NULL. */
static inline bool text_same(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

#endif
