/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of the text report: as wide as their cells, cut to what a page has room for. */
#ifndef LS_TEXT_TABLE_H
#define LS_TEXT_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "export/text_page.h"

#define TABLE_COLUMNS 12	/* at most */

enum table_cut {
	CUT_NEVER,
	CUT_MIDDLE,	/* routes: both ends say something */
	CUT_LEFT,	/* paths: the end says most */
};

struct table_column {
	const char *title;
	bool right;		/* numbers */
	enum table_cut cut;
	unsigned optional;	/* where it is narrow 1 goes first, then 2, ...; 0 stays */
};

struct table_cell {
	char *text;	/* owned, clean */
	enum text_style style;
};

struct table {
	const struct table_column *columns;	/* borrowed */
	size_t column_count;
	struct {
		struct table_cell *items;	/* owned, row after row */
		size_t count, capacity;
	} cells;
	int error;	/* the first -errno; what comes after it is harmless */
};

struct table table_begin(const struct table_column *columns, size_t column_count);

/* The next cell of the row, or the first of the next one. */
__attribute__((format(printf, 3, 4)))
void table_cell(struct table *table, enum text_style style, const char *format, ...);

/* Prints title and rows, if there is a row, and frees the table. */
void table_end(struct page *page, struct table *table);

#endif
