/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The shared maps, each with its sentence, and the two ways out: count() and emit(). */
#ifndef LS_MAPS_BPF_H
#define LS_MAPS_BPF_H

#include "kernel_types.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "counters.h"
#include "events.h"
#include "target_config.h"
#include "scratch.h"

/* One scratch slot per context that can interrupt another one. */
enum { CONTEXT_SYSCALL = 0, CONTEXT_SWITCH = 1, CONTEXT_SAMPLE = 2, CONTEXT_COUNT = 3 };

struct event_ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 * 1024 * 1024);
};

struct process_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LS_MAX_PROCESSES);
	__type(key, __u32);
	__type(value, struct process_config);
};

struct process_index_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LS_MAX_PROCESSES * 2);
	__type(key, __u32);
	__type(value, __u32);
};

struct process_runtime_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LS_MAX_PROCESSES);
	__type(key, __u32);
	__type(value, struct process_runtime);
};

struct thread_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LS_MAX_THREADS);
	__type(key, __u32);
	__type(value, struct thread_entry);
};

struct loop_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, LS_MAX_LOOPS);
	__type(key, __u32);
	__type(value, struct loop_slot);
};

struct code_role_map {	/* preallocated: 5.10 lets the clock look into no other kind */
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LS_MAX_CODE_ROLES);
	__type(key, struct code_role_key);
	__type(value, struct code_role);
};

struct followed_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u32);
};

struct connection_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LS_MAX_CONNECTIONS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct connection);
};

struct key_memo_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LS_MAX_PROCESSES);
	__type(key, __u32);
	__type(value, struct key_memo);
};

struct scratch_map {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CONTEXT_COUNT);
	__type(key, __u32);
	__type(value, struct scratch);
};

struct fault_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LS_MAX_LOOPS);
	__type(key, __u32);
	__type(value, struct event_page_fault);
};

struct counter_map {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTER_COUNT);
	__type(key, __u32);
	__type(value, __u64);
};

extern struct event_ring events SEC(".maps");		/* records for user space */
extern struct process_map processes SEC(".maps");	/* configuration by process slot */
extern struct process_index_map process_index SEC(".maps");	/* tgid -> process slot */
extern struct process_runtime_map process_runtimes SEC(".maps");
extern struct thread_map threads SEC(".maps");
extern struct loop_map loops SEC(".maps");		/* memory-mapped by user space */
extern struct code_role_map code_roles SEC(".maps");	/* code objects that lead to a request */
extern struct followed_map followed SEC(".maps");	/* tgids whose children are reported */
extern struct connection_map connections SEC(".maps");	/* by address of the struct sock */
extern struct key_memo_map key_memos SEC(".maps");	/* keys of ASGI scopes, by process slot */
extern struct scratch_map scratch SEC(".maps");
extern struct fault_map faults SEC(".maps");		/* stack of the fault a loop sleeps in */
extern struct counter_map counters SEC(".maps");

extern const volatile struct probe_config probe;

/* The first processes, compared one by one: cheaper for everybody else than a hash. */
extern __u32 filter_tgids[LS_MAX_FILTER];
extern __u32 filter_count;	/* above LS_MAX_FILTER: the hash is asked */

extern struct listener listeners[LS_MAX_LISTENERS];
extern __u32 listener_count;

/* User space sleeps for long: the next request that comes wakes it up. */
extern __u32 drowsy;

extern __u32 muted;	/* the attach ends: no event is produced any more */

static __always_inline void count(enum counter which)
{
	__u32 key = which;
	__u64 *value = bpf_map_lookup_elem(&counters, &key);

	if (value) /* the clock interrupts other probes on the same CPU */
		__sync_fetch_and_add(value, 1);
}

/*
 * Hands a record to user space or counts why not.  It is read within a tick;
 * `urgent` ones at once, because the process may end and take its names along.
 */
static __always_inline void emit(void *record, __u32 size, bool urgent)
{
	__u64 flags = BPF_RB_NO_WAKEUP;

	if (muted)
		return;
	count(COUNTER_produced);
	if (probe.drop_per_mille && bpf_get_prandom_u32() % 1000 < probe.drop_per_mille) {
		count(COUNTER_dropped_on_purpose);
		return;
	}
	if (urgent || bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) >
			      bpf_ringbuf_query(&events, BPF_RB_RING_SIZE) / 4)
		flags = BPF_RB_FORCE_WAKEUP;
	if (bpf_ringbuf_output(&events, record, size, flags))
		count(COUNTER_ring_full);
}

static __always_inline struct scratch *scratch_of(__u32 context)
{
	return bpf_map_lookup_elem(&scratch, &context);
}

/* Is this process observed? */
static __always_inline int is_target(__u32 tgid)
{
	__u32 tracked = filter_count;

	if (tracked > LS_MAX_FILTER)
		return bpf_map_lookup_elem(&process_index, &tgid) != NULL;
#pragma unroll
	for (__u32 i = 0; i < LS_MAX_FILTER; i++)
		if (i < tracked && filter_tgids[i] == tgid)
			return 1;
	return 0;
}

static __always_inline struct process_config *process_of_slot(__u32 process)
{
	return bpf_map_lookup_elem(&processes, &process);
}

static __always_inline struct loop_slot *loop_of(__s32 slot)
{
	__u32 key = slot;

	return slot < 0 ? NULL : bpf_map_lookup_elem(&loops, &key);
}

#endif
