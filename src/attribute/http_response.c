// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>

#include "attribute/http_message.h"

#define STATUS_LINE_BYTES 13	/* "HTTP/1.1 200 ", whatever follows */

enum {
	AT_START,	/* the stream starts zeroed */
	IN_LINE,
	IN_FIELDS,
	IN_LENGTH,
	IN_CHUNKS,	/* or in something that may be chunks */
	IN_UNKNOWN,	/* body without a known end */
	SKIPPING,	/* until a send begins with a status line */
	UPGRADED,
};

struct sending {
	struct http_response_stream *stream;
	const struct http_bytes *bytes;
	uint64_t at;
	uint64_t head_requests;
	bool here;		/* what is open began in these bytes */
	http_response_each each;
	void *context;
};

static void report(struct sending *sending, enum http_response_kind kind, uint64_t offset)
{
	struct http_response_stream *stream = sending->stream;
	struct http_response_event event = {
		.kind = kind,
		.status = stream->status,
		.uncertain = stream->uncertain,
		.offset = offset,
		.body = stream->body,
	};

	if (kind == HTTP_RESPONSE_UNSEEN) {
		event.status = 0;
		event.body = HTTP_BODY_NONE;
		event.uncertain = true;
		stream->unseen++;
	}
	sending->each(sending->context, &event);
}

static void skip_rest(struct sending *sending)
{
	sending->stream->skipped_bytes += sending->bytes->bytes - sending->at;
	sending->at = sending->bytes->bytes;
	sending->stream->state = SKIPPING;
	sending->stream->lost = true;
}

static void complete(struct sending *sending, uint64_t offset)
{
	struct http_response_stream *stream = sending->stream;

	report(sending, HTTP_RESPONSE_COMPLETE, offset);
	stream->open = false;
	stream->state = AT_START;
	sending->head_requests >>= 1;
}

static bool is_digit(uint8_t byte)
{
	return byte >= '0' && byte <= '9';
}

static bool is_status_line(const char *line)
{
	return !memcmp(line, "HTTP/1.", 7) && is_digit((uint8_t)line[7]) && line[8] == ' ' &&
	       line[9] >= '1' && line[9] <= '9' && is_digit((uint8_t)line[10]) &&
	       is_digit((uint8_t)line[11]) &&
	       (line[12] == ' ' || line[12] == '\r' || line[12] == '\n');
}

static bool begins_response(const struct http_bytes *bytes)
{
	return bytes->head_bytes >= STATUS_LINE_BYTES && is_status_line((const char *)bytes->head);
}

static enum http_body body_of(const struct http_response_stream *stream)
{
	const struct http_fields *fields = &stream->fields;

	if (stream->to_head || stream->status == 204 || stream->status == 304)
		return HTTP_BODY_NONE;
	if (fields->chunked)
		return HTTP_BODY_CHUNKED;
	if (fields->has_coding || fields->bad_length)
		return HTTP_BODY_CLOSE;
	if (fields->has_length)
		return fields->length ? HTTP_BODY_LENGTH : HTTP_BODY_NONE;
	return HTTP_BODY_CLOSE;
}

/* The head ends before `at`. */
static void head_end(struct sending *sending)
{
	struct http_response_stream *stream = sending->stream;

	if (!stream->open) {
		stream->state = AT_START; /* an interim response */
		return;
	}
	stream->to_head = sending->head_requests & 1;
	stream->body = body_of(stream);
	memset(&stream->chunks, 0, sizeof(stream->chunks));
	switch (stream->body) {
	case HTTP_BODY_NONE:
		complete(sending, sending->at);
		break;
	case HTTP_BODY_LENGTH:
		stream->left = stream->fields.length;
		stream->state = IN_LENGTH;
		break;
	case HTTP_BODY_CHUNKED:
		stream->state = IN_CHUNKS;
		break;
	default:
		stream->state = IN_UNKNOWN;
	}
}

/* Nothing of the head tells how the body ends: it may still be seen to be chunks. */
static void body_unknown(struct sending *sending)
{
	struct http_response_stream *stream = sending->stream;

	stream->body = HTTP_BODY_UNKNOWN;
	http_chunks_lose(&stream->chunks);
	stream->state = IN_CHUNKS;
}

/* Head and body in one buffer, the border between them not kept. */
static void body_hidden(struct sending *sending, uint64_t hidden)
{
	struct http_response_stream *stream = sending->stream;

	stream->body = body_of(stream);
	sending->at = sending->bytes->bytes;
	if (stream->body == HTTP_BODY_NONE) {
		complete(sending, sending->at);
	} else if (stream->body == HTTP_BODY_LENGTH) {
		if (stream->fields.length < hidden)
			complete(sending, sending->at);
		else
			stream->state = IN_UNKNOWN;
	} else {
		bool chunked = stream->body == HTTP_BODY_CHUNKED;

		body_unknown(sending);
		if (chunked)
			stream->body = HTTP_BODY_CHUNKED;
	}
}

/* The bytes at `at` were not kept, and they belong to a head. */
static void head_hidden(struct sending *sending)
{
	struct http_response_stream *stream = sending->stream;
	const struct http_bytes *bytes = sending->bytes;
	uint64_t hidden = bytes->bytes - sending->at;

	http_fields_skip(&stream->fields);
	stream->uncertain = true;
	stream->to_head = sending->head_requests & 1;
	if (sending->here && !stream->start && bytes->first_bytes > sending->at &&
	    bytes->first_bytes < bytes->bytes) {
		sending->at = bytes->first_bytes; /* the head was a buffer of its own */
		head_end(sending);
	} else if (stream->open && !stream->to_head && http_ends_with(bytes, "\r\n0\r\n\r\n")) {
		sending->at = bytes->bytes;
		stream->body = HTTP_BODY_CHUNKED;
		complete(sending, sending->at);
		return;
	} else if (!stream->open || bytes->tail_bytes < 4 || http_ends_with(bytes, "\r\n\r\n")) {
		sending->at = bytes->bytes;
		head_end(sending);
	} else {
		body_hidden(sending, hidden);
		return;
	}
	if (stream->open && stream->state == IN_UNKNOWN && !stream->fields.bad_length &&
	    !stream->fields.has_coding)
		body_unknown(sending);
}

static void response_begin(struct sending *sending)
{
	struct http_response_stream *stream = sending->stream;

	memset(&stream->fields, 0, sizeof(stream->fields));
	stream->uncertain = stream->lost;
	stream->lost = false;
	stream->line_bytes = 0;
	stream->status = 0;
	stream->body = HTTP_BODY_NONE;
	stream->start = sending->at;
	stream->state = IN_LINE;
	sending->here = true;
}

/* All of the status line that matters was read. */
static void status_take(struct sending *sending)
{
	struct http_response_stream *stream = sending->stream;
	const char *line = stream->line;
	uint64_t offset = sending->here ? stream->start : 0;

	if (!is_status_line(line)) {
		skip_rest(sending);
		return;
	}
	stream->status = (uint16_t)((line[9] - '0') * 100 + (line[10] - '0') * 10 + line[11] - '0');
	if (stream->status == 101) {
		report(sending, HTTP_RESPONSE_UPGRADED, offset);
		stream->state = UPGRADED;
	} else if (stream->status < 200) {
		report(sending, HTTP_RESPONSE_INTERIM, offset);
	} else {
		stream->open = true;
		report(sending, HTTP_RESPONSE_STARTED, offset);
	}
}

static void line_step(struct sending *sending, int byte)
{
	static const char begins[] = "HTTP/1.";
	struct http_response_stream *stream = sending->stream;
	size_t at = stream->line_bytes;

	if (at < STATUS_LINE_BYTES) {
		if (at < sizeof(begins) - 1 && byte != begins[at]) {
			skip_rest(sending);
			return;
		}
		stream->line[stream->line_bytes++] = (char)byte;
		if (stream->line_bytes == STATUS_LINE_BYTES)
			status_take(sending);
	}
	if (stream->state != IN_LINE)
		return;
	sending->at++;
	if (byte == '\n' && stream->line_bytes == STATUS_LINE_BYTES)
		stream->state = IN_FIELDS;
}

static void head_step(struct sending *sending)
{
	struct http_response_stream *stream = sending->stream;
	int byte = http_byte(sending->bytes, sending->at);

	if (stream->state == AT_START && byte >= 0)
		response_begin(sending);
	if (byte < 0 && (stream->state == AT_START || !stream->status)) {
		report(sending, HTTP_RESPONSE_UNSEEN,
		       stream->state == IN_LINE && sending->here ? stream->start : sending->at);
		skip_rest(sending);
	} else if (byte < 0) {
		head_hidden(sending);
	} else if (stream->state == IN_LINE) {
		line_step(sending, byte);
	} else {
		sending->at++;
		if (http_fields_take(&stream->fields, (uint8_t)byte))
			head_end(sending);
	}
}

static void body_step(struct sending *sending)
{
	struct http_response_stream *stream = sending->stream;
	uint64_t bytes = sending->bytes->bytes - sending->at;
	enum http_chunks_end end;

	if (stream->state == IN_LENGTH) {
		if (bytes > stream->left)
			bytes = stream->left;
		sending->at += bytes;
		stream->left -= bytes;
		if (!stream->left)
			complete(sending, sending->at);
		return;
	}
	end = http_chunks_take(&stream->chunks, sending->bytes, &sending->at);
	stream->uncertain |= http_chunks_lost(&stream->chunks);
	if (end != CHUNKS_OPEN)
		complete(sending, sending->at);
}

/* Framing that was inferred gives way to what looks like the next response. */
static void follow_again(struct sending *sending)
{
	struct http_response_stream *stream = sending->stream;

	if (!begins_response(sending->bytes))
		return;
	if (stream->state == SKIPPING) {
		stream->state = AT_START;
	} else if (stream->open && (stream->uncertain || stream->state == IN_UNKNOWN)) {
		stream->uncertain = true;
		complete(sending, 0);
	}
}

int http_send(struct http_response_stream *stream, const struct http_bytes *bytes,
	      uint64_t head_requests, http_response_each each, void *context)
{
	struct sending sending = {
		.stream = stream,
		.bytes = bytes,
		.head_requests = head_requests,
		.each = each,
		.context = context,
	};

	if (!http_bytes_valid(bytes))
		return -EINVAL;
	if (stream->joined && !stream->entered) {
		stream->state = SKIPPING;
		stream->lost = true;
	}
	stream->entered = true;
	follow_again(&sending);
	while (sending.at < bytes->bytes) {
		if (stream->state <= IN_FIELDS)
			head_step(&sending);
		else if (stream->state <= IN_CHUNKS)
			body_step(&sending);
		else if (stream->state == SKIPPING)
			skip_rest(&sending);
		else
			break;
	}
	return 0;
}

bool http_response_finish(struct http_response_stream *stream)
{
	bool whole = stream->open && stream->state > IN_FIELDS &&
		     (stream->uncertain || stream->state == IN_UNKNOWN);

	stream->open = false;
	if (stream->state != UPGRADED && stream->state != SKIPPING)
		stream->state = AT_START;
	return whole;
}
