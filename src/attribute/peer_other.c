// SPDX-License-Identifier: Apache-2.0
/* AMQP, Kafka, DNS, TLS, and what nobody knows. */
#include "attribute/peer_internal.h"

#include <string.h>

/* Where nothing tells calls apart, a send after a reply begins one. */
static void alternate(struct peer *peer, struct peer_send *send)
{
	const struct peer_outstanding *newest = peer_newest(peer);

	send->begins = !newest || newest->answered;
	send->commands = send->begins;
}

void unknown_sent(struct peer *peer, const struct peer_view *view, struct peer_send *send,
		  const struct peer_sink *sink)
{
	(void)view;
	(void)sink;
	alternate(peer, send);
}

void unknown_received(struct peer *peer, const struct peer_view *view,
		      const struct peer_sink *sink)
{
	(void)sink;
	peer_reply(peer, view, true);
}

/* ---- AMQP 0-9-1 --------------------------------------------------------------- */

#define AMQP_HEADER 7
#define AMQP_METHOD 1
#define AMQP_HEARTBEAT 8
#define AMQP_END 0xce
#define METHOD(class, number) ((uint32_t)(class) << 16 | (number))

enum {
	CONNECTION_TUNE_OK = METHOD(10, 31),
	CONNECTION_CLOSE_OK = METHOD(10, 51),
	CHANNEL_CLOSE_OK = METHOD(20, 41),
	BASIC_PUBLISH = METHOD(60, 40),
	BASIC_ACK = METHOD(60, 80),
	BASIC_REJECT = METHOD(60, 90),
	BASIC_NACK = METHOD(60, 120),
	CONFIRM_SELECT = METHOD(85, 10),
};

static bool protocol_header(const struct peer_view *view)
{
	return view->visible >= 8 && !memcmp(view->bytes, "AMQP", 4);
}

bool amqp_frame(const struct peer_view *view)
{
	uint64_t end;

	if (protocol_header(view))
		return true;
	if (view->visible < AMQP_HEADER + 1 || view->tail[PEER_TAIL_BYTES - 1] != AMQP_END ||
	    (view->bytes[0] != AMQP_HEARTBEAT && (!view->bytes[0] || view->bytes[0] > 3)))
		return false;
	end = AMQP_HEADER + (uint64_t)be32(view->bytes + 3);
	return end < view->total && (end >= view->visible || view->bytes[end] == AMQP_END);
}

/* The method of the frame at `at`; 0: it is none, or not seen. */
static uint32_t amqp_method(const struct peer_view *view, uint64_t at)
{
	if (at + AMQP_HEADER + 4 > view->visible || view->bytes[at] != AMQP_METHOD)
		return 0;
	return be32(view->bytes + at + AMQP_HEADER);
}

/* Nobody answers it; what is published is confirmed where the client wanted that. */
static bool amqp_silent(uint32_t method, bool confirms)
{
	switch (method) {
	case CONNECTION_TUNE_OK:
	case CONNECTION_CLOSE_OK:
	case CHANNEL_CLOSE_OK:
	case BASIC_ACK:
	case BASIC_REJECT:
	case BASIC_NACK:
		return true;
	default:
		return method == BASIC_PUBLISH && !confirms;
	}
}

/* A method begins a call, content goes on with it, a heartbeat is neither. */
void amqp_sent(struct peer *peer, const struct peer_view *view, struct peer_send *send,
	       const struct peer_sink *sink)
{
	struct frame_state *state = &peer->frame;
	uint64_t at = state->skip < view->total ? state->skip : view->total;
	bool known = at == view->total, silent = true;

	(void)sink;
	state->skip -= at;
	if (protocol_header(view)) {
		send->begins = send->internal = true;
		return;
	}
	while (at + AMQP_HEADER <= view->visible) {
		uint8_t type = view->bytes[at];

		send->commands += type == AMQP_METHOD;
		state->confirms |= amqp_method(view, at) == CONFIRM_SELECT;
		silent &= type != AMQP_METHOD ||
			  amqp_silent(amqp_method(view, at), state->confirms);
		known |= type != AMQP_HEARTBEAT;
		at += AMQP_HEADER + 1 + (uint64_t)be32(view->bytes + at + 3);
	}
	if (at > view->total)
		state->skip = at - view->total;
	send->begins = send->commands > 0;
	send->silent = send->begins && silent && at >= view->total;
	send->nothing = !known || (!send->begins && !peer->count);
}

void amqp_received(struct peer *peer, const struct peer_view *view, const struct peer_sink *sink)
{
	uint32_t method = amqp_method(view, 0);

	(void)sink;
	peer->frame.confirms |= method == BASIC_ACK || method == BASIC_NACK;
	if (view->visible && view->bytes[0] == AMQP_HEARTBEAT && view->total == AMQP_HEADER + 1)
		return;
	peer_reply(peer, view, true);
}

/* ---- Kafka -------------------------------------------------------------------- */

#define KAFKA_HEADER 14

/* Length, API key and version, correlation id, name of the client. */
bool kafka_request(const struct peer_view *view)
{
	size_t name;

	if (view->visible <= KAFKA_HEADER || (uint64_t)be32(view->bytes) + 4 != view->total ||
	    be16(view->bytes + 4) > 100 || be16(view->bytes + 6) > 30)
		return false;
	name = be16(view->bytes + 12);
	if (!name || name > 255 || KAFKA_HEADER + name > view->total)
		return false;
	for (size_t i = KAFKA_HEADER; i < KAFKA_HEADER + name && i < view->visible; i++)
		if (view->bytes[i] <= 0x20 || view->bytes[i] >= 0x7f)
			return false;
	return true;
}

void kafka_sent(struct peer *peer, const struct peer_view *view, struct peer_send *send,
		const struct peer_sink *sink)
{
	struct frame_state *state = &peer->frame;
	uint64_t at = state->skip < view->total ? state->skip : view->total;

	(void)sink;
	state->skip -= at;
	while (at + 4 <= view->visible) {
		send->commands++;
		at += 4 + (uint64_t)be32(view->bytes + at);
	}
	if (at > view->total)
		state->skip = at - view->total;
	send->begins = send->commands > 0;
}

void kafka_received(struct peer *peer, const struct peer_view *view, const struct peer_sink *sink)
{
	unknown_received(peer, view, sink);
}

/* ---- DNS ---------------------------------------------------------------------- */

#define DNS_HEADER 12
#define DNS_REPLY 0x80
#define DNS_RCODE 0x0f

/* Where the message starts: over TCP its length comes first.  -1: it is none. */
static int dns_start(const struct peer_view *view)
{
	if (view->visible >= DNS_HEADER + 2 && be16(view->bytes) + 2ull == view->total)
		return 2;
	return view->visible >= DNS_HEADER ? 0 : -1;
}

bool dns_query(const struct peer_view *view)
{
	int at = dns_start(view);
	const uint8_t *header = view->bytes + (at > 0 ? at : 0);

	return at >= 0 && !(header[2] & 0xf8) && !(header[3] & 0x4f) && be16(header + 4) == 1 &&
	       !be16(header + 6) && !be16(header + 8) && be16(header + 10) <= 2;
}

void dns_sent(struct peer *peer, const struct peer_view *view, struct peer_send *send,
	      const struct peer_sink *sink)
{
	int at = dns_start(view);

	(void)sink;
	send->nothing = at < 0 && !peer->count;
	if (at < 0)
		return;
	send->begins = send->exact = true;
	send->replies = send->commands = 1;
	send->id = be16(view->bytes + at) + 1u;
}

void dns_received(struct peer *peer, const struct peer_view *view, const struct peer_sink *sink)
{
	int at = dns_start(view);

	if (at < 0 || !(view->bytes[at + 2] & DNS_REPLY))
		return;
	for (size_t i = 0; i < peer->count; i++) {
		if (peer->items[i].id != be16(view->bytes + at) + 1u)
			continue;
		peer_answer(peer, &peer->items[i], view, true);
		peer->items[i].call.error = view->bytes[at + 3] & DNS_RCODE;
		peer_finish(peer, i, sink);
		return;
	}
}

/* ---- TLS ---------------------------------------------------------------------- */

#define RECORD 5
#define CHANGE_CIPHER 0x14
#define HANDSHAKE 0x16
#define APPLICATION 0x17
#define CLIENT_HELLO 1
#define NAME_MAX_BYTES 253
#define TICKETS 1024	/* bytes of both at most */

bool tls_record(const struct peer_view *view)
{
	uint32_t length;

	if (view->visible < RECORD + 1 || view->bytes[0] < CHANGE_CIPHER ||
	    view->bytes[0] > APPLICATION || view->bytes[1] != 3 || view->bytes[2] > 4)
		return false;
	length = be16(view->bytes + 3);
	/* a record that the handshake does not start with is told by its end as well */
	return length && length <= 16384 + 2048 &&
	       ((view->bytes[0] == HANDSHAKE && view->bytes[5] <= 24) || view->bytes[2] == 3) &&
	       RECORD + (uint64_t)length <= view->total;
}

/* Moves *at behind a vector whose length takes `size` bytes. */
static bool skip_vector(const struct peer_view *view, size_t *at, size_t size)
{
	size_t length = 0;

	if (*at + size > view->visible)
		return false;
	for (size_t i = 0; i < size; i++)
		length = length << 8 | view->bytes[*at + i];
	*at += size + length;
	return *at <= view->visible;
}

/* The name in a ClientHello. */
static const char *server_name(struct peer *peer, const struct peer_view *view)
{
	struct shape_text name = { .length = 0 };
	size_t at = RECORD + 4 + 2 + 32, length;

	if (!tls_record(view) || view->bytes[0] != HANDSHAKE || view->bytes[5] != CLIENT_HELLO ||
	    !skip_vector(view, &at, 1) || !skip_vector(view, &at, 2) ||
	    !skip_vector(view, &at, 1))
		return NULL;
	/* extensions: type, length, and for type 0 a list of one name of type 0 */
	for (at += 2; at + 9 <= view->visible; at += 4 + be16(view->bytes + at + 2)) {
		if (be16(view->bytes + at) || view->bytes[at + 6])
			continue;
		length = be16(view->bytes + at + 7);
		if (!length || length > NAME_MAX_BYTES || at + 9 + length > view->visible)
			return NULL;
		for (size_t i = at + 9; i < at + 9 + length; i++)
			if (view->bytes[i] <= 0x20 || view->bytes[i] >= 0x7f)
				return NULL;
		shape_add(&name, (const char *)view->bytes + at + 9, length);
		return peer_shape(peer, &name);
	}
	return NULL;
}

void tls_sent(struct peer *peer, const struct peer_view *view, struct peer_send *send,
	      const struct peer_sink *sink)
{
	(void)sink;
	if (!peer->server_name)
		peer->server_name = server_name(peer, view);
	alternate(peer, send);
	send->internal = view->visible && view->bytes[0] >= CHANGE_CIPHER &&
			 view->bytes[0] <= HANDSHAKE;
	peer->handshaken |= send->internal;
	peer->perhaps_ticket = false;
}

/*
 * With TLS 1.3 a server sends session tickets, one or two short records that look like
 * any data, once the handshake is done: just when the first request was sent.  If more
 * follows, that is the reply.
 */
void tls_received(struct peer *peer, const struct peer_view *view, const struct peer_sink *sink)
{
	struct peer_outstanding *newest = peer_newest(peer);
	bool ticket = peer->perhaps_ticket;

	peer->perhaps_ticket = false;
	unknown_received(peer, view, sink);
	if (!newest || newest != peer_newest(peer) || newest->call.internal)
		return;
	if (ticket && view->time_ns > newest->call.reply_ns)
		newest->call.reply_ns = view->time_ns;
	if (peer->handshaken)
		peer->perhaps_ticket = view->total <= TICKETS && view->visible >= RECORD &&
				       view->bytes[0] == APPLICATION &&
				       be16(view->bytes + 3) <= TICKETS / 2;
	peer->handshaken = false;
}
