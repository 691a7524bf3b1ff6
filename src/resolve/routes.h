/* SPDX-License-Identifier: Apache-2.0 */
/* Requests -> method and route template, from the application's own route objects. */
#ifndef LS_ROUTES_H
#define LS_ROUTES_H

#include <stdbool.h>
#include <stdint.h>

#include "events.h"

struct dependants;
struct target;
struct route_cache;	/* opaque, one per process */

#define ROUTE_UNMATCHED "<unmatched>"

struct route_name {
	const char *route;	/* interned template; NULL: no request */
	const char *method;	/* interned, "WS" for websockets */
	bool folded;		/* a guess: the path with what looks like ids replaced */
	bool matched;		/* not routed yet: found by path in the application's table */
	bool ambiguous;		/* one of several, and its path is not known */
	uint64_t endpoint_code;	/* code object of the endpoint, 0: not known */
	const struct dependants *injected;	/* borrowed from the cache; NULL: none known */
};

/* `target` is borrowed.  NULL when out of memory. */
struct route_cache *route_cache_new(const struct target *target);
void route_cache_free(struct route_cache *cache);

/*
 * Takes the routes of the application that a server object of Uvicorn's runs, so that
 * they are known before the first request is.
 */
void route_cache_learn(struct route_cache *cache, uint64_t server);

/* Is that one of the dependants that route_resolve() gave? */
bool route_cache_gave(const struct route_cache *cache, const struct dependants *injected);

/* Never fails: what cannot be known stays NULL. */
void route_resolve(struct route_cache *cache, const struct request_record *request,
		   struct route_name *ret_name);

/* "/users/17/cards/5f0c..." -> "/users/{id}/cards/{id}", interned. */
const char *route_fold(const char *path);

#endif
