// SPDX-License-Identifier: Apache-2.0
/* Findings whose occurrences are gathered per request. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/intern.h"
#include "detect/detect.h"
#include "resolve/syscalls.h"

/* The line with most of the time; for samples without time, with most of them. */
static const struct line_share *modal_line(const struct group *group)
{
	const struct line_share *best = &group->lines[0];

	for (size_t i = 1; i < group->line_count; i++)
		if (group->lines[i].total_ns > best->total_ns ||
		    (group->lines[i].total_ns == best->total_ns &&
		     group->lines[i].count > best->count))
			best = &group->lines[i];
	return best;
}

static size_t library_length(const char *native)
{
	return strcspn(native, ":");
}

/*
 * The library that most of the samples were in, with the symbol when most of
 * those name the same one.  Python code calls into C all the time: less than half
 * says nothing.
 */
static const char *modal_native(const struct group *group)
{
	for (size_t i = 0; i < group->native_count; i++) {
		const char *name = group->natives[i].name;
		size_t length = library_length(name), best = i;
		uint64_t sum = 0;

		for (size_t k = 0; k < group->native_count; k++) {
			const char *other = group->natives[k].name;

			if (library_length(other) != length || strncmp(name, other, length))
				continue;
			sum += group->natives[k].count;
			if (group->natives[k].count > group->natives[best].count)
				best = k;
		}
		if (sum * 2 <= group->noted)
			continue;
		if (group->natives[best].count * 2 > sum)
			return group->natives[best].name;
		return intern_bytes(name, length);
	}
	return NULL;
}

static int by_time(const void *a, const void *b)
{
	const struct stack_summary *one = a, *other = b;

	if (one->total_ns != other->total_ns)
		return one->total_ns > other->total_ns ? -1 : 1;
	return one->count > other->count ? -1 : one->count < other->count;
}

static int copy_stacks(struct finding *finding, const struct group *group)
{
	if (!group->stack_count)
		return 0;
	finding->stacks = calloc(group->stack_count, sizeof(*finding->stacks));
	if (!finding->stacks)
		return -ENOMEM;
	for (size_t i = 0; i < group->stack_count; i++) {
		const struct stack_share *from = &group->stacks[i];
		struct stack_summary *to = &finding->stacks[i];

		to->frames = calloc(from->frame_count, sizeof(*to->frames));
		if (!to->frames)
			return -ENOMEM;
		finding->stack_count = i + 1;
		for (size_t f = 0; f < from->frame_count; f++)
			to->frames[f] = from->frames[f];
		to->frame_count = from->frame_count;
		to->count = from->count;
		to->total_ns = from->total_ns;
		to->truncated = from->truncated;
	}
	qsort(finding->stacks, finding->stack_count, sizeof(*finding->stacks), by_time);
	return 0;
}

static int by_delay(const void *a, const void *b)
{
	const struct victim *one = a, *other = b;

	return one->total_ns > other->total_ns ? -1 : one->total_ns < other->total_ns;
}

int finding_victims(struct finding *finding, const struct group *group, int32_t index)
{
	finding->group = index;
	finding->victims = calloc(group->victims.count + 1, sizeof(*finding->victims));
	if (!finding->victims)
		return -ENOMEM;
	for (size_t i = 0; i < group->victims.count; i++) {
		const struct group_victim *from = &group->victims.items[i];

		finding->victims[finding->victim_count++] = (struct victim){
			from->route, from->method, from->requests, from->max_ns,
			from->total_ns };
	}
	qsort(finding->victims, finding->victim_count, sizeof(*finding->victims), by_delay);
	return 0;
}

int finding_from_group(struct finding *finding, const struct group *group)
{
	const struct line_share *line = modal_line(group);

	finding->route = group->route;
	finding->method = group->method;
	finding->route_folded = group->folded;
	finding->culprit = line->culprit;
	finding->library = line->library;
	finding->native_frame = modal_native(group);
	finding->syscall = syscall_name(line->number);
	finding->peer = line->peer;
	finding->detail = line->detail;
	finding->owner_task = group->owner_task;
	finding->owner_thread = group->owner_thread;
	return copy_stacks(finding, group);
}

static int add_cell(const struct detect_input *input, struct finding *finding,
		    const struct cell *cell, struct distribution *durations,
		    struct distribution *lags)
{
	uint64_t first = cell->first_ns + (uint64_t)input->realtime_offset_ns;
	uint64_t last = cell->last_ns + (uint64_t)input->realtime_offset_ns;

	finding->count++;
	finding->requests += cell->request;
	finding->calls += cell->calls;
	finding->samples += cell->samples;
	if (!finding->first_ns || first < finding->first_ns)
		finding->first_ns = first;
	if (last > finding->last_ns)
		finding->last_ns = last;
	finding->ongoing |= cell->ongoing;
	finding->since_before |= cell->since_before;
	return distribution_add(durations, cell->total_ns) ?:
	       (cell->lag_ns ? distribution_add(lags, cell->lag_ns) : 0) ?:
	       process_add(finding, cell->pid);
}

/*
 * A collection is as long as its samples, more or less one period.  One that may have been
 * shorter than the threshold is no finding by itself: whoever happened to allocate when it was
 * due did not make the heap.
 */
static bool is_thin(const struct group *group, uint64_t threshold_ns)
{
	const struct cell *only = NULL;

	for (size_t i = 0; i < group->cells.count; i++) {
		const struct cell *cell = &group->cells.items[i];

		if (cell->total_ns < threshold_ns)
			continue;
		if (only)
			return false;
		only = cell;
	}
	return only && group->class == CLASS_GC && only->samples &&
	       only->total_ns - only->total_ns / only->samples < threshold_ns;
}

#define SAMPLED_SHARE 10	/* percent of the time that make all of it sampled */

static enum evidence evidence_of(const struct group *group)
{
	return group->sampled_ns * 100 > group->added_ns * SAMPLED_SHARE ? EVIDENCE_SAMPLED
									 : EVIDENCE_EXACT;
}

static int find_in_group(const struct detect_input *input, struct findings *findings,
			 enum finding_kind kind, const struct group *group, uint64_t threshold_ns)
{
	struct distribution durations = { 0 }, lags = { 0 };
	struct finding *finding = NULL;
	int error = 0;

	for (size_t i = 0; i < group->cells.count && !error; i++) {
		if (group->cells.items[i].total_ns < threshold_ns)
			continue;
		if (!finding)
			finding = findings_add(findings, kind);
		error = finding ? add_cell(input, finding, &group->cells.items[i], &durations,
					   &lags)
				: -ENOMEM;
	}
	if (finding && !error) {
		finding->blocks_loop = true;
		finding->evidence = evidence_of(group);
		distribution_summary(&durations, &finding->duration);
		distribution_summary(&lags, &finding->loop_lag);
		error = finding_from_group(finding, group);
		finding_finish(input, finding);
	}
	distribution_free(&durations);
	distribution_free(&lags);
	return error;
}

int find_in_groups(const struct detect_input *input, struct findings *findings,
		   enum finding_kind kind, enum window_class class, uint64_t threshold_ns)
{
	for (size_t i = 0; i < input->window->group_count; i++) {
		size_t before = findings->count;
		int error;

		if (input->window->groups[i]->class != class ||
		    is_thin(input->window->groups[i], threshold_ns))
			continue;
		error = find_in_group(input, findings, kind, input->window->groups[i],
				      threshold_ns);
		if (!error && findings->count > before)
			error = finding_victims(&findings->items[before],
						input->window->groups[i], (int32_t)i);
		if (error)
			return error;
	}
	return 0;
}
