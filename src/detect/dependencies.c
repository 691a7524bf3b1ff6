// SPDX-License-Identifier: Apache-2.0
/* Findings about peers: slow ones, and ones that are asked too often. */
#include <errno.h>
#include <string.h>

#include "base/intern.h"
#include "detect/detect.h"

/* Commands that are made to wait until there is something to do, by the shape of the call. */
static const char *const waiting_commands[] = {
	"BLPOP", "BRPOP", "BLMOVE", "BLMPOP", "BRPOPLPUSH", "BZPOPMIN", "BZPOPMAX", "BZMPOP",
	"XREAD", "XREADGROUP", "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "WAIT", "WAITAOF", "LISTEN",
};

static bool waits_by_design(const struct dependency_row *row)
{
	for (size_t i = 0; i < row->shape_count; i++)
		for (size_t k = 0; k < sizeof(waiting_commands) / sizeof(*waiting_commands); k++)
			if (!strcmp(row->shapes[i].text, waiting_commands[k]))
				return true;
	return false;
}

static const char *usual_shape(const struct dependency_row *row)
{
	size_t best = 0;

	for (size_t i = 1; i < row->shape_count; i++)
		if (row->shapes[i].count > row->shapes[best].count)
			best = i;
	return row->shape_count ? row->shapes[best].text : NULL;
}

/* What every finding about a row says. */
static struct finding *finding_about(struct findings *findings, enum finding_kind kind,
				     const struct dependency_row *row)
{
	struct finding *finding = findings_add(findings, kind);

	if (!finding)
		return NULL;
	finding->route = row->route;
	finding->method = row->method;
	finding->route_folded = row->folded;
	finding->culprit = row->culprit;
	finding->library = row->library;
	finding->owner_task = row->owner_task;
	finding->owner_thread = row->owner_thread;
	finding->peer = row->peer;
	finding->statement = usual_shape(row);
	finding->group = -1;
	finding->evidence = EVIDENCE_EXACT;
	return finding;
}

static uint64_t realtime(const struct detect_input *input, uint64_t monotonic)
{
	return monotonic ? monotonic + (uint64_t)input->realtime_offset_ns : 0;
}

static int add_processes(struct finding *finding, const struct dependency_row *row, bool repeated)
{
	int error = 0;

	for (size_t i = 0; i < row->process_count && !error; i++) {
		uint64_t count = repeated ? row->processes[i].repeated : row->processes[i].slow;

		for (uint64_t k = 0; k < count && !error; k++)
			error = process_add(finding, row->processes[i].pid);
	}
	return error;
}

int find_slow_dependency(const struct detect_input *input, struct findings *findings)
{
	const struct dependency_rows *rows = &input->window->dependencies;

	for (size_t i = 0; i < rows->count; i++) {
		const struct dependency_row *row = rows->items[i];
		struct finding *finding;
		int error;

		/* work of no request may wait for its next job, and takes nobody's time */
		if (!row->slow.count || !row->slow_requests || waits_by_design(row))
			continue;
		finding = finding_about(findings, FINDING_slow_dependency, row);
		if (!finding)
			return -ENOMEM;
		distribution_summary(&row->slow, &finding->duration);
		finding->count = row->slow.count;
		finding->requests = row->slow_requests;
		finding->calls = row->slow.count;
		finding->given_up = row->slow_given_up;
		finding->first_ns = realtime(input, row->slow_first_ns);
		finding->last_ns = realtime(input, row->slow_last_ns);
		finding->ongoing = row->unanswered != 0;
		error = add_processes(finding, row, false);
		finding_finish(input, finding);
		if (error)
			return error;
	}
	return 0;
}

int find_n_plus_one(const struct detect_input *input, struct findings *findings)
{
	const struct dependency_rows *rows = &input->window->dependencies;

	for (size_t i = 0; i < rows->count; i++) {
		const struct dependency_row *row = rows->items[i];
		struct finding *finding;
		int error;

		if (!row->repeats.count)
			continue;
		finding = finding_about(findings, FINDING_n_plus_one, row);
		if (!finding)
			return -ENOMEM;
		distribution_summary(&row->repeat_time, &finding->duration);
		distribution_summary(&row->repeats, &finding->per_request);
		finding->calls_per_request = finding->per_request.p50;
		finding->count = finding->requests = row->repeats.count;
		finding->calls = finding->per_request.total;
		finding->first_ns = realtime(input, row->repeat_first_ns);
		finding->last_ns = realtime(input, row->repeat_last_ns);
		error = add_processes(finding, row, true);
		finding_finish(input, finding);
		if (error)
			return error;
	}
	return find_repeated_callable(input, findings);
}
