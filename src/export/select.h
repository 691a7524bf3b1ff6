/* SPDX-License-Identifier: Apache-2.0 */
/* What of a report an output shows, in which order: --route and --sort. */
#ifndef LS_SELECT_H
#define LS_SELECT_H

#include <stdbool.h>
#include <stddef.h>

struct callable_summary;
struct dependency_summary;
struct export_options;
struct finding;
struct report;
struct route_summary;
struct websocket_summary;

/* Owned arrays of what is borrowed from the report. */
struct selection {
	const struct finding **findings;	/* worst first */
	const struct route_summary **routes;	/* as --sort says */
	const struct websocket_summary **websockets;
	const struct dependency_summary **dependencies;
	const struct callable_summary **injected, **middleware;
	size_t finding_count, route_count, websocket_count, dependency_count;
	size_t injected_count, middleware_count;
};

/*
 * Victims of a finding that is shown are all shown.  0, -ENOMEM, or -EINVAL when
 * options->sort is no column.
 */
int selection_make(const struct report *report, const struct export_options *options,
		   struct selection *ret_selection);
void selection_free(struct selection *selection);

/* True for what --sort takes; all of them, separated by commas, the default first. */
bool sort_column_known(const char *name);
const char *sort_columns(void);

#endif
