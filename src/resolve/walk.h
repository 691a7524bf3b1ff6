/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk of the probes, run from user space: for threads that hang or are
 * idle and make no event.  The thread is not stopped, so a stack of one that runs may
 * be torn; of one that waits it is whole.
 */
#ifndef LS_WALK_H
#define LS_WALK_H

#include <stddef.h>
#include <stdint.h>

#include "events.h"
#include "target_config.h"

struct mem;

/* The special code objects of one process, as given to the probes. */
struct role_table {
	struct role_entry {
		uint64_t code;
		struct code_role role;
	} * items;
	size_t count, capacity;
};

/* Adds or replaces. 0 or -errno. */
int role_table_set(struct role_table *table, uint64_t code, const struct code_role *role);
void role_table_free(struct role_table *table);

struct walk_result {
	struct request_record request;
	struct stack_record stack;
};

/*
 * Stack and request of the thread with `tstate`, whose loop is `loop` (0: none).
 * 0 or -ENOMEM; what could not be read is said in the stack's end.
 */
int walk_thread(const struct mem *mem, const struct process_config *config,
		const struct role_table *roles, uint64_t tstate, uint64_t loop,
		struct walk_result *ret_result);

#endif
