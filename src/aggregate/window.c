// SPDX-License-Identifier: Apache-2.0
#include "aggregate/window.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregate/groups.h"
#include "aggregate/steps.h"
#include "attribute/attribute.h"
#include "base/intern.h"
#include "base/vec.h"

#define NR_FUTEX 202	/* arch/x86/entry/syscalls/syscall_64.tbl */

void window_init(struct window *window, uint64_t stall_ns)
{
	memset(window, 0, sizeof(*window));
	window->stall_ns = stall_ns;
	window->dependencies.slow_log = &window->slow;
	window->callables.slow_log = &window->slow;
	window->pools.slow_log = &window->slow;
}

void window_free(struct window *window)
{
	for (size_t i = 0; i < window->group_count; i++)
		group_free(window->groups[i]);
	free(window->groups);
	free(window->steps.items);
	free(window->intervals.items);
	for (size_t i = 0; i < window->pending.count; i++)
		pending_clear(&window->pending.items[i], true);
	free(window->pending.items);
	routes_free(&window->routes);
	dependencies_free(&window->dependencies);
	callables_free(&window->callables);
	pools_free(&window->pools);
	victims_free(&window->victims);
	slow_log_free(&window->slow);
	memset(window, 0, sizeof(*window));
}

void window_forget(struct window *window, pid_t pid)
{
	size_t kept = 0;

	for (size_t i = 0; i < window->pending.count; i++) {
		if (window->pending.items[i].pid == pid)
			pending_clear(&window->pending.items[i], true);
		else
			window->pending.items[kept++] = window->pending.items[i];
	}
	window->pending.count = kept;
}

static bool writes(int32_t number)
{
	switch (number) {
	case 1: case 18: case 20: case 44: case 46: /* write pwrite64 writev sendto sendmsg */
		return true;
	}
	return false;
}

static enum window_class class_of_call(const struct activity *activity)
{
	unsigned type = activity->target ? activity->target->type : FD_NONE;
	int fd = activity->target ? activity->target->fd : -1;

	if (activity->number == NR_FUTEX) {
		for (size_t i = 0; i < activity->frame_count && i < activity->hand_over; i++) {
			const char *file = activity->frames[i].code->file;

			/* a result or item that is waited for, not a lock */
			if (strstr(file, "/concurrent/futures/") || strstr(file, "/queue.py") ||
			    !strcmp(activity->frames[i].code->qualname, "Thread.join"))
				return CLASS_CALL;
		}
		return CLASS_LOCK;
	}
	if (writes(activity->number) &&
	    (type == FD_PIPE || type == FD_UNIX || type == FD_INET || type == FD_INET6 ||
	     (type == FD_OTHER && fd <= 2)) &&
	    (activity->logging || fd == 1 || fd == 2))
		return CLASS_LOG;
	return CLASS_CALL;
}

static bool is_silent(const struct activity *activity)
{
	return activity->own_work || (!activity->request && !activity->culprit.file &&
				      !activity->owner_task);
}

static int add_call(struct window *window, const struct activity *activity)
{
	struct pending_step *pending = pending_of(window, activity);

	if (activity->flags & EVENT_F_ON_CPU) {
		if (!call_blocks(activity))
			return 0;
		if (pending)
			pending->on_cpu_call_ns += activity->duration_ns;
	}
	if (is_silent(activity))
		return 0;
	/* of several, the place of one is known */
	return group_add(window, class_of_call(activity), activity, activity->duration_ns,
			 activity->count, activity->count > 1, pending);
}

static int add_holder(struct window *window, const struct activity *activity)
{
	size_t at = window->holder_count++ % (sizeof(window->holders) / sizeof(window->holders[0]));
	int group;

	if (!activity->culprit.file && !activity->request && !activity->owner_thread)
		return 0;
	group = group_find(window, CLASS_HOLDER, activity);
	if (group < 0)
		return group == -ENOSPC ? 0 : group;
	group_note(window->groups[group], activity, 0);
	window->holders[at].time_ns = activity->time_ns;
	window->holders[at].pid = activity->pid;
	window->holders[at].group = (uint32_t)group;
	return 0;
}

int window_add(struct window *window, const struct activity *activity)
{
	switch (activity->kind) {
	case ACTIVITY_CALL:
		return add_call(window, activity);
	case ACTIVITY_PAGE_FAULT:
		if (is_silent(activity))
			return 0;
		return group_add(window, CLASS_FAULT, activity, activity->duration_ns,
				 activity->count, 0, pending_of(window, activity));
	case ACTIVITY_SAMPLE:
		return pending_sample_add(window, activity);
	case ACTIVITY_HOLDER:
		return add_holder(window, activity);
	case ACTIVITY_GIL_WAIT:
		return 0; /* the step that it was in has the sum */
	case ACTIVITY_MESSAGE:
	case ACTIVITY_WORK:
		return 0; /* parts of requests */
	case ACTIVITY_STEP:
		return step_add(window, activity);
	}
	return 0;
}

int window_add_request(struct window *window, const struct served_request *request)
{
	struct route_stats *row;
	uint64_t serial;

	/* a connection that was closed before it asked for anything */
	if (!request->status && !request->route.route)
		return 0;
	row = routes_add(&window->routes, request, &serial);
	if (!row)
		return -ENOMEM;
	slow_log_request(&window->slow, request);
	if (request->ongoing)
		return victims_request(window, row, serial, request);
	return dependencies_request(&window->dependencies, request) ?:
	       callables_request(&window->callables, request) ?:
	       victims_request(window, row, serial, request);
}

int window_add_interval(struct window *window, const struct interval *interval)
{
	int error = vec_grow(&window->intervals, WINDOW_MAX_STEPS);

	if (error == -E2BIG)
		return 0;
	if (error)
		return error;
	window->intervals.items[window->intervals.count++] = *interval;
	return 0;
}
