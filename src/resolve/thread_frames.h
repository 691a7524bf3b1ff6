/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of threads that wait, read from outside: where they are now, and their locals. */
#ifndef LS_THREAD_FRAMES_H
#define LS_THREAD_FRAMES_H

#include <stddef.h>
#include <stdint.h>

#include "discover/target.h"

/* The innermost frame of a thread; as long as it is the same, the thread waits where it was. */
struct thread_top {
	uint64_t frame;		/* 0: it runs no Python, or could not be read */
	uint64_t code, instruction, previous;
};

/* Of many threads at once. */
int thread_tops(const struct target *target, const struct thread_state_ref *threads, size_t count,
		struct thread_top *ret_tops);

/* Address of a frame by its number in the stack that a walk from `top` gives; 0 or -errno. */
int thread_frame(const struct target *target, const struct thread_top *top, size_t number,
		 uint64_t *ret_frame);

/* The object in a local variable of a frame, of a cell its content. 0, -ENOENT or -errno. */
int thread_local_object(const struct target *target, const struct process_config *config,
			uint64_t frame, uint32_t local, uint64_t *ret_object);

#endif
