// SPDX-License-Identifier: Apache-2.0
#include "attribute/tracker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "attribute/tracker_internal.h"
#include "base/units.h"

#define MESSAGE_BUSY_NS (10 * NS_PER_S)

struct tracker *tracker_new(const struct tracker_sink *sink)
{
	struct tracker *tracker = calloc(1, sizeof(*tracker));

	if (!tracker)
		return NULL;
	tracker->sink = *sink;
	tracker->shapes = shape_set_new(SHAPES_MAX);
	tracker->names = name_table_new();
	tracker->stacks = stack_set_new();
	if (!tracker->shapes || !tracker->names || !tracker->stacks) {
		tracker_free(tracker);
		return NULL;
	}
	return tracker;
}

void tracker_no_arrivals(struct tracker *tracker)
{
	tracker->no_arrivals = true;
}

static void connection_free(struct tracker *tracker, struct connection *connection)
{
	while (connection->queue) {
		struct open_request *request = connection->queue;

		connection->queue = request->next;
		request_drop(tracker, request);
	}
	peer_free(connection->peer);
	if (connection->has_client)
		HASH_DELETE(hh_client, tracker->by_client, connection);
	HASH_DEL(tracker->connections, connection);
	free(connection);
}

struct stack_set *tracker_stacks(struct tracker *tracker)
{
	return tracker->stacks;
}

void tracker_free(struct tracker *tracker)
{
	struct connection *connection, *next;
	struct open_request *request, *after;

	if (!tracker)
		return;
	HASH_ITER(hh, tracker->connections, connection, next)
	connection_free(tracker, connection);
	HASH_ITER(hh, tracker->requests, request, after)
	request_drop(tracker, request);
	shape_set_free(tracker->shapes);
	name_table_free(tracker->names);
	stack_set_free(tracker->stacks);
	free(tracker);
}

/* The connection of a transfer, made when it is new; NULL: out of memory or beyond the bound. */
static struct connection *connection_of(struct tracker *tracker, const struct io_record *io,
					pid_t pid)
{
	struct connection *connection;

	HASH_FIND(hh, tracker->connections, &io->connection, sizeof(io->connection), connection);
	if (connection)
		return connection;
	if (HASH_COUNT(tracker->connections) >= MAX_OPEN) {
		tracker->counts.forgotten++;
		return NULL;
	}
	connection = calloc(1, sizeof(*connection));
	if (!connection)
		return NULL;
	connection->id = io->connection;
	connection->role = io->role;
	connection->pid = pid;
	connection->in.joined = connection->out.joined = !(io->flags & IO_SEEN_OPENING);
	HASH_ADD(hh, tracker->connections, id, sizeof(connection->id), connection);
	if (connection->role == ROLE_SERVER)
		served_opened(tracker, connection, io->peer_port);
	return connection;
}

static int transfer(struct tracker *tracker, struct route_cache *routes,
		    const struct event_header *event, const struct io_record *io,
		    const uint8_t *head, const struct activity *activity)
{
	struct connection *connection = connection_of(tracker, io, (pid_t)event->tgid);

	if (!connection)
		return 0;
	connection->routes = routes;
	if (connection->role == ROLE_SERVER)
		return served_event(tracker, routes, connection, event, io, head, activity);
	return peer_event(tracker, connection, event, io, head, activity);
}

static void closed(struct tracker *tracker, const struct event_closed *event)
{
	struct connection *connection;

	HASH_FIND(hh, tracker->connections, &event->connection, sizeof(event->connection),
		  connection);
	if (!connection)
		return;
	if (connection->role == ROLE_SERVER)
		served_closed(tracker, connection, event->header.time_ns);
	else if (event->failed)
		peer_refused(tracker, connection, event->header.time_ns);
	else
		peer_gone(tracker, connection, event->header.time_ns,
			  event->given_up ? PEER_GIVEN_UP : PEER_CLOSED);
	connection_free(tracker, connection);
}

/*
 * Was a thread seen to run something else for the request?  Loops are woken once for all of
 * several threads that are done at about the same time: uvloop's others say nothing.
 */
static bool is_left(const struct open_request *request, uint64_t code, uint64_t start, uint64_t end)
{
	uint64_t seen = request->in_thread.seen_ns;

	return request->in_thread.code && seen < end &&
	       (request->in_thread.code != code || seen < start);
}

/* A thread has done something for a request, and told its loop. */
static int work_done(struct tracker *tracker, const struct event_work *work,
		     const struct activity *activity)
{
	struct open_request *request = request_of(tracker, activity);
	struct place line = activity->culprit;
	uint64_t start = work->start_ns;
	int error;

	if (!request)
		return 0;
	/* of a thread that waited since before the attach it is not known when it got it */
	if (start < request->start_ns)
		start = pool_wait_known_until(request) > request->start_ns
				? pool_wait_known_until(request)
				: request->start_ns;
	/* it may have told nobody of a piece before, while this one was seen to wait for it */
	if (!work->waited && start < pool_wait_queued_until(request))
		start = pool_wait_queued_until(request);
	/* or that may have been of this request */
	if (start < request->worked_ns && request->worked_ns < work->header.time_ns)
		start = request->worked_ns;
	if (is_left(request, activity->code, start, work->header.time_ns)) {
		/* it told nobody, and seems to have gone on with this */
		uint64_t seen = request->in_thread.seen_ns;

		if (start <= seen)
			start = seen + (work->header.time_ns - seen) / 2;
		error = request_thread_left(tracker, request, start);
		if (error)
			return error;
	} else if (request->in_thread.code == activity->code) {
		line = request->in_thread.place;
		if (request->in_thread.seen_ns < work->header.time_ns)
			request->in_thread.code = 0;
	}
	request->worked_ns = work->header.time_ns;
	error = timeline_left(&request->timeline, request->pid, request->tid, start,
			      &tracker->steps);
	if (!error)
		error = pool_wait_thread_done(tracker, request, &activity->culprit, start,
					      work->header.time_ns);
	pool_wait_ran(request, start);
	pool_wait_used(request);
	if (!error && activity->code)
		error = request_callable(request, activity->code, line.file ? &line : NULL, false,
					 true, true, work->header.time_ns - start);
	timeline_ready(&request->timeline, work->header.time_ns, work->busy_ns, work->loop_seq,
		       false);
	return error;
}

/* A slow call or a sample says for whom the loop ran. */
static int ran_for(struct tracker *tracker, const struct event_header *event,
		   const struct own_time *own, uint64_t seq, const struct activity *activity)
{
	struct open_request *request = request_of(tracker, activity);
	struct loop_moment moment = { (pid_t)event->tgid, (pid_t)event->tid, event->time_ns, seq,
				      own };

	if (!request || !own->start_ns)
		return 0;
	request->tid = moment.tid;
	return request_ran(tracker, request, &moment);
}

/* Whoever an event is about had the loop. */
static void take_turn(struct tracker *tracker, const struct event_header *event)
{
	struct loop_moment moment = { (pid_t)event->tgid, (pid_t)event->tid, event->time_ns, 0,
				      NULL };

	switch (event->kind) {
	case EVENT_TRANSFER:
		moment.own = &((const struct event_transfer *)event)->io.own;
		break;
	case EVENT_RESPONSE:
		moment.own = &((const struct event_response *)event)->io.own;
		break;
	case EVENT_MESSAGE:
		moment.own = &((const struct event_message *)event)->io.own;
		break;
	case EVENT_CALL:
		moment.own = &((const struct event_call *)event)->own;
		break;
	case EVENT_SAMPLE:
		moment.own = &((const struct event_sample *)event)->own;
		break;
	default:
		return;
	}
	step_log_turn(&tracker->steps, &moment);
}

static int take_event(struct tracker *tracker, struct route_cache *routes,
		      const struct event_header *event, const struct activity *activity)
{
	switch (event->kind) {
	case EVENT_TRANSFER: {
		const struct event_transfer *it = (const void *)event;

		return transfer(tracker, routes, event, &it->io, it->head, NULL);
	}
	case EVENT_RESPONSE: {
		const struct event_response *it = (const void *)event;

		if (it->io.direction == IO_LOGGED)
			return tls_logged(tracker, it, activity);
		return transfer(tracker, routes, event, &it->io, it->head, activity);
	}
	case EVENT_MESSAGE: {
		const struct event_message *it = (const void *)event;

		return transfer(tracker, routes, event, &it->io, it->head, activity);
	}
	case EVENT_CLOSED:
		closed(tracker, (const void *)event);
		return 0;
	case EVENT_WORK:
		return work_done(tracker, (const void *)event, activity);
	case EVENT_CALL: {
		const struct event_call *it = (const void *)event;

		return ran_for(tracker, event, &it->own, it->step_seq, activity);
	}
	case EVENT_SAMPLE: {
		const struct event_sample *it = (const void *)event;

		return ran_for(tracker, event, &it->own, it->step_seq, activity);
	}
	case EVENT_STEP:
		step_log_add(&tracker->steps, (const void *)event);
		return 0;
	default:
		return 0;
	}
}

int tracker_event(struct tracker *tracker, struct route_cache *routes,
		  const struct event_header *event, const struct activity *activity)
{
	int error;

	if (event->time_ns > tracker->now_ns)
		tracker->now_ns = event->time_ns;
	error = take_event(tracker, routes, event, activity);
	take_turn(tracker, event);
	return error;
}

static void finish_request(struct tracker *tracker, struct connection *connection,
			   struct open_request *request, uint64_t now)
{
	bool settled = tls_settled(request);

	if (tls_untold(tracker, request)) {
		tracker->counts.untold++;
		request_drop(tracker, request);
		return;
	}
	served_by_path(connection->routes, request);
	request_end(tracker, request, settled ? request->last_send_ns : now, false, !settled);
}

void tracker_finish(struct tracker *tracker, uint64_t now)
{
	struct connection *connection, *next;

	HASH_ITER(hh, tracker->connections, connection, next) {
		while (connection->queue) {
			struct open_request *request = connection->queue;

			connection->queue = request->next;
			finish_request(tracker, connection, request, now);
		}
		if (connection->role == ROLE_CLIENT)
			peer_still_open(tracker, connection, now);
	}
}

void tracker_gap(struct tracker *tracker)
{
	struct connection *connection, *next;

	names_gap(tracker->names);
	HASH_ITER(hh, tracker->connections, connection, next) {
		if (connection->role == ROLE_CLIENT) {
			peer_lost(tracker, connection);
			continue;
		}
		/* a websocket stays one */
		if (connection->upgraded)
			continue;
		while (connection->queue) {
			struct open_request *request = connection->queue;

			connection->queue = request->next;
			request_drop(tracker, request);
			tracker->counts.forgotten++;
		}
		connection->in = (struct http_request_stream){ .joined = true };
		connection->out = (struct http_response_stream){ .joined = true };
	}
}

static void forget_injected(struct open_request *request, const struct route_cache *routes)
{
	if (request->route.injected && route_cache_gave(routes, request->route.injected))
		request->route.injected = NULL;
}

void tracker_forget(struct tracker *tracker, pid_t pid, const struct route_cache *routes)
{
	struct connection *connection, *next;
	struct open_request *request, *after;

	for (size_t i = 0; i < LS_MAX_PROCESSES; i++)
		if (tracker->logging[i] == pid)
			tracker->logging[i] = 0;
	HASH_ITER(hh, tracker->connections, connection, next) {
		if (connection->routes == routes)
			connection->routes = NULL;
		for (request = connection->queue; request; request = request->next)
			forget_injected(request, routes);
	}
	HASH_ITER(hh, tracker->requests, request, after)
	forget_injected(request, routes);
}

/* A websocket is busy with a message until it says something, or keeps silent about it. */
static bool is_busy(const struct open_request *request, uint64_t before_ns)
{
	if (!request->websocket)
		return request->start_ns < before_ns;
	return request->message_ns && request->message_ns < before_ns &&
	       before_ns - request->message_ns < MESSAGE_BUSY_NS;
}

bool tracker_is_busy(struct tracker *tracker, const struct activity *activity, uint64_t now)
{
	const struct open_request *request;

	HASH_FIND(hh, tracker->requests, &activity->request, sizeof(activity->request), request);
	if (!request && activity->client_port)
		request = served_request_of(tracker, activity);
	return request && is_busy(request, now);
}

size_t tracker_open_requests(const struct tracker *tracker, uint64_t before_ns, size_t enough)
{
	const struct connection *connection;
	size_t count = 0;

	for (connection = tracker->connections; connection && count < enough;
	     connection = connection->hh.next)
		for (const struct open_request *request = connection->queue; request;
		     request = request->next)
			count += is_busy(request, before_ns);
	return count;
}

struct tracker_counts tracker_counts(const struct tracker *tracker)
{
	struct tracker_counts counts = tracker->counts;

	counts.forgotten += names_dropped(tracker->names);
	counts.unplaced = stack_set_dropped(tracker->stacks);
	return counts;
}
