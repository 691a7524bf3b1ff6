/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How long a loop has been busy, and for whom.  Compiles for the host as well. */
#ifndef LS_LOOP_CLOCK_BPF_H
#define LS_LOOP_CLOCK_BPF_H

#include "scratch.h"

/* Time that the loop of a slot has spent in steps so far. */
static __always_inline __u64 loop_clock(const struct loop_slot *slot, __u64 now)
{
	__u64 start = slot->step_start_ns;

	return slot->busy_ns + (start && now > start ? now - start : 0);
}

static __always_inline __u64 grown(__u64 *point, __u64 value)
{
	__u64 more = value > *point ? value - *point : 0;

	*point = value;
	return more;
}

/*
 * Everything the loop thread did since the last such point of its step was for
 * whoever the event at hand is about: nobody else made a call meanwhile.  A call that
 * slept is accounted for at its end only, and a clock sample may come between that and
 * its wake-up: it has what was before the call.
 */
static __always_inline void own_take(struct loop_slot *slot, struct own_time *own, __u64 now)
{
	__u64 from = slot->point_ns, until = now, length, rest;

	own->busy_ns = loop_clock(slot, now);
	if (!slot->step_start_ns)
		return;
	if (from < slot->step_start_ns)
		from = slot->step_start_ns;
	if (slot->call_start_ns && slot->call_start_ns < until)
		until = slot->call_start_ns;
	length = until > from ? until - from : 0;
	own->start_ns = from;
	own->blocked_ns = grown(&slot->point_calls_ns,
				slot->parts.calls_ns + slot->parts.page_fault_ns);
	own->gil_ns = grown(&slot->point_gil_ns, slot->parts.gil_ns);
	own->runnable_ns = grown(&slot->point_runnable_ns, slot->parts.runnable_ns);
	rest = own->blocked_ns + own->gil_ns + own->runnable_ns +
	       grown(&slot->point_other_ns, slot->parts.stopped_ns);
	own->cpu_ns = length > rest ? length - rest : 0;
	slot->point_ns = from + length;
}

/* A new step: nothing of it was for anybody yet. */
static __always_inline void own_reset(struct loop_slot *slot)
{
	slot->point_ns = 0;
	slot->point_calls_ns = 0;
	slot->point_gil_ns = 0;
	slot->point_runnable_ns = 0;
	slot->point_other_ns = 0;
}

#endif
