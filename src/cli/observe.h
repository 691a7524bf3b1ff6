/* SPDX-License-Identifier: Apache-2.0 */
/* One observation: targets followed, events taken in, a report at the end. */
#ifndef LS_OBSERVE_H
#define LS_OBSERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "attach/attach.h"
#include "attribute/activity.h"
#include "detect/finding.h"
#include "resolve/code.h"

struct observe_options {
	struct attach_options attach;
	struct code_options code;	/* its stdlib_path is filled per process */
	uint64_t stall_ns;
	bool quiet;
	/* each occurrence as it comes, NULL: not wanted */
	void (*on_activity)(void *context, const struct activity *activity);
	/* a stall that goes on (`ended` false) or has ended; NULL: not wanted */
	void (*on_stall)(void *context, const struct activity *activity, bool ended);
	void *context;
};

struct observation;	/* opaque */

/* Loads and attaches the probes, without a target yet. `message` as attach_open(). */
int observation_open(const struct observe_options *options, struct observation **ret_observation,
		     char *message, size_t size);
void observation_free(struct observation *observation);

/*
 * Observes a process and whatever it forks.  0; -EAGAIN the interpreter or its loop has
 * not started yet: it is waited for; else as target_open().
 */
int observation_add(struct observation *observation, pid_t pid, char *message, size_t size);

/* Observes the children that a process has already, and theirs. */
void observation_add_children(struct observation *observation, pid_t pid);

/* Waits at most `timeout_ms` and handles what came. */
int observation_run(struct observation *observation, int timeout_ms);

/* True when every observed process has ended. */
bool observation_over(const struct observation *observation);

/* How many event loops were seen so far. */
size_t observation_loops(const struct observation *observation);

/* Closes the window and reports it; once. 0 or -errno. */
int observation_report(struct observation *observation, struct report *ret_report);

#endif
