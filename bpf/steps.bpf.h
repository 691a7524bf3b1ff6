/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The life of a step and of the calls and waits inside it.  Everything here
 * runs in the loop thread's own context or while it is off CPU, so a slot has
 * one writer at a time.
 */
#ifndef LS_STEPS_BPF_H
#define LS_STEPS_BPF_H

#include "loop_clock.bpf.h"
#include "python.bpf.h"
#include "record.bpf.h"
#include "registers.bpf.h"

#define GIL_GAP_NS 200000	/* CPU between two futex calls of one wait for the GIL */

static __always_inline __u64 since(__u64 now, __u64 then)
{
	return now > then ? now - then : 0;
}

static __always_inline __u64 less(__u64 value, __u64 part)
{
	return value > part ? value - part : 0;
}

/* Adds the piece of CPU time that ends now to the step. */
static __always_inline void cpu_piece(struct loop_slot *slot, __u64 now)
{
	__u64 from = slot->on_ns > slot->step_start_ns ? slot->on_ns : slot->step_start_ns;

	if (slot->step_start_ns && !slot->call_start_ns && !slot->off_ns)
		slot->parts.cpu_user_ns += since(now, from);
	slot->on_ns = now;
}

/*
 * The thread runs, but was not seen to get its CPU: kernels leave out a switch
 * now and then (seen on 6.18, by their own trace as well).  The scheduler's
 * books tell the wait from the work.
 */
static __always_inline void arrived_unseen(struct loop_slot *slot, struct task_struct *task,
					   __u64 now)
{
	__u64 off = since(now, slot->off_ns);

	if (slot->step_start_ns && !slot->call_start_ns) {
		if (slot->off_kind == OFF_RUNNABLE) {
			__u64 delay = less(BPF_CORE_READ(task, sched_info.run_delay),
					   slot->off_run_delay);

			off = delay < off ? delay : off;
			slot->parts.runnable_ns += off;
		} else if (slot->off_kind == OFF_STOPPED) {
			slot->parts.stopped_ns += off;
		} else if (slot->off_kind == OFF_FAULT) {
			slot->fault_off_ns = off; /* fault_settle() takes it apart */
			slot->faults_pending++;
		}
	}
	slot->on_ns = slot->off_ns + off;
	slot->off_ns = 0;
	slot->off_kind = OFF_NONE;
}

/* Ends the wait for the GIL that is being gathered; own context. */
static __always_inline void gil_wait_end(struct scratch *s, struct loop_slot *slot, __u64 now)
{
	struct process_runtime *runtime;
	__u32 process = slot->process;

	if (!slot->gil_ns)
		return;
	runtime = bpf_map_lookup_elem(&process_runtimes, &process);
	if (runtime)
		runtime->gil_wait_since = 0;
	slot->gil_waits++;
	slot->gil_total_ns += slot->gil_ns;
	if (slot->gil_ns >= probe.slow_call_ns) {
		struct event_gil_wait *wait = &s->gil_wait;

		if (runtime && runtime->holder_ns < slot->gil_start_ns)
			count(COUNTER_holder_unknown);
		record_begin(wait, sizeof(*wait), EVENT_GIL_WAIT, now, slot->tgid, slot->tid);
		wait->start_ns = slot->gil_start_ns;
		wait->duration_ns = slot->gil_ns;
		wait->step_seq = slot->seq;
		wait->slices = slot->gil_slices;
		wait->process = process;
		record_send(wait);
	}
	slot->gil_ns = 0;
	slot->gil_slices = 0;
}

static __always_inline void step_begin(struct loop_slot *slot, struct task_struct *task,
				       __u64 now)
{
	slot->seq++;
	slot->step_start_ns = now;
	slot->on_ns = now;
	slot->off_ns = 0;
	slot->call_start_ns = 0;
	slot->flags = 0;
	slot->step_utime = BPF_CORE_READ(task, utime);
	slot->step_stime = BPF_CORE_READ(task, stime);
	slot->parts.cpu_user_ns = 0;
	slot->parts.cpu_kernel_ns = 0;
	slot->parts.calls_ns = 0;
	slot->parts.gil_ns = 0;
	slot->parts.runnable_ns = 0;
	slot->parts.page_fault_ns = 0;
	slot->parts.stopped_ns = 0;
	slot->calls = 0;
	slot->short_calls = 0;
	slot->short_call_ns = 0;
	slot->samples = 0;
	slot->gc_samples = 0;
	slot->rival_ns = 0;
	slot->rival_tgid = 0;
	slot->kernel_sample_ns = 0;
	slot->fault_off_ns = 0;
	slot->fault_pending_ns = 0;
	slot->faults_pending = 0;
	own_reset(slot);
}

/* Records the faults that were gathered, with the stack of the first one. */
static __noinline int fault_send(struct loop_slot *slot, __s32 index)
{
	struct event_page_fault *fault;
	__u32 key = index;

	fault = bpf_map_lookup_elem(&faults, &key);
	if (fault) {
		fault->header.time_ns = bpf_ktime_get_ns();
		fault->duration_ns = slot->fault_pending_ns;
		fault->faults = slot->faults_pending;
		record_send_stack(fault, fault->duration_ns >= probe.urgent_ns);
	}
	slot->fault_pending_ns = 0;
	slot->faults_pending = 0;
	return 0;
}

/*
 * The kernel knows how long a thread waited for a CPU only once it runs again:
 * what the last fault took is settled when the thread leaves the CPU next.
 */
static __always_inline void fault_settle(struct loop_slot *slot, struct task_struct *task,
					 __s32 index)
{
	__u64 off = slot->fault_off_ns, delay;

	if (!off)
		return;
	delay = less(BPF_CORE_READ(task, sched_info.run_delay), slot->fault_run_delay);
	if (delay > off)
		delay = off;
	slot->fault_off_ns = 0;
	slot->parts.runnable_ns += delay;
	slot->parts.page_fault_ns += off - delay;
	slot->fault_pending_ns += off - delay;
	if (slot->fault_pending_ns >= probe.slow_call_ns)
		fault_send(slot, index);
}

static __always_inline void step_count(struct loop_slot *slot, __u64 length)
{
	__u32 bucket = step_bucket(length);

	slot->steps++;
	slot->busy_ns += length;
	if (length > slot->step_max_ns)
		slot->step_max_ns = length;
	if (!slot->step_min_ns || length < slot->step_min_ns)
		slot->step_min_ns = length;
	if (bucket < LS_STEP_BUCKETS)
		slot->histogram[bucket]++;
	slot->runnable_total_ns += slot->parts.runnable_ns;
	slot->stopped_total_ns += slot->parts.stopped_ns;
	slot->fault_total_ns += slot->parts.page_fault_ns;
}

/*
 * Splits CPU time by the kernel's tick accounting; the sum stays exact.  The
 * ticks of short steps say little, and nothing is said then.
 */
static __always_inline void cpu_split(struct step_parts *parts, const struct loop_slot *slot,
				      struct task_struct *task)
{
	__u64 user = less(BPF_CORE_READ(task, utime), slot->step_utime) >> 10;
	__u64 kernel = less(BPF_CORE_READ(task, stime), slot->step_stime) >> 10;

	if (!kernel || user + kernel == 0)
		return;
	parts->cpu_kernel_ns = parts->cpu_user_ns / (user + kernel) * kernel;
	parts->cpu_user_ns -= parts->cpu_kernel_ns;
}

/* The step ends now: the thread goes to sleep in the selector, or its wait did not sleep. */
static __always_inline void step_end(struct scratch *s, struct loop_slot *slot, __s32 index,
				     struct task_struct *task, __u64 now)
{
	__u64 start = slot->step_start_ns, length = since(now, start);

	if (!start)
		return;
	cpu_piece(slot, now);
	gil_wait_end(s, slot, now);
	fault_settle(slot, task, index);
	if (slot->fault_pending_ns && slot->parts.page_fault_ns >= probe.slow_call_ns)
		fault_send(slot, index);
	slot->step_start_ns = 0;
	step_count(slot, length);
	if (length >= probe.step_ns) {
		struct event_step *step = &s->step;

		record_begin(step, sizeof(*step), EVENT_STEP, now, slot->tgid, slot->tid);
		if (slot->flags & SLOT_SINCE_BEFORE)
			step->header.flags |= EVENT_F_SINCE_BEFORE;
		step->start_ns = start;
		step->end_ns = now;
		step->seq = slot->seq;
		step->busy_ns = slot->busy_ns;
		step->parts = slot->parts;
		cpu_split(&step->parts, slot, task);
		step->calls = slot->calls;
		step->samples = slot->samples;
		step->gc_samples = slot->gc_samples;
		step->process = slot->process;
		if (slot->rival_ns) {
			step->rival_tgid = slot->rival_tgid;
			__builtin_memcpy(step->rival, slot->rival, sizeof(step->rival));
		}
		record_send(step);
	}
	slot->flags &= ~SLOT_SINCE_BEFORE;
}

static __always_inline int in_gil(const struct process_config *config, __u64 address)
{
	return config->gil && address >= config->gil + config->layout.gil_cond &&
	       address < config->gil + config->layout.gil_size;
}

/* The call in which the thread goes to sleep for the first time begins. */
static __always_inline void call_begin(struct scratch *s, struct loop_slot *slot,
				       struct task_struct *task,
				       const struct call_registers *regs, __u64 now)
{
	struct process_config *config = process_of_slot(slot->process);
	__u64 start = slot->enter_ns && slot->enter_ns >= slot->step_start_ns ? slot->enter_ns
									      : now;

	if (slot->call_start_ns)
		return; /* slept before, or continued by restart_syscall */
	slot->flags &= ~(SLOT_GIL_CALL | SLOT_RESTARTING | SLOT_CALL_BEFORE);
	if (regs->number == NR_FUTEX && config && in_gil(config, regs->args[0])) {
		__u32 process = slot->process;
		struct process_runtime *runtime;

		slot->flags |= SLOT_GIL_CALL;
		if (slot->gil_ns && since(now, slot->gil_last_ns) > GIL_GAP_NS)
			gil_wait_end(s, slot, now);
		runtime = bpf_map_lookup_elem(&process_runtimes, &process);
		if (runtime && !runtime->gil_wait_since)
			runtime->gil_wait_since = now;
	} else {
		gil_wait_end(s, slot, now);
	}
	/* counted as CPU up to now, but the call began at its entry */
	slot->parts.cpu_user_ns = less(slot->parts.cpu_user_ns, since(now, start));
	slot->call_start_ns = start;
	slot->call_number = (__s32)regs->number;
	slot->call_args[0] = regs->args[0];
	slot->call_args[1] = regs->args[1];
	slot->call_args[2] = regs->args[2];
	slot->call_args[3] = regs->args[3];
	if (start == now) /* else it was taken at the entry */
		slot->call_run_delay = BPF_CORE_READ(task, sched_info.run_delay);
	slot->call_stopped_ns = 0;
}

#endif
