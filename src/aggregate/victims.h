/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that waited while somebody else held the loop, inside aggregate. */
#ifndef LS_VICTIMS_H
#define LS_VICTIMS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "aggregate/routes.h"

#define VICTIM_SPANS 16		/* of one request's waiting */
#define VICTIM_CULPRITS 8	/* that held up one request */
#define VICTIM_REQUESTS 4096	/* requests that wait for the end of the step they waited in */
#define VICTIM_STEPS 256	/* stalled steps that requests may have waited in */
#define VICTIM_MIN_NS 1000000	/* waiting for less is no delay worth a name */

struct window;
struct pending_step;

struct waiting_request {
	struct route_stats *row;
	uint64_t serial;
	pid_t pid;
	uint64_t start_ns, end_ns;
	struct time_span spans[VICTIM_SPANS];
	size_t span_count;
	struct {
		uint32_t group;
		uint64_t ns;
	} culprits[VICTIM_CULPRITS];
	size_t culprit_count;
};

struct stalled_step {
	pid_t pid, tid;
	uint64_t start_ns, end_ns;
	uint32_t group;	/* that most of it went to */
};

struct victim_log {
	struct waiting_request *requests;	/* owned ring of VICTIM_REQUESTS */
	size_t request_count;	/* ever added */
	struct stalled_step *steps;	/* owned ring of VICTIM_STEPS */
	size_t step_count;
};

/* A request has ended; what it waited in steps that have ended is given to their culprits. */
int victims_request(struct window *window, struct route_stats *row, uint64_t serial,
		    const struct served_request *request);

/* A step has ended; `holder` is the group that held the GIL meanwhile, -1: none. */
int victims_step(struct window *window, const struct pending_step *pending,
		 const struct activity *step, int32_t holder, uint64_t gil_ns);

void victims_free(struct victim_log *log);

#endif
