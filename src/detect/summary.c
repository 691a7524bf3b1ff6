// SPDX-License-Identifier: Apache-2.0
#include "detect/summary.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/intern.h"

#define CAUSES 16	/* that are shown of one route */

/* The finding that was made of a group, as an index; -1: none was. */
static int finding_of(const struct report *report, uint32_t group)
{
	for (size_t i = 0; i < report->finding_count; i++)
		if (report->findings[i].group == (int32_t)group)
			return (int)i;
	return -1;
}

static size_t causes_of(const struct report *report, const struct delay *delays, size_t count,
			struct cause_summary *causes, size_t room)
{
	size_t used = 0;

	for (size_t i = 0; i < count && used < room; i++) {
		int finding = finding_of(report, delays[i].group);

		if (finding >= 0)
			causes[used++] = (struct cause_summary){
				(size_t)finding, delays[i].requests, delays[i].max_ns,
				delays[i].total_ns };
	}
	return used;
}

static int by_code(const void *a, const void *b)
{
	const struct status_count *one = a, *other = b;

	return one->code < other->code ? -1 : one->code > other->code;
}

static int fill_slowest(const struct detect_input *input, const struct report *report,
			const struct route_stats *row, struct route_summary *to)
{
	to->slowest = calloc(row->slowest_count + 1, sizeof(*to->slowest));
	if (!to->slowest)
		return -ENOMEM;
	for (size_t i = 0; i < row->slowest_count; i++) {
		const struct slow_request *from = &row->slowest[i];
		struct slow_summary *slow = &to->slowest[to->slowest_count++];

		slow->start_ns = from->start_ns + (uint64_t)input->realtime_offset_ns;
		slow->latency_ns = from->latency_ns;
		slow->status = from->status;
		memcpy(slow->parts, from->parts, sizeof(slow->parts));
		slow->cause_count = causes_of(report, from->delays, from->delay_count,
					      slow->causes,
					      sizeof(slow->causes) / sizeof(*slow->causes));
	}
	return 0;
}

static int by_wait(const void *a, const void *b)
{
	const struct await_summary *one = a, *other = b;

	if (one->ns != other->ns)
		return one->ns > other->ns ? -1 : 1;
	return one->part < other->part ? -1 : one->part > other->part;
}

static int fill_awaits(const struct route_stats *row, struct route_summary *to)
{
	to->awaits = calloc(row->awaits.count + 1, sizeof(*to->awaits));
	if (!to->awaits)
		return -ENOMEM;
	for (size_t i = 0; i < row->awaits.count; i++) {
		const struct route_await *from = &row->awaits.items[i];

		to->awaits[to->await_count++] = (struct await_summary){
			from->part, from->requests, from->ns, from->stack };
	}
	qsort(to->awaits, to->await_count, sizeof(*to->awaits), by_wait);
	return 0;
}

static int fill_route(const struct detect_input *input, const struct report *report,
		      const struct route_stats *row, uint64_t busy_ns, struct route_summary *to)
{
	/* not cpu_wait: all requests that wait for a loop's thread to wake up have that at once */
	uint64_t own = row->parts[PART_loop_cpu] + row->parts[PART_loop_blocked] +
		       row->parts[PART_gil_wait];

	*to = (struct route_summary){
		.route = row->route, .method = row->method, .folded = row->folded,
		.requests = row->requests, .errors = row->errors, .aborted = row->aborted,
		.ongoing = row->ongoing, .from_read = row->from_read,
		.loop_share = busy_ns ? (double)own / (double)busy_ns : -1,
	};
	distribution_summary(&row->latency, &to->latency);
	distribution_summary(&row->first_byte, &to->first_byte);
	memcpy(to->parts, row->parts, sizeof(to->parts));
	to->statuses = calloc(row->status_count + 1, sizeof(*to->statuses));
	to->causes = calloc(CAUSES, sizeof(*to->causes));
	if (!to->statuses || !to->causes)
		return -ENOMEM;
	for (size_t i = 0; i < row->status_count; i++)
		to->statuses[to->status_count++] = (struct status_count){
			row->statuses[i].code, row->statuses[i].count };
	qsort(to->statuses, to->status_count, sizeof(*to->statuses), by_code);
	to->cause_count = causes_of(report, row->delays, row->delay_count, to->causes, CAUSES);
	return fill_awaits(row, to) ?: fill_slowest(input, report, row, to);
}

static void fill_websocket(const struct route_stats *row, struct websocket_summary *to)
{
	*to = (struct websocket_summary){
		.route = row->route, .sessions = row->requests + row->ongoing,
		.ongoing = row->ongoing, .messages_in = row->messages_in,
		.messages_out = row->messages_out,
	};
	distribution_summary(&row->latency, &to->duration);
}

static int fill_routes(const struct detect_input *input, uint64_t busy_ns, struct report *report)
{
	const struct route_rows *rows = &input->window->routes;

	report->routes = calloc(rows->count + 1, sizeof(*report->routes));
	report->websockets = calloc(rows->count + 1, sizeof(*report->websockets));
	if (!report->routes || !report->websockets)
		return -ENOMEM;
	for (size_t i = 0; i < rows->count; i++) {
		int error;

		if (rows->items[i]->websocket) {
			fill_websocket(rows->items[i],
				       &report->websockets[report->websocket_count++]);
			continue;
		}
		error = fill_route(input, report, rows->items[i], busy_ns,
				   &report->routes[report->route_count++]);
		if (error)
			return error;
	}
	return 0;
}

static void fill_statements(const struct dependency_row *row, struct dependency_summary *to)
{
	size_t room = sizeof(to->statements) / sizeof(*to->statements);
	bool taken[DEPENDENCY_SHAPES] = { false };

	for (size_t k = 0; k < room; k++) {
		size_t best = row->shape_count;

		for (size_t i = 0; i < row->shape_count; i++)
			if (!taken[i] && (best == row->shape_count ||
					  row->shapes[i].count > row->shapes[best].count))
				best = i;
		if (best == row->shape_count)
			return;
		taken[best] = true;
		to->statements[k] = row->shapes[best].text;
	}
}

static int by_time(const void *a, const void *b)
{
	const struct dependency_summary *one = a, *other = b;

	if (one->latency.total != other->latency.total)
		return one->latency.total > other->latency.total ? -1 : 1;
	return one->calls > other->calls ? -1 : one->calls < other->calls;
}

static int fill_dependencies(const struct detect_input *input, struct report *report)
{
	const struct dependency_rows *rows = &input->window->dependencies;

	report->dependencies = calloc(rows->count + 1, sizeof(*report->dependencies));
	if (!report->dependencies)
		return -ENOMEM;
	for (size_t i = 0; i < rows->count; i++) {
		const struct dependency_row *row = rows->items[i];
		struct dependency_summary *to = &report->dependencies[report->dependency_count];
		struct summary per_request;

		if (!row->calls && !row->refused)
			continue; /* log-in and the like alone */
		report->dependency_count++;
		distribution_summary(&row->per_request, &per_request);
		*to = (struct dependency_summary){
			.peer = row->peer, .peer_name = row->names_differ ? NULL : row->peer_name,
			.protocol = protocol_name(row->protocol),
			.route = row->route, .method = row->method, .route_folded = row->folded,
			.call_site = row->culprit,
			.calls = row->calls, .errors = row->errors, .failures = row->failures,
			.refused = row->refused, .unanswered = row->unanswered,
			.given_up = row->given_up,
			.calls_per_request = per_request.count ? (double)per_request.total /
									 (double)per_request.count
							       : -1,
			.bytes_sent = row->bytes_sent, .bytes_received = row->bytes_received,
			.unpaired = row->unpaired != 0,
		};
		distribution_summary(&row->latency, &to->latency);
		fill_statements(row, to);
	}
	qsort(report->dependencies, report->dependency_count, sizeof(*report->dependencies),
	      by_time);
	return 0;
}

static int by_callable_time(const void *a, const void *b)
{
	const struct callable_summary *one = a, *other = b;

	if (one->time.total != other->time.total)
		return one->time.total > other->time.total ? -1 : 1;
	return one->calls > other->calls ? -1 : one->calls < other->calls;
}

static int fill_callables(const struct detect_input *input, struct report *report)
{
	const struct callable_rows *rows = &input->window->callables;

	report->injected = calloc(rows->count + 1, sizeof(*report->injected));
	report->middleware = calloc(rows->count + 1, sizeof(*report->middleware));
	if (!report->injected || !report->middleware)
		return -ENOMEM;
	for (size_t i = 0; i < rows->count; i++) {
		const struct callable_row *row = rows->items[i];
		struct callable_summary *to =
			row->middleware ? &report->middleware[report->middleware_count++]
					: &report->injected[report->injected_count++];

		*to = (struct callable_summary){
			.name = row->name, .route = row->route, .method = row->method,
			.calls = row->executions,
			.calls_per_request = row->requests && !row->middleware
						     ? (double)row->executions /
							       (double)row->requests
						     : -1,
			.sampled = !row->exact,
		};
		distribution_summary(&row->time, &to->time);
		distribution_summary(&row->own, &to->own);
	}
	qsort(report->injected, report->injected_count, sizeof(*report->injected),
	      by_callable_time);
	qsort(report->middleware, report->middleware_count, sizeof(*report->middleware),
	      by_callable_time);
	return 0;
}

int summary_fill(const struct detect_input *input, uint64_t busy_ns, struct report *report)
{
	return fill_routes(input, busy_ns, report) ?: fill_dependencies(input, report) ?:
	       fill_callables(input, report) ?: pools_fill(input, report);
}
