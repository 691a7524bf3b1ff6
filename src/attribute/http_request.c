// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>

#include "attribute/http_message.h"

#define METHOD_MAX 64	/* longer words are no method */

enum {
	AT_START,	/* the stream starts zeroed */
	IN_METHOD,
	IN_TARGET,
	IN_VERSION,
	IN_FIELDS,
	IN_LENGTH,
	IN_CHUNKS,
	IN_UNKNOWN,	/* body without a known end */
	SKIPPING,	/* until a receive begins with a request line */
	REFUSED,
	UPGRADED,
};

enum {
	TARGET_FIRST,
	TARGET_PATH,
	TARGET_OTHER,	/* absolute, "*" or an authority */
	TARGET_AUTHORITY,
	TARGET_QUERY,
};

struct receive {
	struct http_request_stream *stream;
	const struct http_bytes *bytes;
	uint64_t at;
	uint64_t begin;		/* of the request that is open, if it begins here */
	size_t ended;		/* requests in these bytes */
	http_request_each each;
	void *context;
};

static void report(struct receive *receive, enum http_request_kind kind, uint64_t offset)
{
	struct http_request_event event = {
		.kind = kind,
		.offset = offset,
		.uncertain = receive->stream->request.uncertain,
		.request = &receive->stream->request,
	};

	if (kind == HTTP_REQUEST_UNSEEN) {
		event.request = NULL;
		event.uncertain = true;
		receive->stream->unseen++;
	}
	receive->each(receive->context, &event);
}

static void report_begin(struct receive *receive)
{
	if (!receive->stream->begun)
		report(receive, HTTP_REQUEST_BEGIN, receive->begin);
	receive->stream->begun = true;
}

static void skip_rest(struct receive *receive, uint8_t state)
{
	receive->stream->skipped_bytes += receive->bytes->bytes - receive->at;
	receive->at = receive->bytes->bytes;
	receive->stream->state = state;
}

static void refuse(struct receive *receive, enum http_refusal why)
{
	struct http_request_stream *stream = receive->stream;

	if (stream->begun)
		report(receive, HTTP_REQUEST_RETRACT, receive->at);
	stream->begun = false;
	stream->refusal = (uint8_t)why;
	skip_rest(receive, REFUSED);
}

static void request_end(struct receive *receive, uint64_t offset)
{
	struct http_request_stream *stream = receive->stream;

	report(receive, HTTP_REQUEST_END, offset);
	receive->ended++;
	stream->begun = false;
	stream->headed = false;
	stream->state = AT_START;
}

static bool is_token(int byte)
{
	return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
	       (byte >= 'a' && byte <= 'z') || (byte > 0 && strchr("!#$%&'*+-.^_`|~", byte));
}

static bool is_version(const char *text, size_t length)
{
	return length == 8 && !memcmp(text, "HTTP/1.", 7) && text[7] >= '0' && text[7] <= '9';
}

/*
 * The bytes begin with a request line, as far as it was kept.  Stricter than the
 * grammar: asked in the middle of a stream that was lost.
 */
static bool begins_request(const struct http_bytes *bytes)
{
	const char *head = (const char *)bytes->head, *line_end;
	size_t at = 0, length;

	while (at < bytes->head_bytes && at < METHOD_MAX &&
	       ((head[at] >= 'A' && head[at] <= 'Z') || (at &&
							 (head[at] == '-' || head[at] == '_'))))
		at++;
	if (at < 3 || bytes->head_bytes - at < 2 || head[at] != ' ')
		return false;
	at++;
	if (head[at] != '/' && head[at] != '*' &&
	    (bytes->head_bytes - at < 4 || memcmp(head + at, "http", 4)))
		return false;
	line_end = memchr(head, '\n', bytes->head_bytes);
	if (!line_end)
		return true;
	length = (size_t)(line_end - head);
	if (length && head[length - 1] == '\r')
		length--;
	return length > at + 9 && head[length - 9] == ' ' && is_version(head + length - 8, 8);
}

/* Its body cannot be missed: it hardly ever has one. */
static bool is_bodyless(const char *method)
{
	static const char *const methods[] = { "GET", "HEAD", "DELETE", "OPTIONS", "TRACE" };

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (!strcmp(method, methods[i]))
			return true;
	return false;
}

static void fields_to_request(struct http_request_stream *stream)
{
	const struct http_fields *fields = &stream->fields;
	struct http_request *request = &stream->request;

	request->expect_continue = fields->expect_continue;
	request->upgrade_websocket = fields->connection_upgrade && fields->to_websocket;
	request->content_length = 0;
	if (fields->chunked) {
		request->body = HTTP_BODY_CHUNKED;
	} else if (fields->has_coding || fields->bad_length) {
		request->body = HTTP_BODY_UNKNOWN;
	} else if (fields->has_length) {
		request->body = fields->length ? HTTP_BODY_LENGTH : HTTP_BODY_NONE;
		request->content_length = fields->length;
	} else if (request->uncertain && !is_bodyless(request->method)) {
		request->body = HTTP_BODY_UNKNOWN;
	} else {
		request->body = HTTP_BODY_NONE;
	}
}

static void report_head(struct receive *receive)
{
	report_begin(receive);
	fields_to_request(receive->stream);
	if (!receive->stream->headed)
		report(receive, HTTP_REQUEST_HEAD, receive->at);
	receive->stream->headed = true;
}

/* From `offset` on there may be requests, but not enough of them was kept. */
static void rest_hidden(struct receive *receive, uint64_t offset)
{
	report(receive, HTTP_REQUEST_UNSEEN, offset);
	skip_rest(receive, SKIPPING);
}

/* The head ends before `at`. */
static void head_end(struct receive *receive)
{
	struct http_request_stream *stream = receive->stream;

	report_head(receive);
	switch (stream->request.body) {
	case HTTP_BODY_LENGTH:
		stream->left = stream->request.content_length;
		stream->state = IN_LENGTH;
		break;
	case HTTP_BODY_CHUNKED:
		memset(&stream->chunks, 0, sizeof(stream->chunks));
		stream->state = IN_CHUNKS;
		break;
	case HTTP_BODY_NONE:
		request_end(receive, receive->at);
		if (stream->request.uncertain && receive->at < receive->bytes->bytes &&
		    receive->at > receive->bytes->head_bytes)
			rest_hidden(receive, receive->at);
		break;
	default:
		stream->state = IN_UNKNOWN;
	}
}

/* Other requests stand before this one: more may follow where nothing is known. */
static void pipeline_hidden(struct receive *receive)
{
	struct http_request_stream *stream = receive->stream;
	uint64_t offset = receive->at;

	receive->at = receive->bytes->bytes;
	if (stream->request.body == HTTP_BODY_NONE) {
		request_end(receive, receive->at);
		stream->state = SKIPPING;
	} else {
		stream->state = IN_UNKNOWN;
	}
	report(receive, HTTP_REQUEST_UNSEEN, offset);
}

/* The bytes at `at` were not kept, and they belong to a head. */
static void head_hidden(struct receive *receive)
{
	struct http_request_stream *stream = receive->stream;
	const struct http_bytes *bytes = receive->bytes;

	if (stream->state == IN_METHOD) {
		if (stream->begun)
			report(receive, HTTP_REQUEST_RETRACT, receive->at);
		else
			receive->at = receive->begin;
		stream->begun = false;
		rest_hidden(receive, receive->at);
		return;
	}
	http_fields_skip(&stream->fields);
	stream->request.path_cut = stream->state == IN_TARGET && stream->target != TARGET_QUERY;
	stream->state = IN_FIELDS;
	stream->request.uncertain = true;
	report_head(receive);
	if (receive->ended) {
		pipeline_hidden(receive);
	} else if (stream->request.body == HTTP_BODY_NONE) {
		receive->at = bytes->bytes - bytes->tail_bytes; /* the head may end there */
		if (!bytes->tail_bytes)
			request_end(receive, receive->at);
	} else {
		receive->at = bytes->bytes;
		if (stream->request.body == HTTP_BODY_CHUNKED &&
		    http_ends_with(bytes, "\r\n0\r\n\r\n"))
			request_end(receive, receive->at);
		else if (http_ends_with(bytes, "\r\n\r\n"))
			head_end(receive);
		else
			stream->state = IN_UNKNOWN;
	}
}

static void path_add(struct http_request *request, char byte)
{
	if (request->path_bytes < LS_PATH_BYTES)
		request->path[request->path_bytes++] = byte;
	request->path_length++;
}

static void path_clear(struct http_request *request)
{
	memset(request->path, 0, sizeof(request->path));
	request->path_bytes = 0;
	request->path_length = 0;
}

static void target_byte(struct http_request_stream *stream, char byte)
{
	struct http_request *request = &stream->request;

	if (stream->target == TARGET_FIRST)
		stream->target = byte == '/' ? TARGET_PATH : TARGET_OTHER;
	if (byte == '?' || stream->target == TARGET_QUERY) {
		stream->target = TARGET_QUERY;
		return;
	}
	if (stream->target == TARGET_AUTHORITY && byte == '/')
		stream->target = TARGET_PATH;
	if (stream->target == TARGET_AUTHORITY)
		return;
	path_add(request, byte);
	if (stream->target == TARGET_OTHER && request->path_bytes == request->path_length &&
	    request->path_bytes > 3 && !strcmp(request->path + request->path_bytes - 3, "://")) {
		path_clear(request);
		stream->target = TARGET_AUTHORITY;
	}
}

static void version_end(struct receive *receive)
{
	struct http_request_stream *stream = receive->stream;
	size_t length = stream->version_bytes;

	if (length && stream->version[length - 1] == '\r')
		length--;
	if (is_version(stream->version, length)) {
		report_begin(receive);
		stream->state = IN_FIELDS;
	} else if (!strcmp(stream->request.method, "PRI") && length == 8 &&
		   !memcmp(stream->version, "HTTP/2.0", 8)) {
		refuse(receive, HTTP_IS_HTTP2);
	} else {
		refuse(receive, HTTP_NO_VERSION);
	}
}

static void request_begin(struct receive *receive, int byte)
{
	struct http_request_stream *stream = receive->stream;
	int next;

	if (byte == '\r' || byte == '\n') {
		receive->at++; /* empty lines before a request are none of it */
		return;
	}
	if (!is_token(byte)) {
		next = http_byte(receive->bytes, receive->at + 1);
		refuse(receive, byte == 0x16 && (next == 3 || next < 0) ? HTTP_IS_TLS
									: HTTP_NO_REQUEST_LINE);
		return;
	}
	memset(&stream->request, 0, sizeof(stream->request));
	memset(&stream->fields, 0, sizeof(stream->fields));
	stream->method_bytes = 0;
	stream->version_bytes = 0;
	stream->target = TARGET_FIRST;
	stream->state = IN_METHOD;
	receive->begin = receive->at;
}

static void method_byte(struct receive *receive, int byte)
{
	struct http_request_stream *stream = receive->stream;

	if (byte == ' ') {
		stream->state = IN_TARGET;
	} else if (!is_token(byte) || stream->method_bytes == METHOD_MAX) {
		refuse(receive, HTTP_NO_REQUEST_LINE);
	} else {
		if (stream->method_bytes < HTTP_METHOD_BYTES - 1)
			stream->request.method[stream->method_bytes] = (char)byte;
		else
			stream->request.method_cut = true;
		stream->method_bytes++;
	}
}

static void line_byte(struct receive *receive, int byte)
{
	struct http_request_stream *stream = receive->stream;

	if (stream->state == IN_METHOD) {
		method_byte(receive, byte);
	} else if (stream->state == IN_TARGET) {
		if (byte == ' ' && stream->target == TARGET_FIRST)
			return;
		if (byte == ' ') {
			if (!stream->request.path_length)
				path_add(&stream->request, '/');
			stream->state = IN_VERSION;
		} else if (byte < ' ' || byte == 0x7f) {
			refuse(receive, HTTP_NO_VERSION);
		} else {
			target_byte(stream, (char)byte);
		}
	} else if (byte == '\n') {
		version_end(receive);
	} else if (byte != ' ' || stream->version_bytes) {
		if (stream->version_bytes == sizeof(stream->version))
			refuse(receive, HTTP_NO_VERSION);
		else
			stream->version[stream->version_bytes++] = (char)byte;
	}
}

static void head_step(struct receive *receive)
{
	struct http_request_stream *stream = receive->stream;
	int byte = http_byte(receive->bytes, receive->at);

	if (byte < 0 && stream->state == AT_START) {
		rest_hidden(receive, receive->at);
	} else if (byte < 0) {
		head_hidden(receive);
	} else if (stream->state == AT_START) {
		request_begin(receive, byte);
	} else if (stream->state == IN_FIELDS) {
		receive->at++;
		if (http_fields_take(&stream->fields, (uint8_t)byte))
			head_end(receive);
	} else {
		line_byte(receive, byte);
		if (stream->state != REFUSED)
			receive->at++;
	}
}

static void body_step(struct receive *receive)
{
	struct http_request_stream *stream = receive->stream;
	uint64_t bytes = receive->bytes->bytes - receive->at;
	enum http_chunks_end end;

	if (stream->state == IN_LENGTH) {
		if (bytes > stream->left)
			bytes = stream->left;
		receive->at += bytes;
		stream->left -= bytes;
		if (!stream->left)
			request_end(receive, receive->at);
		return;
	}
	end = http_chunks_take(&stream->chunks, receive->bytes, &receive->at);
	stream->request.uncertain |= http_chunks_lost(&stream->chunks);
	if (end != CHUNKS_OPEN)
		request_end(receive, receive->at);
}

/* Framing that was inferred gives way to what looks like the next request. */
static void follow_again(struct receive *receive)
{
	struct http_request_stream *stream = receive->stream;

	if (!begins_request(receive->bytes))
		return;
	if (stream->state == SKIPPING) {
		stream->state = AT_START;
	} else if (stream->headed && (stream->request.uncertain || stream->state == IN_UNKNOWN)) {
		stream->request.uncertain = true;
		request_end(receive, 0);
	}
}

int http_receive(struct http_request_stream *stream, const struct http_bytes *bytes,
		 http_request_each each, void *context)
{
	struct receive receive = {
		.stream = stream,
		.bytes = bytes,
		.each = each,
		.context = context,
	};

	if (!http_bytes_valid(bytes))
		return -EINVAL;
	if (stream->joined && !stream->entered)
		stream->state = SKIPPING;
	stream->entered = true;
	follow_again(&receive);
	receive.ended = 0; /* in these bytes, not before them */
	while (receive.at < bytes->bytes) {
		if (stream->state <= IN_FIELDS)
			head_step(&receive);
		else if (stream->state <= IN_CHUNKS)
			body_step(&receive);
		else if (stream->state == SKIPPING || stream->state == REFUSED)
			skip_rest(&receive, stream->state);
		else
			break;
	}
	if (stream->state > AT_START && stream->state <= IN_FIELDS)
		report_begin(&receive);
	return 0;
}

bool http_request_resync(struct http_request_stream *stream)
{
	bool open = stream->headed && (stream->request.uncertain || stream->state == IN_UNKNOWN);

	if (open || stream->state == REFUSED) {
		stream->state = SKIPPING;
		stream->refusal = HTTP_ACCEPTED;
		stream->begun = false;
		stream->headed = false;
	}
	return open;
}

void http_request_upgraded(struct http_request_stream *stream)
{
	stream->state = UPGRADED;
}
