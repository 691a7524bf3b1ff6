/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files that implement target.h only. */
#ifndef LS_TARGET_INTERNAL_H
#define LS_TARGET_INTERNAL_H

#include "discover/elf_image.h"
#include "discover/target.h"

/* Writes the one line that says why and what to do; returns `error`. */
int target_fail(int error, char *message, size_t size, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/*
 * Finds the runtime, its version and its layout: fills interpreter,
 * shared_library, runtime, version_hex, layout.  0 or -errno with a message.
 */
int target_find_runtime(struct target *target, char *message, size_t size);

/* The interpreter's file and the difference between its addresses and those in memory. */
int target_open_interpreter(const struct target *target, struct elf_image **ret_image,
			    uint64_t *ret_bias);

/*
 * Takes over what a 3.14 says of asyncio; -ENOENT as long as asyncio is not
 * loaded, and the layout has none of its fields then.
 */
int target_find_asyncio(struct target *target);

/* A thread that runs Python, as its interpreter knows it. */
struct target_thread {
	uint64_t tstate, interp;
	uint64_t thread_id;	/* pthread_self() */
	pid_t native;		/* thread id in the target's own pid namespace */
};

/*
 * The threads of all interpreters in an array that the caller frees, the newest
 * interpreter first: that is the one a thread with two states runs.
 * Their number or -errno.
 */
ssize_t target_threads(const struct target *target, struct target_thread **ret_threads);

/* Thread id in the target's own namespace <-> as the host knows it; -ENOENT. */
int target_native_tid(const struct target *target, pid_t tid, pid_t *ret_native);
int target_host_tid(const struct target *target, pid_t native, pid_t *ret_tid);

/* Name of the innermost Python function of a thread; 0 or -errno. */
int target_leaf_name(const struct target *target, uint64_t tstate, char *buffer, size_t size);

/* The dictionary {loop: task} of 3.13 and older; -ENOENT without asyncio. */
int target_current_tasks(const struct target *target, uint64_t *ret_dict);

/* Fills server, prefix and stdlib_path as far as the modules are imported. */
void target_find_server(struct target *target);

#endif
