/* SPDX-License-Identifier: Apache-2.0 */
/* Stacks that requests were seen to wait in: equal frames, equal pointer. */
#ifndef LS_STACKS_H
#define LS_STACKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uthash.h>

#include "attribute/activity.h"

#define STACK_FRAMES 64		/* innermost ones that are kept */
#define STACKS_MAX 4096		/* different ones; those beyond are not kept, but counted */

struct stack {
	uint64_t hash;		/* of its frames */
	bool truncated;
	bool has_site;		/* one of its frames is of the application: frames[site] */
	size_t site;		/* the innermost such one; else 0 */
	size_t count;
	UT_hash_handle hh;
	struct place frames[];	/* leaf first */
};

struct stack_set;	/* opaque */

struct stack_set *stack_set_new(void);	/* NULL when out of memory */

/* Ends what stacks_of_...() returned; NULL is legal. */
void stack_set_free(struct stack_set *set);

/*
 * The stack of resolved frames, leaf first, without those of the event loop and of what
 * started it.  NULL when it is empty, one too many, or memory is short; a `set` NULL
 * keeps none.
 */
const struct stack *stack_of_frames(struct stack_set *set, const struct frame *frames,
				    size_t count);

/* The stack of one place; a file NULL: of none, NULL. */
const struct stack *stack_of_place(struct stack_set *set, const struct place *place);

/* Where in the application that is, file NULL: not known, as for a stack NULL. */
const struct place *stack_site(const struct stack *stack);

uint64_t stack_set_dropped(const struct stack_set *set);

#endif
