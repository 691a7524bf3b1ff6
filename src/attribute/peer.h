/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one connection to a peer carries -> calls: which bytes asked for something,
 * which ones answered, and how long the peer took.  The protocol is learnt from
 * the bytes, on connections older than the observation as well.
 *
 * The latency of a call is reply_ns - sent_ns.  A statement that takes several round
 * trips (prepare, then execute; log in) is one call, and sent_ns is moved back so
 * that the difference is the sum of its waits for the peer, without the time that
 * the client took between them.
 *
 * A call is paired with its reply by what the bytes prove: a request id, a count of
 * replies, or the fact that there was but one call to answer.  Otherwise it is
 * `unpaired` and its reply is the first byte that arrived after it was sent.
 */
#ifndef LS_PEER_H
#define LS_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROTOCOLS(X) \
	X(UNKNOWN, "unknown") \
	X(POSTGRES, "postgres") \
	X(REDIS, "redis") \
	X(MYSQL, "mysql") \
	X(MONGODB, "mongodb") \
	X(HTTP1, "http/1.1") \
	X(HTTP2, "http/2") \
	X(AMQP, "amqp") \
	X(KAFKA, "kafka") \
	X(DNS, "dns") \
	X(TLS, "tls")

enum protocol {
#define X(name, text) PROTOCOL_##name,
	PROTOCOLS(X)
#undef X
	PROTOCOL_COUNT
};

const char *protocol_name(enum protocol protocol);

#define PEER_HEAD_BYTES 512	/* more of the head is not looked at */
#define PEER_TAIL_BYTES 8
#define PEER_MAX_CALLS 64	/* unanswered at one time */
#define PEER_MAX_NAMES 256	/* prepared statements and portals of one connection */

/* What one send or receive carried. */
struct peer_data {
	uint64_t time_ns;	/* send: it returned; receive: the first byte arrived */
	uint64_t last_ns;	/* receive: the last of these bytes arrived */
	uint64_t bytes;
	const uint8_t *head;	/* borrowed until the call returns */
	size_t head_bytes;
	uint8_t tail[PEER_TAIL_BYTES];
	size_t tail_bytes;
};

struct peer_call {
	enum protocol protocol;
	uint64_t token;		/* of the send that began it */
	uint64_t start_ns;	/* its first bytes were sent */
	uint64_t sent_ns;	/* its last bytes were sent; see above */
	uint64_t reply_ns;	/* first byte of the reply, never before sent_ns; 0: none came */
	uint64_t end_ns;	/* last byte of the reply that was seen, or the wait for it ended */
	bool error;		/* the peer answered with an error */
	bool failed;		/* the connection ended without a reply */
	bool due;		/* one that never came was due, and was waited for until end_ns */
	bool given_up;		/* failed, and it was the client that did not wait longer */
	bool unpaired;
	bool silent;		/* nobody answers it: there is no latency */
	bool internal;		/* of the client library: log-in, keep-alive, transaction control */
	bool page;		/* more of what an earlier call began to read: a cursor */
	uint32_t commands;	/* statements in it, at least one; those that were seen */
	const char *shape;	/* interned; NULL: not known */
	uint64_t statement;	/* without a shape: hash of the name it was prepared by, 0: none */
	uint64_t bytes_sent, bytes_received;
};

typedef void (*peer_each)(void *context, const struct peer_call *call);

struct peer;		/* opaque; one connection */
struct shape_set;

/* `port` of the peer only decides where the bytes leave a doubt.  NULL: out of memory. */
struct peer *peer_new(uint16_t port);
void peer_free(struct peer *peer);	/* NULL is legal */

/* Shapes count towards `set` from now on, borrowed; without one, the peer has its own. */
void peer_share_shapes(struct peer *peer, struct shape_set *set);

/*
 * In the order in which the process made the calls.  `each` gets every call that is
 * over; its struct lives as long as the call of `each`.  0 or -ENOMEM: then something
 * was dropped.
 */
int peer_sent(struct peer *peer, const struct peer_data *data, uint64_t token, peer_each each,
	      void *context);
int peer_received(struct peer *peer, const struct peer_data *data, peer_each each, void *context);

/* Sends or receives of this connection were lost: nothing is paired across the gap. */
void peer_gap(struct peer *peer, peer_each each, void *context);

/*
 * Calls whose reply was seen but whose end cannot be told (HTTP/1.1, for one) are over
 * when the next one begins, or when nothing came for them since `before_ns`.
 */
void peer_settle(struct peer *peer, uint64_t before_ns, peer_each each, void *context);

/*
 * Of the calls that wait for a reply, nobody waits any longer for those that `is_one` tells:
 * their wait ends now, whenever the connection does.
 */
typedef bool (*peer_is_one)(void *context, const struct peer_call *call);
void peer_not_waited(struct peer *peer, uint64_t now_ns, peer_is_one is_one, void *context);

enum peer_end {
	PEER_CLOSED,	/* by the peer, or by either side in any order */
	PEER_RESET,
	PEER_GIVEN_UP,	/* by the client, which had read all that ever came */
};

void peer_closed(struct peer *peer, uint64_t time_ns, enum peer_end how, peer_each each,
		 void *context);

/* At the end of an observation: settles all, then gives calls that wait for a reply. */
void peer_open(struct peer *peer, uint64_t now_ns, peer_each each, void *context);

enum protocol peer_protocol(const struct peer *peer);

/* The name that a TLS client asked for, interned; NULL: none seen. */
const char *peer_server_name(const struct peer *peer);

/* Calls, names and shapes beyond the bounds, and what memory did not suffice for. */
uint64_t peer_dropped(const struct peer *peer);

#endif
