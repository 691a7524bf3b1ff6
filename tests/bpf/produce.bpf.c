// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Makes records as fast as it can, the way the probes hand theirs over. */
#include "record.bpf.h"

#define RECORDS_A_RUN 2500	/* tests/bpf/test_loss.c counts on it */

/* A function of its own: the verifier checks it once, not in every round. */
__noinline int produce_one(__u32 number)
{
	struct scratch *s = scratch_of(CONTEXT_SYSCALL);

	if (!s)
		return 0;
	if (number & 1) {
		record_begin(&s->process, sizeof(s->process), EVENT_PROCESS, number, 1, 1);
		s->process.what = PROCESS_EXEC;
		record_send(&s->process);
	} else {
		record_begin(&s->step, sizeof(s->step), EVENT_STEP, number, 1, 1);
		record_send(&s->step);
	}
	return 0;
}

SEC("raw_tp")
int produce(void *context)
{
	for (__u32 i = 0; i < RECORDS_A_RUN; i++)
		produce_one(i);
	return 0;
}
