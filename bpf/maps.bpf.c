// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Definitions of the shared maps and variables. */
#include "maps.bpf.h"

struct event_ring events SEC(".maps");
struct process_map processes SEC(".maps");
struct process_index_map process_index SEC(".maps");
struct process_runtime_map process_runtimes SEC(".maps");
struct thread_map threads SEC(".maps");
struct loop_map loops SEC(".maps");
struct code_role_map code_roles SEC(".maps");
struct followed_map followed SEC(".maps");
struct connection_map connections SEC(".maps");
struct key_memo_map key_memos SEC(".maps");
struct scratch_map scratch SEC(".maps");
struct fault_map faults SEC(".maps");
struct counter_map counters SEC(".maps");

const volatile struct probe_config probe = {};
__u32 filter_tgids[LS_MAX_FILTER] = {};
__u32 filter_count = 0;
struct listener listeners[LS_MAX_LISTENERS] = {};
__u32 listener_count = 0;
__u32 drowsy = 0;
__u32 muted = 0;

char LICENSE[] SEC("license") = "Dual BSD/GPL";
