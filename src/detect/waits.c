// SPDX-License-Identifier: Apache-2.0
/* Findings whose occurrences are steps: waits for the GIL or a CPU, saturation. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/intern.h"
#include "base/units.h"
#include "detect/detect.h"

#define WAIT_MIN_NS 1000000	/* see PRODUCT.md, "occurrence": shorter waits never enter */

struct occurrences {
	struct finding *finding;
	struct distribution durations, lags;
};

static int occurrence_add(const struct detect_input *input, struct occurrences *to,
			  const struct waiting_step *step, uint64_t ns)
{
	uint64_t first = step->start_ns + (uint64_t)input->realtime_offset_ns;
	struct finding *finding = to->finding;

	finding->count++;
	if (!finding->first_ns || first < finding->first_ns)
		finding->first_ns = first;
	if (first + step->length_ns > finding->last_ns)
		finding->last_ns = first + step->length_ns;
	finding->ongoing |= step->ongoing;
	finding->since_before |= step->since_before;
	return distribution_add(&to->durations, ns) ?:
	       distribution_add(&to->lags, step->length_ns) ?: process_add(finding, step->pid);
}

static void occurrences_finish(const struct detect_input *input, struct occurrences *of)
{
	if (of->finding) {
		distribution_summary(&of->durations, &of->finding->duration);
		distribution_summary(&of->lags, &of->finding->loop_lag);
		finding_finish(input, of->finding);
	}
	distribution_free(&of->durations);
	distribution_free(&of->lags);
}

static bool gil_occurrence(const struct detect_input *input, const struct waiting_step *step)
{
	return step->gil_ns >= input->thresholds->stall_ns ||
	       (step->gil_ns >= WAIT_MIN_NS &&
		in_waiting_interval(input, step->tid, step->start_ns, true));
}

/* The holder that most of the steps of a process name: for those that name none. */
static int32_t usual_holder(const struct window *window, pid_t pid)
{
	size_t best = 0;
	int32_t found = -1;

	for (size_t g = 0; g < window->group_count; g++) {
		size_t same = 0;

		if (window->groups[g]->class != CLASS_HOLDER)
			continue;
		for (size_t i = 0; i < window->steps.count; i++)
			same += window->steps.items[i].pid == pid &&
				window->steps.items[i].holder == (int32_t)g;
		if (same > best) {
			best = same;
			found = (int32_t)g;
		}
	}
	return found;
}

static uint64_t samples_of(const struct group *group)
{
	uint64_t samples = 0;

	for (size_t i = 0; i < group->line_count; i++)
		samples += group->lines[i].count;
	return samples;
}

static int find_holder(const struct detect_input *input, struct findings *findings,
		       int32_t holder)
{
	const struct window *window = input->window;
	struct occurrences of = { 0 };
	int error = 0;

	for (size_t i = 0; i < window->steps.count && !error; i++) {
		const struct waiting_step *step = &window->steps.items[i];
		int32_t whose = step->holder;

		if (!gil_occurrence(input, step))
			continue;
		if (whose < 0)
			whose = usual_holder(window, step->pid);
		if (whose != holder)
			continue;
		if (!of.finding)
			of.finding = findings_add(findings, FINDING_gil_contention);
		error = of.finding ? occurrence_add(input, &of, step, step->gil_ns) : -ENOMEM;
	}
	if (of.finding && !error) {
		of.finding->evidence = EVIDENCE_SAMPLED;
		of.finding->blocks_loop = true;
		if (holder >= 0) {
			error = finding_from_group(of.finding, window->groups[holder]) ?:
				finding_victims(of.finding, window->groups[holder], holder);
			of.finding->samples = samples_of(window->groups[holder]);
			of.finding->syscall = NULL;
		}
	}
	occurrences_finish(input, &of);
	return error;
}

int find_gil_contention(const struct detect_input *input, struct findings *findings)
{
	int error = find_holder(input, findings, -1);

	for (size_t g = 0; g < input->window->group_count && !error; g++)
		if (input->window->groups[g]->class == CLASS_HOLDER)
			error = find_holder(input, findings, (int32_t)g);
	return error;
}

static bool starved(const struct detect_input *input, const struct waiting_step *step)
{
	return step->runnable_ns >= input->thresholds->stall_ns ||
	       (step->runnable_ns >= WAIT_MIN_NS &&
		in_waiting_interval(input, step->tid, step->start_ns, false));
}

#define MAX_RIVALS 16	/* processes told apart as the one in the way */

struct rival {
	const char *name;
	uint32_t tgid;
	uint64_t ns;
};

static void rival_add(struct rival *rivals, const struct waiting_step *step)
{
	struct rival *least = &rivals[0];

	if (!step->rival)
		return;
	for (size_t i = 0; i < MAX_RIVALS; i++) {
		if (rivals[i].tgid == step->rival_tgid && rivals[i].name) {
			rivals[i].ns += step->runnable_ns;
			return;
		}
		if (rivals[i].ns < least->ns)
			least = &rivals[i];
	}
	if (step->runnable_ns > least->ns)
		*least = (struct rival){ step->rival, step->rival_tgid, step->runnable_ns };
}

/* The process that was in the way for longest. */
static const char *rival_text(const struct rival *rivals)
{
	const struct rival *worst = &rivals[0];
	char text[64];

	for (size_t i = 1; i < MAX_RIVALS; i++)
		if (rivals[i].ns > worst->ns)
			worst = &rivals[i];
	if (!worst->name)
		return NULL;
	snprintf(text, sizeof(text), "%s (pid %u) had the CPU", worst->name, worst->tgid);
	return intern(text);
}

int find_cpu_starvation(const struct detect_input *input, struct findings *findings)
{
	const struct window *window = input->window;
	struct rival rivals[MAX_RIVALS] = { 0 };
	struct occurrences of = { 0 };
	int error = 0;

	for (size_t i = 0; i < window->steps.count && !error; i++) {
		const struct waiting_step *step = &window->steps.items[i];

		if (!starved(input, step))
			continue;
		if (!of.finding)
			of.finding = findings_add(findings, FINDING_cpu_starvation);
		rival_add(rivals, step);
		error = of.finding ? occurrence_add(input, &of, step, step->runnable_ns) : -ENOMEM;
	}
	if (of.finding && !error) {
		of.finding->blocks_loop = true;
		of.finding->detail = rival_text(rivals);
	}
	occurrences_finish(input, &of);
	return error;
}

/* Time of one loop in saturated steps within the second around a step. */
static bool saturated_second(const struct detect_input *input, const struct waiting_step *step)
{
	const struct window *window = input->window;
	uint64_t sum = 0;

	for (size_t i = 0; i < window->steps.count; i++) {
		const struct waiting_step *other = &window->steps.items[i];

		if (other->tid == step->tid && other->saturated_ns &&
		    other->start_ns + NS_PER_S / 2 >= step->start_ns &&
		    other->start_ns <= step->start_ns + NS_PER_S / 2)
			sum += other->saturated_ns;
	}
	return (double)sum >= input->thresholds->saturated_share * (double)NS_PER_S;
}

int find_loop_saturated(const struct detect_input *input, struct findings *findings)
{
	const struct window *window = input->window;
	struct occurrences of = { 0 };
	int error = 0;

	for (size_t i = 0; i < window->steps.count && !error; i++) {
		const struct waiting_step *step = &window->steps.items[i];

		if (!step->saturated_ns ||
		    (step->saturated_ns < input->thresholds->saturated_step_ns &&
		     !saturated_second(input, step)))
			continue;
		if (!of.finding)
			of.finding = findings_add(findings, FINDING_loop_saturated);
		if (!of.finding) {
			error = -ENOMEM;
			break;
		}
		of.finding->samples += step->samples;
		error = occurrence_add(input, &of, step, step->saturated_ns);
		if (!of.finding->library.file && step->modal.file)
			of.finding->library = (struct place){
				step->modal.file, step->modal.function, step->modal.qualname,
				step->modal.line };
	}
	if (of.finding && !error) {
		of.finding->blocks_loop = true;
		of.finding->evidence = EVIDENCE_SAMPLED;
	}
	occurrences_finish(input, &of);
	return error;
}
