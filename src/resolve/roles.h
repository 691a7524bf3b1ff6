/* SPDX-License-Identifier: Apache-2.0 */
/* The code objects of servers and frameworks that lead from a stack to a request. */
#ifndef LS_ROLES_H
#define LS_ROLES_H

#include <stdint.h>

#include "target_config.h"

struct target;

/* What one look over the modules of a process found. */
struct role_scan {
	unsigned found;		/* code objects */
	unsigned waiting;	/* rows whose classes have no instance yet: look again */
	uint64_t modules;	/* number of imported modules, to notice new ones */
};

/*
 * Calls `each` for every special code object of the process.  Returns 0, or
 * -errno of `each`, or -EAGAIN when the modules cannot be read.
 */
typedef int (*role_each)(void *context, uint64_t code, const struct code_role *role);
int roles_scan(const struct target *target, role_each each, void *context,
	       struct role_scan *ret_scan);

/* Number of imported modules now; 0 when unreadable. */
uint64_t roles_module_count(const struct target *target);

#endif
