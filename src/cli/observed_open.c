// SPDX-License-Identifier: Apache-2.0
/* What loops are in the middle of: steps and calls that have not ended. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "cli/observed.h"

#define LOOK_TRIES 8	/* until nothing happened to the loop meanwhile */

/* Is a call open that is no wait for the GIL? */
static bool in_call(const struct loop_slot *slot)
{
	return slot->call_start_ns && !(slot->flags & SLOT_GIL_CALL);
}

/* The step as it would be recorded if it ended now. */
static void open_step(const struct loop_slot *slot, uint64_t now, struct event_step *step)
{
	bool stopped = slot->off_ns && slot->off_kind == OFF_STOPPED;
	uint64_t until = stopped ? slot->off_ns : now;

	memset(step, 0, sizeof(*step));
	step->header.kind = EVENT_STEP;
	step->header.time_ns = now;
	step->header.tgid = slot->tgid;
	step->header.tid = slot->tid;
	if (slot->flags & SLOT_SINCE_BEFORE)
		step->header.flags |= EVENT_F_SINCE_BEFORE;
	step->start_ns = slot->step_start_ns;
	step->end_ns = now;
	step->seq = slot->seq;
	step->busy_ns = slot->busy_ns + now - slot->step_start_ns;
	step->parts = slot->parts;
	step->parts.page_fault_ns += slot->fault_off_ns;
	if (stopped)
		step->parts.stopped_ns += now - until;
	if (in_call(slot))
		step->parts.calls_ns += until - slot->call_start_ns - slot->call_stopped_ns;
	else if (slot->call_start_ns)
		step->parts.gil_ns += until - slot->call_start_ns - slot->call_stopped_ns;
	else if (slot->off_ns && slot->off_kind == OFF_RUNNABLE)
		step->parts.runnable_ns += now - slot->off_ns;
	else if (slot->off_ns && slot->off_kind == OFF_FAULT)
		step->parts.page_fault_ns += now - slot->off_ns;
	else if (!slot->off_ns)
		step->parts.cpu_user_ns += now - slot->on_ns;
	step->samples = slot->samples;
	step->gc_samples = slot->gc_samples;
	step->process = slot->process;
}

/*
 * Call and stack of a loop thread, as an event would have them.  A process that is killed
 * in the middle of a stall takes its memory along: the stack is then the one of the last
 * time that the stall was looked at.
 */
static int see_call(struct observed *observed, struct observed_loop *loop,
		    const struct loop_slot *slot, const struct event_step *step)
{
	struct event_call call;
	struct walk_result walk;
	int error = walk_thread(observed->target->mem, &observed->config, &observed->roles,
				slot->tstate, slot->loop, &walk);

	if (error)
		return error;
	memset(&call, 0, offsetof(struct event_call, stack.frames));
	call.header = step->header;
	call.header.kind = EVENT_CALL;
	call.header.flags = slot->flags & SLOT_CALL_BEFORE ? EVENT_F_SINCE_BEFORE : 0;
	call.start_ns = slot->call_start_ns;
	call.duration_ns = step->parts.calls_ns - slot->parts.calls_ns;
	call.step_seq = slot->seq;
	call.number = (uint32_t)(in_call(slot) ? slot->call_number : -1);
	call.calls = 1;
	call.target.fd = -1;
	call.request = walk.request;
	call.stack = walk.stack;
	if (!loop->seen)
		loop->seen = malloc(sizeof(*loop->seen));
	else if (!call.stack.count && loop->seen->step_seq == call.step_seq) {
		call.request = loop->seen->request;
		call.stack = loop->seen->stack;
	}
	if (!loop->seen)
		return -ENOMEM;
	*loop->seen = call;
	return 0;
}

static bool is_same(const volatile struct loop_slot *slot, const struct loop_slot *before)
{
	return slot->seq == before->seq && slot->step_start_ns == before->step_start_ns &&
	       slot->call_start_ns == before->call_start_ns;
}

/* A copy that nobody wrote to while it was made. */
static bool copy_slot(const volatile struct loop_slot *slot, struct loop_slot *ret_copy)
{
	struct loop_slot again;

	for (int try = 0; try < LOOK_TRIES; try++) {
		memcpy(ret_copy, (const void *)slot, sizeof(*ret_copy));
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		memcpy(&again, (const void *)slot, sizeof(again));
		if (!memcmp(ret_copy, &again, sizeof(again)))
			return true;
	}
	return false;
}

/* Notes step and open call; `stack`: also what it runs when it is in none. */
static void look(struct observation *observation, struct observed *observed,
		 struct observed_loop *loop, bool stack)
{
	const volatile struct loop_slot *slot = loop_slot_of(observation, loop);
	struct loop_slot at;

	loop->open.start_ns = 0;
	loop->call_open = false;
	if (!slot || !observed->target)
		return;
	if (slot->state == LOOP_GONE && !observed->ended)
		return; /* the thread ended, its process did not: no step was left */
	if (!observed->ended && loop_is_left(observation, observed, loop))
		return; /* the loop was stopped, its thread goes on */
	for (int try = 0; try < LOOK_TRIES; try++) {
		if (!copy_slot(slot, &at))
			continue;
		if (!at.step_start_ns)
			return;
		open_step(&at, monotonic_ns(), &loop->open);
		loop->call_open = (stack || in_call(&at)) &&
				  !see_call(observed, loop, &at, &loop->open);
		if (is_same(slot, &at))
			return;
	}
	loop->open.start_ns = 0;
	loop->call_open = false;
}

void loop_look(struct observation *observation, struct observed *observed,
	       struct observed_loop *loop)
{
	look(observation, observed, loop, false);
}

void loop_alert(struct observation *observation, struct observed *observed,
		struct observed_loop *loop)
{
	struct activity *activity = &loop->alert;

	look(observation, observed, loop, true);
	if (!loop->call_open ||
	    attribute_event(&observed->view, &loop->seen->header, observation->frames, activity))
		return;
	activity->ongoing = true;
	activity->flags = loop->open.header.flags;
	activity->start_ns = loop->open.start_ns;
	activity->duration_ns = loop->open.end_ns - loop->open.start_ns;
	loop->alerted_seq = loop->open.seq + 1;
	observation->options.on_stall(observation->options.context, activity, false);
}

void loop_open_ended(struct observed *observed, const struct activity *activity)
{
	struct observed_loop *loop = loop_of_thread(observed, activity->tid);

	if (!loop)
		return;
	if (activity->kind == ACTIVITY_STEP && activity->step_seq == loop->open.seq)
		loop->open.start_ns = 0;
	if (activity->kind == ACTIVITY_CALL && loop->call_open &&
	    activity->start_ns == loop->seen->start_ns)
		loop->call_open = false;
}

static void take_open(struct observation *observation, struct observed *observed,
		      const struct event_header *event, uint64_t least_ns)
{
	struct activity activity;

	if (attribute_event(&observed->view, event, observation->frames, &activity) ||
	    activity.duration_ns < least_ns)
		return;
	activity.ongoing = true;
	observation_take(observation, &activity);
}

void loop_add_open(struct observation *observation, struct observed *observed,
		   struct observed_loop *loop)
{
	if (loop->call_open)
		take_open(observation, observed, &loop->seen->header,
			  observation->options.attach.slow_call_ns);
	if (loop->open.start_ns)
		take_open(observation, observed, &loop->open.header,
			  observation->options.attach.step_ns);
}
