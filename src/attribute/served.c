// SPDX-License-Identifier: Apache-2.0
/* The server's side: bytes of requests in, bytes of responses out. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "attribute/tracker_internal.h"

static struct http_bytes bytes_of(const struct io_record *io, const uint8_t *head)
{
	struct http_bytes bytes = { .bytes = io->bytes > 0 ? (uint64_t)io->bytes : 0,
				    .head = head, .head_bytes = io->head_bytes,
				    .tail_bytes = io->tail_bytes,
				    .first_bytes = io->first_bytes };

	memcpy(bytes.tail, io->tail, sizeof(bytes.tail));
	return bytes;
}

/* The request that is answered next. */
static struct open_request *oldest(const struct connection *connection)
{
	return connection->queue;
}

struct open_request *served_newest(const struct connection *connection)
{
	struct open_request *request = connection->queue;

	while (request && request->next)
		request = request->next;
	return request;
}

static void queue_add(struct connection *connection, struct open_request *request)
{
	struct open_request *last = served_newest(connection);

	request->connection = connection;
	if (last)
		last->next = request;
	else
		connection->queue = request;
}

/* What began was no request. */
static void queue_remove(struct tracker *tracker, struct connection *connection,
			 struct open_request *request)
{
	struct open_request **link = &connection->queue;

	while (*link && *link != request)
		link = &(*link)->next;
	if (*link)
		*link = request->next;
	request_drop(tracker, request);
}

struct open_request *served_begin(const struct served_io *it, uint64_t offset)
{
	struct open_request *request = request_new((pid_t)it->event->tgid);
	const struct io_record *io = it->io;

	if (!request)
		return NULL;
	request->start_ns = offset ? io->arrived_last_ns : io->arrived_ns;
	if (!io->arrived_ns && io->opened_ns)
		request->start_ns = io->opened_ns; /* they came with the handshake */
	if (!request->start_ns) {
		request->start_ns = it->event->time_ns;
		request->from_read = io->family == FD_UNIX || it->tracker->no_arrivals;
		request->arrival_unknown = !request->from_read;
	}
	request->tid = io->loop >= 0 ? (pid_t)it->event->tid : 0;
	if (!request->arrival_unknown && !request->from_read)
		timeline_ready(&request->timeline, request->start_ns, io->arrived_busy_ns, 0,
			       true);
	queue_add(it->connection, request);
	return request;
}

static void resolve_path(struct route_cache *routes, struct open_request *request, uint32_t type)
{
	struct request_record record = { .scope_type = type };

	record.path_len = request->path_length;
	memcpy(record.method, request->method, sizeof(record.method) - 1);
	memcpy(record.path, request->path, sizeof(record.path));
	route_resolve(routes, &record, &request->route);
}

/* The route of a request that no frame told of: its path, matched in the application's table. */
void served_by_path(struct route_cache *routes, struct open_request *request)
{
	if (request->route.route || !request->method[0] || !routes)
		return;
	if (request->upgrade) {
		resolve_path(routes, request, SCOPE_WEBSOCKET);
		/* where nobody knows websockets it is answered as what it is as well */
		if (request->websocket || request->route.matched)
			return;
	}
	resolve_path(routes, request, SCOPE_HTTP);
}

void served_over(const struct served_io *it, uint64_t now)
{
	struct connection *connection = it->connection;
	struct open_request *request = connection->queue;

	if (!request)
		return;
	connection->queue = request->next;
	connection->answered = request->identity;
	served_by_path(it->routes, request);
	if (!request->body_done)
		http_request_resync(&connection->in);
	request_end(it->tracker, request, now, false, false);
}

/* A response whose end could not be seen was over before the next request came. */
static void end_unseen(const struct served_io *it)
{
	struct connection *connection = it->connection;
	struct open_request *request = oldest(connection);

	if (!request || !request->started || !connection->out.open ||
	    (connection->out.body != HTTP_BODY_CLOSE &&
	     connection->out.body != HTTP_BODY_UNKNOWN))
		return;
	http_response_finish(&connection->out);
	it->tracker->counts.uncertain++;
	served_over(it, request->last_send_ns);
}

static void name_request(struct open_request *request, const struct http_request *head)
{
	memcpy(request->method, head->method, sizeof(request->method));
	memcpy(request->path, head->path, sizeof(request->path));
	request->upgrade = head->upgrade_websocket;
	request->path_length = head->path_cut || head->path_length > UINT16_MAX
				       ? UINT16_MAX
				       : (uint16_t)head->path_length;
}

static void on_request_event(void *context, const struct http_request_event *event)
{
	struct served_io *it = context;
	struct open_request *request = served_newest(it->connection);

	it->tracker->counts.uncertain += event->uncertain;
	switch (event->kind) {
	case HTTP_REQUEST_BEGIN:
		end_unseen(it);
		served_begin(it, event->offset);
		break;
	case HTTP_REQUEST_HEAD:
		if (request)
			name_request(request, event->request);
		break;
	case HTTP_REQUEST_END:
		if (request)
			request->body_done = true;
		break;
	case HTTP_REQUEST_RETRACT:
		if (request)
			queue_remove(it->tracker, it->connection, request);
		break;
	case HTTP_REQUEST_UNSEEN:
		break;
	}
}

/* Bytes of a request that goes on: until they arrived it had to wait for its client. */
void served_more(struct open_request *request, const struct io_record *io)
{
	if (!io->arrived_ns || !request->last_receive_ns)
		return;
	if (io->arrived_ns > request->last_receive_ns)
		timeline_add(&request->timeline, PART_client_wait, NULL, request->last_receive_ns,
			     io->arrived_ns);
	timeline_ready(&request->timeline, io->arrived_ns, io->arrived_busy_ns, 0, true);
}

/* The loop ran for the request up to the event. */
int served_ran(const struct served_io *it, struct open_request *request)
{
	struct loop_moment moment = { (pid_t)it->event->tgid, (pid_t)it->event->tid,
				      it->event->time_ns, it->io->step_seq, &it->io->own };

	if (it->io->loop < 0)
		return 0;
	if (!request->tid)
		request->tid = moment.tid;
	return request_ran(it->tracker, request, &moment);
}

static int receive(struct served_io *it, const uint8_t *head)
{
	struct connection *connection = it->connection;
	struct http_bytes bytes = bytes_of(it->io, head);
	struct open_request *open = served_newest(connection), *request;
	int error;

	if (!bytes.bytes)
		return 0;
	if (connection->upgraded) {
		if (oldest(connection))
			request_message(it->tracker, oldest(connection), true,
					it->event->time_ns);
		return 0;
	}
	if (open && open->body_done)
		open = NULL;
	if (open)
		served_more(open, it->io);
	http_receive(&connection->in, &bytes, on_request_event, it);
	if (connection->in.refusal && !connection->refused) {
		connection->refused = true;
		it->tracker->counts.refused++;
	}
	request = open ? open : served_newest(connection);
	if (!request)
		return 0;
	request->last_receive_ns = it->event->time_ns;
	error = served_ran(it, request);
	timeline_ready(&request->timeline, it->event->time_ns, it->io->own.busy_ns,
		       it->io->step_seq, false);
	return error;
}

/* A response that began before its request was seen: the attach came in between. */
static struct open_request *unseen_request(const struct served_io *it)
{
	struct open_request *request = request_new((pid_t)it->event->tgid);

	if (!request)
		return NULL;
	request->start_ns = it->event->time_ns;
	request->arrival_unknown = true;
	request->body_done = true;
	queue_add(it->connection, request);
	return request;
}

void served_answer(struct served_io *it, unsigned status)
{
	struct open_request *request = oldest(it->connection);

	if (!request)
		request = unseen_request(it);
	if (!request)
		return;
	request->started = true;
	request->status = status;
	request->first_byte_ns = it->event->time_ns;
	if (it->activity && it->activity->request && !it->error)
		it->error = request_join(it->tracker, request, it->activity);
	else if (!request->identity && !request->method[0] && !it->error)
		it->error = request_adopt(it->tracker, request, it->io->peer_port);
}

static void on_response_event(void *context, const struct http_response_event *event)
{
	struct served_io *it = context;
	struct connection *connection = it->connection;

	it->tracker->counts.uncertain += event->uncertain;
	switch (event->kind) {
	case HTTP_RESPONSE_STARTED:
		served_answer(it, event->status);
		break;
	case HTTP_RESPONSE_UPGRADED:
		served_answer(it, event->status);
		connection->upgraded = true;
		http_request_upgraded(&connection->in);
		if (oldest(connection)) {
			oldest(connection)->websocket = true;
			/* what it does when it was accepted is as if it had been asked for */
			oldest(connection)->message_ns = it->event->time_ns;
			served_by_path(it->routes, oldest(connection));
		}
		break;
	case HTTP_RESPONSE_COMPLETE:
		served_over(it, it->event->time_ns);
		break;
	case HTTP_RESPONSE_INTERIM:
	case HTTP_RESPONSE_UNSEEN:
		break;
	}
}

/* Which of the requests that are not answered were HEADs. */
static uint64_t head_requests(const struct connection *connection,
			      const struct activity *activity)
{
	const struct open_request *request = connection->queue;
	uint64_t mask = 0;

	if (!request || !request->method[0])
		return activity && activity->route.method &&
		       !strcmp(activity->route.method, "HEAD");
	for (unsigned i = 0; request && i < 64; i++, request = request->next)
		mask |= (uint64_t)!strcmp(request->method, "HEAD") << i;
	return mask;
}

/* What did not fit waited for the client to read. */
static void send_more(struct open_request *request, const struct io_record *io, uint64_t now)
{
	if (request->stuck_ns)
		timeline_add(&request->timeline, PART_client_wait, NULL, request->stuck_ns, now);
	request->stuck_ns = io->flags & IO_PARTIAL ? now : 0;
	request->last_send_ns = now;
}

static int send(struct served_io *it, const uint8_t *head)
{
	struct connection *connection = it->connection;
	struct open_request *request = oldest(connection);
	struct http_bytes bytes = bytes_of(it->io, head);
	int error = 0;

	if (connection->upgraded) {
		if (request)
			request_message(it->tracker, request, false, it->event->time_ns);
		return 0;
	}
	if (request) {
		/* what it was seen to wait for before it was known ends now */
		if (!request->started && it->activity)
			error = request_join(it->tracker, request, it->activity);
		if (!error)
			error = served_ran(it, request);
		send_more(request, it->io, it->event->time_ns);
	}
	http_send(&connection->out, &bytes, head_requests(connection, it->activity),
		  on_response_event, it);
	return error ? error : it->error;
}

int served_event(struct tracker *tracker, struct route_cache *routes,
		 struct connection *connection, const struct event_header *event,
		 const struct io_record *io, const uint8_t *head, const struct activity *activity)
{
	struct served_io it = { tracker, routes, connection, event, io, activity, 0 };

	if (io->flags & IO_TLS)
		return tls_event(&it, head);
	return io->direction == IO_RECEIVE ? receive(&it, head) : send(&it, head);
}

void served_closed(struct tracker *tracker, struct connection *connection, uint64_t now)
{
	tracker->counts.refused += tls_given_up(connection);
	while (connection->queue) {
		struct open_request *request = connection->queue;
		bool below_tls = connection->handshake && tls_answered(request);
		/* a response without a length ends with its connection */
		bool whole = connection->upgraded || below_tls ||
			     (request->started && http_response_finish(&connection->out));

		connection->queue = request->next;
		if (tls_untold(tracker, request)) {
			tracker->counts.untold++;
			request_drop(tracker, request);
			continue;
		}
		served_by_path(connection->routes, request);
		request_end(tracker, request, below_tls ? request->last_send_ns : now, !whole,
			    false);
	}
}

static uint64_t client_key(pid_t pid, uint16_t port)
{
	return (uint64_t)pid << 16 | port;
}

void served_opened(struct tracker *tracker, struct connection *connection, uint16_t port)
{
	struct connection *before;

	if (!port)
		return;
	connection->client = client_key(connection->pid, port);
	HASH_FIND(hh_client, tracker->by_client, &connection->client, sizeof(connection->client),
		  before);
	if (before) {
		HASH_DELETE(hh_client, tracker->by_client, before);
		before->has_client = false;
	}
	HASH_ADD(hh_client, tracker->by_client, client, sizeof(connection->client), connection);
	connection->has_client = true;
}

/* One of the two may have been rewritten: a prefix put before it, or taken away. */
static bool ends_alike(const char *a, size_t a_length, const char *b, size_t b_length)
{
	size_t length = a_length < b_length ? a_length : b_length;

	return !memcmp(a + a_length - length, b + b_length - length, length);
}

/* By its method or path it is another one than that of `activity`, which may be over already. */
static bool is_other(const struct open_request *request, const struct activity *activity)
{
	const char *method = activity->route.method;

	if (method && request->method[0] && !activity->websocket &&
	    strcmp(method, request->method) != 0)
		return true;
	if (!activity->path || !request->method[0] || activity->path_length > LS_PATH_BYTES ||
	    request->path_length > LS_PATH_BYTES || memchr(request->path, '%', LS_PATH_BYTES))
		return false;
	return !ends_alike(request->path, request->path_length, activity->path,
			   activity->path_length);
}

struct connection *served_connection(struct tracker *tracker, pid_t pid, uint16_t port)
{
	uint64_t key = client_key(pid, port);
	struct connection *connection;

	HASH_FIND(hh_client, tracker->by_client, &key, sizeof(key), connection);
	return connection;
}

struct open_request *served_request_of(struct tracker *tracker, const struct activity *activity)
{
	struct connection *connection = served_connection(tracker, activity->pid,
							  activity->client_port);
	struct open_request *request;

	request = connection ? connection->queue : NULL;
	if (!request || request->identity || connection->answered == activity->request ||
	    is_other(request, activity))
		return NULL;
	return request;
}
