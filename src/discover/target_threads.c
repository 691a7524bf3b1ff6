// SPDX-License-Identifier: Apache-2.0
/* Threads of a target: their PyThreadState, their ids on both sides, their names. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/intern.h"
#include "base/mem.h"
#include "base/vec.h"
#include "discover/target.h"
#include "discover/target_internal.h"

#define MAX_INTERPRETERS 64
#define MAX_PYTHON_THREADS 16384
#define MAX_TSTATE_BYTES 1024
#define MAX_SHIM_FRAMES 8
#define NAME_BYTES 256

struct thread_list {
	struct target_thread *items;
	size_t count, capacity;
};

/* One thread and the next in the list, read at once. */
static int read_thread(const struct target *target, uint64_t tstate,
		       struct target_thread *ret_thread, uint64_t *ret_next)
{
	const struct py_layout *at = &target->layout;
	const uint16_t offsets[4] = { at->tstate_next, at->tstate_interp, at->tstate_thread_id,
				      at->tstate_native_thread_id };
	uint8_t bytes[MAX_TSTATE_BYTES];
	uint64_t words[4];
	size_t end = 0, i;
	int error;

	for (i = 0; i < 4; i++)
		if (offsets[i] + sizeof(words[0]) > end)
			end = offsets[i] + sizeof(words[0]);
	if (end > sizeof(bytes))
		return -EPROTO;
	error = mem_read(target->mem, tstate, bytes, end);
	if (error)
		return error;
	for (i = 0; i < 4; i++)
		memcpy(&words[i], bytes + offsets[i], sizeof(words[i]));
	*ret_thread = (struct target_thread){
		.tstate = tstate,
		.interp = words[1],
		.thread_id = words[2],
		.native = words[3] <= INT32_MAX ? (pid_t)words[3] : -1,
	};
	*ret_next = words[0];
	return 0;
}

static int walk_interpreter(const struct target *target, uint64_t interp, struct thread_list *list)
{
	struct target_thread thread;
	uint64_t tstate;
	int error;

	error = mem_read_u64(target->mem, interp + target->layout.interp_tstate_head, &tstate);
	while (!error && tstate) {
		error = read_thread(target, tstate, &thread, &tstate);
		if (error)
			break;
		/* A thread that ended meanwhile: its memory is something else now. */
		if (thread.interp != interp)
			return -EPROTO;
		error = vec_grow(list, MAX_PYTHON_THREADS);
		if (!error)
			list->items[list->count++] = thread;
	}
	return error;
}

ssize_t target_threads(const struct target *target, struct target_thread **ret_threads)
{
	struct thread_list list = {};
	uint64_t interp;
	int i, error;

	error = mem_read_u64(target->mem,
			     target->runtime + target->layout.runtime_interpreters_head, &interp);
	for (i = 0; i < MAX_INTERPRETERS && !error && interp; i++) {
		error = walk_interpreter(target, interp, &list);
		if (!error)
			error = mem_read_u64(target->mem, interp + target->layout.interp_next,
					     &interp);
	}
	if (error) {
		free(list.items);
		return error;
	}
	*ret_threads = list.items;
	return (ssize_t)list.count;
}

/* The last number of NSpid: the id that the process itself sees. */
static int namespace_tid(pid_t pid, pid_t tid, pid_t *ret_native, bool *ret_same)
{
	_cleanup_file_ FILE *file = NULL;
	char path[64], line[512], *at, *end;
	long value, last = 0;
	int levels = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", pid, tid);
	file = fopen(path, "re");
	if (!file)
		return errno == ENOENT ? -ESRCH : -errno;
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, "NSpid:", 6) != 0)
			continue;
		for (at = line + 6;; at = end, levels++) {
			value = strtol(at, &end, 10);
			if (end == at)
				break;
			last = value;
		}
		break;
	}
	/* A kernel without pid namespaces has no such line. */
	*ret_same = levels <= 1;
	*ret_native = levels ? (pid_t)last : tid;
	return 0;
}

int target_native_tid(const struct target *target, pid_t tid, pid_t *ret_native)
{
	bool same;

	return namespace_tid(target->pid, tid, ret_native, &same);
}

int target_host_tid(const struct target *target, pid_t native, pid_t *ret_tid)
{
	struct process_ids ids = {};
	pid_t seen;
	size_t i;
	bool same;
	int error;

	error = namespace_tid(target->pid, target->pid, &seen, &same);
	if (error)
		return error;
	if (same) {
		*ret_tid = native;
		return 0;
	}
	error = process_threads(target->pid, &ids);
	if (error)
		return error;
	error = -ENOENT;
	for (i = 0; i < ids.count; i++) {
		if (namespace_tid(target->pid, ids.items[i], &seen, &same) || seen != native)
			continue;
		*ret_tid = ids.items[i];
		error = 0;
		break;
	}
	process_ids_free(&ids);
	return error;
}

static int find_thread(const struct target *target, pid_t tid, struct target_thread *ret_thread)
{
	_cleanup_free_ struct target_thread *threads = NULL;
	ssize_t count, i;
	pid_t native;
	int error;

	error = target_native_tid(target, tid, &native);
	if (error)
		return error;
	count = target_threads(target, &threads);
	if (count < 0)
		return (int)count;
	for (i = 0; i < count; i++) {
		if (threads[i].native != native)
			continue;
		*ret_thread = threads[i];
		return 0;
	}
	return -ENOENT;
}

int target_thread_state(const struct target *target, pid_t tid, uint64_t *ret_tstate)
{
	struct target_thread thread;
	int error;

	error = find_thread(target, tid, &thread);
	if (!error)
		*ret_tstate = thread.tstate;
	return error;
}

struct name_search {
	const struct py_reader *py;
	uint64_t thread_id, thread;
};

static int match_ident(void *context, uint64_t key, uint64_t value)
{
	struct name_search *search = context;
	int64_t ident;

	if (py_long(search->py, key, &ident) || (uint64_t)ident != search->thread_id)
		return 0;
	search->thread = value;
	return 1;
}

const char *target_thread_name(const struct target *target, pid_t tid)
{
	const struct py_reader *py = &target->py;
	struct name_search search = { .py = py };
	struct target_thread thread;
	uint64_t module, active, name;
	char text[NAME_BYTES];

	if (find_thread(target, tid, &thread) ||
	    py_module(py, thread.interp, "threading", &module) ||
	    py_module_attribute(py, module, "_active", &active))
		return NULL;
	search.thread_id = thread.thread_id;
	if (py_dict_walk(py, active, match_ident, &search) != 1 ||
	    py_instance_attribute(py, search.thread, "_name", &name))
		return NULL;
	return py_string(py, name, text, sizeof(text)) < 0 ? NULL : intern_passing(text);
}

/* The innermost frame that holds Python code. */
static int leaf_code(const struct target *target, uint64_t tstate, uint64_t *ret_code)
{
	const struct py_layout *at = &target->layout;
	const struct mem *mem = target->mem;
	uint64_t frame, code;
	uint8_t owner;
	int i, error;

	if (at->tstate_cframe != LS_ABSENT) {
		error = mem_read_u64(mem, tstate + at->tstate_cframe, &frame);
		if (!error)
			error = mem_read_u64(mem, frame + at->cframe_frame, &frame);
	} else {
		error = mem_read_u64(mem, tstate + at->tstate_frame, &frame);
	}
	for (i = 0; i < MAX_SHIM_FRAMES && !error && frame; i++) {
		error = mem_read(mem, frame + at->frame_owner, &owner, sizeof(owner));
		if (error)
			return error;
		if (owner < at->owner_shim) {
			error = mem_read_u64(mem, frame + at->frame_code, &code);
			if (!error)
				*ret_code = code & ~(uint64_t)at->stackref_tags;
			return error;
		}
		error = mem_read_u64(mem, frame + at->frame_previous, &frame);
	}
	return error ? error : -ENOENT;
}

int target_leaf_name(const struct target *target, uint64_t tstate, char *buffer, size_t size)
{
	uint64_t code, name;
	ssize_t length;
	int error;

	error = leaf_code(target, tstate, &code);
	if (error)
		return error;
	if (!py_is(&target->py, code, "code"))
		return -EPROTO;
	error = mem_read_u64(target->mem, code + target->layout.code_name, &name);
	if (error)
		return error;
	length = py_string(&target->py, name, buffer, size);
	return length < 0 ? (int)length : 0;
}
