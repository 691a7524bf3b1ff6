// SPDX-License-Identifier: Apache-2.0
#include "aggregate/dependencies.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregate/routes.h"
#include "base/intern.h"
#include "base/vec.h"

struct row_key {
	const char *peer, *route, *method;
	struct place culprit;
};

static bool is_row(const struct dependency_row *row, const struct row_key *key)
{
	return row->peer == key->peer && row->route == key->route &&
	       row->method == key->method && row->culprit.file == key->culprit.file &&
	       row->culprit.qualname == key->culprit.qualname &&
	       row->culprit.line == key->culprit.line;
}

static struct dependency_row *find(const struct dependency_rows *rows, const struct row_key *key)
{
	for (size_t i = 0; i < rows->count; i++)
		if (is_row(rows->items[i], key))
			return rows->items[i];
	return NULL;
}

static struct dependency_row *row_of(struct dependency_rows *rows, struct row_key key)
{
	struct dependency_row *row = find(rows, &key);

	if (row)
		return row;
	if (rows->count >= DEPENDENCIES_MAX / 2) {
		key = (struct row_key){ key.peer, intern(ROUTE_OTHER), NULL, { 0 } };
		row = find(rows, &key);
		if (!row && rows->count >= DEPENDENCIES_MAX - 1) {
			key.peer = intern(ROUTE_OTHER);
			row = find(rows, &key);
		}
		if (row)
			return row;
	}
	if (vec_reserve((void **)&rows->items, &rows->capacity, rows->count + 1,
			sizeof(*rows->items), DEPENDENCIES_MAX))
		return NULL;
	row = calloc(1, sizeof(*row));
	if (!row)
		return NULL;
	row->peer = key.peer;
	row->route = key.route;
	row->method = key.method;
	row->culprit = key.culprit;
	rows->items[rows->count++] = row;
	return row;
}

static void count_shape(struct dependency_row *row, const char *shape)
{
	size_t i = 0;

	if (!shape)
		return;
	while (i < row->shape_count && row->shapes[i].text != shape)
		i++;
	if (i == DEPENDENCY_SHAPES)
		return;
	if (i == row->shape_count)
		row->shapes[row->shape_count++].text = shape;
	row->shapes[i].count++;
}

static struct call_process *process_of(struct dependency_row *row, pid_t pid)
{
	size_t i = 0;

	while (i < row->process_count && row->processes[i].pid != pid)
		i++;
	if (i == DEPENDENCY_PROCESSES)
		return &row->processes[i - 1];
	if (i == row->process_count)
		row->processes[row->process_count++] = (struct call_process){ .pid = pid };
	return &row->processes[i];
}

static int add_latency(struct dependency_rows *rows, struct dependency_row *row,
		       const struct dependency_call *it, uint64_t latency)
{
	int error = distribution_add(&row->latency, latency);

	if (error || latency < rows->slow_ns)
		return error;
	if (it->request)
		slow_log_cause(rows->slow_log, CAUSE_PEER, row,
			       &(struct time_span){ it->call->sent_ns,
						    it->call->sent_ns + latency },
			       latency);
	process_of(row, it->pid)->slow++;
	row->slow_requests += it->request != 0;
	row->slow_given_up += it->call->given_up;
	if (!row->slow_first_ns || it->call->start_ns < row->slow_first_ns)
		row->slow_first_ns = it->call->start_ns;
	if (it->call->end_ns > row->slow_last_ns)
		row->slow_last_ns = it->call->end_ns;
	return distribution_add(&row->slow, latency);
}

int dependencies_add(struct dependency_rows *rows, const struct dependency_call *it)
{
	const struct peer_call *call = it->call;
	struct row_key key = { it->peer, it->route.route, it->route.method, it->culprit };
	struct dependency_row *row = row_of(rows, key);

	if (!row)
		return -ENOMEM;
	if (call->protocol != PROTOCOL_UNKNOWN)
		row->protocol = call->protocol;
	row->folded |= it->route.folded;
	if (it->peer_name) {
		row->names_differ |= row->peer_name && row->peer_name != it->peer_name;
		row->peer_name = it->peer_name;
	}
	if (!row->library.file)
		row->library = it->library;
	if (!it->request && !row->owner_task) {
		row->owner_task = it->owner_task;
		row->owner_thread = it->owner_thread;
	}
	if (!row->stack_count) {
		row->stack_count = it->stack_count;
		memcpy(row->stack, it->stack, it->stack_count * sizeof(*it->stack));
	}
	if (!row->first_ns || call->start_ns < row->first_ns)
		row->first_ns = call->start_ns;
	if (call->end_ns > row->last_ns)
		row->last_ns = call->end_ns;
	row->refused += it->refused;
	if (it->refused)
		return 0;
	if (call->internal) {
		row->internal++;
		return 0;
	}
	row->calls++;
	row->errors += call->error;
	row->failures += call->failed;
	row->unpaired += call->unpaired;
	row->bytes_sent += call->bytes_sent;
	row->bytes_received += call->bytes_received;
	count_shape(row, call->shape);
	if (call->silent)
		return 0;
	if (!call->reply_ns) {
		row->unanswered += !call->failed;
		row->given_up += call->given_up;
		/* what is still waited for, or was given up, has taken that long at least */
		return call->due && (!call->failed || call->given_up)
			       ? add_latency(rows, row, it, call->end_ns - call->sent_ns)
			       : 0;
	}
	return add_latency(rows, row, it, call->reply_ns - call->sent_ns);
}

/* Do two sites of a request ask the same peer in the same function (in the same line)? */
static bool alike(const struct site_calls *one, const struct site_calls *other, bool line)
{
	return one->peer == other->peer && one->culprit.file == other->culprit.file &&
	       one->culprit.qualname == other->culprit.qualname &&
	       (!line || one->culprit.line == other->culprit.line);
}

/* The calls of a request in the line, or else the function, of a site; whatever their shape. */
static uint64_t calls_like(const struct served_request *request, const struct site_calls *site,
			   bool line)
{
	uint64_t calls = 0;

	for (size_t i = 0; i < request->site_count; i++)
		if (alike(&request->sites[i], site, line))
			calls += request->sites[i].count;
	return calls;
}

static bool first_in_line(const struct served_request *request, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (alike(&request->sites[i], &request->sites[index], true))
			return false;
	return true;
}

int dependencies_request(struct dependency_rows *rows, const struct served_request *request)
{
	for (size_t i = 0; i < request->site_count; i++) {
		const struct site_calls *site = &request->sites[i];
		struct row_key key = { site->peer, request->route.route, request->route.method,
				       site->culprit };
		struct dependency_row *row = find(rows, &key);
		int error = 0;

		if (!row)
			continue; /* beyond the bound */
		if (first_in_line(request, i))
			error = distribution_add(&row->per_request,
						 calls_like(request, site, true));
		if (!error && site->count >= rows->repeats + site->pages) {
			process_of(row, request->pid)->repeated++;
			if (!row->repeat_first_ns)
				row->repeat_first_ns = request->start_ns;
			row->repeat_last_ns = request->end_ns;
			/* what leads up to the loop belongs to it: fetch the list, then each */
			error = distribution_add(&row->repeats,
						 calls_like(request, site, false))
					?: distribution_add(&row->repeat_time,
							    site->last_ns - site->first_ns);
		}
		if (error)
			return error;
	}
	return 0;
}

void dependencies_free(struct dependency_rows *rows)
{
	for (size_t i = 0; i < rows->count; i++) {
		distribution_free(&rows->items[i]->latency);
		distribution_free(&rows->items[i]->slow);
		distribution_free(&rows->items[i]->per_request);
		distribution_free(&rows->items[i]->repeats);
		distribution_free(&rows->items[i]->repeat_time);
		free(rows->items[i]);
	}
	free(rows->items);
	memset(rows, 0, sizeof(*rows));
}
