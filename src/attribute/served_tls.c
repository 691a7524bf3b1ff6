// SPDX-License-Identifier: Apache-2.0
/*
 * Requests below TLS: what is received is opaque, so a request begins with the
 * first application data after the last response; of responses the ASGI message
 * says what they are that was being sent when the records were written.
 */
#include "attribute/tracker_internal.h"

/* RFC 8446, 5.1 */
#define RECORD_HEADER 5
#define RECORD_ALERT 21
#define RECORD_HANDSHAKE 22
#define RECORD_DATA 23
#define REQUEST_BYTES 35	/* of the shortest request, with what TLS adds; alerts are less */

#define GOODBYE_BYTES 24	/* of a TLS 1.3 alert, which looks like data */

enum {
	HANDSHAKE_NONE = 0,
	HANDSHAKE_HELLO,	/* the client has greeted */
	HANDSHAKE_DONE,
};

/*
 * May a request begin in these records?  In TLS 1.3 the end of the client's
 * handshake looks like data, and so does its good-bye; in TLS 1.2 it is the second
 * handshake record.
 */
static bool has_data(struct connection *connection, const uint8_t *head, size_t kept)
{
	size_t at = 0;

	if (connection->in.joined)
		connection->handshake = HANDSHAKE_DONE;
	while (at + RECORD_HEADER <= kept) {
		size_t length = (size_t)head[at + 3] << 8 | head[at + 4];
		uint8_t type = head[at];

		if (type == RECORD_DATA && connection->handshake != HANDSHAKE_HELLO &&
		    length >= REQUEST_BYTES)
			return true;
		if (type == RECORD_DATA)
			connection->handshake = HANDSHAKE_DONE;
		else if (type == RECORD_HANDSHAKE)
			connection->handshake = connection->handshake == HANDSHAKE_NONE
							? HANDSHAKE_HELLO
							: HANDSHAKE_DONE;
		at += RECORD_HEADER + length;
	}
	return false;
}

/*
 * The end of a response that has no body, or whose last message has none, is not seen.
 * It was over when its client asks for more or goes.
 */
bool tls_answered(const struct open_request *request)
{
	return request && request->started && request->last_send_ns && !request->websocket;
}

bool tls_untold(const struct tracker *tracker, const struct open_request *request)
{
	if (!request->connection->late || request->started)
		return false;
	for (size_t i = 0; i < LS_MAX_PROCESSES; i++)
		if (tracker->logging[i] == request->pid)
			return false;
	return true;
}

bool tls_given_up(const struct connection *connection)
{
	return connection->handshake == HANDSHAKE_HELLO;
}

/* While it streams, looks at its task see it wait for what comes next. */
bool tls_settled(const struct open_request *request)
{
	return request->connection->late && tls_answered(request) &&
	       request->wait_seen_ns <= request->last_send_ns;
}

static void note_log(struct tracker *tracker, pid_t pid)
{
	size_t i = 0;

	while (i < LS_MAX_PROCESSES && tracker->logging[i] && tracker->logging[i] != pid)
		i++;
	if (i < LS_MAX_PROCESSES)
		tracker->logging[i] = pid;
}

/* The bytes that say it come with the end of the iteration. */
int tls_logged(struct tracker *tracker, const struct event_response *response,
	       const struct activity *activity)
{
	struct served_io it = { .tracker = tracker, .event = &response->header,
				.io = &response->io, .activity = activity };
	struct open_request *request;

	if (!activity || !activity->client_port)
		return 0;
	note_log(tracker, activity->pid);
	it.connection = served_connection(tracker, activity->pid, activity->client_port);
	if (!it.connection || !it.connection->late)
		return 0;
	request = it.connection->queue;
	if (!request || request->started)
		return 0;
	served_answer(&it, response->status);
	request->first_byte_ns = request->last_send_ns = 0;
	return it.error;
}

static int receive(struct served_io *it, const uint8_t *head)
{
	struct open_request *request = served_newest(it->connection);
	int error;

	if (it->io->bytes <= 0)
		return 0;
	if (request && request->websocket) {
		request_message(it->tracker, request, true, it->event->time_ns);
		return 0;
	}
	if (!request || tls_answered(request)) {
		if (!has_data(it->connection, head, it->io->head_bytes))
			return 0;
		if (request)
			served_over(it, request->last_send_ns);
		request = served_begin(it, 0);
	} else {
		served_more(request, it->io);
	}
	if (!request)
		return 0;
	request->last_receive_ns = it->event->time_ns;
	request->body_done = true; /* where it ends cannot be told */
	error = served_ran(it, request);
	timeline_ready(&request->timeline, it->event->time_ns, it->io->own.busy_ns,
		       it->io->step_seq, false);
	return error;
}

static bool has_no_body(unsigned status, const struct activity *activity)
{
	const char *method = activity ? activity->route.method : NULL;

	return status == 204 || status == 304 || (method && !strcmp(method, "HEAD"));
}

static bool says_goodbye(const struct io_record *io, const uint8_t *head)
{
	return io->head_bytes && (head[0] == RECORD_ALERT || io->bytes <= GOODBYE_BYTES);
}

int tls_event(struct served_io *it, const uint8_t *head)
{
	const struct event_response *response = (const void *)it->event;
	struct open_request *request = it->connection->queue;
	int error = 0;

	it->connection->late = it->io->flags & IO_LATE;
	if (it->io->direction == IO_RECEIVE)
		return receive(it, head);
	if (request && request->websocket) {
		request_message(it->tracker, request, false, it->event->time_ns);
		return 0;
	}
	if (request && !says_goodbye(it->io, head)) {
		error = served_ran(it, request);
		request->last_send_ns = it->event->time_ns;
		if (request->started && !request->first_byte_ns)
			request->first_byte_ns = it->event->time_ns;
	}
	if (it->event->kind != EVENT_RESPONSE || error)
		return error;
	if (response->asgi == ASGI_START && (!request || !request->started)) {
		served_answer(it, response->status);
		if (!it->connection->queue)
			return it->error;
		it->connection->queue->last_send_ns = it->event->time_ns;
		if (has_no_body(response->status, it->activity))
			served_over(it, it->event->time_ns);
	} else if (response->asgi == ASGI_BODY && request && request->started) {
		if (!response->more_body)
			served_over(it, it->event->time_ns);
	}
	return it->error;
}
