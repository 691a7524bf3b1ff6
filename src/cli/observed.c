// SPDX-License-Identifier: Apache-2.0
#include "cli/observed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/intern.h"
#include "base/log.h"
#include "base/units.h"

/* A stall that goes on is said from this age on; one that was there before us is old enough. */
#define ALERT_NS (500 * NS_PER_MS)
#define ALERT_BEFORE_NS (100 * NS_PER_MS)
#define RESCAN_MIN_NS (200 * NS_PER_MS)
#define RESCAN_MAX_NS (10 * NS_PER_S)

void observed_note(struct observed *observed, const char *text)
{
	if (observed->note_count < NOTES_MAX)
		observed->notes[observed->note_count++] = intern(text);
}

static int on_role(void *context, uint64_t code, const struct code_role *role)
{
	struct observation *observation = ((void **)context)[0];
	struct observed *observed = ((void **)context)[1];
	int error = role_table_set(&observed->roles, code, role);

	return error ? error : attach_set_role(observation->attachment, observed->pid, code, role);
}

/* Looks for modules again, and what they bring. */
static void scan_modules(struct observation *observation, struct observed *observed)
{
	void *context[2] = { observation, observed };
	struct process_config config;

	if (!target_process_config(observed->target, &config)) {
		observed->config = config;
		attach_update_process(observation->attachment, observed->process, &config);
	}
	roles_scan(observed->target, on_role, context, &observed->scan);
}

static void listener_take(struct observation *observation, const struct observed *observed,
			  const struct listener *found)
{
	size_t i = 0;

	while (i < observation->listener_count &&
	       (observation->listeners[i].net != found->net ||
		observation->listeners[i].port != found->port))
		i++;
	if (i == LS_MAX_LISTENERS)
		return;
	if (i == observation->listener_count) {
		observation->listener_count++;
		observation->listeners[i] = *found;
		observation->listener_pids[i] = observed->pid;
		log_info("pid %d listens on port %u", observed->pid, found->port);
	} else if (observation->listener_pids[i] != observed->pid) {
		observation->listener_pids[i] = 0; /* whoever accepts first */
	}
}

/* The loop that serves a port, where there is but one. */
static void listeners_serve(struct observation *observation, const struct observed *observed)
{
	for (size_t i = 0; i < observation->listener_count; i++) {
		if (!observation->listener_pids[i])
			observation->listeners[i].loop = -1;
		else if (observation->listener_pids[i] == observed->pid)
			observation->listeners[i].loop =
				observed->loop_count == 1 ? observed->loops[0].slot : -1;
	}
}

void observed_listen(struct observation *observation, struct observed *observed)
{
	struct listener found[LS_MAX_LISTENERS];
	int count;

	if (!observed->listening) {
		count = process_listeners(observed->pid, found, LS_MAX_LISTENERS);
		for (int i = 0; i < count; i++)
			listener_take(observation, observed, &found[i]);
		observed->listening = count > 0;
	}
	listeners_serve(observation, observed);
	attach_set_listeners(observation->attachment, observation->listeners,
			     observation->listener_count);
}

/* The server's application, from the bottom of a loop thread's stack. */
static void learn_application(struct observed *observed)
{
	const struct target *target = observed->target;
	struct walk_result walk;

	for (size_t i = 0; i < target->loop_count; i++)
		if (!walk_thread(target->mem, &observed->config, &observed->roles,
				 target->loops[i].tstate, target->loops[i].loop, &walk) &&
		    walk.request.app)
			route_cache_learn(observed->view.routes, walk.request.app);
}

int observed_refresh(struct observation *observation, struct observed *observed)
{
	loops_leave(observation, monotonic_ns());
	/* without a loop there is no request yet, and looking costs milliseconds */
	if (target_find_loops(observed->target) <= 0)
		return (int)observed->loop_count;
	/* that of one which had just begun was not known yet */
	observed->code_options.stdlib_path = observed->target->stdlib_path;
	scan_modules(observation, observed);
	loops_take(observation, observed);
	observed_listen(observation, observed);
	learn_application(observed);
	observed->server = observed->target->server;
	return (int)observed->loop_count;
}

static void check_stall(struct observation *observation, struct observed *observed,
			struct observed_loop *loop, uint64_t now)
{
	const volatile struct loop_slot *slot = loop_slot_of(observation, loop);
	uint64_t start = slot ? slot->step_start_ns : 0, limit;

	if (!start)
		return;
	limit = slot->flags & SLOT_SINCE_BEFORE ? ALERT_BEFORE_NS : ALERT_NS;
	if (limit < observation->options.stall_ns)
		limit = observation->options.stall_ns;
	if (now < start + limit || loop->alerted_seq == slot->seq + 1)
		return;
	loop_alert(observation, observed, loop);
}

/*
 * New modules may bring loops and special code objects.  Classes without
 * instances are asked for again, but less and less often: many never get one.
 */
static bool refresh_is_due(struct observed *observed, uint64_t now)
{
	if (!observed->loop_count)
		return true;
	if (roles_module_count(observed->target) != observed->scan.modules) {
		observed->rescan_wait_ns = RESCAN_MIN_NS;
	} else if (!observed->scan.waiting || now < observed->rescan_ns) {
		return false;
	}
	if (observed->rescan_wait_ns < RESCAN_MIN_NS)
		observed->rescan_wait_ns = RESCAN_MIN_NS;
	observed->rescan_ns = now + observed->rescan_wait_ns;
	if (observed->rescan_wait_ns < RESCAN_MAX_NS)
		observed->rescan_wait_ns *= 2;
	return true;
}

void observation_tick(struct observation *observation, uint64_t now)
{
	loops_leave(observation, now);
	observed_release(observation, now);
	for (size_t i = 0; i < observation->count; i++) {
		struct observed *observed = observation->items[i];
		char message[256];

		if (observed->ended)
			continue;
		if (!observed->target) {
			/* the interpreter is starting: its first epoll wait is not seen yet */
			if (!observed->tried) {
				int error = observed_open(observation, observed, message,
							  sizeof(message));

				observed->tried = error && error != -EAGAIN;
			}
			continue;
		}
		if (refresh_is_due(observed, now))
			observed_refresh(observation, observed);
		for (size_t k = 0; observation->options.on_stall && k < observed->loop_count; k++)
			check_stall(observation, observed, &observed->loops[k], now);
		loops_tick(observation, observed, now);
	}
}
