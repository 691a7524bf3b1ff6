/* SPDX-License-Identifier: Apache-2.0 */
/* What a request waits for, told from the await chains of its tasks. */
#ifndef LS_WAITS_H
#define LS_WAITS_H

#include <stddef.h>
#include <stdint.h>

#include "attribute/activity.h"
#include "attribute/stacks.h"
#include "attribute/timeline.h"
#include "resolve/dependants.h"
#include "resolve/tasks.h"

#define WAIT_CALLABLES 16	/* `Depends` callables and middleware seen at once in one request */

struct waiting_callable {
	uint64_t code;		/* code object of its frame */
	struct place place;	/* the line it is at */
	bool middleware;	/* else: called for a `Depends` */
	bool innermost;		/* none of the others is inside of it */
};

/* What a request was seen to wait for at one moment. */
struct request_wait {
	enum time_part part;	/* PART_other_wait: nothing better is known */
	uint64_t mark;		/* changes when it waits for something else */
	const struct stack *stack;	/* where, borrowed; NULL: not known */
	bool by_task;		/* it is another task that is waited for there */
	struct waiting_callable callables[WAIT_CALLABLES];	/* outermost first */
	size_t callable_count;
	struct {
		uint64_t code;		/* 0: it was not looked for, or runs none */
		struct place place;
	} in_thread;	/* the `Depends` callable that a thread runs for it */
};

/*
 * Adds one task of a request to what is known of its wait; zero `wait` and set its
 * part to PART_other_wait before the first one.  `injected` is what its route depends on or
 * NULL.  `frames` are resolved, leaf first; `stacks` keeps where it waits.
 */
void wait_add_task(struct request_wait *wait, struct stack_set *stacks,
		   const struct task_info *task, const struct dependants *injected,
		   const struct frame *frames, const uint64_t *codes, size_t count);

/* The same of a thread that works for it, if that runs a `Depends` callable. */
void wait_add_thread(struct request_wait *wait, const struct dependants *injected,
		     const struct frame *frames, const uint64_t *codes, size_t count);

#endif
