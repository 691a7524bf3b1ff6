/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests per route: how many, how long, where their time went, and who waited
 * for whom.  Names are interned, in all tables: they are compared by address.
 */
#ifndef LS_AGGREGATE_ROUTES_H
#define LS_AGGREGATE_ROUTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregate/distribution.h"
#include "attribute/requests.h"

#define ROUTES_MAX 2000		/* rows; further routes are summed up in one */
#define ROUTE_OTHER "_other"	/* its name */
#define ROUTE_SLOWEST 5		/* requests of a route that are kept whole */
#define ROUTE_STATUSES 32	/* different status codes of one route */
#define ROUTE_CAUSES 16		/* findings that delayed requests of one route */
#define REQUEST_CAUSES 4	/* and of one request */
#define ROUTE_AWAITS 256	/* places in which requests of a route wait, one by one */

struct delay {		/* by the culprit of a group of the window */
	uint32_t group;
	uint64_t requests, max_ns, total_ns;
};

struct slow_request {
	uint64_t serial;	/* which one it was, counted over the window */
	uint64_t start_ns, latency_ns;
	unsigned status;
	uint64_t parts[PART_COUNT];
	struct delay delays[REQUEST_CAUSES];	/* most first */
	size_t delay_count;
};

/* Time that requests of a route waited for one thing in one place. */
struct route_await {
	enum time_part part;
	const struct stack *stack;	/* borrowed from the tracker; NULL: not known */
	uint64_t requests, ns;
};

struct route_stats {
	const char *route, *method;
	bool folded, websocket;
	uint64_t requests, errors, aborted, ongoing, from_read;
	struct {
		unsigned code;
		uint64_t count;
	} statuses[ROUTE_STATUSES];
	size_t status_count;
	struct distribution latency, first_byte;	/* of sessions: their length */
	uint64_t parts[PART_COUNT], total_ns;
	struct {
		struct route_await *items;	/* owned; for each part they add up to that */
		size_t count, capacity;
	} awaits;
	struct slow_request slowest[ROUTE_SLOWEST];	/* slowest first */
	size_t slowest_count;
	struct delay delays[ROUTE_CAUSES];
	size_t delay_count;
	uint64_t messages_in, messages_out;
};

struct route_rows {
	struct route_stats **items;	/* owned */
	size_t count, capacity;
	uint64_t serials;
	uint64_t lost;	/* requests of routes beyond ROUTES_MAX, in the last row */
};

/* The row of a request, made when it is new; `ret_serial` numbers it. NULL: out of memory. */
struct route_stats *routes_add(struct route_rows *rows, const struct served_request *request,
			       uint64_t *ret_serial);

/* A request of a row was held up by a group, `more` ns, `sum` with what was said before. */
void routes_delay(struct route_stats *row, uint64_t serial, uint32_t group, uint64_t more,
		  uint64_t sum);

void routes_free(struct route_rows *rows);

#endif
