// SPDX-License-Identifier: Apache-2.0
/* Observed processes that end: what is kept of them, and for how long. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "cli/observed.h"

/* What its connections have to say when they are closed arrives within a moment. */
#define RELEASE_NS NS_PER_S

bool observed_is_helper(const struct observed *observed)
{
	return !observed->python ||
	       (!observed->loop_count && (observed->ended || !observed->server));
}

/* All that is for looking into the process: the largest part of it. */
static void close_target(struct observed *observed)
{
	task_watch_free(observed->tasks);
	free(observed->pools);
	code_cache_free(observed->view.codes);
	route_cache_free(observed->view.routes);
	role_table_free(&observed->roles);
	target_free(observed->target);
	observed->tasks = NULL;
	observed->pools = NULL;
	observed->view = (struct process_view){ 0 };
	observed->target = NULL;
}

void observed_free(struct observed *observed)
{
	for (size_t i = 0; i < observed->loop_count; i++) {
		free(observed->loops[i].seen);
		free(observed->loops[i].earlier);
	}
	free(observed->loops);
	close_target(observed);
	free(observed);
}

void observed_end(struct observation *observation, struct observed *observed, const char *note)
{
	uint64_t now = monotonic_ns();
	char text[128];

	observed->ended = true;
	observed->ended_ns = now;
	for (size_t i = 0; i < observed->loop_count; i++) {
		struct observed_loop *loop = &observed->loops[i];

		if (loop->slot < 0)
			continue;
		loop_look(observation, observed, loop);
		loop_add_open(observation, observed, loop);
		attach_remove_loop(observation->attachment, loop->slot);
		loop_leave(observation, observed, loop);
	}
	for (size_t i = 0; i < observed->roles.count; i++)
		attach_clear_role(observation->attachment, observed->pid,
				  observed->roles.items[i].code);
	attach_remove_process(observation->attachment, observed->process);
	window_forget(&observation->window, observed->pid);
	/* of helpers there may be many a second, and nobody is told of them */
	if (!observed->target ||
	    (observed != observation->items[0] && observed_is_helper(observed)))
		return;
	snprintf(text, sizeof(text), "pid %d %s while it was observed", observed->pid, note);
	observed_note(observed, text);
}

static void release(struct observation *observation, struct observed *observed)
{
	/* another program may have its number by now */
	bool gone = !observed_find(observation, observed->pid);

	if (observed->view.routes)
		tracker_forget(observation->tracker, gone ? observed->pid : 0,
			       observed->view.routes);
	for (size_t i = 0; i < observed->loop_count; i++) {
		free(observed->loops[i].seen);
		observed->loops[i].seen = NULL;
	}
	close_target(observed);
	observed->released = true;
}

static void drop(struct observation *observation, size_t index)
{
	struct observed *observed = observation->items[index];
	struct loop_slot totals;

	for (size_t i = 0; i < observed->loop_count; i++) {
		loop_totals(observation, &observed->loops[i], &totals);
		observation->unlisted_busy_ns += totals.busy_ns;
	}
	if (!observed->released)
		release(observation, observed);
	observed_free(observed);
	observation->count--;
	memmove(&observation->items[index], &observation->items[index + 1],
		(observation->count - index) * sizeof(*observation->items));
}

void observed_release(struct observation *observation, uint64_t now)
{
	/* the first one is what was asked for */
	for (size_t i = observation->count; i-- > 0;) {
		struct observed *observed = observation->items[i];

		if (!observed->ended || observed->released ||
		    now - observed->ended_ns < RELEASE_NS)
			continue;
		if (i && observed_is_helper(observed))
			drop(observation, i);
		else
			release(observation, observed);
	}
}

/* The first that ended, of helpers or of all; 0: none did. */
static size_t first_ended(const struct observation *observation, bool helpers)
{
	for (size_t i = 1; i < observation->count; i++)
		if (observation->items[i]->ended &&
		    (!helpers || observed_is_helper(observation->items[i])))
			return i;
	return 0;
}

bool observed_make_room(struct observation *observation)
{
	size_t index;

	if (observation->count < OBSERVED_MAX)
		return true;
	index = first_ended(observation, true) ?: first_ended(observation, false);
	if (!index)
		return false;
	if (!observed_is_helper(observation->items[index]) && !observation->unlisted) {
		observation->unlisted = true;
		observed_note(observation->items[0],
			      "had more processes that ended than are listed here; "
			      "their requests and findings are");
	}
	drop(observation, index);
	return true;
}
