// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Loop threads on and off the CPU: where calls begin, steps end and time goes. */
#include "steps.bpf.h"

/* Sleeps outside of any system call: a page fault. Keeps the stack until it is recorded. */
static __noinline int fault_begin(struct scratch *s, struct loop_slot *slot, __s32 index,
				  __u64 now)
{
	struct event_page_fault *fault = scratch_record(s, event_page_fault), *kept;
	__u32 key = index;

	if (slot->faults_pending)
		return 0; /* the stack of the first one stands for a millisecond of them */
	kept = bpf_map_lookup_elem(&faults, &key);
	if (!kept)
		return 0;
	record_begin(fault, __builtin_offsetof(struct event_page_fault, stack.frames),
		     EVENT_PAGE_FAULT, now, slot->tgid, slot->tid);
	fault->step_seq = slot->seq;
	fault->process = slot->process;
	record_python(s, CONTEXT_SWITCH, slot->process, slot, slot->tstate);
	bpf_probe_read_kernel(kept, sizeof(*kept), fault);
	return 0;
}

/*
 * Who hands the CPU over has not always had it for long: of all waits of a step
 * the one is remembered that ran for longest before.
 */
static __always_inline void remember_rival(struct loop_slot *slot, struct task_struct *rival,
					   __u64 off)
{
	__u32 tgid = BPF_CORE_READ(rival, tgid);
	__u64 ran = less(BPF_CORE_READ(rival, se.sum_exec_runtime),
			 BPF_CORE_READ(rival, se.prev_sum_exec_runtime));

	if (ran > off)
		ran = off;
	if (!tgid || ran <= slot->rival_ns)
		return;
	slot->rival_ns = ran;
	slot->rival_tgid = tgid;
	bpf_probe_read_kernel(slot->rival, sizeof(slot->rival), &rival->comm);
}

/* The loop thread leaves the CPU; runs in its own context. */
static __always_inline void switch_out(struct loop_slot *slot, __s32 index,
				       struct task_struct *prev, struct task_struct *next,
				       bool preempt, __u64 now)
{
	unsigned int state = task_state(prev);
	struct call_registers regs;
	struct scratch *s;

	if (slot->off_ns)
		arrived_unseen(slot, prev, now);
	cpu_piece(slot, now);
	fault_settle(slot, prev, index);
	if (preempt || state == TASK_RUNNING) {
		slot->off_kind = OFF_RUNNABLE;
		slot->off_run_delay = BPF_CORE_READ(prev, sched_info.run_delay);
		goto out;
	}
	if (state & (TASK_STOPPED | TASK_TRACED | TASK_FROZEN)) {
		slot->off_kind = OFF_STOPPED;
		goto out;
	}
	s = scratch_of(CONTEXT_SWITCH);
	if (!s)
		goto out;
	registers_copy(&regs, user_registers(prev));
	if (regs.number < 0) {
		slot->off_kind = OFF_FAULT;
		slot->fault_run_delay = BPF_CORE_READ(prev, sched_info.run_delay);
		if (slot->step_start_ns)
			fault_begin(s, slot, index, now);
		goto out;
	}
	if (is_epoll_wait(regs.number) && slot->epoll_fd < 0 &&
	    runs_no_task(s, CONTEXT_SWITCH, slot))
		slot->epoll_fd = (int)regs.args[0];
	if (is_epoll_wait(regs.number) && slot->epoll_fd == (int)regs.args[0]) {
		step_end(s, slot, index, prev, now);
		slot->off_kind = OFF_SELECTOR;
		goto out;
	}
	if (slot->step_start_ns)
		call_begin(s, slot, prev, &regs, now);
	slot->off_kind = slot->flags & SLOT_GIL_CALL ? OFF_GIL : OFF_CALL;
out:
	slot->off_ns = now;
}

/* The loop thread gets a CPU; runs in the context of whoever had it. */
static __always_inline void switch_in(struct loop_slot *slot, struct task_struct *prev,
				      __u64 now)
{
	__u64 off = slot->off_ns ? since(now, slot->off_ns) : 0;

	if (slot->step_start_ns && off) {
		switch (slot->off_kind) {
		case OFF_RUNNABLE:
			if (!slot->call_start_ns)
				slot->parts.runnable_ns += off;
			remember_rival(slot, prev, off);
			break;
		case OFF_STOPPED:
			slot->parts.stopped_ns += off;
			if (slot->call_start_ns)
				slot->call_stopped_ns += off;
			break;
		case OFF_FAULT:
			slot->fault_off_ns = off;
			slot->faults_pending++;
			break;
		}
	}
	if (!slot->off_ns)
		cpu_piece(slot, now); /* it was not seen to leave */
	slot->off_kind = OFF_NONE;
	slot->off_ns = 0;
	slot->on_ns = now;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(sched_switch, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	struct thread_entry *entry;
	struct loop_slot *slot;
	__u32 tid;

	if (is_target(prev->tgid)) {
		tid = prev->pid;
		entry = bpf_map_lookup_elem(&threads, &tid);
		slot = entry ? loop_of(entry->slot) : NULL;
		if (slot)
			switch_out(slot, entry->slot, prev, next, preempt, bpf_ktime_get_ns());
	}
	if (is_target(next->tgid)) {
		tid = next->pid;
		entry = bpf_map_lookup_elem(&threads, &tid);
		slot = entry ? loop_of(entry->slot) : NULL;
		if (slot)
			switch_in(slot, prev, bpf_ktime_get_ns());
	}
	return 0;
}
