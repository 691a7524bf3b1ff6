/* SPDX-License-Identifier: Apache-2.0 */
/* A request, a websocket and a call to a peer as they are handed on, once they have ended. */
#ifndef LS_REQUESTS_H
#define LS_REQUESTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "attribute/activity.h"
#include "attribute/peer.h"
#include "attribute/timeline.h"
#include "resolve/dependants.h"
#include "resolve/routes.h"

/* Calls of one request to one peer from one place. */
struct site_calls {
	struct place culprit, library;
	const char *peer, *shape;	/* interned or NULL */
	uint64_t statement;		/* tells those without a shape apart, see peer.h */
	uint64_t count;			/* of a websocket those between two of its messages */
	uint64_t pages;			/* of those, see peer.h */
	uint64_t first_ns, last_ns;	/* first byte of the first call, last of the last reply */
	struct {
		uint64_t number, count, first_ns;
	} message;			/* of a websocket: since the last one */
};

/* A `Depends` callable, or a middleware, of one request. */
struct callable_time {
	const struct dependant *dependant;	/* NULL: a middleware */
	struct place place;	/* where most of the time went; file NULL: it was never seen */
	unsigned executions;
	uint64_t own_ns;	/* of all executions, without what it depends on */
	uint64_t total_ns;	/* with that */
	uint64_t blamed_ns;	/* of own_ns: not waiting for a pool, a thread or the client */
	bool exact;		/* ran in a thread; else from snapshots */
};

/* A request as it is handed on, when its response is complete or the window ends. */
struct served_request {
	pid_t pid, tid;		/* tid of the loop, 0: not known */
	uint64_t identity;	/* as activity.request; 0: not known */
	struct route_name route;	/* route NULL: not HTTP that we understood */
	unsigned status;	/* 0: there was no response */
	bool websocket;		/* the session; its length is no latency */
	bool aborted;		/* the connection was closed before the end */
	bool ongoing;		/* the window ended before it did */
	bool arrival_unknown;	/* starts when it was read, some time after it arrived */
	bool from_read;		/* the same where nothing ever tells when */
	uint64_t start_ns, first_byte_ns, end_ns;
	uint64_t parts[PART_COUNT];	/* add up to end_ns - start_ns */
	const struct time_span *behind;	/* in order; borrowed during the call */
	size_t behind_count;
	const struct await_time *awaits;	/* the same; its stacks until tracker_free() */
	size_t await_count;
	const struct site_calls *sites;	/* borrowed during the call */
	size_t site_count;
	const struct callable_time *callables;	/* borrowed during the call */
	size_t callable_count;
	uint64_t messages_in, messages_out;	/* websocket */
};

/* A call to a peer that was answered, failed or is still waited for. */
struct dependency_call {
	pid_t pid;
	uint64_t request;	/* identity, 0: of no request */
	struct route_name route;
	struct place culprit, library;	/* the call site */
	const char *owner_task, *owner_thread;
	const char *peer;	/* interned "host:port" or "unix:PATH" */
	const char *peer_name;	/* interned, as TLS or a look-up gave it; NULL: not known */
	const struct peer_call *call;
	bool refused;		/* the connection could not be opened */
	bool blocks_loop;	/* made in a blocking way on a loop thread */
	const struct place *stack;	/* leaf first; borrowed during the call */
	size_t stack_count;
};

#endif
