/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The Python half of a record. Kernel side only. */
#ifndef LS_PYTHON_BPF_H
#define LS_PYTHON_BPF_H

#include "maps.bpf.h"
#include "py_read.bpf.h"

/*
 * A pid that was given to another process before user space heard of the end
 * of the observed one is not that process: identity is tgid and start time.
 */
static __always_inline bool same_process(__u32 process)
{
	struct process_runtime *runtime = bpf_map_lookup_elem(&process_runtimes, &process);
	__u64 start;

	if (!runtime)
		return false;
	/* helper since 5.11, commit 3ca1032ab7ab: plain loads */
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf)) {
		start = bpf_get_current_task_btf()->group_leader->start_boottime;
	} else {
		struct task_struct *task = (struct task_struct *)bpf_get_current_task();

		start = BPF_CORE_READ(task, group_leader, start_boottime);
	}
	if (!runtime->start_ns)
		runtime->start_ns = start;
	return runtime->start_ns == start;
}

static __always_inline void walk_begin(struct scratch *s, __u32 context, __u32 process,
				       const struct loop_slot *slot, __u64 tstate)
{
	s->walk.context = context;
	s->walk.process = process;
	s->walk.tstate = tstate;
	s->walk.loop = slot ? slot->loop : 0;
	s->walk.faults = 0;
	s->walk.response = 0;
	s->walk.held = 0;
}

static __always_inline void count_faults(const struct scratch *s)
{
	if (s->walk.faults & WALK_REQUEST_FAULT)
		count(COUNTER_request_fault);
	if (s->walk.faults & WALK_TASK_FAULT)
		count(COUNTER_task_fault);
	if (s->walk.faults & WALK_PARENT_LIMIT)
		count(COUNTER_parent_limit);
}

/* Is it sure that no task of the loop runs now? */
static __always_inline int runs_no_task(struct scratch *s, __u32 context,
					const struct loop_slot *slot)
{
	struct process_config *config = process_of_slot(slot->process);

	if (!config || config->current_task == LS_TASK_NONE)
		return 0;
	walk_begin(s, context, slot->process, slot, slot->tstate);
	global_current_task(context);
	return !s->walk.found && !s->walk.faults;
}

/*
 * Fills s->stack and s->request of the calling thread; `slot` is NULL on a
 * thread without a loop.  False: not the process that is observed.
 */
static __always_inline bool record_python(struct scratch *s, __u32 context, __u32 process,
					  const struct loop_slot *slot, __u64 tstate)
{
	__u64 task = 0;

	if (!same_process(process))
		return false;
	walk_begin(s, context, process, slot, tstate);
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
	count_faults(s);
	return true;
}

#endif
