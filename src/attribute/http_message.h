/* SPDX-License-Identifier: Apache-2.0 */
/* What requests and responses have in common: bytes, header fields, chunks. */
#ifndef LS_HTTP_MESSAGE_H
#define LS_HTTP_MESSAGE_H

#include "attribute/http.h"

bool http_bytes_valid(const struct http_bytes *bytes);

/* The byte at `at`, -1: not kept. */
int http_byte(const struct http_bytes *bytes, uint64_t at);

/* All of `text` is the end of these bytes, and was kept. */
bool http_ends_with(const struct http_bytes *bytes, const char *text);

/* Takes the next byte of a head; true: the head ends with it. */
bool http_fields_take(struct http_fields *fields, uint8_t byte);

/* The next bytes of the head were not kept: what follows is the rest of some line. */
void http_fields_skip(struct http_fields *fields);

enum http_chunks_end {
	CHUNKS_OPEN,		/* all bytes belong to the body */
	CHUNKS_DONE,		/* *at is behind the last byte of the body */
	CHUNKS_ENDED,		/* position unknown, but the bytes end as a body does */
};

/* Takes bytes of a chunked body from *at on. */
enum http_chunks_end http_chunks_take(struct http_chunks *chunks, const struct http_bytes *bytes,
				      uint64_t *at);

/* The position in the body is not known from here on. */
void http_chunks_lose(struct http_chunks *chunks);
bool http_chunks_lost(const struct http_chunks *chunks);

#endif
