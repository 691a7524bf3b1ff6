/* SPDX-License-Identifier: Apache-2.0 */
/* The routes of one application, mounts and included routers walked. */
#ifndef LS_ROUTE_TABLE_H
#define LS_ROUTE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define ROUTE_MAX 20000	/* routes of one application */

struct py_reader;

struct route_entry {
	const char *route;	/* interned full template */
	const char *methods;	/* interned " GET POST ", NULL: any */
	uint64_t object;	/* route object */
	uint64_t endpoint;	/* endpoint, or application of a mount */
	pcre2_code *regex;	/* owned, NULL until a path was matched; see route_table_match() */
	const char *path;	/* interned full path with converters, to make regex of */
	bool websocket, mount;
	bool code_known;	/* `code` is that of the endpoint, 0: it has none */
	uint64_t code;
};

struct app_prefix {
	uint64_t app;
	const char *prefix;	/* interned */
};

struct route_table {
	struct route_entry *items;
	size_t count, capacity;
	struct {
		struct app_prefix *items;
		size_t count, capacity;
	} apps;
};

/* Fills the table from a router (Router.routes). 0, -ENOENT (no routes there), -ENOMEM. */
int route_table_read(const struct py_reader *py, uint64_t router, struct route_table *table);
void route_table_free(struct route_table *table);

/* The route that a path would take: first full match, else first match of the path; or NULL. */
const struct route_entry *route_table_match(struct route_table *table, const char *method,
					    bool websocket, const char *path);

/* The same for a path of which only the beginning is known; NULL as well: there are several. */
const struct route_entry *route_table_match_cut(struct route_table *table, const char *method,
						bool websocket, const char *path);

/*
 * Entry of an endpoint or mounted application, NULL when there is none; `ret_several`: other
 * routes lead to it as well.
 */
const struct route_entry *route_table_endpoint(const struct route_table *table, uint64_t endpoint,
					       bool *ret_several);

/* Entry of a route object, NULL when there is none; `ret_several`: it is mounted more than once. */
const struct route_entry *route_table_object(const struct route_table *table, uint64_t object,
					     bool *ret_several);

/*
 * Full prefix of a mounted application, NULL when it is none; `ret_several`: it is mounted
 * at another place as well.
 */
const char *route_table_prefix(const struct route_table *table, uint64_t app, bool *ret_several);

#endif
