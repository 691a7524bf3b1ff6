// SPDX-License-Identifier: Apache-2.0
/* Slots of event loops: taken, given back, and what was going on when they were taken. */
#include "attach/attach_internal.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>

#include "base/units.h"
#include "discover/process.h"

/* Remembered, so that a loop counts once and the probes do not ask again. */
static int refuse_loop(struct attachment *a, const struct attach_loop *loop)
{
	struct thread_entry entry = { 0 };
	uint32_t tid = (uint32_t)loop->tid;
	int threads = bpf_map__fd(a->skeleton->maps.threads);

	if (!bpf_map_lookup_elem(threads, &tid, &entry) && entry.slot == THREAD_REFUSED)
		return -ENOSPC;
	entry.slot = THREAD_REFUSED;
	entry.process = (uint32_t)loop->process;
	bpf_map_update_elem(threads, &tid, &entry, BPF_ANY);
	a->loops_refused++;
	return -ENOSPC;
}

bool attach_refuses(const struct attachment *a, pid_t pid)
{
	struct thread_entry entry;
	uint32_t tid = (uint32_t)pid;

	for (int i = 0; i < LS_MAX_LOOPS; i++)
		if (!a->slots[i].used)
			return false;
	return !bpf_map_lookup_elem(bpf_map__fd(a->skeleton->maps.threads), &tid, &entry) &&
	       entry.slot == THREAD_REFUSED;
}

/* The loop of a process that has but one: whose clock its worker threads tell. */
static void only_loop(struct attachment *a, int slot)
{
	int map = bpf_map__fd(a->skeleton->maps.process_runtimes);
	uint32_t process = a->loops[slot].process;
	struct process_runtime runtime;
	unsigned loops = 0;

	for (int i = 0; i < LS_MAX_LOOPS; i++)
		loops += a->loops[i].state == LOOP_ACTIVE && a->loops[i].process == process;
	if (bpf_map_lookup_elem(map, &process, &runtime))
		return;
	runtime.loop = loops == 1 ? slot : -1;
	bpf_map_update_elem(map, &process, &runtime, BPF_ANY);
}

int attach_add_loop(struct attachment *a, const struct attach_loop *loop)
{
	struct thread_entry entry = { .process = (uint32_t)loop->process };
	uint32_t tid = (uint32_t)loop->tid;
	int free_slot = -1;

	for (int i = 0; i < LS_MAX_LOOPS; i++) {
		if (a->slots[i].used && a->loops[i].state == LOOP_ACTIVE && a->loops[i].tid == tid)
			return -EEXIST;
		/* the one freed first: a probe may just be done with the last one */
		if (!a->slots[i].used &&
		    (free_slot < 0 || a->slots[i].freed_ns < a->slots[free_slot].freed_ns))
			free_slot = i;
	}
	if (free_slot < 0)
		return refuse_loop(a, loop);
	a->slots[free_slot].used = true;
	a->slots[free_slot].seq = loop->seq;
	a->loops[free_slot] = (struct loop_slot){
		.tid = tid, .tgid = (uint32_t)loop->tgid, .process = (uint32_t)loop->process,
		.state = LOOP_ACTIVE, .epoll_fd = loop->epoll_fd, .call_number = -1,
		.tstate = loop->tstate, .loop = loop->loop, .seq = loop->seq,
	};
	only_loop(a, free_slot);
	entry.slot = free_slot;
	if (bpf_map_update_elem(bpf_map__fd(a->skeleton->maps.threads), &tid, &entry, BPF_ANY)) {
		int error = -errno;

		attach_free_loop(a, free_slot);
		return error;
	}
	return free_slot;
}

void attach_free_loop(struct attachment *a, int slot)
{
	struct thread_entry entry;
	int threads = bpf_map__fd(a->skeleton->maps.threads);
	uint32_t tid;

	if (slot < 0 || slot >= LS_MAX_LOOPS)
		return;
	tid = a->loops[slot].tid;
	if (!bpf_map_lookup_elem(threads, &tid, &entry) && entry.slot == slot)
		bpf_map_delete_elem(threads, &tid);
	a->loops[slot].state = LOOP_FREE;
	a->slots[slot].used = false;
	a->slots[slot].freed_ns = monotonic_ns();
}

void attach_remove_loop(struct attachment *a, int slot)
{
	uint32_t tid;

	if (slot < 0 || slot >= LS_MAX_LOOPS)
		return;
	tid = a->loops[slot].tid;
	bpf_map_delete_elem(bpf_map__fd(a->skeleton->maps.threads), &tid);
	a->loops[slot].state = LOOP_GONE;
	if (a->loops[slot].step_start_ns) {
		uint64_t open = monotonic_ns() - a->loops[slot].step_start_ns;

		a->loops[slot].busy_ns += open;
		if (open > a->loops[slot].step_max_ns)
			a->loops[slot].step_max_ns = open;
		a->loops[slot].step_start_ns = 0;
	}
}

int attach_loop_since_before(struct attachment *a, int slot, int number, const uint64_t args[4])
{
	struct loop_slot *loop = &a->loops[slot];
	/* this may take a while: what the probes have seen is asked for after it */
	uint64_t delay = number < 0 ? 0
				    : process_thread_times((pid_t)loop->tgid, (pid_t)loop->tid)
					      .run_delay_ns;
	uint32_t off = __atomic_load_n(&loop->off_kind, __ATOMIC_ACQUIRE);
	uint64_t start = monotonic_ns();

	if (__atomic_load_n(&loop->seq, __ATOMIC_ACQUIRE) != a->slots[slot].seq ||
	    off == OFF_SELECTOR)
		return 0;
	/* on a busy machine the probes have seen it leave its CPU by now: in that very step */
	if ((off == OFF_CALL || off == OFF_GIL) != (number >= 0) && off != OFF_NONE)
		return -EAGAIN;
	if (number >= 0 && off == OFF_NONE &&
	    !__atomic_compare_exchange_n(&loop->off_kind, &off, OFF_CALL, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE))
		return off == OFF_SELECTOR ? 0 : -EAGAIN;
	if (off != OFF_NONE && loop->off_ns)
		start = loop->off_ns;
	if (number >= 0) {
		loop->call_number = number;
		memcpy(loop->call_args, args, sizeof(loop->call_args));
		loop->call_start_ns = start;
		loop->call_run_delay = delay;
		loop->off_ns = start;
		loop->flags |= SLOT_CALL_BEFORE;
	} else if (off == OFF_NONE) {
		loop->on_ns = start;
	}
	loop->flags |= SLOT_SINCE_BEFORE;
	__atomic_store_n(&loop->step_start_ns, start, __ATOMIC_RELEASE);
	/* the thread may have gone to its selector meanwhile: then there is no step */
	if (__atomic_load_n(&loop->off_kind, __ATOMIC_ACQUIRE) == OFF_SELECTOR ||
	    __atomic_load_n(&loop->seq, __ATOMIC_ACQUIRE) != a->slots[slot].seq)
		loop->step_start_ns = loop->call_start_ns = 0;
	return 0;
}
