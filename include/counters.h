/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) OR Apache-2.0 */
/*
 * Every counter of the probes.  LOSS counters count events that were produced
 * and did not reach user space: produced - received - sum of LOSS = 0.
 * NOTE counters count what went wrong without an event being lost.
 */
#ifndef LS_COUNTERS_H
#define LS_COUNTERS_H

#define LOSS_COUNTERS(X) \
	X(ring_full, "the ring buffer was full: user space did not read fast enough") \
	X(dropped_on_purpose, "dropped by --drop-events, to test how losses are shown")

#define NOTE_COUNTERS(X) \
	X(stack_walks, "Python stacks walked") \
	X(stack_truncated, "Python stacks with more frames than are kept") \
	X(stack_fault, "Python stacks that ended at memory that could not be read") \
	X(request_fault, "requests whose objects could not be read") \
	X(task_fault, "current tasks that could not be read") \
	X(parent_limit, "chains of tasks longer than are followed") \
	X(loop_slots_full, "event loop threads beyond the number that is observed") \
	X(thread_table_full, "threads beyond the number that is observed") \
	X(connections_full, "connections beyond the number that is observed") \
	X(holder_unknown, "GIL waits during which no holder was sampled on a CPU")

enum counter {
	COUNTER_produced,	/* events handed to emit(), whatever became of them */
#define X(name, text) COUNTER_##name,
	LOSS_COUNTERS(X)
	NOTE_COUNTERS(X)
#undef X
	COUNTER_COUNT
};

#endif
