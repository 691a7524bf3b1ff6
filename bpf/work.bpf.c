// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Which PyThreadState a thread has, and the end of a piece of its work. */
#include "loop_clock.bpf.h"
#include "work.bpf.h"

#define THREADS_LOOKED_AT 128	/* of an interpreter's list */
#define WORK_FRAMES 8	/* from waking the loop to the frame that ran the work */

static __always_inline bool tstate_is(const struct process_config *config, __u64 tstate,
				      __u64 pointer)
{
	__u64 thread;

	return tstate && !read_u64(tstate + config->layout.tstate_thread_id, &thread) &&
	       thread == pointer;
}

/* Looks for the calling thread in its interpreter's list, by its thread pointer. */
__noinline int global_thread_tstate(__u32 context, __u32 process, __u32 tid)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct process_config *config = process_of_slot(process);
	struct thread_entry *entry = bpf_map_lookup_elem(&threads, &tid);
	struct scratch *s = scratch_of(context);
	__u64 pointer, tstate;

	if (!s || !config || !entry)
		return 0;
	s->walk.tstate = 0;
	pointer = BPF_CORE_READ(task, thread.fsbase);
	if (tstate_is(config, entry->tstate, pointer)) {
		s->walk.tstate = entry->tstate;
		return 0;
	}
	if (read_u64(config->interp + config->layout.interp_tstate_head, &s->walk.address))
		return 0;
	for (__u32 i = 0; i < THREADS_LOOKED_AT; i++) {
		tstate = s->walk.address;
		if (!tstate)
			break;
		if (tstate_is(config, tstate, pointer)) {
			entry->tstate = tstate;
			s->walk.tstate = tstate;
			break;
		}
		if (read_u64(tstate + config->layout.tstate_next, &s->walk.address))
			break;
	}
	return 0;
}

/* The calling thread wakes its loop: whose work has it done?  0: of nobody. */
__noinline int global_work_end(__u32 context, __u32 process, __u32 tid)
{
	struct thread_entry *entry = bpf_map_lookup_elem(&threads, &tid);
	struct scratch *s = scratch_of(context);
	struct process_runtime *runtime;
	struct event_work *work;
	struct loop_slot *slot;
	__u64 tstate;

	if (!s || !entry || !same_process(process))
		return 0;
	global_thread_tstate(context, process, tid);
	tstate = s->walk.tstate;
	if (!tstate)
		return 0;
	work = scratch_record(s, event_work);
	record_begin(work, sizeof(*work), EVENT_WORK, s->io.now,
		     bpf_get_current_pid_tgid() >> 32, tid);
	/* one that did not wait for it had it at once; a new thread has its first from the start */
	work->start_ns = entry->work_ns ? entry->work_ns : entry->worked_ns;
	if (!work->start_ns)
		work->start_ns = BPF_CORE_READ((struct task_struct *)bpf_get_current_task(),
					       start_time);
	work->process = process;
	work->waited = entry->work_ns != 0;
	runtime = bpf_map_lookup_elem(&process_runtimes, &process);
	slot = runtime ? loop_of(runtime->loop) : NULL;
	if (slot) {
		work->busy_ns = loop_clock(slot, s->io.now);
		work->loop_seq = slot->seq;
	}
	walk_begin(s, context, process, NULL, tstate);
	global_frames_near(context, WORK_FRAMES);
	if (!s->walk.host)
		return 0; /* a loop woken for another reason */
	entry->work_ns = 0;
	entry->worked_ns = s->io.now;
	global_callable_code(context, s->walk.subject);
	work->function_code = s->walk.value;
	global_request_find(context, 0);
	count_faults(s);
	record_send(work);
	return 1;
}
