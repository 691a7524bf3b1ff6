// SPDX-License-Identifier: Apache-2.0
#include "attribute/attribute.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/intern.h"
#include "base/text.h"
#include "base/units.h"
#include "discover/target.h"
#include "resolve/dependants.h"
#include "resolve/native.h"

/* Tasks of the server itself: file suffix of their coroutine. */
static const char *const server_files[] = {
	"uvicorn/server.py", "uvicorn/workers.py", "uvicorn_worker/_workers.py",
	"uvicorn/lifespan/on.py", "hypercorn/asyncio/run.py", "hypercorn/asyncio/lifespan.py",
	"gunicorn/workers/gasgi.py",
};

static bool is_server_code(const struct code_info *code)
{
	if (!code || code->origin == CODE_APPLICATION)
		return false;
	for (size_t i = 0; i < sizeof(server_files) / sizeof(server_files[0]); i++)
		if (text_ends_with(code->file, server_files[i]))
			return true;
	return false;
}

/* Identity of a request or task: address and asyncio's number for it, never 0. */
static uint64_t identity(const struct activity *activity, uint64_t address, uint64_t serial)
{
	uint64_t hash = address * 0x9e3779b97f4a7c15ull ^ serial;

	hash ^= (uint64_t)activity->pid << 40;
	hash *= 0xff51afd7ed558ccdull;
	hash ^= hash >> 32;
	return hash | 1;
}

/*
 * A request is its root task.  When that has no number, it may be a task of the
 * request whose parent is not known (its module was imported a moment ago), and
 * the next one of this name may be at the same address: nothing but the step
 * tells the two apart.  No two requests become one; one may count in each step.
 */
static uint64_t request_identity(const struct activity *activity,
				 const struct request_record *request)
{
	uint64_t serial = request->root_serial;

	if (!serial || serial & SERIAL_OF_NAME)
		serial ^= ((uint64_t)activity->tid << 32 ^ activity->step_seq) *
			  0x9e3779b97f4a7c15ull;
	return identity(activity, request->root ? request->root : request->scope, serial);
}

static const struct code_info *code_at(const struct process_view *view, uint64_t address)
{
	return address ? code_cache_get(view->codes, address, 0) : NULL;
}

/* Asking the target costs far more than an event may: names hardly ever change. */
static const char *thread_name(const struct process_view *view, pid_t tid, uint64_t now)
{
	struct thread_names *known = view->threads;
	size_t at = (size_t)tid % THREAD_NAMES;

	if (known->items[at].tid != tid || known->items[at].until_ns < now) {
		known->items[at].tid = tid;
		known->items[at].name = target_thread_name(view->target, tid);
		known->items[at].until_ns = now + NS_PER_S;
	}
	return known->items[at].name;
}

static void name_owner(const struct process_view *view, const struct request_record *request,
		       struct activity *activity)
{
	const struct code_info *code = code_at(view, request->task_code);
	char name[sizeof(request->task_name) + 1] = "";

	memcpy(name, request->task_name, sizeof(request->task_name));
	if (name[0])
		activity->owner_task = intern_passing(name);
	else if (code && code->function[0])
		activity->owner_task = code->function;
	activity->owner_thread = thread_name(view, activity->tid, activity->time_ns);
}

static void name_request(const struct process_view *view, const struct request_record *request,
			 struct activity *activity, const struct code_info **ret_endpoint)
{
	bool in_lifespan = request->scope_type == SCOPE_LIFESPAN;
	const struct code_info *task_code = code_at(view, request->task_code);

	if (request->task)
		activity->task = identity(activity, request->task,
					  request->task == request->root ? request->root_serial
									 : 0);
	if (request->scope_type == SCOPE_HTTP || request->scope_type == SCOPE_WEBSOCKET) {
		route_resolve(view->routes, request, &activity->route);
		activity->websocket = request->scope_type == SCOPE_WEBSOCKET;
		activity->request = request_identity(activity, request);
		activity->client_port = request->client_port;
		activity->path = request->path;
		activity->path_length = request->path_len;
		*ret_endpoint = code_at(view, activity->route.endpoint_code);
		return;
	}
	name_owner(view, request, activity);
	/* what a task that was started by the lifespan does is its own */
	activity->own_work = is_server_code(task_code) ||
			     (in_lifespan && request->task == request->root);
}

static void name_stack(const struct process_view *view, const struct stack_record *stack,
		       struct frame *frames, struct activity *activity)
{
	activity->frames = frames;
	activity->frame_count = code_cache_resolve(view->codes, stack->frames, stack->count,
						   frames, LS_MAX_FRAMES);
	activity->truncated = stack->end != STACK_COMPLETE;
	for (size_t i = 0; i < activity->frame_count; i++)
		if (frames[i].code->origin == CODE_STDLIB &&
		    text_ends_with(frames[i].code->file, "/logging/__init__.py"))
			activity->logging = true;
}

/* A loop that runs until it is stopped, and not for one task only. */
static bool runs_forever(const struct code_info *code, const struct code_info *caller)
{
	return !strcmp(code->qualname, "BaseEventLoop.run_forever") &&
	       strcmp(caller->qualname, "BaseEventLoop.run_until_complete") != 0;
}

/*
 * Does a worker thread run it, with asyncio.run() for a loop of its own?  Nobody else waits
 * for that one, unless it is a server's or goes on for whoever gives it something to do.
 */
static bool in_worker(const struct activity *activity)
{
	for (size_t i = 0; i < activity->frame_count; i++) {
		const struct code_info *code = activity->frames[i].code;

		if (is_server_code(code) ||
		    (i + 1 < activity->frame_count &&
		     runs_forever(code, activity->frames[i + 1].code)))
			return false;
		if ((!strcmp(code->qualname, "WorkerThread.run") &&
		     text_ends_with(code->file, "anyio/_backends/_asyncio.py")) ||
		    (!strcmp(code->qualname, "_WorkItem.run") &&
		     text_ends_with(code->file, "concurrent/futures/thread.py")))
			return true;
	}
	return false;
}

/*
 * Does it wait for a thread that it has just started, as executors do on the loop?  That takes
 * as long as the new one gets no CPU, or not the GIL.
 */
static bool awaits_start(const struct activity *activity)
{
	for (size_t i = 0; i + 1 < activity->frame_count; i++) {
		const struct code_info *code = activity->frames[i].code;
		const struct code_info *caller = activity->frames[i + 1].code;

		if (code->origin != CODE_STDLIB)
			break;
		if (!strcmp(code->qualname, "Event.wait") &&
		    !strcmp(caller->qualname, "Thread.start") &&
		    text_ends_with(caller->file, "/threading.py"))
			return true;
	}
	return false;
}

/*
 * Memory that is taken or given back, and not read from a file at once, sleeps for the lock of
 * the address space, which others who read that memory may hold: profilers, this one as well.
 */
static bool is_memory_call(const struct event_call *call)
{
	switch (call->number) {
	case SYS_mmap:
		return !(call->args[3] & MAP_POPULATE);
	case SYS_munmap:
	case SYS_mremap:
	case SYS_mprotect:
	case SYS_brk:
		return true;
	default:
		return false;
	}
}

/* The part of all events with Python in them. */
static void name_python(const struct process_view *view, const struct request_record *request,
			const struct stack_record *stack, struct frame *frames,
			struct activity *activity)
{
	const struct code_info *endpoint = NULL;

	name_request(view, request, activity, &endpoint);
	name_stack(view, stack, frames, activity);
	culprit_find(activity, endpoint);
	activity->own_work |= in_worker(activity);
	if (!request->task && !activity->request &&
	    next_application_frame(activity, 0) >= activity->hand_over)
		activity->own_work = true;
}

static const char *peer_text(const struct call_target *target)
{
	char address[64], text[LS_NAME_BYTES + 16];

	switch (target->type) {
	case FD_INET:
		if (!target->port || !inet_ntop(AF_INET, target->address, address, sizeof(address)))
			return NULL;
		snprintf(text, sizeof(text), "%s:%u", address, target->port);
		return intern_passing(text);
	case FD_INET6:
		if (!target->port ||
		    !inet_ntop(AF_INET6, target->address, address, sizeof(address)))
			return NULL;
		snprintf(text, sizeof(text), "[%s]:%u", address, target->port);
		return intern_passing(text);
	case FD_UNIX:
		if (!target->name[0])
			return NULL;
		snprintf(text, sizeof(text), "unix:%.*s", LS_NAME_BYTES - 1, target->name);
		return intern_passing(text);
	default:
		return NULL;
	}
}

/* Full path of a file when its descriptor still is what it was. */
static const char *file_text(const struct activity *activity, const struct call_target *target)
{
	char path[512], name[LS_NAME_BYTES + 1];
	const char *last;

	memcpy(name, target->name, LS_NAME_BYTES);
	name[LS_NAME_BYTES] = '\0';
	if (target->fd >= 0 && !process_fd_name(activity->pid, target->fd, path, sizeof(path))) {
		last = strrchr(path, '/');
		if (last && !strcmp(last + 1, name))
			return intern_passing(path);
	}
	return name[0] ? intern_passing(name) : NULL;
}

bool call_blocks(const struct activity *activity)
{
	unsigned type = activity->target ? activity->target->type : FD_NONE;

	return !(activity->flags & EVENT_F_ON_CPU) || type == FD_FILE || type == FD_PIPE ||
	       type == FD_PATH || type == FD_UNIX || type == FD_INET || type == FD_INET6;
}

static void name_target(struct activity *activity, const struct call_target *target)
{
	activity->target = target;
	activity->peer = peer_text(target);
	switch (target->type) {
	case FD_FILE:
	case FD_PATH:
		activity->detail = file_text(activity, target);
		break;
	case FD_PIPE:
		activity->detail = file_text(activity, target) ?: intern("a pipe");
		break;
	case FD_OTHER:
		if (target->name[0])
			activity->detail = file_text(activity, target);
		break;
	default:
		break;
	}
}

static void attribute_call(const struct process_view *view, const struct event_call *call,
			   struct frame *frames, struct activity *activity)
{
	activity->kind = ACTIVITY_CALL;
	activity->start_ns = call->start_ns;
	activity->duration_ns = call->duration_ns;
	activity->step_seq = call->step_seq;
	activity->number = (int32_t)call->number;
	activity->count = call->calls;
	activity->result = call->result;
	name_python(view, &call->request, &call->stack, frames, activity);
	activity->own_work |= awaits_start(activity) || is_memory_call(call);
	name_target(activity, &call->target);
}

/*
 * Address of the context that the loop entered for a callback: the first one, but
 * uvloop goes through its ready queue within a context of its own.
 */
static uint64_t callback_of(const struct process_view *view, pid_t tid, const __u64 *contexts)
{
	const struct target *target = view->target;

	for (size_t i = 0; i < target->loop_count; i++)
		if (target->loops[i].tid == tid && target->loops[i].kind == LOOP_KIND_UVLOOP)
			return contexts[1] ? contexts[1] : contexts[0];
	return contexts[0];
}

static void attribute_sample(const struct process_view *view, const struct event_sample *sample,
			     struct frame *frames, struct activity *activity)
{
	activity->kind = sample->header.kind == EVENT_HOLDER ? ACTIVITY_HOLDER : ACTIVITY_SAMPLE;
	activity->start_ns = sample->step_start_ns;
	activity->duration_ns = sample->holder_for_ns;
	activity->step_seq = sample->step_seq;
	activity->number = sample->number;
	activity->callback = callback_of(view, activity->tid, sample->contexts);
	name_python(view, &sample->request, &sample->stack, frames, activity);
	activity->native = native_name(view->natives, view->target, sample->ip);
}

/*
 * The function that a thread ran; where in it the time went is not known.  What FastAPI
 * itself runs in a thread runs the endpoint.
 */
static void name_work(struct activity *activity, const struct code_info *code,
		      const struct code_info *endpoint)
{
	if (code && endpoint && strstr(code->file, "/fastapi/"))
		code = endpoint;
	if (code && code->file[0])
		activity->culprit = (struct place){ code->file, code->function, code->qualname,
						    code->first_line };
}

/* A class or an object that a route depends on is known by itself. */
static uint64_t work_code(const struct activity *activity, uint64_t callable)
{
	const struct dependants *injected = activity->route.injected;

	for (size_t i = 0; callable && injected && i < injected->count; i++)
		if (injected->items[i].callable == callable)
			return injected->items[i].code;
	return callable;
}

void attribute_request(const struct process_view *view, pid_t pid, pid_t tid,
		       const struct request_record *request, struct activity *ret_activity)
{
	const struct code_info *endpoint = NULL;

	*ret_activity = (struct activity){ .pid = pid, .tid = tid, .number = -1 };
	name_request(view, request, ret_activity, &endpoint);
}

int attribute_event(const struct process_view *view, const struct event_header *event,
		    struct frame *frames, struct activity *ret_activity)
{
	struct activity *activity = ret_activity;

	*activity = (struct activity){ .flags = event->flags, .pid = (pid_t)event->tgid,
				       .tid = (pid_t)event->tid, .time_ns = event->time_ns,
				       .number = -1 };
	switch (event->kind) {
	case EVENT_CALL:
		attribute_call(view, (const void *)event, frames, activity);
		return 0;
	case EVENT_SAMPLE:
	case EVENT_HOLDER:
		attribute_sample(view, (const void *)event, frames, activity);
		return 0;
	case EVENT_GIL_WAIT: {
		const struct event_gil_wait *wait = (const void *)event;

		activity->kind = ACTIVITY_GIL_WAIT;
		activity->start_ns = wait->start_ns;
		activity->duration_ns = wait->duration_ns;
		activity->step_seq = wait->step_seq;
		activity->count = wait->slices;
		return 0;
	}
	case EVENT_PAGE_FAULT: {
		const struct event_page_fault *fault = (const void *)event;

		activity->kind = ACTIVITY_PAGE_FAULT;
		activity->start_ns = event->time_ns;
		activity->duration_ns = fault->duration_ns;
		activity->step_seq = fault->step_seq;
		activity->count = fault->faults;
		name_python(view, &fault->request, &fault->stack, frames, activity);
		return 0;
	}
	case EVENT_STEP: {
		const struct event_step *step = (const void *)event;

		activity->kind = ACTIVITY_STEP;
		activity->start_ns = step->start_ns;
		activity->duration_ns = step->end_ns - step->start_ns;
		activity->step_seq = step->seq;
		activity->step = step;
		return 0;
	}
	case EVENT_RESPONSE: {
		const struct event_response *response = (const void *)event;
		const struct code_info *endpoint = NULL;

		activity->kind = ACTIVITY_MESSAGE;
		activity->step_seq = response->io.step_seq;
		name_request(view, &response->request, activity, &endpoint);
		return 0;
	}
	case EVENT_MESSAGE: {
		const struct event_message *message = (const void *)event;

		activity->kind = ACTIVITY_MESSAGE;
		activity->step_seq = message->io.step_seq;
		name_python(view, &message->request, &message->stack, frames, activity);
		return 0;
	}
	case EVENT_WORK: {
		const struct event_work *work = (const void *)event;
		const struct code_info *endpoint = NULL;

		activity->kind = ACTIVITY_WORK;
		activity->start_ns = work->start_ns;
		activity->duration_ns = event->time_ns - work->start_ns;
		name_request(view, &work->request, activity, &endpoint);
		activity->code = work_code(activity, work->function_code);
		name_work(activity, code_at(view, activity->code), endpoint);
		return 0;
	}
	default:
		return -ENOENT;
	}
}
