// SPDX-License-Identifier: Apache-2.0
/*
 * loopscope dump: the stack of every Python thread of a process and its
 * workers and the await chain of every task, now, once.  Nothing is loaded
 * into the kernel and nobody is stopped: what is needed is to be allowed to
 * read the memory.  The stack of a thread that runs meanwhile may be torn: it
 * is walked until two walks agree.
 */
#include "cli/dump.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/intern.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/units.h"
#include "base/vec.h"
#include "cli/attach.h"
#include "export/exporter.h"
#include "resolve/syscalls.h"

#define MAX_TARGETS 256
#define MAX_THREADS 16384
#define TRIES 3		/* walks until two agree; threads come and go as well */
/* A thread that is on a CPU has its time accounted at each tick, which is at most 10 ms. */
#define RAN_NS (20 * NS_PER_MS)
#define RAN_POLL_NS NS_PER_MS

/* Of the main thread, when that has a loop. */
const char *dump_loop_kind(const struct target *target)
{
	enum loop_kind kind = LOOP_KIND_UNKNOWN;

	for (size_t i = 0; i < target->loop_count; i++)
		if (!i || target->loops[i].tid == target->pid)
			kind = target->loops[i].kind;
	return kind == LOOP_KIND_UVLOOP ? "uvloop" : kind == LOOP_KIND_ASYNCIO ? "asyncio" : NULL;
}

static void dump_target_free(struct dump_target *of)
{
	if (!of)
		return;
	for (size_t i = 0; i < of->threads.count; i++)
		free(of->threads.items[i].frames);
	free(of->threads.items);
	free(of->tasks);
	free(of->task_frames);
	task_watch_free(of->watch);
	code_cache_free(of->codes);
	route_cache_free(of->routes);
	role_table_free(&of->roles);
	target_free(of->target);
	free(of);
}

static void dump_free(struct dump *dump)
{
	for (size_t i = 0; i < dump->targets.count; i++)
		dump_target_free(dump->targets.items[i]);
	free(dump->targets.items);
}

static int on_role(void *context, uint64_t code, const struct code_role *role)
{
	return role_table_set(context, code, role);
}

/* Walks until two walks agree; what the last one saw is taken when they never do. */
static int walk(const struct dump_target *of, uint64_t tstate, uint64_t loop,
		struct walk_result *result, bool *ret_torn)
{
	struct walk_result before;
	int error = walk_thread(of->target->mem, &of->config, &of->roles, tstate, loop, &before);

	*ret_torn = true;
	for (int try = 0; !error && try < TRIES && *ret_torn; try++) {
		error = walk_thread(of->target->mem, &of->config, &of->roles, tstate, loop,
				    result);
		*ret_torn = !dump_same_stack(&before.stack, &result->stack);
		before = *result;
	}
	return error;
}

/* As asyncio calls it: it numbers those that the program gave no name. */
static const char *task_name(const struct target *target, uint64_t task)
{
	uint64_t name;
	int64_t number;
	char text[32];

	if (!task || mem_read_u64(target->mem, task + target->layout.task_name, &name) || !name)
		return NULL;
	if (!py_is(&target->py, name, "int"))
		return py_string_intern(&target->py, name);
	if (py_long(&target->py, name, &number))
		return NULL;
	snprintf(text, sizeof(text), "Task-%" PRId64, number);
	return intern(text);
}

static const struct event_loop *loop_of(const struct target *target, pid_t tid)
{
	for (size_t i = 0; i < target->loop_count; i++)
		if (target->loops[i].tid == tid)
			return &target->loops[i];
	return NULL;
}

static int name_thread(struct dump_target *of, const struct walk_result *seen,
		       struct dump_thread *thread)
{
	struct frame frames[LS_MAX_FRAMES];

	thread->name = target_thread_name(of->target, thread->tid);
	if (!thread->name)
		thread->name = intern(thread->at.comm);
	thread->task = task_name(of->target, seen->request.task);
	if (seen->request.scope_type == SCOPE_HTTP || seen->request.scope_type == SCOPE_WEBSOCKET)
		route_resolve(of->routes, &seen->request, &thread->route);
	thread->end = seen->stack.end;
	thread->frame_count = code_cache_resolve(of->codes, seen->stack.frames, seen->stack.count,
						 frames, LS_MAX_FRAMES);
	thread->frames = calloc(thread->frame_count + 1, sizeof(*frames));
	if (!thread->frames)
		return -ENOMEM;
	memcpy(thread->frames, frames, thread->frame_count * sizeof(*frames));
	return 0;
}

static int thread_state(const struct target *target, pid_t tid, uint64_t *ret_tstate)
{
	int error = -EPROTO;

	for (int try = 0; try < TRIES && error && error != -ENOENT && error != -ESRCH; try++)
		error = target_thread_state(target, tid, ret_tstate);
	return error;
}

/* Asleep in no system call: in a page fault, or it woke up between the two looks. */
static int where_it_is(pid_t pid, pid_t tid, struct thread_state *ret_state)
{
	int error = 0;

	for (int try = 0; try < TRIES; try++) {
		error = process_thread_state(pid, tid, ret_state);
		if (error || ret_state->state == 'R' || ret_state->number >= 0)
			break;
	}
	return error;
}

/* -ENOENT for a thread that runs no Python, -ESRCH for one that has ended. */
static int dump_thread(struct dump *dump, struct dump_target *of, pid_t tid)
{
	const struct event_loop *loop = loop_of(of->target, tid);
	pid_t pid = of->target->pid;
	struct dump_thread *thread;
	struct walk_result seen;
	uint64_t tstate;
	int error = thread_state(of->target, tid, &tstate);

	if (!error)
		error = vec_grow(&of->threads, MAX_THREADS);
	if (error)
		return error;
	thread = &of->threads.items[of->threads.count];
	*thread = (struct dump_thread){
		.tid = tid,
		.cpu_ns = process_thread_times(pid, tid).cpu_ns,
	};
	error = where_it_is(pid, tid, &thread->at);
	if (!error)
		error = walk(of, tstate, loop ? loop->loop : 0, &seen, &thread->torn);
	if (!error)
		error = name_thread(of, &seen, thread);
	if (error)
		return error;
	dump->reasons[DUMP_REASON_torn] += thread->torn;
	dump->reasons[DUMP_REASON_truncated] += thread->end == STACK_TRUNCATED;
	dump->reasons[DUMP_REASON_unreadable] += thread->end == STACK_FAULT;
	if (thread->at.state != 'R')
		thread->syscall = intern(syscall_name(thread->at.number));
	of->threads.count++;
	return 0;
}

/* A runnable thread whose CPU time stands still waits for a CPU. */
static void name_states(struct dump_target *of, uint64_t deadline)
{
	for (size_t i = 0; i < of->threads.count; i++) {
		struct dump_thread *thread = &of->threads.items[i];
		struct timespec pause = { .tv_nsec = RAN_POLL_NS };
		struct dump_facts facts = {
			.at = &thread->at,
			.config = &of->config,
			.loop = loop_of(of->target, thread->tid),
			.has_task = thread->task != NULL,
			.waits_for_work = dump_waits_for_work(thread->frames,
							      thread->frame_count),
		};

		while (thread->at.state == 'R' && !facts.ran) {
			facts.ran = !thread->cpu_ns ||
				    process_thread_times(of->target->pid, thread->tid).cpu_ns !=
					    thread->cpu_ns;
			if (facts.ran || monotonic_ns() >= deadline)
				break;
			nanosleep(&pause, NULL);
		}
		thread->state = dump_state(&facts);
	}
}

static int by_id(const void *a, const void *b)
{
	return *(const pid_t *)a - *(const pid_t *)b;
}

static int dump_threads(struct dump *dump, struct dump_target *of)
{
	struct process_ids ids = { 0 };
	int error = process_threads(of->target->pid, &ids);

	if (error)
		return error;
	qsort(ids.items, ids.count, sizeof(*ids.items), by_id);
	for (size_t i = 0; i < ids.count && error != -ENOMEM; i++) {
		error = dump_thread(dump, of, ids.items[i]);
		if (error && error != -ENOENT && error != -ESRCH)
			dump->reasons[DUMP_REASON_threads]++;
	}
	process_ids_free(&ids);
	if (error == -ENOMEM)
		return error;
	name_states(of, monotonic_ns() + RAN_NS);
	return 0;
}

/* Everything that is needed to name what is found. */
static int prepare(struct dump_target *of)
{
	struct role_scan scan;
	char version[32];
	int error;

	of->python = intern(target_version(of->target, version, sizeof(version)));
	target_find_loops(of->target);
	error = target_process_config(of->target, &of->config);
	if (error)
		return error;
	of->code_options.stdlib_path = of->target->stdlib_path;
	of->codes = code_cache_new(&of->target->py, &of->code_options);
	of->routes = route_cache_new(of->target);
	if (!of->codes || !of->routes)
		return -ENOMEM;
	error = roles_scan(of->target, on_role, &of->roles, &scan);
	return error == -EAGAIN ? 0 : error;
}

static int dump_process(struct dump *dump, pid_t pid, char *message, size_t size)
{
	struct dump_target *of = NULL;
	int error = vec_grow(&dump->targets, MAX_TARGETS);

	if (!error) {
		of = calloc(1, sizeof(*of));
		error = of ? 0 : -ENOMEM;
	}
	snprintf(message, size, "pid %d cannot be read: %s", pid, strerror(-error));
	if (!error)
		error = target_open(pid, &of->target, message, size);
	if (!error) {
		error = prepare(of);
		if (!error)
			error = dump_threads(dump, of);
		if (!error)
			error = dump_tasks(dump, of);
		if (error)
			snprintf(message, size, "pid %d cannot be read: %s", pid,
				 strerror(-error));
	}
	if (error) {
		dump_target_free(of);
		return error;
	}
	dump->targets.items[dump->targets.count++] = of;
	return 0;
}

static void dump_children(struct dump *dump, pid_t pid)
{
	struct process_ids children = { 0 };
	char message[256];

	if (dump->targets.count >= MAX_TARGETS || process_children(pid, &children))
		return;
	for (size_t i = 0; i < children.count; i++) {
		int error = dump_process(dump, children.items[i], message, sizeof(message));

		if (error && error != -ENOEXEC && error != -ESRCH) {
			dump->reasons[DUMP_REASON_processes]++;
			log_info("%s", message);
		}
		dump_children(dump, children.items[i]);
	}
	process_ids_free(&children);
}

int dump_run(const struct options *options)
{
	bool json = !strcmp(options->format->name, "json");
	struct dump dump = { .realtime_ns = realtime_ns() };
	char message[256];
	int status, error;
	pid_t pid;

	if (!json && strcmp(options->format->name, "text")) {
		log_error(0, "--format %s: dump prints text or json", options->format->name);
		return EXIT_USAGE;
	}
	status = choose_target(options, false, &pid);
	if (status >= 0)
		return status;
	error = dump_process(&dump, pid, message, sizeof(message));
	if (error) {
		log_error(error, "%s", message);
		status = status_of_target(error);
	} else {
		dump_children(&dump, pid);
		error = json ? dump_write_json(&dump, stdout) : dump_write_text(&dump, stdout);
		status = error ? EXIT_FAILED : EXIT_DONE;
		if (error)
			log_error(error, "cannot write: %s", strerror(-error));
	}
	dump_free(&dump);
	return status;
}
