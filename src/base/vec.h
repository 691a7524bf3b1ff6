/* SPDX-License-Identifier: Apache-2.0 */
/* The one way to grow an array. */
#ifndef LS_VEC_H
#define LS_VEC_H

#include <stddef.h>

/*
 * Makes room for `want` items of `size` bytes in *items, whose capacity is
 * *capacity.  New memory is zeroed.  Returns 0, -ENOMEM, or -E2BIG above
 * `limit` items; the array is unchanged then.
 */
int vec_reserve(void **items, size_t *capacity, size_t want, size_t size, size_t limit);

/* The same for a struct member array `v->items` with `v->count`, `v->capacity`. */
#define vec_grow(v, limit) \
	vec_reserve((void **)&(v)->items, &(v)->capacity, (v)->count + 1, \
		    sizeof(*(v)->items), (limit))

#endif
