/* SPDX-License-Identifier: Apache-2.0 */
/* Which process, which interpreter, which event loops: what discover hands on. */
#ifndef LS_TARGET_H
#define LS_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "discover/process.h"
#include "discover/py_object.h"
#include "target_config.h"

#define TARGET_MAX_LOOPS 512	/* more than are observed, so that those can be counted */

enum loop_kind { LOOP_KIND_UNKNOWN, LOOP_KIND_ASYNCIO, LOOP_KIND_UVLOOP };

struct event_loop {
	pid_t tid;		/* as the host knows it */
	uint64_t tstate;	/* PyThreadState of the thread */
	uint64_t loop;		/* address of the loop object */
	int epoll_fd;		/* its own epoll descriptor; -1: not known yet */
	enum loop_kind kind;
};

struct target {
	pid_t pid;
	uint64_t start_time_ns;	/* since boot, see process_start_time() */
	const char *cmdline;	/* interned */

	struct mem *mem;	/* owned */
	struct mappings mappings;	/* as of the last target_refresh() */
	struct py_layout layout;
	struct py_reader py;	/* points at mem and layout above */

	uint32_t version_hex;	/* PY_VERSION_HEX */
	bool shared_library;	/* libpython, not a static executable */
	const char *interpreter;	/* interned: path of the file with the runtime */
	uint64_t runtime;	/* address of _PyRuntime */
	uint64_t interp;	/* main interpreter; 0 until it is initialised */

	const char *server;	/* interned, "uvicorn 0.54.0"; NULL when not known */
	const char *prefix;	/* interned: sys.prefix-like roots are in stdlib_path */
	const char *stdlib_path;	/* interned: folder of the standard library */

	struct event_loop loops[TARGET_MAX_LOOPS];
	size_t loop_count;
};

/*
 * Opens a process as a target.  0; -ESRCH no such process; -ENOEXEC no Python
 * in it; -EOPNOTSUPP a Python that is not supported; -EACCES; -EAGAIN the
 * interpreter is not initialised yet (try again after its next exec or epoll
 * wait).  `message` (>= 256 bytes) says why in one line with the way out, names the
 * interpreter and version that was refused.
 */
int target_open(pid_t pid, struct target **ret_target, char *message, size_t size);
void target_free(struct target *target);

/* "3.12.1", "3.14.0rc2". */
char *target_version(const struct target *target, char *buffer, size_t size);

/*
 * Looks for event loops among the threads: fills loops[], server.  Called
 * again when a thread was seen in an epoll wait or modules were imported.
 * Returns the number of loops or -errno.
 */
int target_find_loops(struct target *target);

/* The loop that a thread runs at this moment; -ENOENT: none, -errno. */
int target_running_loop(const struct target *target, uint64_t tstate, uint64_t *ret_loop);

/* The loop of this thread ended: what was found out about it holds no longer. */
void target_forget_loop(struct target *target, pid_t tid);

/* Reads the mappings again (a library was loaded). */
int target_refresh(struct target *target);

/* PyThreadState of a thread (host tid); -ENOENT. */
int target_thread_state(const struct target *target, pid_t tid, uint64_t *ret_tstate);

struct thread_state_ref {
	uint64_t tstate;
	uint64_t ident;		/* pthread_self(), threading.get_ident() */
};

/* The threads that run Python, at most `room` of them; their number or -errno. */
ssize_t target_thread_states(const struct target *target, struct thread_state_ref *ret_threads,
			     size_t room);

/* Name of a Python thread as threading knows it ("AnyIO worker thread"), interned; NULL. */
const char *target_thread_name(const struct target *target, pid_t tid);

/*
 * Fills what the probes need to know: addresses of the GIL, the collector's flag, types,
 * how the current task is found.  0 or -errno.
 */
int target_process_config(const struct target *target, struct process_config *ret_config);

#endif
