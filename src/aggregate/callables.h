/* SPDX-License-Identifier: Apache-2.0 */
/* `Depends` callables and middleware: per callable and route. */
#ifndef LS_CALLABLES_H
#define LS_CALLABLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregate/distribution.h"
#include "aggregate/slow_log.h"
#include "attribute/requests.h"

#define CALLABLES_MAX 4000	/* rows; further ones are not kept, but counted */
#define CALLABLE_LINES 8	/* told apart as where the time goes */

struct callable_row {
	const char *name;	/* of a `Depends`: "module.qualname"; else "Class" */
	const char *route, *method;
	bool middleware, folded, exact;
	uint64_t requests, executions;
	/* of one execution, of requests in which it was seen, with and without others below it */
	struct distribution time, own;
	struct distribution slow;	/* executions that took most of a slow request */
	struct distribution repeats, repeat_time;	/* requests that executed it many times */
	uint64_t first_ns, last_ns;	/* CLOCK_MONOTONIC, of what is slow or repeated */
	struct {
		struct place place;
		uint64_t ns;
	} lines[CALLABLE_LINES];
	size_t line_count;
	pid_t pids[64];
	size_t pid_count;
};

struct callable_rows {
	struct callable_row **items;	/* owned */
	size_t count, capacity;
	uint64_t lost;
	uint64_t slow_ns;	/* an execution may be slow from here on */
	unsigned share;		/* percent of its request that a slow one takes */
	unsigned repeats;	/* executions in one request that are many */
	uint64_t repeat_ns;	/* when together they take that long */
	struct slow_log *slow_log;	/* borrowed, may be NULL */
};

/* 0 or -ENOMEM. */
int callables_request(struct callable_rows *rows, const struct served_request *request);
void callables_free(struct callable_rows *rows);

#endif
