/* SPDX-License-Identifier: Apache-2.0 */
/* Events -> activities: stack, culprit, request and owner of each. */
#ifndef LS_ATTRIBUTE_H
#define LS_ATTRIBUTE_H

#include "attribute/activity.h"

struct target;
struct native_cache;

#define THREAD_NAMES 64

/* Names of threads as they were asked for last; zeroed: none yet. */
struct thread_names {
	struct {
		pid_t tid;
		const char *name;	/* interned; NULL: it has none */
		uint64_t until_ns;	/* then it is asked again */
	} items[THREAD_NAMES];
};

/* What is known of one observed process; all borrowed. */
struct process_view {
	struct target *target;
	struct code_cache *codes;
	struct route_cache *routes;
	struct native_cache *natives;
	struct thread_names *threads;
};

/*
 * Resolves one event.  `frames` is room for LS_MAX_FRAMES of them and is
 * borrowed by the activity.  Kinds that tell of no activity give -ENOENT.
 */
int attribute_event(const struct process_view *view, const struct event_header *event,
		    struct frame *frames, struct activity *ret_activity);

/* Whose request a task runs for: identity and route of `activity`, the rest of it zero. */
void attribute_request(const struct process_view *view, pid_t pid, pid_t tid,
		       const struct request_record *request, struct activity *ret_activity);

/*
 * Finds hand-over frame, culprit and library frame of frames[] by the rule of
 * "culprit": the innermost application frame before the framework was given control;
 * `endpoint` is the endpoint's code or NULL.
 */
void culprit_find(struct activity *activity, const struct code_info *endpoint);

/*
 * Does a call block its loop?  One that slept does; one that kept the CPU only
 * when it moved data (a large read or write): else it is CPU time like any other.
 */
bool call_blocks(const struct activity *activity);

/* Index of the next application frame at or after `from`, frame_count when none. */
size_t next_application_frame(const struct activity *activity, size_t from);

struct place place_of(const struct frame *frame);

#endif
