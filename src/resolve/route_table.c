// SPDX-License-Identifier: Apache-2.0
#include "resolve/route_table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/intern.h"
#include "base/vec.h"
#include "discover/py_object.h"

#define MAX_DEPTH 8	/* mounts and included routers inside each other */
#define MAX_PATH_TEXT 1024
#define MATCH_LIMIT 100000	/* steps of one match: a hostile pattern ends */

struct walk {
	const struct py_reader *py;
	struct route_table *table;
	char prefix[MAX_PATH_TEXT];	/* template */
	char path[MAX_PATH_TEXT];	/* with converters */
	unsigned depth;
};

static int walk_routes(struct walk *walk, uint64_t routes);

static int attribute_text(const struct py_reader *py, uint64_t object, const char *name,
			  char *buffer, size_t size)
{
	uint64_t value;
	int error = py_attribute(py, object, name, &value);

	if (error)
		return error;
	return py_string(py, value, buffer, size) < 0 ? -EPROTO : 0;
}

static int add_method(void *context, uint64_t item, uint64_t unused)
{
	char *text = ((void **)context)[0], method[24];
	size_t used = strlen(text);

	(void)unused;
	if (py_string(((void **)context)[1], item, method, sizeof(method)) > 0 && used < 200)
		snprintf(text + used, 256 - used, "%s ", method);
	return 0;
}

static const char *methods_of(const struct py_reader *py, uint64_t route)
{
	char text[256] = " ";
	void *context[2] = { text, (void *)(uintptr_t)py };
	uint64_t methods;

	if (py_attribute(py, route, "methods", &methods) ||
	    py_set_walk(py, methods, add_method, context) || !text[1])
		return NULL;
	return intern(text);
}

static int add_entry(struct walk *walk, uint64_t object, uint64_t endpoint,
		     const char *format, const char *path, bool mount)
{
	struct route_table *table = walk->table;
	char text[2 * MAX_PATH_TEXT];
	struct route_entry entry = { .object = object, .endpoint = endpoint, .mount = mount };
	uint64_t unused;
	int error = vec_grow(table, ROUTE_MAX);

	if (error)
		return error;
	snprintf(text, sizeof(text), "%s%s", walk->prefix, format);
	entry.route = intern(text);
	snprintf(text, sizeof(text), "%s%s", walk->path, path);
	entry.path = intern(text);
	if (!mount) {
		entry.methods = methods_of(walk->py, object);
		entry.websocket = !entry.methods &&
				  py_attribute(walk->py, object, "methods", &unused);
	}
	table->items[table->count++] = entry;
	return 0;
}

/* The application behind a mount: middleware around it is looked through. */
static int walk_app(struct walk *walk, uint64_t app)
{
	struct route_table *table = walk->table;
	uint64_t routes, next;
	int error;

	for (int i = 0; i < MAX_DEPTH; i++) {
		error = vec_reserve((void **)&table->apps.items, &table->apps.capacity,
				    table->apps.count + 1, sizeof(*table->apps.items), ROUTE_MAX);
		if (error)
			return error;
		table->apps.items[table->apps.count++] =
			(struct app_prefix){ app, intern(walk->prefix) };
		if (!py_path(walk->py, app, "router.routes", &routes) ||
		    !py_attribute(walk->py, app, "routes", &routes))
			return walk_routes(walk, routes);
		if (py_instance_attribute(walk->py, app, "app", &next) || next == app)
			return 0;
		app = next;
	}
	return 0;
}

/* Walks deeper with something added to the prefix. */
static int walk_below(struct walk *walk, const char *format, const char *path, uint64_t routes,
		      uint64_t app)
{
	size_t prefix = strlen(walk->prefix), full = strlen(walk->path);
	int error;

	if (walk->depth >= MAX_DEPTH)
		return 0;
	snprintf(walk->prefix + prefix, sizeof(walk->prefix) - prefix, "%s", format);
	snprintf(walk->path + full, sizeof(walk->path) - full, "%s", path);
	walk->depth++;
	error = app ? walk_app(walk, app) : walk_routes(walk, routes);
	walk->depth--;
	walk->prefix[prefix] = '\0';
	walk->path[full] = '\0';
	return error;
}

static int walk_mount(struct walk *walk, uint64_t mount, uint64_t app, const char *path)
{
	char format[MAX_PATH_TEXT], below[MAX_PATH_TEXT];
	int error;

	/* routes inside come first, then everything else below the mount */
	error = walk_below(walk, path, path, 0, app);
	if (error)
		return error;
	snprintf(format, sizeof(format), "%.900s/{path}", path);
	snprintf(below, sizeof(below), "%.900s/{path:path}", path);
	return add_entry(walk, mount, app, format, below, true);
}

static int walk_route(struct walk *walk, uint64_t route)
{
	char path[MAX_PATH_TEXT], format[MAX_PATH_TEXT];
	uint64_t endpoint, app, routes;

	if (!py_path(walk->py, route, "original_router.routes", &routes)) {
		if (py_path(walk->py, route, "include_context.prefix", &app) ||
		    py_string(walk->py, app, path, sizeof(path)) < 0)
			path[0] = '\0';
		return walk_below(walk, path, path, routes, 0);
	}
	if (attribute_text(walk->py, route, "path", path, sizeof(path)))
		return 0; /* Host and the like: not told by path */
	if (!py_attribute(walk->py, route, "endpoint", &endpoint)) {
		if (attribute_text(walk->py, route, "path_format", format, sizeof(format)))
			memcpy(format, path, sizeof(format));
		return add_entry(walk, route, endpoint, format, path, false);
	}
	if (!py_attribute(walk->py, route, "app", &app))
		return walk_mount(walk, route, app, path);
	return 0;
}

static int walk_routes(struct walk *walk, uint64_t routes)
{
	ssize_t count = py_sequence_size(walk->py, routes);

	for (ssize_t i = 0; i < count && i < ROUTE_MAX; i++) {
		uint64_t route;
		int error;

		if (py_sequence_item(walk->py, routes, (size_t)i, &route))
			continue;
		error = walk_route(walk, route);
		if (error)
			return error;
	}
	return 0;
}

int route_table_read(const struct py_reader *py, uint64_t router, struct route_table *table)
{
	struct walk walk = { .py = py, .table = table };
	uint64_t routes;

	if (py_attribute(py, router, "routes", &routes))
		return -ENOENT;
	return walk_routes(&walk, routes);
}

void route_table_free(struct route_table *table)
{
	for (size_t i = 0; i < table->count; i++)
		pcre2_code_free(table->items[i].regex);
	free(table->items);
	free(table->apps.items);
	memset(table, 0, sizeof(*table));
}

/* Starlette's converters; unknown ones match like str. */
static const char *converter_regex(const char *name, size_t length)
{
	static const struct {
		const char *name, *regex;
	} known[] = {
		{ "path", ".*" },
		{ "int", "[0-9]+" },
		{ "float", "[0-9]+(?:\\.[0-9]+)?" },
		{ "uuid", "[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?"
			  "[0-9a-fA-F]{12}" },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strlen(known[i].name) == length && !memcmp(known[i].name, name, length))
			return known[i].regex;
	return "[^/]+";
}

static pcre2_code *compile_path(const char *path)
{
	char pattern[8192];
	size_t used = 0;
	int number;
	PCRE2_SIZE offset;

	used += (size_t)snprintf(pattern, sizeof(pattern), "^");
	while (*path && used < sizeof(pattern) - 256) {
		const char *end = *path == '{' ? strchr(path, '}') : NULL;

		if (end) {
			const char *colon = memchr(path, ':', (size_t)(end - path));
			const char *name = colon ? colon + 1 : "str";

			used += (size_t)snprintf(pattern + used, sizeof(pattern) - used, "%s",
						 converter_regex(name, colon ? (size_t)(end - name)
									     : 3));
			path = end + 1;
			continue;
		}
		if (!strchr("/_-", *path) && !((*path | 32) >= 'a' && (*path | 32) <= 'z') &&
		    !(*path >= '0' && *path <= '9') && !(*path & 0x80))
			pattern[used++] = '\\';
		pattern[used++] = *path++;
	}
	snprintf(pattern + used, sizeof(pattern) - used, "$");
	return pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_DOLLAR_ENDONLY,
			     &number, &offset, NULL);
}

/* `cut`: there may be more of the path. */
static bool entry_matches(struct route_entry *entry, const char *path, bool cut)
{
	pcre2_match_context *limits = pcre2_match_context_create(NULL);
	pcre2_match_data *data;
	int found = -1;

	if (!entry->regex)
		entry->regex = compile_path(entry->path);
	data = entry->regex ? pcre2_match_data_create(1, NULL) : NULL;
	if (data && limits) {
		pcre2_set_match_limit(limits, MATCH_LIMIT);
		found = pcre2_match(entry->regex, (PCRE2_SPTR)path, strlen(path), 0,
				    cut ? PCRE2_PARTIAL_HARD : 0, data, limits);
	}
	pcre2_match_data_free(data);
	pcre2_match_context_free(limits);
	return cut ? found == PCRE2_ERROR_PARTIAL : found >= 0;
}

static bool method_allowed(const struct route_entry *entry, const char *method)
{
	char text[40];

	if (!entry->methods || !method)
		return true;
	snprintf(text, sizeof(text), " %s ", method);
	return strstr(entry->methods, text) != NULL;
}

const struct route_entry *route_table_match(struct route_table *table, const char *method,
					    bool websocket, const char *path)
{
	const struct route_entry *partial = NULL;

	for (size_t i = 0; i < table->count; i++) {
		struct route_entry *entry = &table->items[i];

		if (!entry->path || (!entry->mount && entry->websocket != websocket) ||
		    (partial && !method_allowed(entry, method)) ||
		    !entry_matches(entry, path, false))
			continue;
		if (method_allowed(entry, method))
			return entry;
		partial = entry;
	}
	return partial;
}

const struct route_entry *route_table_match_cut(struct route_table *table, const char *method,
						bool websocket, const char *path)
{
	const struct route_entry *found = NULL;

	for (size_t i = 0; i < table->count; i++) {
		struct route_entry *entry = &table->items[i];

		if (!entry->path || entry->mount || entry->websocket != websocket ||
		    !method_allowed(entry, method) || !entry_matches(entry, path, true))
			continue;
		if (found && found->route != entry->route)
			return NULL;
		found = entry;
	}
	return found;
}

const struct route_entry *route_table_endpoint(const struct route_table *table, uint64_t endpoint,
					       bool *ret_several)
{
	const struct route_entry *found = NULL;

	*ret_several = false;
	for (size_t i = 0; endpoint && i < table->count; i++) {
		if (table->items[i].endpoint != endpoint)
			continue;
		*ret_several |= found && found->route != table->items[i].route;
		if (!found)
			found = &table->items[i];
	}
	return found;
}

const struct route_entry *route_table_object(const struct route_table *table, uint64_t object,
					     bool *ret_several)
{
	const struct route_entry *found = NULL;

	*ret_several = false;
	for (size_t i = 0; object && i < table->count; i++) {
		if (table->items[i].object != object)
			continue;
		*ret_several |= found && found->route != table->items[i].route;
		if (!found)
			found = &table->items[i];
	}
	return found;
}

const char *route_table_prefix(const struct route_table *table, uint64_t app, bool *ret_several)
{
	const char *found = NULL;

	*ret_several = false;
	for (size_t i = 0; app && i < table->apps.count; i++) {
		if (table->apps.items[i].app != app)
			continue;
		*ret_several |= found && found != table->apps.items[i].prefix;
		if (!found)
			found = table->apps.items[i].prefix;
	}
	return found;
}
