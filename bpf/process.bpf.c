// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Observed processes and their children come and go. */
#include "record.bpf.h"

static __always_inline void process_record(__u32 tgid, __u32 tid, __u32 what, __u32 parent,
					   __u32 status)
{
	struct scratch *s = scratch_of(CONTEXT_SWITCH);
	struct event_process *process;

	if (!s)
		return;
	process = &s->process;
	record_begin(process, sizeof(*process), EVENT_PROCESS, bpf_ktime_get_ns(), tgid, tid);
	process->what = what;
	process->parent = parent;
	process->status = status;
	record_send_urgent(process);
}

static __always_inline int is_followed(__u32 tgid)
{
	return bpf_map_lookup_elem(&followed, &tgid) != NULL;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(process_fork, struct task_struct *parent, struct task_struct *child)
{
	__u32 tgid = child->tgid, from = parent->tgid, one = 1;

	if (tgid == from || !is_followed(from))
		return 0;
	bpf_map_update_elem(&followed, &tgid, &one, BPF_ANY);
	process_record(tgid, child->pid, PROCESS_FORK, from, 0);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_exec, struct task_struct *task)
{
	if (is_followed(task->tgid))
		process_record(task->tgid, task->pid, PROCESS_EXEC, 0, 0);
	return 0;
}

/* What was open in a loop thread that ends is for user space to judge. */
static __always_inline void thread_end(__u32 tid)
{
	struct thread_entry *entry = bpf_map_lookup_elem(&threads, &tid);
	struct loop_slot *slot = entry ? loop_of(entry->slot) : NULL;

	if (!entry)
		return;
	if (slot)
		slot->state = LOOP_GONE;
	bpf_map_delete_elem(&threads, &tid);
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_exit, struct task_struct *task)
{
	__u32 tgid = task->tgid, tid = task->pid;

	thread_end(tid);
	/* a leader ends before others, too, such as one of them that executes a program */
	if (BPF_CORE_READ(task, signal, live.counter) || !is_followed(tgid))
		return 0;
	bpf_map_delete_elem(&followed, &tgid);
	process_record(tgid, tgid, PROCESS_EXIT, 0, task->exit_code);
	return 0;
}
