/* SPDX-License-Identifier: Apache-2.0 */
/* How to count what a pool keeps; between pools.c, pool_table.c and pool_count.c only. */
#ifndef LS_POOL_COUNT_H
#define LS_POOL_COUNT_H

#include "discover/py_object.h"
#include "resolve/pools.h"

#define COUNT_TERMS 3

enum count_how {
	COUNT_END,
	COUNT_ONE,	/* always one; has no path */
	COUNT_PRESENT,	/* one where it is not None */
	COUNT_INT,
	COUNT_LIMIT,	/* an int; below zero, or huge, there is no limit */
	COUNT_LENGTH,	/* of a list, tuple, dict, set or deque; None has none */
	COUNT_LENGTHS,	/* of all values of a dict together */
	COUNT_LONGEST,	/* of them */
	COUNT_CAPACITY,	/* of a deque */
	COUNT_SET,	/* items of a list with an attribute that is not None */
	COUNT_UNSET,	/* and those where it is */
};

struct count_term {
	enum count_how how;
	int sign;
	const char *path, *attribute;
};

/* Sums; `key_` are the limit of one key (a host) and how much of it the fullest one uses. */
struct pool_counts {
	struct count_term size[COUNT_TERMS], in_use[COUNT_TERMS], waiting[COUNT_TERMS];
	struct count_term key_size, key_in_use;
};

struct pool_numbers pool_count(const struct py_reader *py, const struct pool_counts *counts,
			       uint64_t object);

#endif
