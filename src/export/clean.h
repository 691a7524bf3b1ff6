/* SPDX-License-Identifier: Apache-2.0 */
/* Strings of a target, made fit for an output: they may hold any bytes. */
#ifndef LS_CLEAN_H
#define LS_CLEAN_H

#include <stddef.h>
#include <stdio.h>

struct place;

enum clean_for {
	CLEAN_UTF8,	/* bytes that are no UTF-8 become U+FFFD, the rest stays */
	CLEAN_PRINT,	/* what steers a terminal or is not allowed in XML becomes '?', too */
};

/* A copy, owned by the caller; NULL stays NULL, and means out of memory otherwise. */
char *clean_text(const char *text, enum clean_for purpose);

/* Columns of clean text, one per code point. */
size_t clean_width(const char *text);

/* The byte at which column `columns` of clean text begins, at most its end. */
size_t clean_prefix(const char *text, size_t columns);

/* Writes clean text with the five characters escaped that XML gives a meaning. */
void xml_escape(FILE *out, const char *text);

/* The qualified name of a place, its function, or "?"; not cleaned. */
const char *location_name(const struct place *location);

#endif
