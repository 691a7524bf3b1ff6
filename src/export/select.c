// SPDX-License-Identifier: Apache-2.0
#include "export/select.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "detect/finding.h"
#include "export/exporter.h"

/* Columns of --sort: the largest value first. "worst" is the order of the report. */
#define SORT_COLUMNS(X) \
	X(total, finding->duration.total) \
	X(max, finding->duration.max) \
	X(p99, finding->duration.p99) \
	X(mean, finding->duration.mean) \
	X(count, finding->count) \
	X(requests, finding->requests) \
	X(lag, finding->loop_lag.max)

#define X(name, value)                                                \
	static uint64_t value_of_##name(const struct finding *finding) \
	{                                                             \
		return value;                                         \
	}
SORT_COLUMNS(X)
#undef X

static const struct {
	const char *name;
	uint64_t (*value)(const struct finding *finding);
} columns[] = {
	{ "worst", NULL },
#define X(name, value) { #name, value_of_##name },
	SORT_COLUMNS(X)
#undef X
};

#define COLUMN_COUNT (sizeof(columns) / sizeof(columns[0]))

static size_t column_index(const char *name)
{
	size_t i;

	for (i = 0; i < COLUMN_COUNT; i++)
		if (!strcmp(columns[i].name, name))
			break;
	return i;
}

bool sort_column_known(const char *name)
{
	return column_index(name) < COLUMN_COUNT;
}

const char *sort_columns(void)
{
#define X(name, value) ", " #name
	return "worst" SORT_COLUMNS(X);
#undef X
}

/* The pattern may be of the template ("/items/...") or of method and template. */
static bool shown(const struct finding *finding, const char *glob)
{
	char both[512];

	if (!glob)
		return true;
	if (!finding->route)
		return false;
	if (!fnmatch(glob, finding->route, 0))
		return true;
	snprintf(both, sizeof(both), "%s %s", finding->method ? finding->method : "",
		 finding->route);
	return !fnmatch(glob, both, 0);
}

/* Insertion keeps the order of equal ones; findings are tens, not thousands. */
static void sort(struct selection *selection,
		 uint64_t (*value)(const struct finding *finding))
{
	for (size_t i = 1; i < selection->count; i++) {
		const struct finding *moved = selection->items[i];
		size_t at = i;

		for (; at && value(selection->items[at - 1]) < value(moved); at--)
			selection->items[at] = selection->items[at - 1];
		selection->items[at] = moved;
	}
}

int selection_make(const struct report *report, const struct export_options *options,
		   struct selection *ret_selection)
{
	size_t column = options->sort ? column_index(options->sort) : 0;
	struct selection selection = { 0 };

	if (column == COLUMN_COUNT)
		return -EINVAL;
	selection.items = calloc(report->finding_count + 1, sizeof(*selection.items));
	if (!selection.items)
		return -ENOMEM;
	for (size_t i = 0; i < report->finding_count; i++)
		if (shown(&report->findings[i], options->route_glob))
			selection.items[selection.count++] = &report->findings[i];
	if (columns[column].value)
		sort(&selection, columns[column].value);
	*ret_selection = selection;
	return 0;
}

void selection_free(struct selection *selection)
{
	free(selection->items);
	selection->items = NULL;
	selection->count = 0;
}
