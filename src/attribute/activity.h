/* SPDX-License-Identifier: Apache-2.0 */
/* One thing that happened, resolved: who, where, for which request. */
#ifndef LS_ACTIVITY_H
#define LS_ACTIVITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/text.h"
#include "events.h"
#include "resolve/code.h"
#include "resolve/routes.h"

enum activity_kind {
	ACTIVITY_CALL,		/* slow system call, or one that stands for short ones */
	ACTIVITY_SAMPLE,	/* clock sample inside a long step */
	ACTIVITY_HOLDER,	/* clock sample of the GIL's holder */
	ACTIVITY_GIL_WAIT,
	ACTIVITY_PAGE_FAULT,
	ACTIVITY_STEP,
	ACTIVITY_MESSAGE,	/* begins a response or a call to a peer */
	ACTIVITY_WORK,		/* a thread has done something for a request */
};

/* Names are interned, frames borrowed from the code cache. */
struct place {
	const char *file, *function, *qualname;	/* file NULL: not known */
	uint32_t line;
};

static inline bool place_same(const struct place *a, const struct place *b)
{
	return text_same(a->file, b->file) && text_same(a->qualname, b->qualname) &&
	       a->line == b->line;
}

struct activity {
	enum activity_kind kind;
	uint16_t flags;		/* EVENT_F_* */
	pid_t pid, tid;
	uint64_t time_ns;	/* when it was recorded: its end */
	uint64_t start_ns, duration_ns;
	bool ongoing;		/* STEP, CALL: the window ends before it, its length is up to now */
	uint64_t step_seq;

	uint64_t request;	/* tells requests apart, 0: belongs to none */
	struct route_name route;
	bool websocket;
	uint16_t client_port;	/* of the connection that asked, 0: not known */
	const char *path;	/* of its scope, no string; valid while the activity is handled */
	uint16_t path_length;	/* in the target: more than LS_PATH_BYTES are not kept */
	bool own_work;		/* of the server or loop itself, start-up and shutdown included */
	const char *owner_task, *owner_thread;
	uint64_t task;		/* tells tasks apart, 0: none was running */
	uint64_t callback;	/* SAMPLE: tells callbacks of one step apart, 0: unknown */

	const struct frame *frames;	/* leaf first; valid while the activity is handled */
	size_t frame_count;
	size_t hand_over;	/* index of the nearest hand-over frame, frame_count: none */
	bool truncated;
	struct place culprit, library;
	const char *native;
	bool logging;		/* below a logging handler */

	int32_t number;		/* system call, -1: none */
	int64_t result;
	const struct call_target *target;	/* CALL */
	const char *peer, *detail;
	const struct event_step *step;	/* STEP */
	uint64_t code;		/* WORK: code object of what was run, 0: not known */
	uint32_t count;		/* CALL: calls; PAGE_FAULT: faults; GIL_WAIT: slices */
};

#endif
