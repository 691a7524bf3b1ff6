/* SPDX-License-Identifier: Apache-2.0 */
/* What a request did or waited for: from spans that overlap to parts that add up. */
#ifndef LS_TIMELINE_H
#define LS_TIMELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "events.h"

#define TIMELINE_MAX_SPANS 1024	/* of one request; later ones are counted, not kept */

/* At each instant exactly one runs, the first that is true. */
#define TIME_PARTS(X) \
	X(loop_cpu, "its code on the loop's CPU") \
	X(loop_blocked, "its code blocking the loop") \
	X(gil_wait, "its step waiting for the GIL") \
	X(cpu_wait, "its step waiting for a CPU") \
	X(thread_run, "its code in a thread, or in a process of an executor") \
	X(behind_others, "ready, behind others") \
	X(thread_queue, "queued for a thread") \
	X(pool_wait, "waiting for a pool") \
	X(dependency_wait, "waiting for a peer") \
	X(timer_wait, "waiting for a timer") \
	X(client_wait, "waiting for the client") \
	X(other_wait, "anything else")

enum time_part {
#define X(part, text) PART_##part,
	TIME_PARTS(X)
#undef X
	PART_COUNT
};

#define PARTS_OWN 4	/* the first ones: its code has the loop */

struct stack;

struct time_span {
	uint64_t start_ns, end_ns;
};

#define STEP_LOG 256
#define TURN_LOG 1024

/* The latest long steps of all loops, and whom they are known to have run for. */
struct step_log {
	struct {
		uint64_t seq, start_ns, end_ns;
		uint64_t busy_ns;	/* the loop's clock at start_ns */
		pid_t pid, tid;
	} items[STEP_LOG];
	size_t count;	/* ever added */
	struct {
		uint64_t start_ns, end_ns;
		pid_t pid, tid;
	} turns[TURN_LOG];
	size_t turn_count;
};

void step_log_add(struct step_log *log, const struct event_step *step);

struct timeline {	/* zero it to begin */
	struct {
		struct part_span {
			struct time_span at;
			enum time_part part;	/* PART_loop_cpu stands for all that is its own */
			bool rest;	/* only where nothing else is known */
			const struct stack *stack;	/* borrowed; NULL: not known */
		} * items; /* owned */
		size_t count, capacity;
	} spans;
	uint64_t own_ns[PARTS_OWN];
	uint64_t ready_ns;	/* something of it is ready since then; 0: nothing is */
	uint64_t ready_busy_ns;	/* the loop's clock at ready_ns, 0: not known */
	uint64_t ready_seq;	/* and its step, 0: not known */
	bool unread;		/* what is ready are bytes that nobody has read */
	uint64_t ran_ns;	/* the loop last ran for it then; 0: it has left it since */
	uint64_t ran_busy_ns, ran_seq;	/* the loop's clock and step then */
	uint64_t lost;		/* spans beyond TIMELINE_MAX_SPANS, or for want of memory */
};

void timeline_free(struct timeline *timeline);	/* what it owns, not itself */

/*
 * It waited for `part`, or ran in a thread, from start to end; there, NULL: where is not
 * known.  PART_other_wait says where, in what time nothing else is known of.  0 or -ENOMEM.
 */
int timeline_add(struct timeline *timeline, enum time_part part, const struct stack *stack,
		 uint64_t start_ns, uint64_t end_ns);

/* A moment on a loop. */
struct loop_moment {
	pid_t pid, tid;
	uint64_t now_ns, seq;
	const struct own_time *own;
};

/* The loop ran for somebody up to a moment; said after timeline_own() of the same. */
void step_log_turn(struct step_log *log, const struct loop_moment *moment);

/*
 * The loop ran for it up to a moment.  Whatever of it was ready before had been
 * behind others: until it ran, which is within two steps, so for longer only where
 * those were long.  A task that goes on makes no sign of it: where the loop has not
 * been idle since it last ran for it, it ran on or was behind those who made one,
 * unless it is known to have waited.  0 or -ENOMEM.
 */
int timeline_own(struct timeline *timeline, const struct loop_moment *moment,
		 const struct step_log *log);

/* Its code on the loop `tid` has left for a thread at some time before `at_ns`. 0 or -ENOMEM. */
int timeline_left(struct timeline *timeline, pid_t pid, pid_t tid, uint64_t at_ns,
		  const struct step_log *log);

/*
 * Something of it can go on from `since` on: bytes or a reply arrived, a thread is
 * done.  `busy_ns` and `seq` are the loop's clock and step then, 0: not known.
 */
void timeline_ready(struct timeline *timeline, uint64_t since_ns, uint64_t busy_ns, uint64_t seq,
		    bool unread);

/* Forgets what was said of one part. */
void timeline_forget(struct timeline *timeline, enum time_part part);

/* Moves the spans of another one (of the same request) over. 0 or -ENOMEM. */
int timeline_merge(struct timeline *timeline, struct timeline *from);

/* How long it waited in one place. */
struct await_time {
	enum time_part part;	/* neither its own nor behind_others */
	const struct stack *stack;	/* borrowed; NULL: not known, or one too many */
	uint64_t ns;
};

#define TIMELINE_BEHIND 64	/* spans of one request that are handed on */
#define TIMELINE_AWAITS 64	/* places of one request */

struct timeline_parts {
	uint64_t ns[PART_COUNT];	/* add up to the whole */
	struct time_span behind[TIMELINE_BEHIND];	/* instants of behind_others, in order */
	size_t behind_count;
	/* for each part that it waits in they add up to that */
	struct await_time awaits[TIMELINE_AWAITS + PART_COUNT];
	size_t await_count;
};

/* Splits start..end into parts.  0 or -ENOMEM. */
int timeline_split(const struct timeline *timeline, uint64_t start_ns, uint64_t end_ns,
		   struct timeline_parts *ret_parts);

/* Does it wait in this part? */
static inline bool time_part_waits(enum time_part part)
{
	return part >= PARTS_OWN && part != PART_behind_others;
}

const char *time_part_name(enum time_part part);
const char *time_part_text(enum time_part part);

#endif
