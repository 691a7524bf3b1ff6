/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of the text report: routes, what they waited for, and who had to wait. */
#ifndef LS_TEXT_ROUTES_H
#define LS_TEXT_ROUTES_H

#include <stddef.h>

struct page;
struct report;
struct selection;

/* Rows of each table, of `awaits` for each route; SIZE_MAX: all of them. */
struct table_limits {
	size_t routes, awaits, websockets, dependencies, injected, middleware, victims, pools;
};

extern const struct table_limits limits_all, limits_usual, limits_narrow;

/* Tables without rows are left out; an empty line follows each. */
void text_routes(struct page *page, const struct report *report,
		 const struct selection *selection, const struct table_limits *limits);

#endif
