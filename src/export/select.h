/* SPDX-License-Identifier: Apache-2.0 */
/* Which findings an output shows, in which order. */
#ifndef LS_SELECT_H
#define LS_SELECT_H

#include <stdbool.h>
#include <stddef.h>

struct export_options;
struct finding;
struct report;

struct selection {
	const struct finding **items;	/* owned array of findings borrowed from the report */
	size_t count;
};

/* 0, -ENOMEM, or -EINVAL when options->sort is no column. */
int selection_make(const struct report *report, const struct export_options *options,
		   struct selection *ret_selection);
void selection_free(struct selection *selection);

/* True for what --sort takes; all of them, separated by commas. */
bool sort_column_known(const char *name);
const char *sort_columns(void);

#endif
