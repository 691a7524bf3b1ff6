// SPDX-License-Identifier: Apache-2.0
/* The event loops of an observed process: they come, end, and follow each other in a thread. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/units.h"
#include "base/vec.h"
#include "cli/observed.h"

#define INTERVAL_NS NS_PER_S
#define STATE_TRIES 8	/* until what /proc and what the probes say of a thread is the same */
/* A process that ends does so thread by thread: what was open in them is asked for then. */
#define GONE_NS (500 * NS_PER_MS)

const volatile struct loop_slot *loop_slot_of(const struct observation *observation,
					      const struct observed_loop *loop)
{
	return loop->slot < 0 ? NULL : &attach_loops(observation->attachment)[loop->slot];
}

bool loop_is_left(const struct observation *observation, const struct observed *observed,
		  const struct observed_loop *loop)
{
	const volatile struct loop_slot *slot = loop_slot_of(observation, loop);
	uint64_t running = 0;
	int error;

	if (!slot || slot->state != LOOP_ACTIVE)
		return false;
	error = target_running_loop(observed->target, slot->tstate, &running);
	return error ? error == -ENOENT : running != slot->loop;
}

static void totals_add(struct loop_slot *to, const volatile struct loop_slot *from)
{
	if (from->step_max_ns > to->step_max_ns)
		to->step_max_ns = from->step_max_ns;
	if (from->step_min_ns && (!to->step_min_ns || from->step_min_ns < to->step_min_ns))
		to->step_min_ns = from->step_min_ns;
	to->steps += from->steps;
	to->busy_ns += from->busy_ns;
	to->slow_calls += from->slow_calls;
	to->slow_call_ns += from->slow_call_ns;
	to->gil_total_ns += from->gil_total_ns;
	to->runnable_total_ns += from->runnable_total_ns;
	to->stopped_total_ns += from->stopped_total_ns;
	to->fault_total_ns += from->fault_total_ns;
	to->gil_waits += from->gil_waits;
	for (unsigned i = 0; i < LS_STEP_BUCKETS; i++)
		to->histogram[i] += from->histogram[i];
}

void loop_totals(const struct observation *observation, const struct observed_loop *loop,
		 struct loop_slot *ret_totals)
{
	const volatile struct loop_slot *slot = loop_slot_of(observation, loop);

	*ret_totals = loop->earlier ? *loop->earlier : (struct loop_slot){ 0 };
	if (!slot)
		return;
	totals_add(ret_totals, slot);
	ret_totals->step_start_ns = slot->step_start_ns;
}

void loop_leave(struct observation *observation, struct observed *observed,
		struct observed_loop *loop)
{
	const volatile struct loop_slot *slot = loop_slot_of(observation, loop);

	if (!slot)
		return;
	if (!loop->earlier)
		loop->earlier = calloc(1, sizeof(*loop->earlier));
	if (loop->earlier)
		totals_add(loop->earlier, slot);
	else
		log_debug("out of memory: the steps of thread %d are not counted", loop->tid);
	loop->next_seq = slot->seq + 1;
	attach_free_loop(observation->attachment, loop->slot);
	loop->slot = -1;
	loop->gone_ns = 0;
	if (observed->target)
		target_forget_loop(observed->target, loop->tid);
}

void loops_leave(struct observation *observation, uint64_t now)
{
	for (size_t i = 0; i < observation->count; i++) {
		struct observed *observed = observation->items[i];

		for (size_t k = 0; !observed->ended && k < observed->loop_count; k++) {
			struct observed_loop *loop = &observed->loops[k];
			const volatile struct loop_slot *slot = loop_slot_of(observation, loop);

			if (!slot)
				continue;
			if (slot->state == LOOP_GONE && !loop->gone_ns)
				loop->gone_ns = now;
			if (slot->state == LOOP_ENDED ||
			    (loop->gone_ns && now - loop->gone_ns > GONE_NS))
				loop_leave(observation, observed, loop);
		}
	}
}

struct observed_loop *loop_of_thread(struct observed *observed, pid_t tid)
{
	for (size_t i = 0; i < observed->loop_count; i++)
		if (observed->loops[i].tid == tid)
			return &observed->loops[i];
	return NULL;
}

/* A new one; the first that ended makes room when there are too many. NULL: out of memory. */
static struct observed_loop *new_thread(struct observed *observed, pid_t tid)
{
	struct observed_loop *loop = NULL;
	int error = vec_reserve((void **)&observed->loops, &observed->loop_capacity,
				observed->loop_count + 1, sizeof(*observed->loops), LOOPS_KEPT);

	if (!error) {
		loop = &observed->loops[observed->loop_count++];
	} else if (error == -E2BIG) {
		for (size_t i = 0; i < observed->loop_count && !loop; i++)
			if (observed->loops[i].slot < 0)
				loop = &observed->loops[i];
		if (!loop)
			return NULL;
		free(loop->seen);
		free(loop->earlier);
		if (!observed->forgotten)
			observed_note(observed, "ran event loops in more threads than are "
						"listed here; their findings are");
		observed->forgotten = true;
	} else {
		return NULL;
	}
	*loop = (struct observed_loop){ .tid = tid, .slot = -1, .interval_ns = monotonic_ns() };
	return loop;
}

/* In its own wait there is no step; anything else was going on before we came. */
static void since_before(struct observation *observation, struct observed *observed, int slot,
			 const struct event_loop *loop)
{
	struct thread_state state;
	int number, error = -EAGAIN;

	for (int try = 0; try < STATE_TRIES && error == -EAGAIN; try++) {
		if (process_thread_state(observed->pid, loop->tid, &state))
			return;
		number = state.state == 'R' ? -1 : state.number;
		if ((number == 232 || number == 281 || number == 441) &&
		    (loop->epoll_fd < 0 || (int)state.args[0] == loop->epoll_fd))
			return;
		error = attach_loop_since_before(observation->attachment, slot, number,
						 state.args);
	}
	if (error)
		log_debug("pid %d: the step that thread %d is in began or ended meanwhile",
			  observed->pid, loop->tid);
}

static void refused(struct observed *observed, pid_t tid, int error)
{
	char text[96];

	if (error != -ENOSPC) {
		log_warn("event loop of thread %d is not observed: %s", tid, strerror(-error));
		return;
	}
	if (observed->refused)
		return;
	observed->refused = true;
	snprintf(text, sizeof(text), "ran more than %d event loops at once: the others were not "
		 "observed", LS_MAX_LOOPS);
	observed_note(observed, text);
	log_warn("more than %d event loops at once: thread %d of pid %d and others are not "
		 "observed", LS_MAX_LOOPS, tid, observed->pid);
}

static void add_loop(struct observation *observation, struct observed *observed,
		     struct observed_loop *thread, const struct event_loop *loop)
{
	struct attach_loop request = {
		.tid = loop->tid, .tgid = observed->pid, .process = observed->process,
		.epoll_fd = loop->epoll_fd, .tstate = loop->tstate, .loop = loop->loop,
		.seq = thread ? thread->next_seq : 0,
	};
	uint64_t now = monotonic_ns(), running;
	int slot = attach_add_loop(observation->attachment, &request);

	if (slot < 0) {
		refused(observed, loop->tid, slot);
		return;
	}
	/* it may have ended while it was looked at, and the probes see ends of known ones only */
	if (target_running_loop(observed->target, loop->tstate, &running) ||
	    running != loop->loop ||
	    !(thread || (thread = new_thread(observed, loop->tid)))) {
		attach_free_loop(observation->attachment, slot);
		return;
	}
	thread->slot = slot;
	thread->kind = loop->kind;
	thread->since_ns = now;
	since_before(observation, observed, slot, loop);
	log_info("event loop of pid %d: thread %d, %s", observed->pid, loop->tid,
		 loop->kind == LOOP_KIND_UVLOOP ? "uvloop" : "asyncio");
}

/* Is it the one that is observed? */
static bool same_loop(const volatile struct loop_slot *slot, const struct event_loop *loop)
{
	if (slot->state != LOOP_ACTIVE || slot->loop != loop->loop || slot->tstate != loop->tstate)
		return false;
	/* one that came to the same address; of others the descriptor may be a guess */
	return loop->kind != LOOP_KIND_ASYNCIO || loop->epoll_fd < 0 || slot->epoll_fd < 0 ||
	       slot->epoll_fd == loop->epoll_fd;
}

static bool found_before(const struct target *target, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (target->loops[i].tid == target->loops[index].tid)
			return true; /* a state in two interpreters: it runs the first one */
	return false;
}

void loops_take(struct observation *observation, struct observed *observed)
{
	const struct target *target = observed->target;

	for (size_t i = 0; i < target->loop_count; i++) {
		const struct event_loop loop = target->loops[i];
		struct observed_loop *thread = loop_of_thread(observed, loop.tid);
		const volatile struct loop_slot *slot =
			thread ? loop_slot_of(observation, thread) : NULL;

		if (found_before(target, i) || (slot && same_loop(slot, &loop)))
			continue;
		if (slot)
			loop_leave(observation, observed, thread);
		add_loop(observation, observed, thread, &loop);
	}
}

static void look_again(struct observation *observation, struct observed *observed)
{
	if (!observed->loop_count ||
	    roles_module_count(observed->target) != observed->scan.modules)
		observed_refresh(observation, observed);
	else if (target_find_loops(observed->target) > 0)
		loops_take(observation, observed);
}

void loops_seen(struct observation *observation, struct observed *observed,
		const struct event_header *event)
{
	const struct observed_loop *loop = loop_of_thread(observed, (pid_t)event->tid);

	loops_leave(observation, monotonic_ns());
	if (loop && loop->slot >= 0 && event->time_ns < loop->since_ns)
		return; /* found on behalf of another thread */
	if (!attach_refuses(observation->attachment, (pid_t)event->tid))
		look_again(observation, observed);
}

static void check_interval(struct observation *observation, struct observed_loop *loop,
			   uint64_t now)
{
	struct interval interval = { .start_ns = loop->interval_ns, .end_ns = now,
				     .tid = loop->tid };
	struct loop_slot totals;

	loop_totals(observation, loop, &totals);
	interval.busy_ns = totals.busy_ns - loop->last_busy_ns;
	interval.gil_ns = totals.gil_total_ns - loop->last_gil_ns;
	interval.runnable_ns = totals.runnable_total_ns - loop->last_runnable_ns;
	loop->last_busy_ns += interval.busy_ns;
	loop->last_gil_ns += interval.gil_ns;
	loop->last_runnable_ns += interval.runnable_ns;
	loop->interval_ns = now;
	if (loop->slot >= 0 || interval.busy_ns)
		window_add_interval(&observation->window, &interval);
}

void loops_tick(struct observation *observation, struct observed *observed, uint64_t now)
{
	bool other = false;

	for (size_t i = 0; i < observed->loop_count; i++) {
		struct observed_loop *loop = &observed->loops[i];

		if (now - loop->interval_ns < INTERVAL_NS)
			continue;
		check_interval(observation, loop, now);
		other |= loop_is_left(observation, observed, loop);
	}
	if (other)
		look_again(observation, observed);
}
