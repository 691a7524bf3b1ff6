/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to peers: per peer, route and call site. */
#ifndef LS_DEPENDENCIES_H
#define LS_DEPENDENCIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregate/distribution.h"
#include "aggregate/slow_log.h"
#include "attribute/requests.h"

#define DEPENDENCIES_MAX 4000	/* rows; further ones are summed up in one per peer */
#define DEPENDENCY_SHAPES 16	/* statements told apart at one call site */
#define DEPENDENCY_PROCESSES 64	/* processes told apart */

struct call_process {
	pid_t pid;
	uint64_t slow, repeated;	/* occurrences of findings */
};

/* Calls of one site within one request, where they are many. */
struct dependency_row {
	const char *peer, *peer_name, *route, *method;
	bool folded, names_differ;	/* connections that are known by other names */
	enum protocol protocol;
	struct place culprit, library;
	const char *owner_task, *owner_thread;
	uint64_t calls, errors, failures, refused, unpaired, internal, unanswered,
		given_up, slow_given_up;
	uint64_t first_ns, last_ns;	/* CLOCK_MONOTONIC */
	uint64_t bytes_sent, bytes_received;
	/* of calls that were answered, or waited for until they were given up */
	struct distribution latency;
	struct distribution slow;	/* of those as long as the threshold */
	uint64_t slow_first_ns, slow_last_ns, slow_requests;
	struct distribution per_request;	/* calls of one request; a count is kept as ns */
	/* requests with as many calls of one shape as the threshold: all calls of its function
	 * to the peer, and the time from the first of that shape to the end of the last */
	struct distribution repeats, repeat_time;
	uint64_t repeat_first_ns, repeat_last_ns;
	struct {
		const char *text;	/* interned */
		uint64_t count;
	} shapes[DEPENDENCY_SHAPES];
	size_t shape_count;
	struct call_process processes[DEPENDENCY_PROCESSES];
	size_t process_count;
	struct place stack[8];		/* of one call, leaf first */
	size_t stack_count;
};

struct dependency_rows {
	struct dependency_row **items;	/* owned */
	size_t count, capacity;
	uint64_t slow_ns;	/* a call is slow from here on */
	uint64_t repeats;	/* calls of one shape in one request are many from here on */
	struct slow_log *slow_log;	/* borrowed, may be NULL */
};

/* 0 or -ENOMEM. */
int dependencies_add(struct dependency_rows *rows, const struct dependency_call *call);

/* A request has ended: its calls per site. 0 or -ENOMEM. */
int dependencies_request(struct dependency_rows *rows, const struct served_request *request);

void dependencies_free(struct dependency_rows *rows);

#endif
