/* SPDX-License-Identifier: Apache-2.0 */
/* Pools: their numbers, who waits for them and who holds them. */
#ifndef LS_AGGREGATE_POOLS_H
#define LS_AGGREGATE_POOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "aggregate/distribution.h"
#include "aggregate/slow_log.h"
#include "attribute/pool_wait.h"
#include "base/pace.h"
#include "resolve/pools.h"

#define POOLS_MAX 1024		/* rows; further ones are not kept, but counted */
#define POOLS_LOCKS 128		/* of them: there may be a lock for each of many keys */
#define POOL_SITES 64		/* places that wait for one pool */
#define POOL_HOLDERS 64		/* and that hold it */

/* Waits of one route from one place. */
struct pool_site {
	const char *route, *method;
	bool folded;
	struct place place;	/* innermost application frame; file NULL: there is none */
	/* waits that were long, while nothing was left */
	struct distribution late;
	uint64_t requests;	/* of those */
	uint64_t samples;	/* snapshots that saw them */
	uint64_t first_ns, last_ns;	/* CLOCK_MONOTONIC */
	bool ongoing;
};

struct pool_holder {
	const char *route, *method;
	bool folded;
	struct place place;	/* where it is while it holds */
	uint64_t count;		/* how often it was seen */
	uint64_t since_ns;	/* for how long it was held, at most; 0: not known */
	bool waits;		/* a thread that only waits for another pool */
};

struct pool_row {
	pid_t pid;
	const struct pool_signature *signature;
	uint64_t object;	/* 0: one that could not be reached */
	const char *name;	/* interned or NULL */
	struct pool_numbers last;	/* of the last look, which may have found nothing out */
	int64_t size, in_use;		/* when they could last be read; negative: never */
	int64_t in_use_max, waiters_max;	/* negative: not known */
	bool full;		/* nothing was left when it was last looked at */
	struct distribution wait;
	struct pool_site sites[POOL_SITES];
	size_t site_count;
	struct pool_holder holders[POOL_HOLDERS];
	size_t holder_count;
	uint64_t lost;		/* waits from places beyond POOL_SITES */
	struct pace reads, holders_looked_for;
};

struct pool_rows {
	struct pool_row **items;	/* owned */
	size_t count, capacity, locks;
	uint64_t lost;		/* pools beyond POOLS_MAX, locks beyond POOLS_LOCKS */
	uint64_t late_ns;	/* a wait is long from here on */
	struct slow_log *slow_log;	/* borrowed, may be NULL */
};

/* The row of a pool, by its number from 1 on; made when it is new.  0: no room or memory. */
uint32_t pools_row(struct pool_rows *rows, pid_t pid, const struct pool_signature *signature,
		   uint64_t object);

/* Row of a number that pools_row() gave. */
struct pool_row *pools_at(const struct pool_rows *rows, uint32_t number);

/* What was read of it, and how many were seen to wait, for when it does not say so itself. */
void pools_note(struct pool_row *row, const struct pool_numbers *numbers, unsigned seen_waiting);

/* Somebody was seen to hold it. */
void pools_hold(struct pool_row *row, const struct pool_holder *holder);

/* A request of this route waits for it at that place. */
void pools_waits(struct pool_row *row, const struct route_name *route, const struct place *place);

/* A wait has ended, or goes on when the window ends.  0 or -ENOMEM. */
int pools_wait(struct pool_rows *rows, const struct pool_wait *wait);

/* Does a request of this route ever wait for the pool? */
bool pools_used_by(const struct pool_row *row, const char *route, const char *method);

void pools_free(struct pool_rows *rows);

#endif
