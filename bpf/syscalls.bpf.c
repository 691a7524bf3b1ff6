// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Exits of system calls: steps begin here, slow calls are recorded here.  The
 * entry is attached only while a target makes calls that stay on the CPU.
 */
#include "descriptor.bpf.h"
#include "io.bpf.h"
#include "py_callback.bpf.h"
#include "steps.bpf.h"
#include "work.bpf.h"

#define SEEN_AGAIN_NS 200000000ull	/* between two LOOP_SEEN about one thread */
#define REFUSED_AGAIN_NS 1000000000ull	/* when there was no room for its loop */

/* errno-base.h of the kernel: the call will be continued after a signal or stop */
#define ERESTARTSYS 512
#define ERESTART_RESTARTBLOCK 516

static __always_inline int will_restart(long result)
{
	return result <= -ERESTARTSYS && result >= -ERESTART_RESTARTBLOCK;
}

static __always_inline void loop_seen(struct scratch *s, __u32 tgid, __u32 tid, int epoll_fd,
				      __u32 process, __u64 now)
{
	struct event_loop_seen *seen = &s->loop_seen;

	record_begin(seen, sizeof(*seen), EVENT_LOOP_SEEN, now, tgid, tid);
	seen->epoll_fd = epoll_fd;
	seen->process = process;
	record_send_urgent(seen);
}

/* A thread that is not known to run a loop left an epoll wait: user space should look. */
static __always_inline void epoll_seen(struct scratch *s, __u32 tgid, __u32 tid, int epoll_fd,
				       __u64 now)
{
	struct thread_entry *entry = bpf_map_lookup_elem(&threads, &tid);
	__u32 *process = bpf_map_lookup_elem(&process_index, &tgid);

	if (!process)
		return;
	if (entry) {
		if (since(now, entry->seen_ns) < (entry->slot == THREAD_REFUSED ? REFUSED_AGAIN_NS
										: SEEN_AGAIN_NS))
			return;
		entry->seen_ns = now;
	} else {
		struct thread_entry fresh = { .slot = THREAD_NO_LOOP, .process = *process,
					      .seen_ns = now };

		if (bpf_map_update_elem(&threads, &tid, &fresh, BPF_NOEXIST)) {
			count(COUNTER_thread_table_full);
			return;
		}
	}
	loop_seen(s, tgid, tid, epoll_fd, *process, now);
}

/* What is left to do when the end of a call was accounted for: functions go 8 deep at most. */
enum {
	LOOP_NOTHING = 0,
	LOOP_RECORD_CALL,
	LOOP_RECORD_HOLDER,
};

/* Records a slow call of the calling thread with stack, request and descriptor. */
__noinline int global_call_record(__u32 context, __s32 index)
{
	struct scratch *s = scratch_of(context);
	struct loop_slot *slot = loop_of(index);
	const struct call_end *end;
	struct event_call *call;
	__u64 now;

	if (!s || !slot)
		return 0;
	now = s->io.now;
	end = &s->call_end;
	call = scratch_record(s, event_call);
	record_begin(call, __builtin_offsetof(struct event_call, stack.frames), EVENT_CALL, now,
		     slot->tgid, slot->tid);
	call->header.flags = end->flags;
	call->start_ns = end->start_ns;
	call->duration_ns = end->duration_ns;
	call->run_delay_ns = end->run_delay_ns;
	call->step_seq = slot->seq;
	call->args[0] = slot->call_args[0];
	call->args[1] = slot->call_args[1];
	call->args[2] = slot->call_args[2];
	call->args[3] = slot->call_args[3];
	call->result = end->result;
	call->number = end->number;
	call->process = slot->process;
	call->calls = end->calls;
	call->pad = 0;
	describe_call(&call->target, end->number, slot->call_args);
	own_take(slot, &call->own, now);
	if (!record_python(s, CONTEXT_SYSCALL, slot->process, slot, slot->tstate))
		return 0;
	if (!call->request.task)
		call->header.flags |= EVENT_F_NO_TASK;
	record_send_stack(call, call->duration_ns >= probe.urgent_ns);
	return 0;
}

#define HOLDER_SLICES 3	/* of 5 ms each without a clock sample of the holder */

/*
 * A loop has waited for the GIL for a while and the clock has not met its
 * holder on any CPU: it sleeps with the GIL.  Its stack stands still, so the
 * waiter, who shares its memory, can walk it.
 */
__noinline int global_holder_asleep(__u32 context, __s32 index)
{
	struct scratch *s = scratch_of(context);
	struct loop_slot *slot = loop_of(index);
	struct process_runtime *runtime;
	struct process_config *config;
	struct event_sample *sample;
	__u32 process, tid = 0;
	__u64 tstate;

	if (!s || !slot)
		return 0;
	process = slot->process;
	config = process_of_slot(process);
	sample = scratch_record(s, event_sample);
	runtime = bpf_map_lookup_elem(&process_runtimes, &process);
	if (!config || !runtime || runtime->holder_ns >= slot->gil_start_ns)
		return 0;
	if (read_u64(config->gil + config->layout.gil_last_holder, &tstate) || !tstate ||
	    tstate == slot->tstate)
		return 0;
	read_u32(tstate + config->layout.tstate_native_thread_id, &tid);
	record_begin(sample, __builtin_offsetof(struct event_sample, stack.frames), EVENT_HOLDER,
		     s->io.now, slot->tgid, tid);
	sample->process = process;
	sample->number = -1;
	sample->holder_for_ns = slot->gil_ns;
	if (!record_python(s, CONTEXT_SYSCALL, process, NULL, tstate))
		return 0;
	if (!sample->request.task)
		sample->header.flags |= EVENT_F_NO_TASK;
	record_send_stack(sample, false);
	return 0;
}

/* Is a call one of those that a wait for the GIL is made of? */
static __always_inline bool is_gil_futex(const struct loop_slot *slot,
					 const struct call_registers *regs)
{
	struct process_config *config = process_of_slot(slot->process);

	return regs->number == NR_FUTEX && config && in_gil(config, regs->args[0]);
}

/*
 * A call that slept for a moment only.  Many of them hold the loop as well: each time that
 * they add up to a slow one, the call at hand is recorded for all of them; LOOP_*.
 */
static __always_inline int short_end(struct loop_slot *slot, struct call_end *end)
{
	slot->short_calls++;
	slot->short_call_ns += end->duration_ns;
	if (slot->short_call_ns < probe.slow_call_ns)
		return LOOP_NOTHING;
	end->calls = slot->short_calls;
	end->duration_ns = slot->short_call_ns;
	slot->short_calls = 0;
	slot->short_call_ns = 0;
	return LOOP_RECORD_CALL;
}

/* A call that slept ends; LOOP_*. */
static __always_inline int slept_end(struct scratch *s, struct loop_slot *slot,
				     const struct call_registers *regs, long result, __u64 now)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	__u64 delay = less(BPF_CORE_READ(task, sched_info.run_delay), slot->call_run_delay);
	__u64 wall = since(now, slot->call_start_ns);
	struct call_end *end = &s->call_end;

	if (will_restart(result)) {
		slot->flags |= SLOT_RESTARTING;
		return LOOP_NOTHING;
	}
	if (delay > wall)
		delay = wall;
	end->flags = 0;
	end->calls = 1;
	end->start_ns = slot->call_start_ns;
	end->run_delay_ns = delay;
	end->duration_ns = less(wall - delay, slot->call_stopped_ns);
	end->result = result;
	end->number = slot->call_number;
	if (slot->flags & SLOT_RESTARTING)
		end->flags |= EVENT_F_RESTARTED;
	if (slot->flags & SLOT_CALL_BEFORE)
		end->flags |= EVENT_F_SINCE_BEFORE;
	slot->parts.runnable_ns += delay;
	slot->call_start_ns = 0;
	slot->on_ns = now;
	if (slot->flags & SLOT_GIL_CALL) {
		if (!slot->gil_ns)
			slot->gil_start_ns = end->start_ns;
		slot->gil_ns += end->duration_ns;
		slot->gil_last_ns = now;
		slot->gil_slices++;
		slot->parts.gil_ns += end->duration_ns;
		slot->flags &= ~SLOT_GIL_CALL;
		return slot->gil_slices % HOLDER_SLICES == 0 ? LOOP_RECORD_HOLDER
							     : LOOP_NOTHING;
	}
	slot->calls++;
	slot->parts.calls_ns += end->duration_ns;
	if (end->duration_ns < probe.slow_call_ns)
		return short_end(slot, end);
	slot->slow_calls++;
	slot->slow_call_ns += end->duration_ns;
	return LOOP_RECORD_CALL;
}

/* A call that never slept ends: slow only when it kept the CPU in the kernel; LOOP_*. */
static __always_inline int awake_end(struct scratch *s, struct loop_slot *slot,
				     const struct call_registers *regs, long result, __u64 now)
{
	__u64 start = slot->enter_ns ? slot->enter_ns : slot->kernel_sample_ns;
	struct call_end *end = &s->call_end;
	struct task_struct *task;

	if (!start || start < slot->step_start_ns)
		return LOOP_NOTHING;
	task = (struct task_struct *)bpf_get_current_task();
	end->run_delay_ns = less(BPF_CORE_READ(task, sched_info.run_delay), slot->call_run_delay);
	end->duration_ns = less(since(now, start), end->run_delay_ns);
	end->start_ns = start;
	end->result = result;
	end->number = (__u32)regs->number;
	end->calls = 1;
	end->flags = EVENT_F_ON_CPU | (slot->enter_ns ? 0 : EVENT_F_LOWER_BOUND);
	if (end->duration_ns < probe.slow_call_ns || !slot->step_start_ns)
		return LOOP_NOTHING;
	slot->call_args[0] = regs->args[0];
	slot->call_args[1] = regs->args[1];
	slot->call_args[2] = regs->args[2];
	slot->call_args[3] = regs->args[3];
	slot->slow_calls++;
	slot->slow_call_ns += end->duration_ns;
	return LOOP_RECORD_CALL;
}

/* What the thread does from now on is nobody's until user space finds a loop in it again. */
static __always_inline void loop_leave(struct loop_slot *slot, struct thread_entry *entry)
{
	slot->step_start_ns = 0;
	entry->slot = THREAD_NO_LOOP;
	entry->seen_ns = 0;
	slot->state = LOOP_ENDED;
}

/*
 * The thread left an epoll wait that is not known to be its loop's.  uvloop does
 * not tell its descriptor: it is the one waited on while no task runs.  Another
 * one that is waited on outside of any callback is that of another loop, and
 * what the thread did since the last wait of this one is not known.  True: this
 * loop is left.  A global function, see python.bpf.c.
 */
__noinline int global_other_epoll(__u32 context, __u32 tid, int epoll_fd, __u64 now)
{
	struct thread_entry *entry = bpf_map_lookup_elem(&threads, &tid);
	struct loop_slot *slot = entry ? loop_of(entry->slot) : NULL;
	struct process_config *config = slot ? process_of_slot(slot->process) : NULL;
	struct scratch *s = scratch_of(context);
	__u64 contexts[2];

	if (!config || !s || !runs_no_task(s, context, slot))
		return 0;
	if (slot->epoll_fd < 0) {
		slot->epoll_fd = epoll_fd;
		return 0;
	}
	callback_contexts(config, slot->tstate, contexts);
	if (!contexts[0])
		loop_leave(slot, entry);
	else if (since(now, entry->seen_ns) < SEEN_AGAIN_NS)
		return 0;
	entry->seen_ns = now;
	loop_seen(s, slot->tgid, slot->tid, epoll_fd, slot->process, now);
	return entry->slot < 0;
}

/* The thread closed the descriptor of its loop: the last step is over. */
__noinline int global_loop_end(__u32 context, __u32 tid, __u64 now)
{
	struct thread_entry *entry = bpf_map_lookup_elem(&threads, &tid);
	struct loop_slot *slot = entry ? loop_of(entry->slot) : NULL;
	struct scratch *s = scratch_of(context);

	if (!slot || !s)
		return 0;
	step_end(s, slot, entry->slot, (struct task_struct *)bpf_get_current_task(), now);
	loop_leave(slot, entry);
	return 0;
}

/*
 * The end of any call of a loop thread: its registers are in the scratch slot.
 * LOOP_*: what the caller has to see to.
 */
__noinline int global_loop_exit(__u32 context, __s32 index)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct scratch *s = scratch_of(context);
	struct loop_slot *slot = loop_of(index);
	struct call_registers regs;
	int what = LOOP_NOTHING;
	__u64 now;

	if (!s || !slot)
		return LOOP_NOTHING;
	now = s->io.now;
	regs.number = (long)s->io.number;
	regs.args[0] = s->io.args[0];
	if (slot->off_ns)
		arrived_unseen(slot, task, now);
	if (is_epoll_wait(regs.number)) {
		if (slot->epoll_fd != (int)regs.args[0] &&
		    global_other_epoll(context, slot->tid, (int)regs.args[0], now))
			return LOOP_NOTHING;
		if (slot->epoll_fd == (int)regs.args[0]) {
			step_end(s, slot, index, task, now);
			step_begin(slot, task, now);
			slot->enter_ns = 0;
			return LOOP_NOTHING;
		}
	}
	if (slot->flags & SLOT_RESTARTING && regs.number != NR_RESTART_SYSCALL &&
	    regs.number != slot->call_number)
		slot->call_start_ns = 0; /* a signal handler ran instead of the rest */
	if (slot->call_start_ns && regs.number != NR_RESTART_SYSCALL &&
	    regs.number != slot->call_number)
		slot->call_start_ns = 0; /* slept on its way out of the call before */
	regs.args[1] = s->io.args[1];
	regs.args[2] = s->io.args[2];
	regs.args[3] = s->io.args[3];
	if (slot->call_start_ns)
		what = slept_end(s, slot, &regs, s->io.result, now);
	else if (slot->enter_ns || slot->kernel_sample_ns)
		what = awake_end(s, slot, &regs, s->io.result, now);
	if (slot->gil_ns && !is_gil_futex(slot, &regs))
		gil_wait_end(s, slot, now);
	slot->enter_ns = 0;
	slot->kernel_sample_ns = 0;
	if (regs.number == NR_CLOSE && !s->io.result && slot->epoll_fd == (int)regs.args[0])
		global_loop_end(context, slot->tid, now);
	return what;
}

/* Bytes went through a socket, or a connection was begun. */
static __always_inline bool moved(long number, long result)
{
	return is_transfer(number) && (result >= 0 || number == NR_CONNECT);
}

static __always_inline void take_arguments(struct scratch *s, const struct pt_regs *pt,
					   long result, __s32 loop, __u64 now)
{
	s->io.args[0] = pt->di;
	s->io.args[1] = pt->si;
	s->io.args[2] = pt->dx;
	s->io.args[3] = pt->r10;
	s->io.number = (__u32)pt->orig_ax;
	s->io.result = result;
	s->io.loop = loop;
	s->io.now = now;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(sys_exit, struct pt_regs *pt, long result)
{
	__u64 id = bpf_get_current_pid_tgid(), now;
	__u32 tgid = id >> 32, tid = (__u32)id;
	long number = (long)pt->orig_ax;
	struct thread_entry *entry;
	struct loop_slot *slot;
	struct scratch *s;

	if (!is_target(tgid))
		return 0;
	entry = bpf_map_lookup_elem(&threads, &tid);
	slot = entry ? loop_of(entry->slot) : NULL;
	if (!slot && number != NR_FUTEX && !is_epoll_wait(number) && !moved(number, result))
		return 0;
	s = scratch_of(CONTEXT_SYSCALL);
	if (!s)
		return 0;
	now = bpf_ktime_get_ns();
	take_arguments(s, pt, result, slot ? entry->slot : -1, now);
	if (slot) {
		int what = global_loop_exit(CONTEXT_SYSCALL, entry->slot);

		if (what == LOOP_RECORD_CALL)
			global_call_record(CONTEXT_SYSCALL, entry->slot);
		else if (what == LOOP_RECORD_HOLDER)
			global_holder_asleep(CONTEXT_SYSCALL, entry->slot);
		if (moved(number, result))
			socket_io(CONTEXT_SYSCALL, slot->process, slot->tstate, number);
	} else if (is_epoll_wait(number)) {
		epoll_seen(s, tgid, tid, (int)pt->di, now);
	} else if (number == NR_FUTEX) {
		thread_futex(tgid, tid, pt->di, now);
	} else {
		thread_transfer(s, tgid, tid);
	}
	return 0;
}

/* Attached on demand: gives calls that never sleep their exact start. */
SEC("tp_btf/sys_enter")
int BPF_PROG(sys_enter, struct pt_regs *pt, long number)
{
	__u64 id = bpf_get_current_pid_tgid();
	__u32 tgid = id >> 32, tid = (__u32)id;
	struct thread_entry *entry;
	struct loop_slot *slot;

	if (!is_target(tgid))
		return 0;
	entry = bpf_map_lookup_elem(&threads, &tid);
	slot = entry ? loop_of(entry->slot) : NULL;
	if (slot && !(slot->flags & SLOT_RESTARTING)) {
		struct task_struct *task = (struct task_struct *)bpf_get_current_task();

		slot->enter_ns = bpf_ktime_get_ns();
		slot->call_run_delay = BPF_CORE_READ(task, sched_info.run_delay);
	}
	return 0;
}
