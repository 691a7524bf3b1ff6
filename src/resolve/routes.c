// SPDX-License-Identifier: Apache-2.0
#include "resolve/routes.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/intern.h"
#include "base/units.h"
#include "base/vec.h"
#include "discover/target.h"
#include "resolve/dependants.h"
#include "resolve/route_table.h"

#define CACHE_SIZE 1024		/* resolved combinations of route, context, endpoint, application */
#define MAX_AROUND 16		/* middleware around an application */
#define MAX_DEPENDANTS 20000	/* routes whose callables are kept */
#define READ_AGAIN_NS (2 * NS_PER_S)	/* between two looks at the route table */

struct cached_route {
	uint64_t route, context, endpoint, app;
	const char *text;
	uint64_t endpoint_code;
	bool several;	/* mounted at more than one place: its path decides */
	bool mount;	/* not routed inside of it yet: its path says where it will go */
	const struct dependants *injected;
};

/* Kept for good: what was resolved points here. */
struct known_dependants {
	uint64_t owner;		/* route or context */
	struct dependants *found;	/* owned; NULL: it has none */
};

struct route_cache {
	const struct target *target;
	struct route_table table;
	uint64_t router;	/* the outermost one, 0: none seen yet */
	uint64_t read_ns;
	struct cached_route items[CACHE_SIZE];
	struct {
		struct known_dependants *items;
		size_t count, capacity;
	} dependants;
};

struct route_cache *route_cache_new(const struct target *target)
{
	struct route_cache *cache = calloc(1, sizeof(*cache));

	if (cache)
		cache->target = target;
	return cache;
}

void route_cache_free(struct route_cache *cache)
{
	if (!cache)
		return;
	route_table_free(&cache->table);
	for (size_t i = 0; i < cache->dependants.count; i++) {
		if (cache->dependants.items[i].found)
			dependants_free(cache->dependants.items[i].found);
		free(cache->dependants.items[i].found);
	}
	free(cache->dependants.items);
	free(cache);
}

/* What a route, or the context it was included with, depends on; NULL: nothing is known. */
static const struct dependants *dependants_of(struct route_cache *cache, uint64_t owner)
{
	struct known_dependants *known;
	struct dependants found;

	if (!owner)
		return NULL;
	for (size_t i = 0; i < cache->dependants.count; i++)
		if (cache->dependants.items[i].owner == owner)
			return cache->dependants.items[i].found;
	if (dependants_read(&cache->target->py, owner, &found))
		found = (struct dependants){ 0 };
	if (vec_grow(&cache->dependants, MAX_DEPENDANTS)) {
		dependants_free(&found);
		return NULL;
	}
	known = &cache->dependants.items[cache->dependants.count++];
	*known = (struct known_dependants){ owner, NULL };
	if (!found.count)
		return NULL;
	known->found = malloc(sizeof(*known->found));
	if (known->found)
		*known->found = found;
	else
		dependants_free(&found);
	return known->found;
}

bool route_cache_gave(const struct route_cache *cache, const struct dependants *injected)
{
	for (size_t i = 0; i < cache->dependants.count; i++)
		if (cache->dependants.items[i].found == injected)
			return true;
	return false;
}

static void read_table(struct route_cache *cache)
{
	uint64_t now = monotonic_ns();

	if (!cache->router || (cache->read_ns && now - cache->read_ns < READ_AGAIN_NS))
		return;
	cache->read_ns = now;
	route_table_free(&cache->table);
	route_table_read(&cache->target->py, cache->router, &cache->table);
}

/* The outermost router: as the scope says, or that of the only application seen so far. */
static void learn_router(struct route_cache *cache, const struct request_record *request)
{
	uint64_t router = request->router;

	if (!router && !cache->router && request->app &&
	    py_attribute(&cache->target->py, request->app, "router", &router))
		router = 0;
	if (!router || router == cache->router)
		return;
	cache->router = router;
	cache->read_ns = 0;
	read_table(cache);
}

void route_cache_learn(struct route_cache *cache, uint64_t server)
{
	const struct py_reader *py = &cache->target->py;
	uint64_t router = 0, app, inner;

	if (py_path(py, server, "config.loaded_app", &app))
		return;
	for (unsigned i = 0; i < MAX_AROUND && app && !cache->router; i++) {
		if (!py_attribute(py, app, "router", &router)) {
			cache->router = router;
			read_table(cache);
			return;
		}
		if (py_instance_attribute(py, app, "app", &inner))
			return;
		app = inner;
	}
}

static const char *format_of(const struct route_cache *cache, uint64_t object)
{
	uint64_t value;
	const char *text;

	if (!object || py_attribute(&cache->target->py, object, "path_format", &value))
		return NULL;
	text = py_string_intern(&cache->target->py, value);
	return text && *text ? text : NULL;
}

/* FastAPI 0.137 and later: the route as it was included, with all prefixes. */
static const char *context_format(const struct route_cache *cache,
				  const struct request_record *request)
{
	const struct py_reader *py = &cache->target->py;
	uint64_t original = 0, inner = 0, endpoint = 0;

	if (!request->context)
		return NULL;
	if (request->route && !py_attribute(py, request->context, "original_route", &original) &&
	    original == request->route) {
		const char *text = format_of(cache, request->context);

		if (text)
			return text;
	}
	if (!py_attribute(py, request->context, "starlette_route", &inner) &&
	    !py_attribute(py, inner, "endpoint", &endpoint) && endpoint == request->endpoint)
		return format_of(cache, inner);
	return NULL;
}

/* The template of a format below the mounts of its application. */
static const char *mounted_text(struct route_cache *cache, const struct request_record *request,
				const char *text, bool *ret_several)
{
	const char *prefix = route_table_prefix(&cache->table, request->app, ret_several);
	char full[2048];

	if (!prefix || !*prefix)
		return text;
	snprintf(full, sizeof(full), "%s%s", prefix, text);
	return intern(full);
}

/* Template of a routed request with its mounts; NULL when it cannot be told. */
static const char *routed_text(struct route_cache *cache, const struct request_record *request,
			       struct cached_route *slot)
{
	const char *text = context_format(cache, request);
	const struct route_entry *entry;

	if (text)
		return mounted_text(cache, request, text, &slot->several);
	/* mounts that are no application have prefixes as well: the table knows them */
	entry = route_table_object(&cache->table, request->route, &slot->several);
	text = entry ? NULL : format_of(cache, request->route);
	if (text)
		return mounted_text(cache, request, text, &slot->several);
	if (!entry)
		entry = route_table_endpoint(&cache->table, request->endpoint,
					     &slot->several);
	if (!entry) {
		read_table(cache);
		entry = route_table_endpoint(&cache->table, request->endpoint,
					     &slot->several);
	}
	slot->mount = entry && entry->mount;
	return entry ? entry->route : NULL;
}

static const struct cached_route *routed(struct route_cache *cache,
					 const struct request_record *request)
{
	uint64_t hash = (request->route ^ request->context * 31 ^ request->endpoint * 131 ^
			 request->app * 65599) * 0x9e3779b97f4a7c15ull;
	struct cached_route *slot = &cache->items[hash >> 54];

	if (slot->text && slot->route == request->route && slot->context == request->context &&
	    slot->endpoint == request->endpoint && slot->app == request->app)
		return slot;
	*slot = (struct cached_route){ request->route, request->context, request->endpoint,
				       request->app, NULL, 0, false, false, NULL };
	slot->text = routed_text(cache, request, slot);
	slot->injected = dependants_of(cache, request->context);
	if (!slot->injected)
		slot->injected = dependants_of(cache, request->route);
	if (py_callable_code(&cache->target->py, request->endpoint, &slot->endpoint_code))
		slot->endpoint_code = 0;
	return slot;
}

static bool looks_like_id(const char *segment, size_t length)
{
	size_t digits = 0, hex = 0;

	for (size_t i = 0; i < length; i++) {
		digits += !!isdigit((unsigned char)segment[i]);
		hex += isxdigit((unsigned char)segment[i]) || segment[i] == '-';
	}
	return length && (digits == length || (hex == length && length >= 8 && digits) ||
			  (digits * 2 > length && length >= 6) || length > 40);
}

const char *route_fold(const char *path)
{
	char text[512];
	size_t used = 0;

	while (*path && used < sizeof(text) - 48) {
		size_t length = strcspn(path + 1, "/") + (*path == '/');
		const char *segment = *path == '/' ? path + 1 : path;
		size_t size = *path == '/' ? length - 1 : strcspn(path, "/");

		if (*path == '/')
			text[used++] = '/';
		if (looks_like_id(segment, size))
			used += (size_t)snprintf(text + used, sizeof(text) - used, "{id}");
		else
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%.*s",
						 (int)(size > 40 ? 40 : size), segment);
		path = segment + size;
	}
	return intern_bytes(text, used);
}

/* The entry that the path of a request leads to; NULL when too little of it is known. */
static const struct route_entry *entry_of_path(struct route_cache *cache,
					       const struct request_record *request,
					       const char *method)
{
	bool websocket = request->scope_type == SCOPE_WEBSOCKET;
	char path[LS_PATH_BYTES + 1];

	memcpy(path, request->path, LS_PATH_BYTES);
	path[LS_PATH_BYTES] = '\0';
	if (!path[0])
		return NULL;
	if (request->path_len > LS_PATH_BYTES)
		return route_table_match_cut(&cache->table, method, websocket, path);
	return route_table_match(&cache->table, method, websocket, path);
}

/* Code of an entry's endpoint, read once; 0: it has none. */
static uint64_t entry_code(struct route_cache *cache, const struct route_entry *entry)
{
	struct route_entry *known = &cache->table.items[entry - cache->table.items];

	if (!known->code_known && py_callable_code(&cache->target->py, known->endpoint,
						   &known->code))
		known->code = 0;
	known->code_known = true;
	return known->code;
}

/* Not routed yet, or answered without a route. */
static void unrouted(struct route_cache *cache, const struct request_record *request,
		     struct route_name *name)
{
	const struct route_entry *entry;
	char path[LS_PATH_BYTES + 1];

	name->route = intern(ROUTE_UNMATCHED);
	memcpy(path, request->path, LS_PATH_BYTES);
	path[LS_PATH_BYTES] = '\0';
	if (!path[0])
		return;
	if (!cache->table.count)
		read_table(cache);
	if (!cache->table.count) {
		name->route = route_fold(path);
		name->folded = true;
		return;
	}
	entry = entry_of_path(cache, request, name->method);
	if (!entry)
		return;
	name->route = entry->route;
	name->matched = true;
	if (!entry->mount)
		name->endpoint_code = entry_code(cache, entry);
}

/* Where the route alone does not say it all, the path does. */
static void take_path(struct route_cache *cache, const struct request_record *request,
		      const struct cached_route *slot, struct route_name *name)
{
	const struct route_entry *entry = NULL;

	if (slot->several || slot->mount)
		entry = entry_of_path(cache, request, name->method);
	name->ambiguous = slot->several && !entry;
	if (!entry || entry->mount ||
	    (!slot->mount && entry->object != request->route &&
	     (request->route || entry->endpoint != request->endpoint)))
		return;
	name->route = entry->route;
	if (py_callable_code(&cache->target->py, entry->endpoint, &name->endpoint_code))
		name->endpoint_code = 0;
}

void route_resolve(struct route_cache *cache, const struct request_record *request,
		   struct route_name *ret_name)
{
	const struct cached_route *slot;
	char method[sizeof(request->method) + 1] = "";

	*ret_name = (struct route_name){ 0 };
	if (request->scope_type != SCOPE_HTTP && request->scope_type != SCOPE_WEBSOCKET)
		return;
	memcpy(method, request->method, sizeof(request->method));
	ret_name->method = request->scope_type == SCOPE_WEBSOCKET ? intern("WS") : intern(method);
	learn_router(cache, request);
	if (request->route || request->endpoint) {
		slot = routed(cache, request);
		if (slot->text) {
			ret_name->route = slot->text;
			ret_name->endpoint_code = slot->endpoint_code;
			ret_name->injected = slot->injected;
			take_path(cache, request, slot, ret_name);
			return;
		}
	}
	unrouted(cache, request, ret_name);
}
