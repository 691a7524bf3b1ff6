/* SPDX-License-Identifier: Apache-2.0 */
/* Groups and their cells, inside aggregate. */
#ifndef LS_GROUPS_H
#define LS_GROUPS_H

#include "aggregate/window.h"

/* Index of the group of an activity, made when it is new; -ENOSPC, -ENOMEM. */
int group_find(struct window *window, enum window_class class, const struct activity *activity);

/* Notes line, stack and names of an activity in its group. */
void group_note(struct group *group, const struct activity *activity, uint64_t ns);

/*
 * Adds `ns` to the cell of the activity's request (or step) in its group and
 * notes the rest.  The cell is remembered in `pending` (may be NULL) for the lag.
 */
int group_add(struct window *window, enum window_class class, const struct activity *activity,
	      uint64_t ns, uint32_t calls, uint32_t samples, struct pending_step *pending);

void group_free(struct group *group);

#endif
