// SPDX-License-Identifier: Apache-2.0
/* MySQL and MariaDB: packets of 24-bit length and a sequence number; the server speaks first. */
#include "attribute/peer_internal.h"

#include <string.h>

#define HEADER 4
#define PACKET_MAX 0xffffffu
#define CLIENT_SSL 0x0800u
#define SSL_REQUEST_BYTES 32
#define MORE_RESULTS 0x08

enum command {
	COM_QUIT = 0x01, COM_INIT_DB = 0x02, COM_QUERY = 0x03, COM_FIELD_LIST = 0x04,
	COM_STATISTICS = 0x09, COM_PING = 0x0e, COM_CHANGE_USER = 0x11, COM_PREPARE = 0x16,
	COM_EXECUTE = 0x17, COM_LONG_DATA = 0x18, COM_CLOSE = 0x19, COM_RESET = 0x1a,
	COM_SET_OPTION = 0x1b, COM_FETCH = 0x1c, COM_RESET_CONNECTION = 0x1f,
};

/* The first bytes of a statement: with query attributes there are two counts before it. */
static size_t sql_start(const uint8_t *payload, size_t length)
{
	return length >= 3 && payload[1] == 0 && payload[2] == 1 ? 3 : 1;
}

bool mysql_command(const struct peer_view *view)
{
	uint32_t length;
	const uint8_t *payload = view->bytes + HEADER;

	if (view->visible < HEADER + 1 || view->bytes[3])
		return false;
	length = le24(view->bytes);
	if (!length || (uint64_t)length + HEADER != view->total)
		return false;
	switch (payload[0]) {
	case COM_QUERY:
	case COM_PREPARE: {
		size_t start = HEADER + sql_start(payload, view->visible - HEADER);

		return start < view->visible &&
		       (view->bytes[start] >= 0x20 || view->bytes[start] == '\n' ||
			view->bytes[start] == '\t');
	}
	case COM_PING:
	case COM_QUIT:
	case COM_STATISTICS:
	case COM_RESET_CONNECTION:
		return length == 1;
	case COM_EXECUTE:
		return length >= 10;
	default:
		return false;
	}
}

bool mysql_greeting(const struct peer_view *view)
{
	return view->visible >= HEADER + 3 && !view->bytes[3] && view->bytes[4] == 0x0a &&
	       view->bytes[5] >= '1' && view->bytes[5] <= '9' &&
	       (uint64_t)le24(view->bytes) + HEADER == view->total;
}

static uint64_t statement_hash(uint32_t id)
{
	return peer_hash('M', (const uint8_t *)&id, sizeof(id));
}

static void query(struct peer *peer, const struct peer_view *view, size_t at, uint64_t end,
		  struct peer_send *send)
{
	size_t limit = end < view->visible ? end : view->visible;
	size_t start = at + (at < limit ? sql_start(view->bytes + at, limit - at) : 0);
	struct shape_text text;

	if (start > limit)
		start = limit;
	shape_sql(&text, view->bytes + start, limit - start, limit == end, SQL_MYSQL);
	send->shape = peer_shape(peer, &text);
	send->internal = send->shape && shape_sql_internal(send->shape);
}

/* A packet with sequence number 0. */
static void sent_command(struct peer *peer, const struct peer_view *view, size_t at, uint64_t end,
			 struct peer_send *send)
{
	struct mysql_state *state = &peer->mysql;

	send->nothing = false;
	send->internal = true;
	state->command = view->bytes[at];
	switch (state->command) {
	case COM_QUERY:
		query(peer, view, at, end, send);
		break;
	case COM_PREPARE:
		query(peer, view, at, end, send);
		state->prepared = send->shape;
		send->internal = true;
		break;
	case COM_EXECUTE:
	case COM_FETCH:
		send->page = state->command == COM_FETCH;
		if (at + 5 <= view->visible)
			send->shape = peer_defined(
				peer, statement_hash(le32(view->bytes + at + 1)));
		send->internal = send->shape && shape_sql_internal(send->shape);
		break;
	case COM_QUIT:
	case COM_LONG_DATA:
	case COM_CLOSE:
		send->nothing = true;
		return;
	default:
		break;
	}
	send->begins = true;
	send->replies = 1;
	send->commands++;
}

/* The client's part of the log-in, and files that the server asks for. */
static void sent_answer(struct peer *peer, const struct peer_view *view, size_t at, uint64_t end,
			struct peer_send *send)
{
	const struct peer_outstanding *newest = peer_newest(peer);

	send->begins = !newest;
	send->internal = !newest || newest->call.internal;
	send->open = !newest || newest->open;
	send->replies = !newest;
	if (end - at == SSL_REQUEST_BYTES && at + 4 <= view->visible &&
	    (le32(view->bytes + at) & CLIENT_SSL)) {
		peer->mysql.ssl = true;
		send->nothing = true;
	}
}

void mysql_sent(struct peer *peer, const struct peer_view *view, struct peer_send *send,
		const struct peer_sink *sink)
{
	struct mysql_state *state = &peer->mysql;
	const struct peer_outstanding *newest = peer_newest(peer);
	uint64_t at = state->skip_sent < view->total ? state->skip_sent : view->total;

	(void)sink;
	state->skip_sent -= at;
	send->internal = newest && newest->call.internal;
	send->open = newest && newest->open;
	if (state->lost_sent && !at)
		state->lost_sent = !mysql_command(view);
	if (state->lost_sent)
		return;
	send->nothing = !at;
	while (at + HEADER <= view->visible) {
		uint64_t end = at + HEADER + le24(view->bytes + at);

		if (view->bytes[at + 3]) {
			send->nothing = false;
			sent_answer(peer, view, at + HEADER, end, send);
		} else if (end > at + HEADER && at + HEADER < view->visible) {
			sent_command(peer, view, at + HEADER, end, send);
			send->open = false;
		}
		at = end;
	}
	if (at > view->total)
		state->skip_sent = at - view->total;
	else if (at < view->total)
		state->lost_sent = true;
}

/* ---- replies ------------------------------------------------------------------ */

/* EOF, or the OK that stands for it, as the last packet of a result. */
static bool result_end(const struct peer_view *view)
{
	const uint8_t *tail = view->tail;

	if (!tail[0] && !tail[1] && tail[3] == 0xfe)
		return !(tail[6] & MORE_RESULTS);
	return tail[1] == 0xfe && !tail[2] && !tail[3] && !(tail[4] & MORE_RESULTS);
}

/* The first bytes of the packet that answers a command. */
static void first_packet(struct peer *peer, const struct peer_view *view, size_t at,
			 const struct peer_sink *sink)
{
	struct mysql_state *state = &peer->mysql;
	struct peer_outstanding *front = peer_front(peer);
	const uint8_t *payload = view->bytes + at;
	uint64_t length = state->payload_bytes;
	bool whole = at + length == view->total;

	peer_reply(peer, view, true);
	if (payload[0] == 0xff) {
		peer_reply_error(peer);
		front->exact = peer->count == 1;
		peer_reply_end(peer, sink);
		return;
	}
	if (payload[0])
		return;
	if (state->command == COM_PREPARE && !front->open) {
		if (length >= 12 && at + 5 <= view->visible)
			peer_define(peer, statement_hash(le32(payload + 1)), state->prepared);
		return;
	}
	/* affected rows and last id of one byte each, then the status */
	if (front->open || (whole && length >= 5 && at + 5 <= view->visible && payload[1] < 0xfb &&
			    payload[2] < 0xfb && !(payload[3] & MORE_RESULTS))) {
		front->exact = peer->count == 1;
		peer_reply_end(peer, sink);
	}
}

static void go_on_reply(struct peer *peer, const struct peer_view *view,
			const struct peer_sink *sink)
{
	struct peer_outstanding *front;

	peer_reply(peer, view, true);
	front = peer_front(peer);
	if (!front || front->open || !front->answered || !result_end(view))
		return;
	front->exact = peer->count == 1;
	peer_reply_end(peer, sink);
}

void mysql_received(struct peer *peer, const struct peer_view *view, const struct peer_sink *sink)
{
	struct mysql_state *state = &peer->mysql;
	const struct peer_outstanding *front = peer_front(peer);
	size_t at = 0;

	if (!front)
		return;
	if (front->answered && !state->payload) {
		go_on_reply(peer, view, sink);
		return;
	}
	if (!state->payload) {
		/* not the answer to a command: what is left of an earlier reply */
		if (view->visible >= HEADER && !front->open && view->bytes[3] != 1)
			return;
		if (view->visible < HEADER) {
			peer_reply(peer, view, true);
			return;
		}
		state->payload_bytes = le24(view->bytes);
		state->payload = true;
		at = HEADER;
		/* clients may read the four bytes alone */
		peer_reply(peer, view, true);
	}
	if (at >= view->visible || !state->payload_bytes) {
		state->payload = at >= view->visible && view->total == at;
		return;
	}
	state->payload = false;
	first_packet(peer, view, at, sink);
	front = peer_front(peer);
	if (front && front->answered && !front->open && view->total > at + state->payload_bytes)
		go_on_reply(peer, view, sink);
}
