/* SPDX-License-Identifier: Apache-2.0 */
/* The table of pools; between pools.c and pool_table.c only. */
#ifndef LS_POOL_TABLE_H
#define LS_POOL_TABLE_H

#include "resolve/pool_count.h"
#include "resolve/pools.h"

#define POOL_VARIANTS 2 /* of one library's versions */
#define POOL_BENEATH 5

/* How to get from a frame to its pool. */
enum pool_reach {
	REACH_SELF, /* its first argument */
	REACH_CLIENT, /* an attribute of that: see `path` */
	REACH_ENGINE, /* SQLAlchemy: the function that its greenlet runs is of a session */
	REACH_NONE,
};

struct pool_signature {
	const char *kind;
	enum pool_class class;
	/* end of the file's path, or a part of it that ends in a slash; qualified name */
	const char *file, *qualname;
	/* what may be between that frame and the future, by a part of the path */
	const char *beneath[POOL_BENEATH];
	enum pool_reach reach;
	const char *path, *type;	/* for REACH_CLIENT: from there to the pool, which is one */
	bool means_full;
	bool bounded;	/* one without a size is no pool */
	bool thread;	/* it is of threads, which wait in threading.Condition.wait() */
	bool use;	/* nobody ever waits for it: the frame is of one who has what it gives */
	struct pool_counts counts[POOL_VARIANTS];
};

extern const struct pool_signature pool_table[];
extern const size_t pool_table_size;

#endif
