// SPDX-License-Identifier: Apache-2.0
#include "export/text_cause.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "detect/finding.h"
#include "export/text_finding.h"

#define STANDS_OUT 20	/* per cent */

static const char *const part_words[] = {
	[PART_loop_cpu] = "own CPU",
	[PART_loop_blocked] = "blocks the loop",
	[PART_gil_wait] = "GIL",
	[PART_cpu_wait] = "no free CPU",
	[PART_thread_run] = "thread",
	[PART_behind_others] = "behind others",
	[PART_thread_queue] = "thread queue",
	[PART_pool_wait] = "pool",
	[PART_dependency_wait] = "dependency",
	[PART_timer_wait] = "timer",
	[PART_client_wait] = "client",
	[PART_other_wait] = "other waits",
};

_Static_assert(sizeof(part_words) / sizeof(part_words[0]) == PART_COUNT, "every part has words");

static unsigned percent_of(uint64_t part, uint64_t total)
{
	double percent = total ? (double)part * 100 / (double)total : 0;

	return percent < 100 ? (unsigned)(percent + 0.5) : 100;
}

/* What one finding delayed the requests that are kept whole. */
static uint64_t delay_by(const struct route_summary *route, size_t finding)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < route->slowest_count; i++)
		for (size_t k = 0; k < route->slowest[i].cause_count; k++)
			if (route->slowest[i].causes[k].finding == finding)
				sum += route->slowest[i].causes[k].total_ns;
	return sum;
}

/* The finding that delayed them most, and by how much. */
static const struct finding *worst_of_slow(const struct report *report,
					   const struct route_summary *route, uint64_t *ret_ns)
{
	const struct finding *worst = NULL;

	*ret_ns = 0;
	for (size_t i = 0; i < route->slowest_count; i++) {
		for (size_t k = 0; k < route->slowest[i].cause_count; k++) {
			size_t finding = route->slowest[i].causes[k].finding;
			uint64_t sum = delay_by(route, finding);

			if (finding < report->finding_count && sum > *ret_ns) {
				worst = &report->findings[finding];
				*ret_ns = sum;
			}
		}
	}
	return worst;
}

/* A culprit has a name, and most of the wait is by it; otherwise it was "others". */
static bool blames(const struct finding *finding, uint64_t delay_ns, uint64_t behind_ns)
{
	return finding && (finding->route || finding->owner_task || finding->owner_thread) &&
	       delay_ns >= behind_ns / 2;
}

static bool behind_when_slow(const struct report *report, const struct route_summary *route,
			     struct route_cause *cause)
{
	uint64_t total = 0, behind = 0, delay;
	const struct finding *worst;

	for (size_t i = 0; i < route->slowest_count; i++) {
		total += route->slowest[i].latency_ns;
		behind += route->slowest[i].parts[PART_behind_others];
	}
	if (behind <= total / 2)
		return false;
	worst = worst_of_slow(report, route, &delay);
	*cause = (struct route_cause){ .part = PART_behind_others };
	if (blames(worst, delay, behind)) {
		cause->finding = worst;
		behind = delay < behind ? delay : behind;
	}
	cause->percent = percent_of(behind, total);
	return true;
}

static const char *slowest_peer(const struct report *report, const struct route_summary *route)
{
	const struct dependency_summary *worst = NULL;

	for (size_t i = 0; i < report->dependency_count; i++) {
		const struct dependency_summary *row = &report->dependencies[i];

		if (text_same(row->route, route->route) && text_same(row->method, route->method) &&
		    (!worst || row->latency.total > worst->latency.total))
			worst = row;
	}
	return worst ? worst->peer : NULL;
}

struct route_cause route_cause_of(const struct report *report, const struct route_summary *route)
{
	struct route_cause cause = { 0 };
	uint64_t total = 0;

	if (behind_when_slow(report, route, &cause))
		return cause;
	for (unsigned part = 0; part < PART_COUNT; part++) {
		total += route->parts[part];
		if (route->parts[part] > route->parts[cause.part])
			cause.part = part;
	}
	cause.percent = percent_of(route->parts[cause.part], total);
	if (cause.percent < STANDS_OUT) {
		cause.percent = 0;
	} else if (cause.part == PART_dependency_wait) {
		cause.peer = slowest_peer(report, route);
	} else if (cause.part == PART_behind_others && route->cause_count &&
		   route->causes[0].finding < report->finding_count) {
		const struct finding *worst = &report->findings[route->causes[0].finding];

		if (blames(worst, route->causes[0].total_ns, route->parts[cause.part]))
			cause.finding = worst;
	}
	return cause;
}

char *route_cause_text(const struct route_cause *cause)
{
	char subject[SUBJECT_BYTES], *text = NULL;
	int length;

	if (!cause->percent)
		return strdup("-");
	if (cause->part == PART_behind_others)
		length = asprintf(&text, "%u %% behind %s", cause->percent,
				  cause->finding ? finding_subject(cause->finding, subject,
								   sizeof(subject))
						 : "others");
	else
		length = asprintf(&text, "%s%s%s %u %%", part_words[cause->part],
				  cause->peer ? " " : "", cause->peer ? cause->peer : "",
				  cause->percent);
	return length < 0 ? NULL : text;
}
