/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 on a served connection, from what the probes keep of each receive and
 * send: the first bytes, the last ones and how many there were.  Says where
 * requests and responses begin and end.  Pure: no memory but the streams, which
 * start zeroed and may be copied.
 */
#ifndef LS_HTTP_H
#define LS_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "events.h"

#define HTTP_METHOD_BYTES 16	/* kept, with the NUL */
#define HTTP_LINE_BYTES 112	/* kept of a header line */

/* One receive or send. */
struct http_bytes {
	uint64_t bytes;		/* in all */
	const uint8_t *head;	/* the first of them */
	size_t head_bytes;
	uint8_t tail[LS_TAIL_BYTES];	/* the last of them */
	size_t tail_bytes;
	uint32_t first_bytes;	/* in the first of several buffers, 0: there was one */
};

/* Why a connection is taken for something else. */
enum http_refusal {
	HTTP_ACCEPTED,
	HTTP_IS_TLS,		/* begins with a TLS record */
	HTTP_IS_HTTP2,		/* begins with the preface of HTTP/2 */
	HTTP_NO_REQUEST_LINE,
	HTTP_NO_VERSION,	/* the request line does not end in HTTP/1.x */
};

enum http_body {
	HTTP_BODY_NONE,
	HTTP_BODY_LENGTH,
	HTTP_BODY_CHUNKED,
	HTTP_BODY_UNKNOWN,	/* the head was not all kept, or contradicts itself */
	HTTP_BODY_CLOSE,	/* responses: until the connection is closed */
};

/* What the header fields say of the message. */
struct http_fields {
	uint64_t length;
	bool has_length, bad_length;
	bool has_coding;	/* transfer-encoding: the last coding counts */
	bool chunked;
	bool expect_continue;
	bool connection_upgrade, to_websocket;
	/* the line being read */
	char line[HTTP_LINE_BYTES];
	uint16_t line_bytes;
	bool line_cut;		/* longer than what is kept */
	bool line_ended;	/* the next one may still continue it */
	bool carriage_return;	/* last byte */
};

/* Position within a chunked body. */
struct http_chunks {
	uint64_t left;		/* of the chunk's data */
	uint8_t step;
	bool line_empty;	/* of the trailers */
	bool line_return;
	uint8_t last_bytes;
	uint8_t last[LS_TAIL_BYTES];	/* of the connection, while the position is not known */
};

struct http_request {
	char method[HTTP_METHOD_BYTES];
	bool method_cut;
	bool expect_continue, upgrade_websocket;
	bool uncertain;		/* not all of its head was kept: fields may be missing */
	enum http_body body;
	uint64_t content_length;	/* HTTP_BODY_LENGTH */
	bool path_cut;		/* its end was not seen */
	uint64_t path_length;	/* without the query string, may exceed what is kept */
	uint16_t path_bytes;	/* kept; bytes above 127 may occur */
	char path[LS_PATH_BYTES + 1];	/* as sent, of an absolute target the path alone */
};

enum http_request_kind {
	HTTP_REQUEST_BEGIN,	/* its first byte is at `offset`; method and path may be open */
	HTTP_REQUEST_HEAD,	/* always after BEGIN: all that is known of it */
	HTTP_REQUEST_END,	/* always after HEAD: its last byte is before `offset` */
	HTTP_REQUEST_RETRACT,	/* what began, bytes ago, turned out not to be a request */
	HTTP_REQUEST_UNSEEN,	/* from `offset` on more may begin in bytes that were not kept */
};

struct http_request_event {
	enum http_request_kind kind;
	bool uncertain;		/* inferred, not read */
	uint64_t offset;	/* in these bytes; BEGIN comes with those it begins in */
	const struct http_request *request;	/* UNSEEN: NULL; borrowed during the call */
};

typedef void (*http_request_each)(void *context, const struct http_request_event *event);

struct http_request_stream {
	bool joined;		/* set by the caller: its beginning was not seen */
	uint8_t refusal;	/* HTTP_IS_* and so on, until a resync */
	uint8_t state;
	bool entered;		/* `joined` was looked at */
	bool begun, headed;	/* BEGIN, HEAD were reported of what is open */
	uint8_t target;		/* where in the target we are */
	uint8_t version_bytes;
	char version[12];
	uint8_t method_bytes;
	uint64_t left;		/* of a body with a length */
	uint64_t skipped_bytes;	/* in which no request could be found */
	uint32_t unseen;	/* times that HTTP_REQUEST_UNSEEN was reported */
	struct http_request request;
	struct http_fields fields;
	struct http_chunks chunks;
};

/* 0, or -EINVAL when `bytes` contradicts itself. */
int http_receive(struct http_request_stream *stream, const struct http_bytes *bytes,
		 http_request_each each, void *context);

/*
 * The response to the request that is open has begun, or to garbage.  True when the
 * end of the request was not known: it is over now, without a callback.  Does
 * nothing where framing is exact.
 */
bool http_request_resync(struct http_request_stream *stream);

/* The connection speaks something else from now on; responses find that out alone. */
void http_request_upgraded(struct http_request_stream *stream);

enum http_response_kind {
	HTTP_RESPONSE_INTERIM,	/* 1xx but 101 */
	HTTP_RESPONSE_STARTED,
	HTTP_RESPONSE_UPGRADED,	/* 101: nothing is reported after it */
	HTTP_RESPONSE_COMPLETE,	/* always after STARTED: its last byte is before `offset` */
	HTTP_RESPONSE_UNSEEN,	/* at `offset` one or more begin in bytes that were not kept */
};

struct http_response_event {
	enum http_response_kind kind;
	unsigned status;	/* UNSEEN: 0 */
	bool uncertain;		/* inferred, not read */
	uint64_t offset;	/* of the first byte, 0 if that was in an earlier send */
	enum http_body body;	/* COMPLETE */
};

typedef void (*http_response_each)(void *context, const struct http_response_event *event);

struct http_response_stream {
	bool joined;		/* set by the caller: its beginning was not seen */
	uint8_t state;
	bool entered;		/* `joined` was looked at */
	bool lost;		/* what comes next may not be the next answer */
	bool open;		/* STARTED was reported, COMPLETE not yet */
	bool to_head;		/* answers a HEAD */
	bool uncertain;		/* not all of its head was kept */
	uint8_t line_bytes;
	char line[16];		/* of the status line */
	uint16_t status;
	enum http_body body;
	uint64_t start;		/* offset of its first byte */
	uint64_t left;
	uint64_t skipped_bytes;	/* that belong to no response */
	uint32_t unseen;	/* times that HTTP_RESPONSE_UNSEEN was reported */
	struct http_fields fields;
	struct http_chunks chunks;
};

/*
 * Bit n of `head_requests`: the n-th request that is not answered completely was a
 * HEAD; true does for one at a time.  0, or -EINVAL when `bytes` contradicts itself.
 */
int http_send(struct http_response_stream *stream, const struct http_bytes *bytes,
	      uint64_t head_requests, http_response_each each, void *context);

/*
 * The connection was closed, or the next request was read where the end of this
 * response could not be seen: ends what is open.  True when a response was and the
 * bytes sent so far may be all of it, false when it was cut short or none was open.
 */
bool http_response_finish(struct http_response_stream *stream);

#endif
