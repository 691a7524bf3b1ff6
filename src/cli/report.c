// SPDX-License-Identifier: Apache-2.0
/* The end of an observation: window closed, detectors run, report filled. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/intern.h"
#include "base/units.h"
#include "cli/observed.h"
#include "detect/detect.h"
#include "detect/summary.h"

static const struct {
	const char *name, *text;
	enum counter counter;
} losses[] = {
#define X(name, text) { #name, text, COUNTER_##name },
	LOSS_COUNTERS(X)
#undef X
}, notes[] = {
#define X(name, text) { #name, text, COUNTER_##name },
	NOTE_COUNTERS(X)
#undef X
};

#define LOSSES (sizeof(losses) / sizeof(losses[0]))
#define TRACKER_NOTES 10
#define LAST_TRIES 50	/* of waiting for events that are on their way */
#define LAST_PAUSE_US 200
#define NOTES (sizeof(notes) / sizeof(notes[0]))

/* Percentile of a slot's histogram: the upper bound of the bucket it falls into. */
static uint64_t histogram_at(const struct loop_slot *slot, double share)
{
	uint64_t seen = 0, wanted = (uint64_t)(share * (double)slot->steps + 0.5);

	for (unsigned i = 0; i < LS_STEP_BUCKETS; i++) {
		seen += slot->histogram[i];
		if (seen >= wanted && seen) {
			uint64_t bound = step_bucket_ns(i);

			return bound < slot->step_max_ns ? bound : slot->step_max_ns;
		}
	}
	return slot->step_max_ns;
}

static struct loop_summary loop_summary_of(const struct observation *observation,
					   const struct observed_loop *thread, uint64_t now,
					   uint64_t length)
{
	struct loop_summary loop = { .tid = thread->tid };
	struct loop_slot totals;
	uint64_t open;

	loop_totals(observation, thread, &totals);
	open = totals.step_start_ns && now > totals.step_start_ns ? now - totals.step_start_ns : 0;
	loop.steps = totals.steps;
	loop.busy_ratio = length ? (double)(totals.busy_ns + open) / (double)length : 0;
	if (loop.busy_ratio > 1)
		loop.busy_ratio = 1;
	loop.step.count = totals.steps;
	loop.step.total = totals.busy_ns;
	loop.step.mean = totals.steps ? totals.busy_ns / totals.steps : 0;
	loop.step.min = totals.step_min_ns;
	loop.step.max = open > totals.step_max_ns ? open : totals.step_max_ns;
	loop.step.p50 = histogram_at(&totals, 0.5);
	loop.step.p90 = histogram_at(&totals, 0.9);
	loop.step.p99 = histogram_at(&totals, 0.99);
	return loop;
}

/* Of the main thread, when that has a loop. */
static const char *loop_kind_name(const struct observed *observed)
{
	enum loop_kind kind = LOOP_KIND_UNKNOWN;

	for (size_t i = 0; i < observed->loop_count; i++)
		if (!i || observed->loops[i].tid == observed->pid)
			kind = observed->loops[i].kind;
	return kind == LOOP_KIND_UVLOOP ? "uvloop" : kind == LOOP_KIND_ASYNCIO ? "asyncio" : NULL;
}

static int fill_target(struct observation *observation, struct observed *observed,
		       uint64_t now, uint64_t length, struct target_summary *target)
{
	*target = (struct target_summary){
		.pid = observed->pid, .cmdline = observed->cmdline, .python = observed->python,
		.server = observed->server, .loop_kind = loop_kind_name(observed),
	};
	target->start_ns = realtime_ns() - monotonic_ns() + observed->start_time_ns;
	target->loops = calloc(observed->loop_count + 1, sizeof(*target->loops));
	target->notes = calloc(observed->note_count + 1, sizeof(*target->notes));
	if (!target->loops || !target->notes)
		return -ENOMEM;
	for (size_t i = 0; i < observed->loop_count; i++)
		target->loops[target->loop_count++] =
			loop_summary_of(observation, &observed->loops[i], now, length);
	for (size_t i = 0; i < observed->note_count; i++)
		target->notes[target->note_count++] = observed->notes[i];
	return 0;
}

static int fill_targets(struct observation *observation, uint64_t now, struct report *report)
{
	uint64_t length = now - observation->start_ns;

	report->targets = calloc(observation->count + 1, sizeof(*report->targets));
	if (!report->targets)
		return -ENOMEM;
	for (size_t i = 0; i < observation->count; i++) {
		int error;

		if (i ? observed_is_helper(observation->items[i]) : !observation->items[i]->python)
			continue;
		error = fill_target(observation, observation->items[i], now, length,
				    &report->targets[report->target_count++]);
		if (error)
			return error;
	}
	return 0;
}

/* What could not be put together of requests and calls. */
static void fill_tracker_notes(const struct observation *observation, struct report *report)
{
	const struct tracker_counts counts = tracker_counts(observation->tracker);
	const struct loss_item items[] = {
		{ "requests_uncertain",
		  "requests whose beginning or end had to be inferred", counts.uncertain },
		{ "requests_untold",
		  "TLS connections whose requests are unknown: uvloop before 0.23, no access log",
		  counts.untold },
		{ "connections_not_http",
		  "connections to the target's ports that spoke no HTTP/1.1", counts.refused },
		{ "requests_forgotten", "requests and calls beyond what is kept at once",
		  counts.forgotten },
		{ "awaits_unplaced", "looks at waits in stacks beyond the number that is kept",
		  counts.unplaced },
		{ "routes_lost", "routes beyond the number that has a row",
		  observation->window.routes.lost },
		{ "callables_lost", "Depends callables and middleware beyond that number",
		  observation->window.callables.lost },
		{ "pools_lost", "pools beyond the number that is kept",
		  observation->window.pools.lost },
		{ "causes_lost", "causes beyond those that one second is judged by",
		  observation->window.slow.lost },
		{ "names_lost", "names of tasks, threads, files and peers beyond what is kept",
		  intern_others() },
	};

	_Static_assert(sizeof(items) / sizeof(items[0]) == TRACKER_NOTES, "there is room for all");
	for (size_t i = 0; i < TRACKER_NOTES; i++)
		report->notes[report->note_count++] = items[i];
}

static int fill_loss(struct observation *observation, struct report *report, uint64_t *ret_lost)
{
	uint64_t counters[COUNTER_COUNT];
	int error = attach_counters(observation->attachment, counters);

	if (error)
		return error;
	report->losses = calloc(LOSSES, sizeof(*report->losses));
	report->notes = calloc(NOTES + TRACKER_NOTES, sizeof(*report->notes));
	if (!report->losses || !report->notes)
		return -ENOMEM;
	report->produced = counters[COUNTER_produced];
	report->received = collector_received(observation->collector);
	*ret_lost = 0;
	for (size_t i = 0; i < LOSSES; i++) {
		report->losses[i] = (struct loss_item){ losses[i].name, losses[i].text,
							counters[losses[i].counter] };
		*ret_lost += counters[losses[i].counter];
	}
	report->loss_count = LOSSES;
	for (size_t i = 0; i < NOTES; i++)
		report->notes[i] = (struct loss_item){ notes[i].name, notes[i].text,
						       counters[notes[i].counter] };
	report->note_count = NOTES;
	fill_tracker_notes(observation, report);
	return 0;
}

static void fill_self(struct observation *observation, struct report *report)
{
	static struct utsname names;
	struct rusage usage;
	_cleanup_file_ FILE *file = fopen("/proc/self/statm", "re");
	unsigned long size, resident;

	if (!uname(&names)) {
		report->kernel = intern(names.release);
		report->arch = intern(names.machine);
	}
	if (!getrusage(RUSAGE_SELF, &usage))
		report->self_cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
				     (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) /
					     1e6;
	if (file && fscanf(file, "%lu %lu", &size, &resident) == 2)
		report->self_rss_bytes = resident * (uint64_t)sysconf(_SC_PAGESIZE);
	report->bpf_cpu_s = attach_kernel_seconds(observation->attachment);
}

static void note_stops(struct observation *observation)
{
	char text[96], length[32];

	if (observation->window.stopped_ns < NS_PER_MS || !observation->count)
		return;
	snprintf(text, sizeof(text), "was stopped for %s (signal, debugger or freezer)",
		 format_duration(observation->window.stopped_ns, length, sizeof(length)));
	observed_note(observation->items[0], text);
}

static void each_loop(struct observation *observation,
		      void (*what)(struct observation *observation, struct observed *observed,
				   struct observed_loop *loop))
{
	for (size_t i = 0; i < observation->count; i++) {
		struct observed *observed = observation->items[i];

		for (size_t k = 0; !observed->ended && k < observed->loop_count; k++)
			what(observation, observed, &observed->loops[k]);
	}
}

/*
 * No event is made from now on; those that are being made arrive in a moment.  What ends
 * after that was open, and may be over by the time that the last event is read.
 */
static void take_the_last(struct observation *observation)
{
	uint64_t counters[COUNTER_COUNT], arrived;

	each_loop(observation, loop_look);
	attach_mute(observation->attachment);
	for (unsigned try = 0; try < LAST_TRIES; try++) {
		collector_drain(observation->collector);
		if (attach_counters(observation->attachment, counters))
			return;
		arrived = collector_received(observation->collector);
		for (size_t i = 0; i < LOSSES; i++)
			arrived += counters[losses[i].counter];
		if (arrived == counters[COUNTER_produced])
			return;
		usleep(LAST_PAUSE_US);
	}
}

/* What all loops together were busy for, those of processes that are not listed included. */
static uint64_t busy_of(const struct observation *observation, const struct report *report,
			uint64_t length)
{
	double busy = (double)observation->unlisted_busy_ns;

	for (size_t i = 0; i < report->target_count; i++)
		for (size_t k = 0; k < report->targets[i].loop_count; k++)
			busy += report->targets[i].loops[k].busy_ratio * (double)length;
	return (uint64_t)busy;
}

int observation_report(struct observation *observation, struct report *report)
{
	struct thresholds thresholds = thresholds_default(observation->options.stall_ns);
	struct detect_input input = { .window = &observation->window, .thresholds = &thresholds };
	struct findings findings = { 0 };
	uint64_t now;
	int error;

	take_the_last(observation);
	each_loop(observation, loop_add_open);
	now = monotonic_ns();
	tracker_finish(observation->tracker, now);
	note_stops(observation);
	memset(report, 0, sizeof(*report));
	report->start_ns = observation->start_realtime_ns;
	report->end_ns = realtime_ns();
	input.start_ns = observation->start_ns;
	input.end_ns = now;
	input.realtime_offset_ns = (int64_t)(report->end_ns - now);
	error = fill_loss(observation, report, &input.lost);
	if (!error)
		error = fill_targets(observation, now, report);
	if (!error)
		error = detect_all(&input, &findings);
	fill_self(observation, report);
	report->findings = findings.items;
	report->finding_count = findings.count;
	if (!error)
		error = summary_fill(
			&input, busy_of(observation, report, now - observation->start_ns), report);
	if (!error)
		error = verdicts_fill(&input, report);
	if (error)
		report_free(report);
	return error;
}
