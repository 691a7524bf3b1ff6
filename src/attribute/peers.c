// SPDX-License-Identifier: Apache-2.0
/* The client's side: calls to peers, each with the place it was made from. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attribute/attribute.h"
#include "attribute/tracker_internal.h"
#include "base/intern.h"
#include "base/vec.h"

static const char *name_of(const struct event_header *event, const struct io_record *io)
{
	const struct event_message *message = (const void *)event;
	char address[64], text[LS_NAME_BYTES + 16];

	if (io->family == FD_UNIX) {
		if (event->kind != EVENT_MESSAGE || !message->unix_path[0])
			return NULL;
		snprintf(text, sizeof(text), "unix:%.*s", LS_NAME_BYTES - 1, message->unix_path);
		return intern_passing(text);
	}
	if (!inet_ntop(io->family == FD_INET6 ? AF_INET6 : AF_INET, io->address, address,
		       sizeof(address)))
		return NULL;
	snprintf(text, sizeof(text), io->family == FD_INET6 ? "[%s]:%u" : "%s:%u", address,
		 io->peer_port);
	return intern_passing(text);
}

static const struct call_origin *origin_of(const struct tracker *tracker, uint64_t token)
{
	const struct call_origin *origin = &tracker->origins[token % MAX_ORIGINS];

	return token && origin->token == token ? origin : NULL;
}

static uint64_t origin_add(struct tracker *tracker, const struct activity *activity)
{
	uint64_t token = ++tracker->last_token;
	struct call_origin *origin = &tracker->origins[token % MAX_ORIGINS];

	*origin = (struct call_origin){ .token = token, .pid = activity->pid,
					.request = activity->request, .route = activity->route,
					.culprit = activity->culprit,
					.library = activity->library,
					.owner_task = activity->owner_task,
					.owner_thread = activity->owner_thread };
	if (activity->request)
		origin->sent_at = stack_of_frames(tracker->stacks, activity->frames,
						  activity->frame_count);
	for (size_t i = 0; i < activity->frame_count && i < 8; i++)
		origin->stack[origin->stack_count++] = place_of(&activity->frames[i]);
	return token;
}

struct answering {
	struct tracker *tracker;
	struct connection *connection;
	bool refused;
};

static const char *name_given(const struct connection *connection)
{
	const char *name = connection->peer ? peer_server_name(connection->peer) : NULL;

	return name ? name : connection->known_as;
}

static void on_call(void *context, const struct peer_call *call)
{
	struct answering *answering = context;
	struct tracker *tracker = answering->tracker;
	const struct call_origin *origin = origin_of(tracker, call->token);
	struct dependency_call out = { .pid = answering->connection->pid,
				       .peer = answering->connection->name, .call = call,
				       .peer_name = name_given(answering->connection),
				       .refused = answering->refused };
	struct open_request *request = NULL;

	if (origin) {
		out.request = origin->request;
		out.route = origin->route;
		out.culprit = origin->culprit;
		out.library = origin->library;
		out.owner_task = origin->owner_task;
		out.owner_thread = origin->owner_thread;
		out.stack = origin->stack;
		out.stack_count = origin->stack_count;
		HASH_FIND(hh, tracker->requests, &origin->request, sizeof(origin->request),
			  request);
	} else if (call->token) {
		tracker->counts.forgotten++;
	}
	if (request) {
		if (call->reply_ns || call->due)
			timeline_add(&request->timeline, PART_dependency_wait, origin->sent_at,
				     call->sent_ns,
				     call->reply_ns ? call->reply_ns : call->end_ns);
		if (!call->internal)
			request_site(tracker, request, origin, out.peer, call);
		if (out.route.route != request->route.route && request->route.route)
			out.route = request->route; /* it was not routed yet */
	}
	tracker->sink.on_call(tracker->sink.context, &out);
}

/* The request that waits for the answer on a connection. */
static struct open_request *waiting_request(struct tracker *tracker,
					    struct connection *connection)
{
	const struct call_origin *origin = origin_of(tracker,
						     connection->token);
	struct open_request *request = NULL;

	if (origin && origin->request)
		HASH_FIND(hh, tracker->requests, &origin->request, sizeof(origin->request),
			  request);
	return request;
}

static void note_peer(struct open_request *request, uint64_t connection)
{
	for (size_t i = request->peers.count; i-- > 0;)
		if (request->peers.items[i] == connection)
			return;
	if (!vec_grow(&request->peers, MAX_PEERS))
		request->peers.items[request->peers.count++] = connection;
	else if (request->peers.count)
		request->peers.items[request->peers.next++ % request->peers.count] = connection;
}

static struct peer_data data_of(const struct event_header *event, const struct io_record *io,
				const uint8_t *head)
{
	struct peer_data data = { .time_ns = event->time_ns, .last_ns = event->time_ns,
				  .bytes = io->bytes > 0 ? (uint64_t)io->bytes : 0, .head = head,
				  .head_bytes = io->head_bytes, .tail_bytes = io->tail_bytes };

	memcpy(data.tail, io->tail, sizeof(data.tail));
	if (io->direction == IO_RECEIVE && io->arrived_ns) {
		data.time_ns = io->arrived_ns;
		data.last_ns = io->arrived_last_ns;
	}
	return data;
}

static int receive(struct tracker *tracker, struct connection *connection,
		   const struct event_header *event, const struct io_record *io,
		   const struct peer_data *data)
{
	struct loop_moment moment = { (pid_t)event->tgid, (pid_t)event->tid, event->time_ns,
				      io->step_seq, &io->own };
	struct answering answering = { .tracker = tracker, .connection = connection };
	struct open_request *request = waiting_request(tracker, connection);
	int error = 0;

	if (request && io->loop >= 0) {
		timeline_ready(&request->timeline, data->time_ns, io->arrived_busy_ns, 0,
			       io->arrived_ns != 0);
		error = request_ran(tracker, request, &moment);
		pool_wait_used(request);
		timeline_ready(&request->timeline, event->time_ns, io->own.busy_ns, io->step_seq,
			       false);
	}
	if (error)
		return error;
	return peer_received(connection->peer, data, on_call, &answering);
}

static struct name_address address_of(const struct io_record *io)
{
	struct name_address address = { { [10] = 0xff, [11] = 0xff } };

	if (io->family == FD_INET6)
		memcpy(address.bytes, io->address, 16);
	else
		memcpy(address.bytes + 12, io->address, 4);
	return address;
}

/* What a process asks name servers, and what it connects to then. */
static void follow_names(struct tracker *tracker, struct connection *connection,
			 const struct event_header *event, const struct io_record *io,
			 const uint8_t *head)
{
	struct name_address address = address_of(io);

	if (io->family != FD_INET && io->family != FD_INET6)
		return;
	if (!(io->flags & IO_DATAGRAM)) {
		if (io->direction == IO_CONNECT)
			connection->known_as = names_of(tracker->names, (pid_t)event->tgid,
							&address, event->time_ns);
		return;
	}
	if (io->peer_port != NAME_PORT)
		return;
	if (io->direction == IO_SEND)
		names_asked(tracker->names, connection->id, head, io->head_bytes);
	else if (io->direction == IO_RECEIVE)
		names_answered(tracker->names, (pid_t)event->tgid, connection->id, head,
			       io->head_bytes, event->time_ns);
}

int peer_event(struct tracker *tracker, struct connection *connection,
	       const struct event_header *event, const struct io_record *io, const uint8_t *head,
	       const struct activity *activity)
{
	struct answering answering = { .tracker = tracker, .connection = connection };
	struct peer_data data = data_of(event, io, head);
	struct open_request *request = request_of(tracker, activity);
	uint64_t token = 0;
	int error = 0;

	/* the kernel's object may be that of an earlier socket: only TCP tells of its end */
	if (io->direction == IO_CONNECT && connection->peer) {
		peer_closed(connection->peer, event->time_ns, PEER_CLOSED, on_call, &answering);
		peer_free(connection->peer);
		connection->peer = NULL;
		connection->name = NULL;
		connection->token = 0;
	}
	follow_names(tracker, connection, event, io, head);
	if (!connection->name)
		connection->name = name_of(event, io);
	if (!connection->peer) {
		connection->peer = peer_new(io->peer_port);
		if (!connection->peer)
			return -ENOMEM;
		peer_share_shapes(connection->peer, tracker->shapes);
	}
	if (io->direction == IO_RECEIVE)
		return data.bytes ? receive(tracker, connection, event, io, &data) : 0;
	if (request && io->loop >= 0) {
		struct loop_moment moment = { (pid_t)event->tgid, (pid_t)event->tid,
					      event->time_ns, io->step_seq, &io->own };

		request->tid = moment.tid;
		error = request_ran(tracker, request, &moment);
		pool_wait_used(request);
	}
	if (activity) {
		token = origin_add(tracker, activity);
		connection->token = token;
	} else if (io->flags & IO_DATAGRAM) {
		token = connection->token; /* of several sent by one call */
	}
	if (request)
		note_peer(request, connection->id);
	if (error)
		return error;
	if (io->direction == IO_CONNECT) {
		if (io->bytes < 0 && io->bytes != -EINPROGRESS)
			peer_refused(tracker, connection, event->time_ns);
		return 0;
	}
	return peer_sent(connection->peer, &data, token, on_call, &answering);
}

void peer_refused(struct tracker *tracker, struct connection *connection, uint64_t now)
{
	struct answering answering = { .tracker = tracker, .connection = connection,
				       .refused = true };
	struct peer_call call = { .start_ns = now, .sent_ns = now, .end_ns = now, .failed = true,
				  .token = connection->token, .internal = true };

	on_call(&answering, &call);
}

void peer_gone(struct tracker *tracker, struct connection *connection, uint64_t now,
	       enum peer_end how)
{
	struct answering answering = { .tracker = tracker, .connection = connection };

	if (connection->peer)
		peer_closed(connection->peer, now, how, on_call, &answering);
}

struct ending {
	struct tracker *tracker;
	struct open_request *request;
	uint64_t now;
};

/* What was sent for the request that ends waited for its reply up to now. */
static bool is_of(void *context, const struct peer_call *call)
{
	const struct ending *ending = context;
	const struct call_origin *origin = origin_of(ending->tracker, call->token);

	if (!origin || origin->request != ending->request->identity)
		return false;
	if (call->due)
		timeline_add(&ending->request->timeline, PART_dependency_wait, origin->sent_at,
			     call->sent_ns, ending->now);
	return true;
}

void peers_settle(struct tracker *tracker, struct open_request *request, uint64_t now)
{
	struct ending ending = { tracker, request, now };

	for (size_t i = 0; i < request->peers.count; i++) {
		struct answering answering = { .tracker = tracker };

		HASH_FIND(hh, tracker->connections, &request->peers.items[i],
			  sizeof(request->peers.items[i]), answering.connection);
		if (!answering.connection || !answering.connection->peer)
			continue;
		peer_settle(answering.connection->peer, now, on_call, &answering);
		peer_not_waited(answering.connection->peer, now, is_of, &ending);
	}
}

void peer_lost(struct tracker *tracker, struct connection *connection)
{
	struct answering answering = { .tracker = tracker, .connection = connection };

	if (connection->peer)
		peer_gap(connection->peer, on_call, &answering);
}

void peer_still_open(struct tracker *tracker, struct connection *connection, uint64_t now)
{
	struct answering answering = { .tracker = tracker, .connection = connection };

	if (connection->peer)
		peer_open(connection->peer, now, on_call, &answering);
}
