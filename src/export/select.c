// SPDX-License-Identifier: Apache-2.0
#include "export/select.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "detect/finding.h"
#include "export/exporter.h"

/* Columns of --sort: the largest value first. */
#define SORT_COLUMNS(X) \
	X(total, (double)route->latency.total) \
	X(requests, (double)route->requests) \
	X(errors, (double)route->errors) \
	X(p50, (double)route->latency.p50) \
	X(p90, (double)route->latency.p90) \
	X(p99, (double)route->latency.p99) \
	X(max, (double)route->latency.max) \
	X(loop, route->loop_share)

#define X(name, value)                                                    \
	static double value_of_##name(const struct route_summary *route) \
	{                                                                 \
		return value;                                             \
	}
SORT_COLUMNS(X)
#undef X

static const struct {
	const char *name;
	double (*value)(const struct route_summary *route);
} columns[] = {
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
	static const char names[] =
#define X(name, value) ", " #name
		SORT_COLUMNS(X);
#undef X

	return names + strlen(", ");
}

/* The pattern may be of the template ("/items/...") or of method and template. */
static bool shown(const char *glob, const char *method, const char *route, int *error)
{
	_cleanup_free_ char *both = NULL;

	if (!glob)
		return true;
	if (!route)
		return false;
	if (!fnmatch(glob, route, 0))
		return true;
	if (!method)
		return false;
	if (asprintf(&both, "%s %s", method, route) < 0) {
		both = NULL;
		*error = -ENOMEM;
		return false;
	}
	return !fnmatch(glob, both, 0);
}

/* Where rows of a report have their names; `method` 0: websockets, which have none. */
struct row_kind {
	size_t size, route, method;
};

#define ROW_KIND(type) { sizeof(struct type), offsetof(struct type, route), \
			 offsetof(struct type, method) }

static const struct row_kind finding_rows = ROW_KIND(finding);
static const struct row_kind route_rows = ROW_KIND(route_summary);
static const struct row_kind dependency_rows = ROW_KIND(dependency_summary);
static const struct row_kind callable_rows = ROW_KIND(callable_summary);
static const struct row_kind websocket_rows = {
	sizeof(struct websocket_summary), offsetof(struct websocket_summary, route), 0,
};

/* An owned array of pointers to the rows that are shown, in the same order. */
static void *pick(const char *glob, const void *rows, size_t count, const struct row_kind *kind,
		  size_t *ret_count, int *error)
{
	const void **picked = calloc(count + 1, sizeof(*picked));

	if (!picked) {
		*error = -ENOMEM;
		return NULL;
	}
	for (size_t i = 0; i < count; i++) {
		const char *row = (const char *)rows + i * kind->size, *route, *method = "WS";

		memcpy(&route, row + kind->route, sizeof(route));
		if (kind->method)
			memcpy(&method, row + kind->method, sizeof(method));
		if (shown(glob, method, route, error))
			memcpy(&picked[(*ret_count)++], &row, sizeof(row));
	}
	return picked;
}

struct order {
	const struct route_summary *route;
	double value;
	size_t index;
};

static int by_value(const void *a, const void *b)
{
	const struct order *one = a, *other = b;

	if (one->value != other->value)
		return one->value > other->value ? -1 : 1;
	return one->index < other->index ? -1 : 1;
}

/* Equal ones stay in the order of the report. */
static int sort(struct selection *selection,
		double (*value)(const struct route_summary *route))
{
	_cleanup_free_ struct order *order = calloc(selection->route_count + 1, sizeof(*order));

	if (!order)
		return -ENOMEM;
	for (size_t i = 0; i < selection->route_count; i++)
		order[i] = (struct order){ selection->routes[i], value(selection->routes[i]), i };
	qsort(order, selection->route_count, sizeof(*order), by_value);
	for (size_t i = 0; i < selection->route_count; i++)
		selection->routes[i] = order[i].route;
	return 0;
}

int selection_make(const struct report *report, const struct export_options *options,
		   struct selection *ret_selection)
{
	size_t column = options->sort ? column_index(options->sort) : 0;
	const char *glob = options->route_glob;
	struct selection all = { 0 };
	int error = 0;

	if (column == COLUMN_COUNT)
		return -EINVAL;
	all.findings = pick(glob, report->findings, report->finding_count, &finding_rows,
			    &all.finding_count, &error);
	all.routes = pick(glob, report->routes, report->route_count, &route_rows,
			  &all.route_count, &error);
	all.websockets = pick(glob, report->websockets, report->websocket_count,
			      &websocket_rows, &all.websocket_count, &error);
	all.dependencies = pick(glob, report->dependencies, report->dependency_count,
				&dependency_rows, &all.dependency_count, &error);
	all.injected = pick(glob, report->injected, report->injected_count, &callable_rows,
			    &all.injected_count, &error);
	all.middleware = pick(glob, report->middleware, report->middleware_count,
			      &callable_rows, &all.middleware_count, &error);
	if (!error)
		error = sort(&all, columns[column].value);
	if (error)
		selection_free(&all);
	else
		*ret_selection = all;
	return error;
}

void selection_free(struct selection *selection)
{
	free(selection->findings);
	free(selection->routes);
	free(selection->websockets);
	free(selection->dependencies);
	free(selection->injected);
	free(selection->middleware);
	memset(selection, 0, sizeof(*selection));
}
