/* SPDX-License-Identifier: Apache-2.0 */
/* What attach.c and attach_loops.c both know. */
#ifndef LS_ATTACH_INTERNAL_H
#define LS_ATTACH_INTERNAL_H

#include "attach/attach.h"
#include "attach/probes.h"
#include "loopscope.skel.h"

#define MAX_MISSING 8

struct attachment {
	struct loopscope_bpf *skeleton;
	struct bpf_link *links[PROBE_COUNT];
	struct bpf_link **clocks;	/* one per CPU */
	int clock_count;
	struct loop_slot *loops;	/* mapped */
	size_t loops_bytes;
	struct {
		bool used;
		uint64_t freed_ns;	/* 0: never used */
		uint64_t seq;		/* number of the first step */
	} slots[LS_MAX_LOOPS];
	uint32_t process_tgids[LS_MAX_PROCESSES];	/* 0: free */
	const char *missing[MAX_MISSING + 1];
	size_t missing_count;
	uint64_t loops_refused;
};

#endif
