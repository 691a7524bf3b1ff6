// SPDX-License-Identifier: Apache-2.0
/* Opening a process as a target, and what keeps it from being one. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "discover/target.h"
#include "discover/target_internal.h"

#define CHECK_TRIES 5	/* threads come and go while they are looked at */

int target_fail(int error, char *message, size_t size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(message, size, format, args);
	va_end(args);
	return error;
}

void target_free(struct target *target)
{
	if (!target)
		return;
	mappings_free(&target->mappings);
	mem_free(target->mem);
	free(target);
}

char *target_version(const struct target *target, char *buffer, size_t size)
{
	static const char *const levels[16] = { [0xa] = "a", [0xb] = "b", [0xc] = "rc" };
	uint32_t hex = target->version_hex;
	const char *level = levels[hex >> 4 & 15];
	char tail[8] = "";

	if (level)
		snprintf(tail, sizeof(tail), "%s%u", level, hex & 15);
	snprintf(buffer, size, "%u.%u.%u%s", hex >> 24, hex >> 16 & 255, hex >> 8 & 255, tail);
	return buffer;
}

int target_refresh(struct target *target)
{
	struct mappings fresh = {};
	int error;

	error = process_mappings(target->pid, &fresh);
	if (error)
		return error;
	mappings_free(&target->mappings);
	target->mappings = fresh;
	return 0;
}

/*
 * 0 when the threads look like those of this version; -EAGAIN when none has
 * started yet, -EPROTO when the layout cannot be right.
 */
static int check_threads(const struct target *target)
{
	_cleanup_free_ struct target_thread *threads = NULL;
	bool bound = false;
	ssize_t count, i;
	uint64_t self;
	int error;

	count = target_threads(target, &threads);
	if (count < 0)
		return (int)count;
	for (i = 0; i < count; i++) {
		if (threads[i].interp != target->interp || !threads[i].thread_id)
			continue;
		/* On x86-64 the thread pointer points to itself. */
		error = mem_read_u64(target->mem, threads[i].thread_id, &self);
		if (error)
			return error;
		if (self != threads[i].thread_id || threads[i].native <= 0)
			return -EPROTO;
		bound = true;
	}
	return bound ? 0 : -EAGAIN;
}

static int check_interpreter_once(struct target *target)
{
	const struct py_layout *at = &target->layout;
	uint64_t interp, id, modules;
	int error;

	error = mem_read_u64(target->mem, target->runtime + at->runtime_interpreters_main,
			     &interp);
	if (error)
		return error;
	if (!interp)
		return -EAGAIN;
	error = mem_read_u64(target->mem, interp + at->interp_id, &id);
	if (!error)
		error = mem_read_u64(target->mem, interp + at->interp_modules, &modules);
	if (error)
		return error;
	if (id != 0)
		return -EPROTO;
	if (!modules)
		return -EAGAIN;
	target->interp = interp;
	return check_threads(target);
}

static int check_interpreter(struct target *target, char *message, size_t size)
{
	char version[32];
	int error = 0, i;

	for (i = 0; i < CHECK_TRIES; i++) {
		error = check_interpreter_once(target);
		if (!error)
			return 0;
		target->interp = 0;
	}
	target_version(target, version, sizeof(version));
	if (error == -EAGAIN)
		return target_fail(error, message, size, "pid %d: CPython %s is still starting; "
				   "try again in a moment", target->pid, version);
	if (error == -ESRCH)
		return target_fail(error, message, size, "pid %d has exited", target->pid);
	if (error == -EACCES || error == -EPERM)
		return target_fail(-EACCES, message, size, "cannot read the memory of pid %d: "
				   "permission denied; run as root or with CAP_SYS_PTRACE",
				   target->pid);
	return target_fail(-EOPNOTSUPP, message, size, "pid %d: %s says that it is CPython %s, "
			   "but its memory does not look like it (a debug or patched build?), "
			   "which is not supported", target->pid, target->interpreter, version);
}

static int open_process(struct target *target, char *message, size_t size)
{
	pid_t pid = target->pid;
	int error;

	error = process_start_time(pid, &target->start_time_ns);
	if (!error)
		error = process_mappings(pid, &target->mappings);
	switch (error) {
	case 0:
		break;
	case -ENOENT:
	case -ESRCH:
		return target_fail(-ESRCH, message, size, "there is no process with pid %d; "
				   "see ps -ef for those that run", pid);
	case -EACCES:
	case -EPERM:
		return target_fail(-EACCES, message, size, "cannot look into pid %d: permission "
				   "denied; run as root or with CAP_SYS_PTRACE", pid);
	default:
		return target_fail(error, message, size, "cannot look into pid %d: %s", pid,
				   strerror(-error));
	}
	target->cmdline = process_cmdline(pid);
	target->mem = mem_open_process(pid);
	if (!target->mem)
		return target_fail(-ENOMEM, message, size, "out of memory");
	target->py = (struct py_reader){ .mem = target->mem, .layout = &target->layout };
	return 0;
}

int target_open(pid_t pid, struct target **ret_target, char *message, size_t size)
{
	struct target *target;
	int error;

	if (size)
		message[0] = '\0';
	target = calloc(1, sizeof(*target));
	if (!target)
		return target_fail(-ENOMEM, message, size, "out of memory");
	target->pid = pid;
	error = open_process(target, message, size);
	if (!error)
		error = target_find_runtime(target, message, size);
	if (!error)
		error = check_interpreter(target, message, size);
	if (error) {
		target_free(target);
		return error;
	}
	target_find_server(target);
	*ret_target = target;
	return 0;
}
