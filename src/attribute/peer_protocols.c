// SPDX-License-Identifier: Apache-2.0
/* Which protocol the bytes are of. */
#include "attribute/peer_internal.h"

#include <string.h>

static const char *const names[PROTOCOL_COUNT] = {
#define X(name, text) text,
	PROTOCOLS(X)
#undef X
};

static const struct peer_protocol protocols[PROTOCOL_COUNT] = {
	[PROTOCOL_UNKNOWN] = { true, false, unknown_sent, unknown_received },
	[PROTOCOL_POSTGRES] = { false, true, postgres_sent, postgres_received },
	[PROTOCOL_REDIS] = { false, false, redis_sent, redis_received },
	[PROTOCOL_MYSQL] = { false, true, mysql_sent, mysql_received },
	[PROTOCOL_MONGODB] = { false, false, mongodb_sent, mongodb_received },
	[PROTOCOL_HTTP1] = { false, false, http1_sent, http1_received },
	[PROTOCOL_HTTP2] = { true, false, http2_sent, http2_received },
	[PROTOCOL_AMQP] = { true, false, amqp_sent, amqp_received },
	[PROTOCOL_KAFKA] = { true, false, kafka_sent, kafka_received },
	[PROTOCOL_DNS] = { false, false, dns_sent, dns_received },
	[PROTOCOL_TLS] = { true, false, tls_sent, tls_received },
};

const char *protocol_name(enum protocol protocol)
{
	return (unsigned int)protocol < PROTOCOL_COUNT ? names[protocol] : names[PROTOCOL_UNKNOWN];
}

const struct peer_protocol *peer_protocol_of(enum protocol protocol)
{
	return &protocols[protocol];
}

/* From here on the connection speaks this; what is outstanding is nobody's reply. */
static void become(struct peer *peer, enum protocol protocol)
{
	peer->protocol = protocol;
	memset(&peer->redis, 0, sizeof(*peer) - offsetof(struct peer, redis));
	for (size_t i = 0; i < peer->count; i++) {
		peer->items[i].call.unpaired = true;
		peer->items[i].exact = false;
	}
}

static bool mongodb_sent_message(const struct peer_view *view)
{
	return mongodb_message(view, false);
}

static bool mongodb_reply(const struct peer_view *view)
{
	return mongodb_message(view, true);
}

static bool http1_reply(const struct peer_view *view)
{
	unsigned int status;

	return http1_status(view, 0, &status);
}

/*
 * The first that fits, surest first.  `port`: the bytes alone leave a doubt, and the
 * well-known port of the protocol decides.
 */
struct sign {
	bool (*fits)(const struct peer_view *view);
	enum protocol protocol;
	uint16_t port;
};

static enum protocol guess(const struct sign *signs, size_t count, uint16_t port,
			   const struct peer_view *view)
{
	for (size_t i = 0; i < count; i++)
		if ((!signs[i].port || signs[i].port == port) && signs[i].fits(view))
			return signs[i].protocol;
	return PROTOCOL_UNKNOWN;
}

/* A log-in or a request for TLS that is followed by TLS. */
static bool upgrades(const struct peer *peer)
{
	switch (peer->protocol) {
	case PROTOCOL_POSTGRES: return peer->postgres.ssl;
	case PROTOCOL_MYSQL: return peer->mysql.ssl;
	case PROTOCOL_HTTP1: return peer->http.tunnel;
	default: return peer->protocol == PROTOCOL_UNKNOWN;
	}
}

void peer_learn_sent(struct peer *peer, const struct peer_view *view, const struct peer_sink *sink)
{
	static const struct sign signs[] = {
		{ http1_request, PROTOCOL_HTTP1, 0 },
		{ postgres_startup, PROTOCOL_POSTGRES, 0 },
		{ redis_command, PROTOCOL_REDIS, 0 },
		{ mongodb_sent_message, PROTOCOL_MONGODB, 0 },
		{ amqp_frame, PROTOCOL_AMQP, 0 },
		{ dns_query, PROTOCOL_DNS, 53 },
		{ postgres_messages, PROTOCOL_POSTGRES, 0 },
		{ mysql_command, PROTOCOL_MYSQL, 0 },
		{ kafka_request, PROTOCOL_KAFKA, 0 },
		{ http2_frames, PROTOCOL_HTTP2, 0 },
	};
	enum protocol found;

	if (peer->protocol == PROTOCOL_TLS)
		return;
	if (upgrades(peer) && tls_record(view)) {
		/* what is outstanding was said in clear */
		peer_finish_all(peer, sink);
		become(peer, PROTOCOL_TLS);
		return;
	}
	if (peer->protocol != PROTOCOL_UNKNOWN)
		return;
	found = guess(signs, sizeof(signs) / sizeof(signs[0]), peer->port, view);
	if (found != PROTOCOL_UNKNOWN)
		become(peer, found);
}

void peer_learn_received(struct peer *peer, const struct peer_view *view)
{
	static const struct sign signs[] = {
		{ http1_reply, PROTOCOL_HTTP1, 0 },
		{ mysql_greeting, PROTOCOL_MYSQL, 0 },
		{ tls_record, PROTOCOL_TLS, 0 },
		{ mongodb_reply, PROTOCOL_MONGODB, 0 },
		{ amqp_frame, PROTOCOL_AMQP, 0 },
		{ postgres_replies, PROTOCOL_POSTGRES, 5432 },
	};
	enum protocol found;

	if (peer->protocol != PROTOCOL_UNKNOWN)
		return;
	found = guess(signs, sizeof(signs) / sizeof(signs[0]), peer->port, view);
	if (found != PROTOCOL_UNKNOWN)
		become(peer, found);
}
