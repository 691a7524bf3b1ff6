// SPDX-License-Identifier: Apache-2.0
/* Which threads run an event loop, of which kind, on which epoll descriptor. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "discover/py_read.h"
#include "discover/target.h"
#include "discover/target_internal.h"

#define HOLDER_LOOP 16		/* of the _RunningLoopHolder that 3.11 keeps per thread */
#define EPOLL_FD 16		/* of select.epoll */
#define EPOLL_NAME "anon_inode:[eventpoll]"
#define THREAD_TRIES 5		/* threads come and go while they are walked */

static bool is_none(const struct py_reader *py, uint64_t object)
{
	return py_is(py, object, "NoneType");
}

/* The loop as the thread's dictionary has it, before 3.13. */
static int loop_of_dict(const struct target *target, uint64_t tstate, uint64_t *ret_loop)
{
	const struct py_reader *py = &target->py;
	uint64_t dict, value;
	int error;

	error = read_pointer(py, tstate, target->layout.tstate_dict, &dict);
	if (!error && !dict)
		error = -ENOENT;
	if (!error)
		error = py_dict_get(py, dict, "__asyncio_running_event_loop__", &value);
	if (error)
		return error;
	if (py_is(py, value, "_RunningLoopHolder"))
		error = read_pointer(py, value, HOLDER_LOOP, &value);
	else if (!py_check_flags(py, value, PY_TYPE_TUPLE))	/* (loop, pid) */
		error = py_sequence_item(py, value, 0, &value);
	if (!error)
		*ret_loop = value;
	return error;
}

int target_running_loop(const struct target *target, uint64_t tstate, uint64_t *ret_loop)
{
	uint64_t loop = 0;
	int error;

	if (target->layout.version >= 0x030d)
		error = read_pointer(&target->py, tstate, target->layout.tstate_running_loop,
				     &loop);
	else
		error = loop_of_dict(target, tstate, &loop);
	if (error)
		return error;
	if (!loop || is_none(&target->py, loop))
		return -ENOENT;
	*ret_loop = loop;
	return 0;
}

/* By the types it comes from: programs make subclasses of both. */
static enum loop_kind loop_kind(const struct py_reader *py, uint64_t loop)
{
	uint64_t types[PY_MAX_BASES], type;
	char name[64];
	ssize_t count, i;

	if (py_type(py, loop, &type))
		return LOOP_KIND_UNKNOWN;
	count = py_type_mro(py, type, types, PY_MAX_BASES);
	for (i = 0; i < count; i++) {
		if (py_type_name(py, types[i], name, sizeof(name)))
			continue;
		if (strcmp(name, "uvloop.loop.Loop") == 0)
			return LOOP_KIND_UVLOOP;
		if (strcmp(name, "_UnixSelectorEventLoop") == 0 ||
		    strcmp(name, "BaseSelectorEventLoop") == 0)
			return LOOP_KIND_ASYNCIO;
	}
	return LOOP_KIND_UNKNOWN;
}

static bool is_epoll(const struct target *target, int fd)
{
	char name[64];

	return process_fd_name(target->pid, fd, name, sizeof(name)) == 0 &&
	       strcmp(name, EPOLL_NAME) == 0;
}

static int asyncio_epoll_fd(const struct target *target, uint64_t loop)
{
	uint64_t epoll;
	uint32_t fd;

	if (py_path(&target->py, loop, "_selector._selector", &epoll) ||
	    !py_is(&target->py, epoll, "select.epoll") ||
	    mem_read_u32(target->mem, epoll + EPOLL_FD, &fd))
		return -1;
	return is_epoll(target, (int)fd) ? (int)fd : -1;
}

/* The only epoll descriptor of the process; -1 when there are several, or none. */
static int only_epoll_fd(const struct target *target)
{
	struct dirent *entry;
	char path[64], *end;
	int found = -1;
	long fd;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", target->pid);
	dir = opendir(path);
	if (!dir)
		return -1;
	while ((entry = readdir(dir))) {
		fd = strtol(entry->d_name, &end, 10);
		if (end == entry->d_name || *end || !is_epoll(target, (int)fd))
			continue;
		if (found >= 0) {
			found = -1;
			break;
		}
		found = (int)fd;
	}
	closedir(dir);
	return found;
}

int target_current_tasks(const struct target *target, uint64_t *ret_dict)
{
	const struct py_reader *py = &target->py;
	static const char *const modules[] = { "_asyncio", "asyncio.tasks" };
	uint64_t module, dict;
	size_t i;

	for (i = 0; i < sizeof(modules) / sizeof(modules[0]); i++) {
		if (py_module(py, target->interp, modules[i], &module) ||
		    py_module_attribute(py, module, "_current_tasks", &dict) ||
		    py_check_flags(py, dict, PY_TYPE_DICT))
			continue;
		*ret_dict = dict;
		return 0;
	}
	return -ENOENT;
}

struct task_search {
	uint64_t loop, task;
};

static int match_loop(void *context, uint64_t key, uint64_t value)
{
	struct task_search *search = context;

	if (key != search->loop)
		return 0;
	search->task = value;
	return 1;
}

/* True when it is sure that no task runs on this loop right now. */
static bool no_task(const struct target *target, const struct event_loop *loop)
{
	struct task_search search = { .loop = loop->loop };
	uint64_t dict, task;
	int result;

	if (target->layout.version >= 0x030e)
		return read_pointer(&target->py, loop->tstate,
				    target->layout.tstate_running_task, &task) == 0 && !task;
	if (target_current_tasks(target, &dict))
		return false;
	result = py_dict_walk(&target->py, dict, match_loop, &search);
	return result == 0 || (result == 1 && is_none(&target->py, search.task));
}

/*
 * A loop without Python attributes shows its descriptor when its thread waits
 * in it: no task runs, and the innermost Python function is one that runs loops.
 */
static int waiting_epoll_fd(const struct target *target, const struct event_loop *loop)
{
	static const char *const runners[] = {
		"run", "run_forever", "run_until_complete", "main", "<module>",
	};
	struct thread_state state;
	char name[32];
	size_t i;

	if (process_thread_state(target->pid, loop->tid, &state) ||
	    (state.number != SYS_epoll_wait && state.number != SYS_epoll_pwait &&
	     state.number != SYS_epoll_pwait2) || !no_task(target, loop) ||
	    target_leaf_name(target, loop->tstate, name, sizeof(name)))
		return -1;
	for (i = 0; i < sizeof(runners) / sizeof(runners[0]); i++)
		if (strcmp(name, runners[i]) == 0 && is_epoll(target, (int)state.args[0]))
			return (int)state.args[0];
	return -1;
}

static int loop_epoll_fd(const struct target *target, const struct event_loop *loop)
{
	const struct event_loop *before = NULL;
	size_t i;
	int fd;

	if (loop->kind == LOOP_KIND_ASYNCIO)
		return asyncio_epoll_fd(target, loop->loop);
	fd = waiting_epoll_fd(target, loop);
	for (i = 0; i < target->loop_count; i++)
		if (target->loops[i].loop == loop->loop && target->loops[i].tid == loop->tid)
			before = &target->loops[i];
	if (fd < 0 && before && before->epoll_fd >= 0 && is_epoll(target, before->epoll_fd))
		fd = before->epoll_fd;
	return fd >= 0 ? fd : only_epoll_fd(target);
}

void target_forget_loop(struct target *target, pid_t tid)
{
	for (size_t i = 0; i < target->loop_count; i++)
		if (target->loops[i].tid == tid)
			target->loops[i].epoll_fd = -1;
}

int target_find_loops(struct target *target)
{
	_cleanup_free_ struct target_thread *threads = NULL;
	struct event_loop found[TARGET_MAX_LOOPS], loop;
	size_t loops = 0;
	ssize_t count = -EAGAIN, i;
	int error;

	if (target->layout.version >= 0x030e && target->layout.tstate_running_loop == LS_ABSENT) {
		error = target_refresh(target);
		if (error)
			return error;
		(void)target_find_asyncio(target);	/* not imported yet: no loop either */
	}
	target_find_server(target);
	for (i = 0; i < THREAD_TRIES && count < 0; i++)
		count = target_threads(target, &threads);
	if (count < 0)
		return (int)count;
	for (i = 0; i < count && loops < TARGET_MAX_LOOPS; i++) {
		loop = (struct event_loop){ .tstate = threads[i].tstate };
		if (target_running_loop(target, loop.tstate, &loop.loop) ||
		    target_host_tid(target, threads[i].native, &loop.tid))
			continue;
		loop.kind = loop_kind(&target->py, loop.loop);
		loop.epoll_fd = loop_epoll_fd(target, &loop);
		found[loops++] = loop;
	}
	memcpy(target->loops, found, loops * sizeof(found[0]));
	target->loop_count = loops;
	return (int)loops;
}
