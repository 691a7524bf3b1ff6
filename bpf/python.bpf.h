/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The Python half of a record. Kernel side only. */
#ifndef LS_PYTHON_BPF_H
#define LS_PYTHON_BPF_H

#include "maps.bpf.h"
#include "py_read.bpf.h"

/*
 * Fills s->stack and s->request of the calling thread; `slot` is NULL on a
 * thread without a loop.
 */
static __always_inline void record_python(struct scratch *s, __u32 context, __u32 process,
					  const struct loop_slot *slot, __u64 tstate)
{
	__u64 task = 0;

	s->walk.context = context;
	s->walk.process = process;
	s->walk.tstate = tstate;
	s->walk.loop = slot ? slot->loop : 0;
	s->walk.faults = 0;
	count(COUNTER_stack_walks);
	global_frames_walk(context);
	if (s->stack.end == STACK_TRUNCATED)
		count(COUNTER_stack_truncated);
	else if (s->stack.end == STACK_FAULT)
		count(COUNTER_stack_fault);
	if (slot) {
		global_current_task(context);
		task = s->walk.found;
	}
	global_request_find(context, task);
	if (s->walk.faults & WALK_REQUEST_FAULT)
		count(COUNTER_request_fault);
	if (s->walk.faults & WALK_TASK_FAULT)
		count(COUNTER_task_fault);
	if (s->walk.faults & WALK_PARENT_LIMIT)
		count(COUNTER_parent_limit);
}

#endif
