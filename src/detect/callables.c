// SPDX-License-Identifier: Apache-2.0
/* Findings about `Depends` callables: slow ones, and ones that are executed too often. */
#include <errno.h>

#include "detect/detect.h"

/* The line with most of the time. */
static struct place worst_line(const struct callable_row *row)
{
	size_t best = 0;

	for (size_t i = 1; i < row->line_count; i++)
		if (row->lines[i].ns > row->lines[best].ns)
			best = i;
	if (!row->line_count)
		return (struct place){ 0 };
	return (struct place){ row->lines[best].place.file, row->lines[best].place.function,
			       row->lines[best].place.qualname, row->lines[best].place.line };
}

static int find(const struct detect_input *input, struct findings *findings,
		enum finding_kind kind, const struct callable_row *row,
		const struct distribution *times)
{
	struct finding *finding = findings_add(findings, kind);
	int error = 0;

	if (!finding)
		return -ENOMEM;
	finding->route = row->route;
	finding->method = row->method;
	finding->route_folded = row->folded;
	finding->culprit = worst_line(row);
	finding->detail = row->name;
	finding->count = finding->requests = times->count;
	distribution_summary(times, &finding->duration);
	finding->first_ns = row->first_ns + (uint64_t)input->realtime_offset_ns;
	finding->last_ns = row->last_ns + (uint64_t)input->realtime_offset_ns;
	finding->evidence = row->exact ? EVIDENCE_EXACT : EVIDENCE_SAMPLED;
	for (size_t i = 0; i < row->pid_count && !error; i++)
		error = process_add(finding, row->pids[i]);
	return error;
}

int find_slow_di_dependency(const struct detect_input *input, struct findings *findings)
{
	const struct callable_rows *rows = &input->window->callables;

	for (size_t i = 0; i < rows->count; i++) {
		int error;

		if (!rows->items[i]->slow.count)
			continue;
		error = find(input, findings, FINDING_slow_di_dependency, rows->items[i],
			     &rows->items[i]->slow);
		if (error)
			return error;
		finding_finish(input, &findings->items[findings->count - 1]);
	}
	return 0;
}

int find_repeated_callable(const struct detect_input *input, struct findings *findings)
{
	const struct callable_rows *rows = &input->window->callables;

	for (size_t i = 0; i < rows->count; i++) {
		struct finding *finding;
		int error;

		if (!rows->items[i]->repeats.count)
			continue;
		error = find(input, findings, FINDING_n_plus_one, rows->items[i],
			     &rows->items[i]->repeat_time);
		if (error)
			return error;
		finding = &findings->items[findings->count - 1];
		distribution_summary(&rows->items[i]->repeats, &finding->per_request);
		finding->calls_per_request = finding->per_request.p50;
		finding->calls = finding->per_request.total;
		finding_finish(input, finding);
	}
	return 0;
}
