// SPDX-License-Identifier: Apache-2.0
#include "aggregate/routes.h"

#include <stdlib.h>
#include <string.h>

#include "base/intern.h"
#include "base/vec.h"

static struct route_stats *find(const struct route_rows *rows, const char *route,
				const char *method)
{
	for (size_t i = 0; i < rows->count; i++)
		if (rows->items[i]->route == route && rows->items[i]->method == method)
			return rows->items[i];
	return NULL;
}

static struct route_stats *row_of(struct route_rows *rows, const struct route_name *name)
{
	const char *route = name->route ? name->route : intern(ROUTE_UNMATCHED);
	const char *method = name->method;
	struct route_stats *row = find(rows, route, method);
	bool full = rows->count >= ROUTES_MAX - 1;

	if (row)
		return row;
	if (full) {
		rows->lost++;
		route = intern(ROUTE_OTHER);
		method = NULL;
		row = find(rows, route, method);
		if (row)
			return row;
	}
	if (vec_reserve((void **)&rows->items, &rows->capacity, rows->count + 1,
			sizeof(*rows->items), ROUTES_MAX))
		return NULL;
	row = calloc(1, sizeof(*row));
	if (!row)
		return NULL;
	row->route = route;
	row->method = method;
	row->folded = name->folded && !full;
	rows->items[rows->count++] = row;
	return row;
}

static void count_status(struct route_stats *row, unsigned code)
{
	size_t i = 0;

	while (i < row->status_count && row->statuses[i].code != code)
		i++;
	if (i == ROUTE_STATUSES)
		return; /* `requests` has it */
	if (i == row->status_count) {
		row->statuses[i].code = code;
		row->status_count++;
	}
	row->statuses[i].count++;
}

static void keep_slow(struct route_stats *row, const struct served_request *request,
		      uint64_t serial, uint64_t latency)
{
	size_t at = row->slowest_count;

	if (at == ROUTE_SLOWEST && row->slowest[at - 1].latency_ns >= latency)
		return;
	if (at == ROUTE_SLOWEST)
		at--;
	else
		row->slowest_count++;
	for (; at && row->slowest[at - 1].latency_ns < latency; at--)
		row->slowest[at] = row->slowest[at - 1];
	row->slowest[at] = (struct slow_request){ .serial = serial, .start_ns = request->start_ns,
						  .latency_ns = latency,
						  .status = request->status };
	memcpy(row->slowest[at].parts, request->parts, sizeof(request->parts));
}

static int add_await(struct route_stats *row, const struct await_time *await)
{
	const struct stack *stack = await->stack;
	struct route_await *to = NULL;
	int error;

	for (size_t i = 0; i < row->awaits.count && !to; i++)
		if (row->awaits.items[i].part == await->part &&
		    row->awaits.items[i].stack == stack)
			to = &row->awaits.items[i];
	if (!to && stack && row->awaits.count >= ROUTE_AWAITS)
		return add_await(row, &(struct await_time){ await->part, NULL, await->ns });
	if (!to) {
		error = vec_grow(&row->awaits, ROUTE_AWAITS + PART_COUNT);
		if (error)
			return error;
		to = &row->awaits.items[row->awaits.count++];
		to->part = await->part;
		to->stack = stack;
	}
	to->requests++;
	to->ns += await->ns;
	return 0;
}

struct route_stats *routes_add(struct route_rows *rows, const struct served_request *request,
			       uint64_t *ret_serial)
{
	uint64_t latency = request->end_ns - request->start_ns;
	struct route_stats *row = row_of(rows, &request->route);

	if (!row)
		return NULL;
	*ret_serial = ++rows->serials;
	row->websocket |= request->websocket;
	row->messages_in += request->messages_in;
	row->messages_out += request->messages_out;
	if (request->ongoing) {
		row->ongoing++;
		return row;
	}
	row->requests++;
	row->aborted += request->aborted;
	row->errors += request->status >= 500 || (request->aborted && !request->status);
	if (request->status)
		count_status(row, request->status);
	/* a gap of what was seen before the end says nothing about lengths */
	if (request->arrival_unknown)
		return row;
	row->from_read += request->from_read;
	if (distribution_add(&row->latency, latency))
		return NULL;
	if (request->first_byte_ns > request->start_ns &&
	    distribution_add(&row->first_byte, request->first_byte_ns - request->start_ns))
		return NULL;
	row->total_ns += latency;
	for (unsigned part = 0; part < PART_COUNT; part++)
		row->parts[part] += request->parts[part];
	for (size_t i = 0; i < request->await_count; i++)
		if (add_await(row, &request->awaits[i]))
			return NULL;
	keep_slow(row, request, *ret_serial, latency);
	return row;
}

static void delay_add(struct delay *delays, size_t *count, size_t room, uint32_t group,
		      uint64_t more, uint64_t sum)
{
	size_t i = 0;

	while (i < *count && delays[i].group != group)
		i++;
	if (i == room)
		return;
	if (i == *count)
		delays[(*count)++] = (struct delay){ .group = group };
	delays[i].requests += more == sum;
	delays[i].total_ns += more;
	if (sum > delays[i].max_ns)
		delays[i].max_ns = sum;
	for (; i && delays[i].total_ns > delays[i - 1].total_ns; i--) {
		struct delay less = delays[i - 1];

		delays[i - 1] = delays[i];
		delays[i] = less;
	}
}

void routes_delay(struct route_stats *row, uint64_t serial, uint32_t group, uint64_t more,
		  uint64_t sum)
{
	delay_add(row->delays, &row->delay_count, ROUTE_CAUSES, group, more, sum);
	for (size_t i = 0; i < row->slowest_count; i++)
		if (row->slowest[i].serial == serial)
			delay_add(row->slowest[i].delays, &row->slowest[i].delay_count,
				  REQUEST_CAUSES, group, more, sum);
}

void routes_free(struct route_rows *rows)
{
	for (size_t i = 0; i < rows->count; i++) {
		distribution_free(&rows->items[i]->latency);
		distribution_free(&rows->items[i]->first_byte);
		free(rows->items[i]->awaits.items);
		free(rows->items[i]);
	}
	free(rows->items);
	memset(rows, 0, sizeof(*rows));
}
