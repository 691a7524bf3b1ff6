/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections, and on them requests and calls to peers: puts together what the
 * probes saw in pieces.
 */
#ifndef LS_TRACKER_H
#define LS_TRACKER_H

#include "attribute/pool_wait.h"
#include "attribute/requests.h"

struct route_cache;
struct stack_set;
struct tracker;	/* opaque */

struct tracker_sink {
	void (*on_request)(void *context, const struct served_request *request);
	void (*on_call)(void *context, const struct dependency_call *call);
	void (*on_pool_wait)(void *context, const struct pool_wait *wait);	/* may be NULL */
	void *context;
};

/* What could not be followed; see the fields' names in the report. */
struct tracker_counts {
	uint64_t uncertain;	/* requests whose beginning or end had to be guessed */
	uint64_t refused;	/* connections of clients that spoke no HTTP/1.1 */
	uint64_t untold;	/* connections below TLS whose requests nothing tells of */
	uint64_t unplaced;	/* waits whose stack was one too many: see stacks.h */
	uint64_t forgotten;	/* requests, calls and parts of them beyond what is kept at once */
};

/* NULL when out of memory; `sink` is copied. */
struct tracker *tracker_new(const struct tracker_sink *sink);
void tracker_free(struct tracker *tracker);

/*
 * Nothing will tell when bytes arrive: requests are timed from when they are read, as those
 * of Unix sockets always are.
 */
void tracker_no_arrivals(struct tracker *tracker);

/*
 * Takes an event.  `activity` is what attribute_event() made of it, NULL for kinds
 * that it does not know; `routes` is the process's.  Others than those about
 * requests and connections are legal.  0 or -ENOMEM.
 */
int tracker_event(struct tracker *tracker, struct route_cache *routes,
		  const struct event_header *event, const struct activity *activity);

struct request_wait;

/* Keeps the stacks of struct request_wait and of what is handed on, until tracker_free(). */
struct stack_set *tracker_stacks(struct tracker *tracker);

/*
 * A request was seen to wait, or to be ready (`wait` NULL), at `now_ns`; `activity`
 * says which request it is.  0 or -ENOMEM.
 */
int tracker_wait(struct tracker *tracker, const struct activity *activity,
		 const struct request_wait *wait, uint64_t now_ns);

/*
 * A request was seen to wait for a pool, or for none, at `now_ns`; said before
 * tracker_wait() of the same moment.
 */
void tracker_pool_wait(struct tracker *tracker, const struct activity *activity,
		       const struct pool_look *look, uint64_t now_ns);

/* Events were lost: nothing is put together across the gap. */
void tracker_gap(struct tracker *tracker);

/* A process has ended, and its routes are about to be freed. */
void tracker_forget(struct tracker *tracker, pid_t pid, const struct route_cache *routes);

/* Is it open and, if it is a websocket, busy with a message? */
bool tracker_is_busy(struct tracker *tracker, const struct activity *activity, uint64_t now_ns);

/* How many are open (of websockets: busy) since `before_ns` at least, up to `enough`. */
size_t tracker_open_requests(const struct tracker *tracker, uint64_t before_ns, size_t enough);

/* The window ends: hands on what is still open. */
void tracker_finish(struct tracker *tracker, uint64_t now_ns);

struct tracker_counts tracker_counts(const struct tracker *tracker);

#endif
