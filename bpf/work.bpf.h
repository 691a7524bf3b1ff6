/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Threads without a loop: what they send and receive, and when they begin and
 * end a piece of work that a loop waits for.
 */
#ifndef LS_WORK_BPF_H
#define LS_WORK_BPF_H

#include "io.bpf.h"
#include "python.bpf.h"
#include "record.bpf.h"

int global_thread_tstate(__u32 context, __u32 process, __u32 tid);
int global_work_end(__u32 context, __u32 process, __u32 tid);

/* What is known of a thread of an observed process, made when it is new; NULL: no room. */
static __always_inline struct thread_entry *thread_entry_of(__u32 tgid, __u32 tid)
{
	struct thread_entry *entry = bpf_map_lookup_elem(&threads, &tid);
	struct thread_entry fresh = { .slot = THREAD_NO_LOOP };
	__u32 *process;

	if (entry)
		return entry;
	process = bpf_map_lookup_elem(&process_index, &tgid);
	if (!process)
		return NULL;
	fresh.process = *process;
	if (bpf_map_update_elem(&threads, &tid, &fresh, BPF_NOEXIST))
		count(COUNTER_thread_table_full);
	return bpf_map_lookup_elem(&threads, &tid);
}

/*
 * A thread that waited in a futex goes on.  The first time after it handed over a
 * result it has got its next piece of work: pools wait for that on a lock.
 */
static __always_inline void thread_futex(__u32 tgid, __u32 tid, __u64 address, __u64 now)
{
	struct thread_entry *entry = thread_entry_of(tgid, tid);
	struct process_config *config;

	if (!entry || entry->work_ns)
		return;
	config = process_of_slot(entry->process);
	if (config && config->gil && address >= config->gil + config->layout.gil_cond &&
	    address < config->gil + config->layout.gil_size)
		return;
	entry->work_ns = now;
}

static __always_inline void thread_transfer(struct scratch *s, __u32 tgid, __u32 tid)
{
	struct thread_entry *entry = thread_entry_of(tgid, tid);

	if (!entry)
		return;
	/* asyncio wakes its loop by a byte on a socket pair, libuv by an eventfd */
	if (((s->io.number == NR_SENDTO && s->io.result == 1) ||
	     (s->io.number == NR_WRITE && s->io.result == 8)) &&
	    global_work_end(CONTEXT_SYSCALL, entry->process, tid))
		return;
	socket_io(CONTEXT_SYSCALL, entry->process, 0, s->io.number);
}

#endif
