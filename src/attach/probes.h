/* SPDX-License-Identifier: Apache-2.0 */
/* The table of probes. */
#ifndef LS_PROBES_H
#define LS_PROBES_H

#include <stdbool.h>

enum probe_kind {
	PROBE_TRACEPOINT,	/* attached at once */
	PROBE_ON_DEMAND,	/* attached while it is needed */
	PROBE_CLOCK,		/* one perf event per CPU */
};

enum probe_id {
	PROBE_SYS_EXIT,
	PROBE_SYS_ENTER,
	PROBE_SCHED_SWITCH,
	PROBE_CPU_CLOCK,
	PROBE_FORK,
	PROBE_EXEC,
	PROBE_EXIT,
	PROBE_TCP_SEGMENT,
	PROBE_TCP_STATE,
	PROBE_COUNT
};

struct probe {
	const char *program;	/* name of the BPF program */
	enum probe_kind kind;
	bool required;
	const char *gives;	/* for doctor: what it is for */
	const char *without;	/* what is lost when it cannot be had */
};

extern const struct probe probes[PROBE_COUNT];

#endif
