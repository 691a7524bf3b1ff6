// SPDX-License-Identifier: Apache-2.0
#include "cli/observe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/intern.h"
#include "base/log.h"
#include "base/units.h"
#include "base/vec.h"
#include "cli/observed.h"
#include "detect/detect.h"
#include "resolve/native.h"

#define TICK_NS (100 * NS_PER_MS)
#define START_TICK_NS (20 * NS_PER_MS)	/* while a program starts: its first steps count, too */
#define START_NS (10 * NS_PER_S)
#define BUSY_POLL_MS 10
#define ENTRIES_NS (30 * NS_PER_S)	/* how long exact entries are kept after the last need */

struct observed *observed_find(struct observation *observation, pid_t pid)
{
	for (size_t i = 0; i < observation->count; i++)
		if (observation->items[i]->pid == pid && !observation->items[i]->ended)
			return observation->items[i];
	return NULL;
}

/* Of its children the probes know already. */
static int add(struct observation *observation, pid_t pid, char *message, size_t size)
{
	struct observed *observed;
	uint64_t start_time;
	int error = process_start_time(pid, &start_time);

	if (error) {
		snprintf(message, size, "there is no process %d", pid);
		return -ESRCH;
	}
	error = observed_make_room(observation) ? 0 : -E2BIG;
	if (!error)
		error = vec_reserve((void **)&observation->items, &observation->capacity,
				    observation->count + 1, sizeof(*observation->items),
				    OBSERVED_MAX);
	observed = error ? NULL : calloc(1, sizeof(*observed));
	if (!observed) {
		snprintf(message, size, "too many processes");
		return error ? error : -ENOMEM;
	}
	observed->pid = pid;
	observed->start_time_ns = start_time;
	observed->process = -1;
	observed->start_realtime_ns = realtime_ns();
	observation->items[observation->count++] = observed;
	error = observed_open(observation, observed, message, size);
	observed->tried = error && error != -EAGAIN;
	return error;
}

static void on_process(struct observation *observation, const struct event_process *event)
{
	struct observed *observed = observed_find(observation, (pid_t)event->header.tgid);
	char message[256];

	switch (event->what) {
	case PROCESS_FORK:
		if (!observed)
			add(observation, (pid_t)event->header.tgid, message, sizeof(message));
		break;
	case PROCESS_EXEC:
		if (observed && observed->target)
			observed_end(observation, observed, "executed another program");
		else if (observed)
			observed->tried = false;
		if (!observed || observed->ended)
			add(observation, (pid_t)event->header.tgid, message, sizeof(message));
		break;
	case PROCESS_EXIT:
		if (observed) {
			char note[64];
			int status = (int)event->status;

			if (status & 0x7f)
				snprintf(note, sizeof(note), "was ended by signal %d",
					 status & 0x7f);
			else
				snprintf(note, sizeof(note), "ended with exit status %d",
					 status >> 8 & 255);
			observed_end(observation, observed, note);
		}
		break;
	}
}

/* A call kept the CPU in the kernel for long: from now on entries are wanted. */
static void want_entries(struct observation *observation, const struct event_header *event)
{
	if (event->kind != EVENT_CALL || !(event->flags & EVENT_F_ON_CPU))
		return;
	if (!observation->entries_until_ns)
		attach_entries(observation->attachment, true);
	observation->entries_until_ns = event->time_ns + ENTRIES_NS;
}

/* Says once more what was said while it went on, when this is the end of it. */
static void stall_over(struct observation *observation, struct observed *observed,
		       const struct activity *step)
{
	for (size_t i = 0; i < observed->loop_count; i++) {
		struct observed_loop *loop = &observed->loops[i];

		if (loop->tid != step->tid || loop->alerted_seq != step->step_seq + 1)
			continue;
		loop->alert.duration_ns = step->duration_ns;
		observation->options.on_stall(observation->options.context, &loop->alert, true);
	}
}

static void log_request(const struct served_request *request)
{
	char parts[256] = "", length[32], part[32];
	size_t used = 0;

	for (unsigned i = 0; i < PART_COUNT; i++)
		if (request->parts[i] >= NS_PER_MS / 10 && used < sizeof(parts))
			used += (size_t)snprintf(parts + used, sizeof(parts) - used, ", %s %s",
						 time_part_name(i),
						 format_duration(request->parts[i], part,
								 sizeof(part)));
	log_debug("pid %d: %s %s %u %s%s", request->pid, request->route.method ?: "?",
		  request->route.route ?: "?", request->status,
		  format_duration(request->end_ns - request->start_ns, length, sizeof(length)),
		  parts);
}

static void on_request(void *context, const struct served_request *request)
{
	struct observation *observation = context;

	if (log_level >= LOG_DEBUG)
		log_request(request);

	if (window_add_request(&observation->window, request))
		log_debug("out of memory: a request of pid %d is not counted", request->pid);
}

static void on_call(void *context, const struct dependency_call *call)
{
	struct observation *observation = context;

	if (dependencies_add(&observation->window.dependencies, call))
		log_debug("out of memory: a call of pid %d is not counted", call->pid);
}

static void on_pool_wait(void *context, const struct pool_wait *wait)
{
	struct observation *observation = context;

	if (pools_wait(&observation->window.pools, wait))
		log_debug("out of memory: a wait of pid %d is not counted", wait->pid);
}

void observation_take(struct observation *observation, const struct activity *activity)
{
	if (observation->options.on_activity)
		observation->options.on_activity(observation->options.context, activity);
	if (window_add(&observation->window, activity))
		log_debug("out of memory: an event of pid %d is not counted", activity->pid);
}

static void take_request_event(struct observation *observation, struct observed *observed,
			       const struct event_header *event,
			       const struct activity *activity)
{
	if (event->kind == EVENT_TRANSFER)
		observation->request_ns = event->time_ns;
	if (tracker_event(observation->tracker, observed ? observed->view.routes : NULL, event,
			  activity))
		log_debug("out of memory: a request of pid %u is not counted", event->tgid);
}

static void on_event(void *context, const struct event_header *event)
{
	struct observation *observation = context;
	struct observed *observed;
	struct activity activity;
	bool known;

	if (event->kind == EVENT_PROCESS) {
		on_process(observation, (const void *)event);
		return;
	}
	if (event->kind == EVENT_CLOSED) { /* of a process that has ended, too */
		take_request_event(observation, NULL, event, NULL);
		return;
	}
	observed = observed_find(observation, (pid_t)event->tgid);
	if (!observed || !observed->target)
		return;
	if (event->kind == EVENT_LOOP_SEEN) {
		loops_seen(observation, observed, event);
		return;
	}
	want_entries(observation, event);
	known = !attribute_event(&observed->view, event, observation->frames, &activity);
	take_request_event(observation, observed, event, known ? &activity : NULL);
	if (!known || activity.kind == ACTIVITY_MESSAGE || activity.kind == ACTIVITY_WORK)
		return;
	if (activity.kind == ACTIVITY_STEP && observation->options.on_stall)
		stall_over(observation, observed, &activity);
	loop_open_ended(observed, &activity);
	observation_take(observation, &activity);
}

int observation_open(const struct observe_options *options, struct observation **ret_observation,
		     char *message, size_t size)
{
	struct observation *observation = calloc(1, sizeof(*observation));
	struct thresholds thresholds = thresholds_default(options->stall_ns);
	struct tracker_sink sink = { .on_request = on_request, .on_call = on_call,
				     .on_pool_wait = on_pool_wait };
	int error;

	if (!observation) {
		snprintf(message, size, "out of memory");
		return -ENOMEM;
	}
	sink.context = observation;
	observation->options = *options;
	window_init(&observation->window, options->stall_ns);
	observation->window.dependencies.slow_ns = thresholds.slow_dependency_ns;
	observation->window.dependencies.repeats = thresholds.repeated_calls;
	observation->window.pools.late_ns = thresholds.pool_wait_ns;
	observation->window.callables.slow_ns = thresholds.slow_dependency_ns;
	observation->window.callables.share = thresholds.slow_share;
	observation->window.callables.repeats = thresholds.repeated_executions;
	observation->window.callables.repeat_ns = thresholds.stall_ns;
	observation->window.slow.least_ns[LOSS_LOOP] = thresholds.stall_ns;
	observation->window.slow.least_ns[LOSS_POOL] = thresholds.pool_wait_ns;
	observation->window.slow.least_ns[LOSS_THREADS] = thresholds.pool_wait_ns;
	observation->window.slow.least_ns[LOSS_PEER] = thresholds.slow_dependency_ns;
	observation->window.slow.least_ns[LOSS_OTHER] = thresholds.slow_dependency_ns;
	observation->tracker = tracker_new(&sink);
	observation->natives = native_cache_new();
	error = -ENOMEM;
	if (observation->natives && observation->tracker)
		error = attach_open(&options->attach, &observation->attachment, message, size);
	else
		snprintf(message, size, "out of memory");
	if (!error) {
		error = collector_new(attach_ring_fd(observation->attachment), on_event,
				      observation, &observation->collector);
		if (error)
			snprintf(message, size, "cannot read the ring buffer: %s",
				 strerror(-error));
	}
	if (error) {
		observation_free(observation);
		return error;
	}
	observation->start_ns = observation->tick_ns = monotonic_ns();
	observation->window.slow.start_ns = observation->start_ns;
	observation->start_realtime_ns = realtime_ns();
	for (size_t i = 0; attach_missing(observation->attachment, i); i++)
		log_warn("%s", attach_missing(observation->attachment, i));
	if (!attach_sees_arrivals(observation->attachment))
		tracker_no_arrivals(observation->tracker);
	*ret_observation = observation;
	return 0;
}

void observation_free(struct observation *observation)
{
	if (!observation)
		return;
	collector_free(observation->collector);
	attach_free(observation->attachment);
	tracker_free(observation->tracker);
	window_free(&observation->window);
	for (size_t i = 0; i < observation->count; i++)
		observed_free(observation->items[i]);
	free(observation->items);
	native_cache_free(observation->natives);
	free(observation);
}

int observed_open(struct observation *observation, struct observed *observed, char *message,
		  size_t size)
{
	char version[32];
	int error = target_open(observed->pid, &observed->target, message, size);

	if (error)
		return error;
	observed->python = intern(target_version(observed->target, version, sizeof(version)));
	log_info("pid %d: CPython %s, %s, %s", observed->pid, observed->python,
		 observed->target->shared_library ? "libpython" : "static",
		 observed->target->interpreter);
	observed->cmdline = observed->target->cmdline;
	observed->code_options = observation->options.code;
	observed->code_options.stdlib_path = observed->target->stdlib_path;
	observed->view.target = observed->target;
	observed->view.natives = observation->natives;
	observed->view.threads = &observed->thread_names;
	observed->view.codes = code_cache_new(&observed->target->py, &observed->code_options);
	observed->view.routes = route_cache_new(observed->target);
	if (!observed->view.codes || !observed->view.routes)
		return -ENOMEM;
	error = target_process_config(observed->target, &observed->config);
	if (error)
		return error;
	observed_listen(observation, observed);	/* else its clients look like its peers */
	observed->process = attach_add_process(observation->attachment, &observed->config);
	if (observed->process < 0) {
		snprintf(message, size, "more than %d processes cannot be observed at once",
			 LS_MAX_PROCESSES);
		return observed->process;
	}
	return observed_refresh(observation, observed) > 0 ? 0 : -EAGAIN;
}

int observation_add(struct observation *observation, pid_t pid, char *message, size_t size)
{
	int error = attach_follow(observation->attachment, pid);

	if (error)
		log_warn("children of pid %d are not followed: %s", pid, strerror(-error));
	return add(observation, pid, message, size);
}

void observation_add_children(struct observation *observation, pid_t pid)
{
	struct process_ids children = { 0 };
	char message[256];

	if (process_children(pid, &children))
		return;
	for (size_t i = 0; i < children.count; i++) {
		if (!observed_find(observation, children.items[i]))
			observation_add(observation, children.items[i], message, sizeof(message));
		observation_add_children(observation, children.items[i]);
	}
	process_ids_free(&children);
}

/* A process that is new and has no loop yet. */
static bool starting(const struct observation *observation)
{
	uint64_t now = realtime_ns();

	for (size_t i = 0; i < observation->count; i++) {
		const struct observed *observed = observation->items[i];

		if (!observed->ended && !observed->tried && !observed->loop_count &&
		    now < observed->start_realtime_ns + START_NS)
			return true;
	}
	return false;
}

/* Requests come: what they wait for is looked at more often. */
static bool busy_lately(const struct observation *observation)
{
	return monotonic_ns() - observation->request_ns < NS_PER_S;
}

/* What was lost may have been the end of a request: nothing is put together across it. */
static void notice_loss(struct observation *observation)
{
	uint64_t lost = attach_lost(observation->attachment);

	if (lost != observation->lost)
		tracker_gap(observation->tracker);
	observation->lost = lost;
}

int observation_run(struct observation *observation, int timeout_ms)
{
	uint64_t now, tick = starting(observation) ? START_TICK_NS : TICK_NS;
	int count, tick_ms = (int)(tick / NS_PER_MS);

	if (!busy_lately(observation))
		attach_wake_on_request(observation->attachment);
	else if (tick_ms > BUSY_POLL_MS)
		tick_ms = BUSY_POLL_MS;
	count = collector_poll(observation->collector,
			       timeout_ms < tick_ms ? timeout_ms : tick_ms);
	now = monotonic_ns();
	snapshots_tick(observation, now);
	if (now - observation->tick_ns >= tick) {
		observation->tick_ns = now;
		observation_tick(observation, now);
		notice_loss(observation);
	}
	if (observation->entries_until_ns && now > observation->entries_until_ns) {
		attach_entries(observation->attachment, false);
		observation->entries_until_ns = 0;
	}
	return count;
}

bool observation_over(const struct observation *observation)
{
	for (size_t i = 0; i < observation->count; i++)
		if (!observation->items[i]->ended)
			return false;
	return true;
}

size_t observation_loops(const struct observation *observation)
{
	size_t loops = 0;

	for (size_t i = 0; i < observation->count; i++)
		loops += observation->items[i]->loop_count;
	return loops;
}
