// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The clock: what a long step does on the CPU, and who holds the GIL meanwhile. */
#include "steps.bpf.h"
#include "py_callback.bpf.h"

/* User registers of the interrupted thread. */
static __always_inline void interrupted(struct perf_sample_context *ctx,
					struct call_registers *regs, bool *kernel)
{
	*kernel = !(ctx->cs & 3);
	if (!*kernel) {
		regs->ip = ctx->ip;
		regs->number = -1;
		return;
	}
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf) &&
	    bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs)) {
		struct task_struct *task = bpf_get_current_task_btf();

		registers_copy(regs, (const struct pt_regs *)bpf_task_pt_regs(task));
	} else {
		struct task_struct *task = (struct task_struct *)bpf_get_current_task();

		registers_copy(regs, (const struct pt_regs *)(BPF_CORE_READ(task, stack) +
							      THREAD_SIZE -
							      sizeof(struct pt_regs)));
	}
}

static __always_inline void sample_record(struct scratch *s,
					  const struct process_config *config,
					  struct loop_slot *slot, __u64 tstate,
					  const struct call_registers *regs)
{
	struct event_sample *sample = scratch_record(s, event_sample);
	__u32 collecting = 0;

	sample->ip = regs->ip;
	sample->number = (__s32)regs->number;
	if (config->gc_collecting && !read_u32(config->gc_collecting, &collecting) && collecting)
		sample->header.flags |= EVENT_F_GC;
	if (slot) {
		sample->step_seq = slot->seq;
		sample->step_start_ns = slot->step_start_ns;
		callback_contexts(config, tstate, sample->contexts);
		own_take(slot, &sample->own, sample->header.time_ns);
		slot->samples++;
		if (collecting)
			slot->gc_samples++;
	}
	if (!record_python(s, CONTEXT_SAMPLE, sample->process, slot, tstate))
		return;
	if (!sample->request.task)
		sample->header.flags |= EVENT_F_NO_TASK;
	record_send_stack(sample, false);
}

/* A loop waits for the GIL: does the interrupted thread hold it? */
static __always_inline __u64 holder_tstate(const struct process_config *config)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	const struct py_layout *layout = &config->layout;
	__u64 tstate, thread;
	__u32 locked;

	if (!config->gil || read_u32(config->gil + layout->gil_locked, &locked) || locked != 1 ||
	    read_u64(config->gil + layout->gil_last_holder, &tstate) || !tstate ||
	    read_u64(tstate + layout->tstate_thread_id, &thread))
		return 0;
	return thread == BPF_CORE_READ(task, thread.fsbase) ? tstate : 0;
}

/* The call that the thread is in has no known entry: it has lasted from now on at least. */
static __always_inline void kernel_sample(struct loop_slot *slot, __u64 now)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();

	slot->kernel_sample_ns = now;
	slot->call_run_delay = BPF_CORE_READ(task, sched_info.run_delay);
}

SEC("perf_event")
int cpu_clock(struct perf_sample_context *ctx)
{
	__u64 id = bpf_get_current_pid_tgid(), now, tstate;
	__u32 tgid = id >> 32, tid = (__u32)id, *process;
	struct process_runtime *runtime = NULL;	/* 5.10 minds reads ahead of what is not set */
	struct process_config *config;
	struct call_registers regs = {};
	struct event_sample *sample;
	struct thread_entry *entry;
	struct loop_slot *slot;
	struct scratch *s;
	bool kernel;

	if (!is_target(tgid))
		return 0;
	process = bpf_map_lookup_elem(&process_index, &tgid);
	if (!process)
		return 0;
	config = process_of_slot(*process);
	s = scratch_of(CONTEXT_SAMPLE);
	entry = bpf_map_lookup_elem(&threads, &tid);
	slot = entry ? loop_of(entry->slot) : NULL;
	if (!config || !s)
		return 0;
	now = bpf_ktime_get_ns();
	if (slot) {
		if (!slot->step_start_ns || since(now, slot->step_start_ns) < probe.sample_after_ns)
			return 0;
		interrupted(ctx, &regs, &kernel);
		if (kernel && regs.number >= 0 && !slot->call_start_ns &&
		    !slot->kernel_sample_ns && !slot->enter_ns)
			kernel_sample(slot, now);
		tstate = slot->tstate;
	} else {
		runtime = bpf_map_lookup_elem(&process_runtimes, process);
		if (!runtime || !runtime->gil_wait_since)
			return 0;
		tstate = holder_tstate(config);
		if (!tstate)
			return 0;
		interrupted(ctx, &regs, &kernel);
	}
	sample = scratch_record(s, event_sample);
	record_begin(sample, __builtin_offsetof(struct event_sample, stack.frames),
		     slot ? EVENT_SAMPLE : EVENT_HOLDER, now, tgid, tid);
	sample->process = *process;
	if (kernel)
		sample->header.flags |= EVENT_F_KERNEL_MODE;
	if (!slot) {
		sample->holder_for_ns = since(now, runtime->gil_wait_since);
		runtime->holder_ns = now;
	}
	sample_record(s, config, slot, tstate, &regs);
	return 0;
}
