// SPDX-License-Identifier: Apache-2.0
#include "aggregate/victims.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregate/window.h"
#include "base/vec.h"

#define WINDOW_MAX_VICTIMS 256	/* routes that one culprit held up */

static void count_victim(struct group *group, const struct route_stats *row, uint64_t more,
			 uint64_t sum)
{
	struct group_victim *victim = NULL;

	for (size_t i = 0; i < group->victims.count && !victim; i++)
		if (group->victims.items[i].route == row->route &&
		    group->victims.items[i].method == row->method)
			victim = &group->victims.items[i];
	if (!victim) {
		if (vec_grow(&group->victims, WINDOW_MAX_VICTIMS))
			return;
		victim = &group->victims.items[group->victims.count++];
		*victim = (struct group_victim){ .route = row->route, .method = row->method };
	}
	victim->requests += more == sum;
	victim->total_ns += more;
	if (sum > victim->max_ns)
		victim->max_ns = sum;
}

/* What a request waited during a step is the doing of the step's culprit. */
static void match(struct window *window, struct waiting_request *request,
		  const struct stalled_step *step)
{
	uint64_t more = 0;
	size_t i = 0;

	if (request->pid != step->pid)
		return;
	for (size_t s = 0; s < request->span_count; s++) {
		uint64_t from = request->spans[s].start_ns, to = request->spans[s].end_ns;

		from = from > step->start_ns ? from : step->start_ns;
		to = to < step->end_ns ? to : step->end_ns;
		more += to > from ? to - from : 0;
	}
	if (more < VICTIM_MIN_NS)
		return;
	while (i < request->culprit_count && request->culprits[i].group != step->group)
		i++;
	if (i == VICTIM_CULPRITS)
		return;
	if (i == request->culprit_count) {
		request->culprits[i].group = step->group;
		request->culprits[i].ns = 0;
		request->culprit_count++;
	}
	request->culprits[i].ns += more;
	count_victim(window->groups[step->group], request->row, more, request->culprits[i].ns);
	routes_delay(request->row, request->serial, step->group, more, request->culprits[i].ns);
}

int victims_request(struct window *window, struct route_stats *row, uint64_t serial,
		    const struct served_request *request)
{
	struct victim_log *log = &window->victims;
	size_t kept = log->step_count < VICTIM_STEPS ? log->step_count : VICTIM_STEPS;
	struct waiting_request *waiting;

	if (request->parts[PART_behind_others] < VICTIM_MIN_NS || !request->behind_count)
		return 0;
	if (!log->requests)
		log->requests = calloc(VICTIM_REQUESTS, sizeof(*log->requests));
	if (!log->requests)
		return -ENOMEM;
	waiting = &log->requests[log->request_count++ % VICTIM_REQUESTS];
	*waiting = (struct waiting_request){ .row = row, .serial = serial, .pid = request->pid,
					     .start_ns = request->start_ns,
					     .end_ns = request->end_ns };
	waiting->span_count = request->behind_count < VICTIM_SPANS ? request->behind_count
								   : VICTIM_SPANS;
	memcpy(waiting->spans, request->behind, waiting->span_count * sizeof(*waiting->spans));
	for (size_t i = log->step_count; i > log->step_count - kept; i--) {
		const struct stalled_step *step = &log->steps[(i - 1) % VICTIM_STEPS];

		if (step->end_ns > waiting->start_ns)
			match(window, waiting, step);
	}
	return 0;
}

/* The group that most of a step went to; -1: none, or so little that it explains nothing. */
static int32_t culprit_of(const struct pending_step *pending, const struct activity *step,
			  int32_t holder, uint64_t gil_ns)
{
	uint64_t most = holder >= 0 ? gil_ns : 0;
	int32_t group = holder;

	for (size_t i = 0; pending && i < pending->touched_count; i++) {
		uint64_t ns = 0;

		for (size_t k = 0; k < pending->touched_count; k++)
			if (pending->touched[k].group == pending->touched[i].group)
				ns += pending->touched[k].ns;
		if (ns > most) {
			most = ns;
			group = (int32_t)pending->touched[i].group;
		}
	}
	return most >= step->duration_ns / 4 ? group : -1;
}

int victims_step(struct window *window, const struct pending_step *pending,
		 const struct activity *step, int32_t holder, uint64_t gil_ns)
{
	struct victim_log *log = &window->victims;
	size_t kept = log->request_count < VICTIM_REQUESTS ? log->request_count
							   : VICTIM_REQUESTS;
	int32_t group = culprit_of(pending, step, holder, gil_ns);
	struct stalled_step *stalled;

	if (group < 0)
		return 0;
	if (!log->steps)
		log->steps = calloc(VICTIM_STEPS, sizeof(*log->steps));
	if (!log->steps)
		return -ENOMEM;
	stalled = &log->steps[log->step_count++ % VICTIM_STEPS];
	*stalled = (struct stalled_step){ step->pid, step->tid, step->start_ns,
					  step->start_ns + step->duration_ns, (uint32_t)group };
	for (size_t i = log->request_count; i > log->request_count - kept; i--) {
		struct waiting_request *waiting = &log->requests[(i - 1) % VICTIM_REQUESTS];

		if (waiting->end_ns > stalled->start_ns)
			match(window, waiting, stalled);
	}
	return 0;
}

void victims_free(struct victim_log *log)
{
	free(log->requests);
	free(log->steps);
	memset(log, 0, sizeof(*log));
}
