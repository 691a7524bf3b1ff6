// SPDX-License-Identifier: Apache-2.0
#include "aggregate/pools.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/vec.h"

#define LATE_LOOKS 2	/* a wait that was seen once may have been momentary */

uint32_t pools_row(struct pool_rows *rows, pid_t pid, const struct pool_signature *signature,
		   uint64_t object)
{
	bool lock = pool_class(signature) == POOL_LOCK;
	struct pool_row *row;

	for (size_t i = 0; i < rows->count; i++) {
		row = rows->items[i];
		if (row->pid == pid && row->object == object &&
		    pool_kind(row->signature) == pool_kind(signature))
			return (uint32_t)i + 1;
	}
	if (lock && rows->locks == POOLS_LOCKS) {
		rows->lost++;
		return 0;
	}
	if (vec_reserve((void **)&rows->items, &rows->capacity, rows->count + 1,
			sizeof(*rows->items), POOLS_MAX)) {
		rows->lost++;
		return 0;
	}
	row = calloc(1, sizeof(*row));
	if (!row)
		return 0;
	row->pid = pid;
	row->signature = signature;
	row->object = object;
	row->last = (struct pool_numbers){ -1, -1, -1 };
	row->size = row->in_use = row->in_use_max = row->waiters_max = -1;
	rows->items[rows->count++] = row;
	rows->locks += lock;
	return (uint32_t)rows->count;
}

struct pool_row *pools_at(const struct pool_rows *rows, uint32_t number)
{
	return number && number <= rows->count ? rows->items[number - 1] : NULL;
}

void pools_note(struct pool_row *row, const struct pool_numbers *numbers, unsigned seen_waiting)
{
	/* tasks are looked at one after the other: one may wait instead of another meanwhile */
	int64_t waiting = numbers->waiting >= 0 ? numbers->waiting : (int64_t)seen_waiting;
	bool known = numbers->size >= 0 && numbers->in_use >= 0;

	row->last = *numbers;
	/* what changes all the time cannot be read each time */
	if (numbers->size >= 0)
		row->size = numbers->size;
	if (numbers->in_use >= 0)
		row->in_use = numbers->in_use;
	if (numbers->in_use > row->in_use_max)
		row->in_use_max = numbers->in_use;
	if (waiting > row->waiters_max)
		row->waiters_max = waiting;
	row->full = seen_waiting && (known ? numbers->in_use >= numbers->size
					   : pool_wait_means_full(row->signature));
}

void pools_hold(struct pool_row *row, const struct pool_holder *holder)
{
	struct pool_holder *to = NULL, *least = &row->holders[0];

	for (size_t i = 0; i < row->holder_count && !to; i++) {
		struct pool_holder *other = &row->holders[i];

		if (other->waits == holder->waits && text_same(other->route, holder->route) &&
		    text_same(other->method, holder->method) &&
		    place_same(&other->place, &holder->place))
			to = other;
		if (other->count < least->count)
			least = other;
	}
	if (!to) {
		to = row->holder_count < POOL_HOLDERS ? &row->holders[row->holder_count++] : least;
		*to = *holder;
		to->count = 0;
	}
	to->count++;
	if (holder->since_ns > to->since_ns)
		to->since_ns = holder->since_ns;
}

static struct pool_site *site_of(struct pool_row *row, const struct route_name *route,
				 const struct place *place)
{
	struct pool_site *site;

	for (size_t i = 0; i < row->site_count; i++) {
		site = &row->sites[i];
		if (text_same(site->route, route->route) &&
		    text_same(site->method, route->method) &&
		    place_same(&site->place, place))
			return site;
	}
	if (row->site_count == POOL_SITES)
		return NULL;
	site = &row->sites[row->site_count++];
	site->route = route->route;
	site->method = route->method;
	site->folded = route->folded;
	site->place = *place;
	return site;
}

void pools_waits(struct pool_row *row, const struct route_name *route, const struct place *place)
{
	site_of(row, route, place);
}

static bool is_threads(const struct pool_row *row)
{
	enum pool_class class = pool_class(row->signature);

	return class == POOL_THREADS || class == POOL_EXECUTOR;
}

int pools_wait(struct pool_rows *rows, const struct pool_wait *wait)
{
	struct pool_row *row = pools_at(rows, wait->pool);
	uint64_t length = wait->end_ns - wait->start_ns;
	struct pool_site *site = row ? site_of(row, &wait->route, &wait->site) : NULL;
	int error;

	if (!row)
		return 0;
	error = distribution_add(&row->wait, length);
	if (!site) {
		row->lost++;
		return error;
	}
	if (error || length < rows->late_ns || wait->full < LATE_LOOKS)
		return error;
	site->requests += !wait->again;
	site->samples += wait->seen;
	site->ongoing |= wait->ongoing;
	if (!site->first_ns || wait->start_ns < site->first_ns)
		site->first_ns = wait->start_ns;
	if (wait->end_ns > site->last_ns)
		site->last_ns = wait->end_ns;
	slow_log_cause(rows->slow_log, is_threads(row) ? CAUSE_THREADS : CAUSE_POOL, site,
		       &(struct time_span){ wait->start_ns, wait->end_ns }, length);
	return distribution_add(&site->late, length);
}

bool pools_used_by(const struct pool_row *row, const char *route, const char *method)
{
	for (size_t i = 0; i < row->site_count; i++)
		if (text_same(row->sites[i].route, route) &&
		    text_same(row->sites[i].method, method))
			return true;
	return false;
}

void pools_free(struct pool_rows *rows)
{
	for (size_t i = 0; i < rows->count; i++) {
		for (size_t k = 0; k < rows->items[i]->site_count; k++)
			distribution_free(&rows->items[i]->sites[k].late);
		distribution_free(&rows->items[i]->wait);
		free(rows->items[i]);
	}
	free(rows->items);
	memset(rows, 0, sizeof(*rows));
}
