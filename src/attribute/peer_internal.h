/* SPDX-License-Identifier: Apache-2.0 */
/* A connection as the protocols see it: peer.c pairs, peer_<protocol>.c read bytes. */
#ifndef LS_PEER_INTERNAL_H
#define LS_PEER_INTERNAL_H

#include "attribute/peer.h"
#include "attribute/shape.h"

#define REDIS_LINE 24
#define REDIS_NAMES 8

/* One send or receive, checked: visible <= total. */
struct peer_view {
	const uint8_t *bytes;
	size_t visible;
	uint64_t total;
	uint64_t time_ns, last_ns;
	uint8_t tail[PEER_TAIL_BYTES];	/* last bytes of the direction, of earlier ones as well */
};

struct peer_outstanding {
	struct peer_call call;
	uint64_t waited_ns;	/* for earlier round trips of it */
	uint64_t over_ns;	/* when nobody waited for it any longer, 0: somebody does */
	uint64_t id;		/* of the request, or hash of the statement that it prepares */
	uint32_t replies;	/* still to come */
	bool exact;		/* that number is known */
	bool answered;		/* since the last send */
	bool ended;		/* what came last can be the end of the reply */
	bool open;		/* more is to be sent before the peer is through with it */
	bool prepare;		/* defines a statement and runs none */
};

/* Where calls that are over go. */
struct peer_sink {
	peer_each each;
	void *context;
};

/* What a protocol makes of one send. */
struct peer_send {
	uint64_t token;		/* in */
	bool nothing;		/* no call and no part of one */
	bool begins;		/* a new call; otherwise the newest goes on */
	bool silent;		/* nobody answers it */
	bool exact, open, prepare, internal, page;
	uint32_t replies, commands;
	uint32_t calls;		/* that it begins, of `commands` each; 0: one */
	const char *shape;
	uint64_t id;
	uint64_t resumes;	/* it runs the statement of this hash */
	uint64_t statement;	/* see struct peer_call */
};

struct peer_name {
	uint64_t hash;
	const char *shape;
};

struct postgres_state {
	uint64_t skip_sent, skip_received;	/* of a message that goes on */
	uint64_t named;		/* hash of the statement of the last Parse or Bind */
	uint64_t bound;		/* of the last Bind in this send; 0: none */
	bool lost_sent, lost_received;		/* not at the start of a message */
	bool typed;		/* past the messages that have no type */
	bool ssl_asked, ssl;
	bool copying;		/* the client has begun to send rows */
	bool synced;		/* the newest call has an extended query in it */
	uint8_t status;		/* of the transaction */
};

struct redis_state {
	uint64_t args, skip;	/* that the command still needs */
	uint64_t pending, skip_reply;	/* that the reply still needs */
	uint32_t index;		/* of the argument */
	bool lost, lost_reply, in_argument, in_text, push;
	char line[2][REDIS_LINE];	/* cut off: of the commands, of the replies */
	uint8_t line_bytes[2];
	char word[2][REDIS_LINE];	/* command and subcommand */
	uint8_t word_bytes[2];
	bool more;		/* names were not seen or did not fit */
	const char *names[REDIS_NAMES];	/* in the newest call */
	size_t count;
};

struct mysql_state {
	uint64_t skip_sent, skip_received;
	bool lost_sent;
	bool ssl;
	bool payload;		/* the next byte received is the first of a packet */
	uint8_t sequence;	/* of that packet */
	uint64_t payload_bytes;
	uint8_t command;	/* of the newest call */
	const char *prepared;	/* shape of the statement being prepared */
};

struct mongodb_state {
	uint64_t skip_sent, skip_received;
	bool lost_sent, lost_received;
	bool body;		/* the next byte received is the first of a reply's body */
	uint64_t reply_to;	/* request id + 1; 0: none */
};

struct http_state {
	uint64_t body;		/* bytes of the request's body to come, when known */
	bool known;
	bool interim;		/* the rest of a 1xx reply is to come */
	bool tunnel;		/* no HTTP any more */
};

struct frame_state {
	uint64_t skip;		/* of a frame that goes on */
	bool counts;		/* HTTP/2: it is of a type that was looked for */
	bool confirms;		/* AMQP: the peer answers what is published */
	bool lost;
};

struct peer {
	uint16_t port;
	enum protocol protocol;
	bool unpaired;		/* from here on nothing is provable */
	bool answered;		/* something came from it */
	bool own_shapes;
	struct shape_set *shapes;
	struct peer_outstanding *items;	/* oldest first */
	size_t count, capacity;
	uint32_t busy;		/* calls begun since all had been answered */
	struct peer_outstanding held;	/* prepared, and perhaps to be run next */
	bool holding;
	struct peer_name *names;
	size_t name_count, name_capacity, name_next;
	uint8_t tail[2][PEER_TAIL_BYTES];	/* sent, received */
	const char *server_name;
	bool handshaken;	/* TLS: nothing was received since but what belongs to it */
	bool perhaps_ticket;	/* TLS: what was received last */
	uint64_t dropped;
	int error;
	union {
		struct postgres_state postgres;
		struct redis_state redis;
		struct mysql_state mysql;
		struct mongodb_state mongodb;
		struct http_state http;
		struct frame_state frame;
		struct frame_state frames[2];	/* sent, received */
	};
};

/* One row per protocol: peer_protocols.c. */
struct peer_protocol {
	bool unpaired;		/* nothing in it proves which reply is whose */
	bool round_trips;	/* one call may wait more than once */
	void (*sent)(struct peer *peer, const struct peer_view *view, struct peer_send *send,
		     const struct peer_sink *sink);
	void (*received)(struct peer *peer, const struct peer_view *view,
			 const struct peer_sink *sink);
};

const struct peer_protocol *peer_protocol_of(enum protocol protocol);

/* Sets peer->protocol when the bytes say what it is; a change within a connection, too. */
void peer_learn_sent(struct peer *peer, const struct peer_view *view,
		     const struct peer_sink *sink);
void peer_learn_received(struct peer *peer, const struct peer_view *view);

/* ---- peer.c: for the protocols --------------------------------------------- */

static inline struct peer_outstanding *peer_newest(struct peer *peer)
{
	return peer->count ? &peer->items[peer->count - 1] : NULL;
}

/* NULL when nothing is outstanding. */
static inline struct peer_outstanding *peer_front(struct peer *peer)
{
	return peer->count ? &peer->items[0] : NULL;
}

/* Bytes of a reply to call `item`; `first`: they are the first ones of this receive. */
void peer_answer(struct peer *peer, struct peer_outstanding *item, const struct peer_view *view,
		 bool first);

/* The same for whatever is outstanding: the oldest, or all where nothing is provable. */
void peer_reply(struct peer *peer, const struct peer_view *view, bool first);

/* One reply to the oldest is complete. */
void peer_reply_end(struct peer *peer, const struct peer_sink *sink);
void peer_reply_error(struct peer *peer);

/* What follows in this receive cannot be seen; `ended`: it ends where a reply can end. */
void peer_reply_lost(struct peer *peer, const struct peer_view *view, bool ended);

/* Call `index` is over. */
void peer_finish(struct peer *peer, size_t index, const struct peer_sink *sink);
void peer_finish_all(struct peer *peer, const struct peer_sink *sink);
void peer_give_up_pairing(struct peer *peer);

/* ---- peer_names.c ---------------------------------------------------------- */

/* Interned; counts what the set does not hold. */
const char *peer_shape(struct peer *peer, const struct shape_text *shape);

/* "first; ..." for several statements that differ; the one for NULL and another. */
const char *peer_joined(struct peer *peer, const char *first, const char *second);

/* Names of a connection: prepared statements, portals. */
uint64_t peer_hash(uint8_t kind, const uint8_t *name, size_t length);
void peer_define(struct peer *peer, uint64_t hash, const char *shape);
const char *peer_defined(const struct peer *peer, uint64_t hash);
void peer_forget(struct peer *peer, uint64_t hash);

static inline uint32_t be32(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3];
}

static inline uint16_t be16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static inline uint32_t le32(const uint8_t *bytes)
{
	return (uint32_t)bytes[3] << 24 | bytes[2] << 16 | bytes[1] << 8 | bytes[0];
}

static inline uint32_t le24(const uint8_t *bytes)
{
	return (uint32_t)bytes[2] << 16 | bytes[1] << 8 | bytes[0];
}

/* ---- what the protocols offer to peer_protocols.c -------------------------- */

#define PEER_OPS(name) \
	void name##_sent(struct peer *peer, const struct peer_view *view, struct peer_send *send, \
			 const struct peer_sink *sink); \
	void name##_received(struct peer *peer, const struct peer_view *view, \
			     const struct peer_sink *sink)

PEER_OPS(postgres);
PEER_OPS(redis);
PEER_OPS(mysql);
PEER_OPS(mongodb);
PEER_OPS(http1);
PEER_OPS(http2);
PEER_OPS(amqp);
PEER_OPS(kafka);
PEER_OPS(dns);
PEER_OPS(tls);
PEER_OPS(unknown);

bool postgres_startup(const struct peer_view *view);
bool postgres_messages(const struct peer_view *view);
bool postgres_replies(const struct peer_view *view);
bool mysql_command(const struct peer_view *view);
bool mysql_greeting(const struct peer_view *view);
bool mongodb_message(const struct peer_view *view, bool reply);
bool redis_command(const struct peer_view *view);
bool http1_request(const struct peer_view *view);
bool http1_status(const struct peer_view *view, size_t at, unsigned int *ret_status);
bool http2_frames(const struct peer_view *view);
bool amqp_frame(const struct peer_view *view);
bool kafka_request(const struct peer_view *view);
bool dns_query(const struct peer_view *view);
bool tls_record(const struct peer_view *view);

#endif
