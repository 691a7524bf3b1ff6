/* SPDX-License-Identifier: Apache-2.0 */
/* What is said while it happens: occurrences and stalls that go on. */
#ifndef LS_FOLLOW_H
#define LS_FOLLOW_H

#include <stdbool.h>
#include <stdint.h>

struct activity;

struct follow {
	bool json;		/* NDJSON instead of lines */
	uint64_t stall_ns;	/* shorter ones are not said */
};

/* One line on stdout for an activity that is an occurrence by itself; context: struct follow. */
void follow_activity(void *context, const struct activity *activity);

/* One line on stderr for a stall that goes on or has ended. */
void follow_stall(void *context, const struct activity *activity, bool ended);

#endif
