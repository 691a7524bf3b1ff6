/* SPDX-License-Identifier: Apache-2.0 */
/* Who holds the locks that tasks wait for, inside cli. */
#ifndef LS_POOL_LOCKS_H
#define LS_POOL_LOCKS_H

#include "aggregate/pools.h"

#define LOCK_TASKS 512	/* tasks of one snapshot that may be inside of one */

struct activity;
struct pool_looks;

/* Tasks of one snapshot that are suspended. */
struct lock_tasks {
	struct {
		struct pool_holder holder;
		const struct task_info *task;	/* borrowed from the snapshot */
		uint32_t pool;	/* that it waits for itself, 0: none */
	} items[LOCK_TASKS];
	size_t count;
};

/* A task of a request that waits at `site`, for `pool` or (0) something else. */
void pool_locks_task(struct pool_looks *looks, const struct task_info *task,
		     const struct activity *activity, const struct place *site, uint32_t pool);

/* All tasks are seen, and somebody waits for the lock of a row. */
void pool_locks_hold(struct pool_looks *looks, struct pool_row *row, uint32_t pool);

#endif
