// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "base/vec.h"
#include "detect/detect.h"

#define MAX_FINDINGS 10000

#define BY_CLASS(kind, class) \
	static int find_##kind(const struct detect_input *input, struct findings *findings) \
	{ \
		return find_in_groups(input, findings, FINDING_##kind, class, \
				      input->thresholds->stall_ns); \
	}
BY_CLASS(blocking_call, CLASS_CALL)
BY_CLASS(cpu_stall, CLASS_CPU)
BY_CLASS(gc_pause, CLASS_GC)
BY_CLASS(log_backpressure, CLASS_LOG)
BY_CLASS(page_fault, CLASS_FAULT)

/* Thread locks that hold the loop, and locks that tasks wait for. */
static int find_lock_wait(const struct detect_input *input, struct findings *findings)
{
	return find_in_groups(input, findings, FINDING_lock_wait, CLASS_LOCK,
			      input->thresholds->stall_ns) ?: find_lock_convoy(input, findings);
}

const struct detector detectors[] = {
#define X(kind, text) { FINDING_##kind, find_##kind },
	FINDING_KINDS(X)
#undef X
};
const unsigned detector_count = sizeof(detectors) / sizeof(detectors[0]);

struct thresholds thresholds_default(uint64_t stall_ns)
{
	return (struct thresholds){
		.stall_ns = stall_ns,
		.wait_share = 0.5,
		.interval_busy_ns = 200 * NS_PER_MS,
		.saturated_step_ns = 5 * stall_ns,
		.saturated_share = 0.5,
		.critical_ns = NS_PER_S,
		.critical_share = 0.1,
		.slow_dependency_ns = 100 * NS_PER_MS,
		.pool_wait_ns = 50 * NS_PER_MS,
		.convoy_waits = 3,
		.repeated_calls = 5,
		.slow_share = 50,
		.repeated_executions = 3,
	};
}

struct finding *findings_add(struct findings *findings, enum finding_kind kind)
{
	struct finding *finding;

	if (vec_grow(findings, MAX_FINDINGS))
		return NULL;
	finding = &findings->items[findings->count++];
	*finding = (struct finding){ .kind = kind, .group = -1 };
	return finding;
}

void findings_free(struct findings *findings)
{
	for (size_t i = 0; i < findings->count; i++)
		finding_free(&findings->items[i]);
	free(findings->items);
	*findings = (struct findings){ 0 };
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
	for (const char *c = text ? text : ""; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 0x100000001b3ull;
	return (hash ^ 0xff) * 0x100000001b3ull;
}

void finding_finish(const struct detect_input *input, struct finding *finding)
{
	const struct thresholds *thresholds = input->thresholds;
	uint64_t hash = 0xcbf29ce484222325ull, length = input->end_ns - input->start_ns;

	hash = hash_text(hash, finding_kind_name(finding->kind));
	hash = hash_text(hash, finding->route);
	hash = hash_text(hash, finding->method);
	hash = hash_text(hash, finding->culprit.file);
	hash = hash_text(hash, finding->culprit.qualname);
	if (!finding->route && !finding->culprit.file) {
		hash = hash_text(hash, finding->owner_task);
		hash = hash_text(hash, finding->owner_thread);
	}
	if (finding->statement || finding->kind == FINDING_slow_dependency) {
		hash = hash_text(hash, finding->peer);
		hash = hash_text(hash, finding->statement);
	}
	if (finding->pool)
		hash = hash_text(hash, finding->pool->name);
	snprintf(finding->id, sizeof(finding->id), "%016llx", (unsigned long long)hash);
	if (finding->duration.max >= thresholds->critical_ns ||
	    (double)finding->duration.total > thresholds->critical_share * (double)length)
		finding->severity = SEVERITY_CRITICAL;
	if (input->lost)
		finding->evidence = EVIDENCE_INCOMPLETE;
	finding->advice = advice_for(finding);
}

int process_add(struct finding *finding, pid_t pid)
{
	struct process_share *items;

	for (size_t i = 0; i < finding->process_count; i++) {
		if (finding->processes[i].pid == pid) {
			finding->processes[i].count++;
			return 0;
		}
	}
	items = realloc(finding->processes, (finding->process_count + 1) * sizeof(*items));
	if (!items)
		return -ENOMEM;
	finding->processes = items;
	items[finding->process_count++] = (struct process_share){ pid, 1 };
	return 0;
}

bool in_waiting_interval(const struct detect_input *input, pid_t tid, uint64_t time_ns, bool gil)
{
	const struct window *window = input->window;

	for (size_t i = 0; i < window->intervals.count; i++) {
		const struct interval *interval = &window->intervals.items[i];
		uint64_t wait = gil ? interval->gil_ns : interval->runnable_ns;

		if (interval->tid == tid && time_ns >= interval->start_ns &&
		    time_ns < interval->end_ns)
			return interval->busy_ns >= input->thresholds->interval_busy_ns &&
			       (double)wait > input->thresholds->wait_share *
						      (double)interval->busy_ns;
	}
	return false;
}

static int worse(const void *a, const void *b)
{
	const struct finding *one = a, *other = b;

	if (one->severity != other->severity)
		return one->severity > other->severity ? -1 : 1;
	if (one->duration.total != other->duration.total)
		return one->duration.total > other->duration.total ? -1 : 1;
	return strcmp(one->id, other->id);
}

int detect_all(const struct detect_input *input, struct findings *findings)
{
	for (unsigned i = 0; i < detector_count; i++) {
		int error = detectors[i].run(input, findings);

		if (error)
			return error;
	}
	if (findings->count)
		qsort(findings->items, findings->count, sizeof(*findings->items), worse);
	return 0;
}
