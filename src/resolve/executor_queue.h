/* SPDX-License-Identifier: Apache-2.0 */
/* Queues of executors; between executors.c and executor_queue.c only. */
#ifndef LS_EXECUTOR_QUEUE_H
#define LS_EXECUTOR_QUEUE_H

#include "discover/py_object.h"

/*
 * How long a queue.SimpleQueue is, and its newest items, at most `room`; their number.
 * -ENOENT: it is another kind of queue; -EAGAIN: it changed whenever it was read.
 */
ssize_t executor_queue_items(const struct py_reader *py, uint64_t queue, uint64_t *items,
			     size_t room, int64_t *ret_length);

/* In place of each work item its future, 0: it has none. 0 or -errno. */
int executor_queue_futures(const struct py_reader *py, uint64_t *items, size_t count);

#endif
