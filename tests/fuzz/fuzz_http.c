// SPDX-License-Identifier: Apache-2.0
/*
 * Connections: any bytes in any parts, and well-formed messages in any parts.
 * What was reported must be consistent; when all is kept the parts must not matter.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attribute/http.h"

#define STREAM_BYTES 4096
#define MESSAGES 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t size;
};

/* What was reported of a stream; `text` has what must not depend on its parts. */
struct seen {
	uint64_t begun, headed, ended, retracted, unseen;
	uint64_t started, completed, upgraded;
	uint64_t bytes;		/* of the part */
	char text[MESSAGES * 64];
	size_t length;
	bool uncertain;
};

static void require(bool condition)
{
	if (!condition)
		abort();
}

static unsigned take(struct input *input)
{
	if (!input->size)
		return 0;
	input->size--;
	return *input->data++;
}

static void tell(struct seen *seen, const char *what, const char *text, uint64_t number)
{
	int length = snprintf(seen->text + seen->length, sizeof(seen->text) - seen->length,
			      "%s %s %llu\n", what, text, (unsigned long long)number);

	if (length > 0 && seen->length + (size_t)length < sizeof(seen->text))
		seen->length += (size_t)length;
}

static void on_request(void *context, const struct http_request_event *event)
{
	const struct http_request *request = event->request;
	struct seen *seen = context;

	require(event->offset <= seen->bytes);
	require(!!request == (event->kind != HTTP_REQUEST_UNSEEN));
	seen->uncertain |= event->uncertain;
	seen->begun += event->kind == HTTP_REQUEST_BEGIN;
	seen->headed += event->kind == HTTP_REQUEST_HEAD;
	seen->ended += event->kind == HTTP_REQUEST_END;
	seen->retracted += event->kind == HTTP_REQUEST_RETRACT;
	seen->unseen += event->kind == HTTP_REQUEST_UNSEEN;
	if (!request)
		return;
	require(strlen(request->method) < sizeof(request->method));
	require(request->path_bytes <= LS_PATH_BYTES);
	require(request->path_bytes == strlen(request->path));
	require(request->path_bytes <= request->path_length);
	if (event->kind == HTTP_REQUEST_HEAD) {
		tell(seen, request->method, request->path, request->path_length);
		tell(seen, "body", "", request->body);
	} else if (event->kind == HTTP_REQUEST_END) {
		tell(seen, "end", "", 0);
	}
}

static void on_response(void *context, const struct http_response_event *event)
{
	struct seen *seen = context;

	require(event->offset <= seen->bytes);
	require(event->status <= 999);
	require((event->kind == HTTP_RESPONSE_UNSEEN) == !event->status);
	require((event->kind == HTTP_RESPONSE_UPGRADED) == (event->status == 101));
	require(!seen->upgraded);
	seen->uncertain |= event->uncertain;
	seen->started += event->kind == HTTP_RESPONSE_STARTED;
	seen->completed += event->kind == HTTP_RESPONSE_COMPLETE;
	seen->upgraded += event->kind == HTTP_RESPONSE_UPGRADED;
	if (event->kind != HTTP_RESPONSE_UNSEEN)
		tell(seen, "response", "", event->status * 10 + event->kind);
}

struct connection {
	struct http_request_stream in;
	struct http_response_stream out;
	struct seen requests, responses;
};

static void consistent(const struct connection *connection)
{
	const struct seen *in = &connection->requests, *out = &connection->responses;

	require(in->ended <= in->headed && in->headed <= in->begun);
	require(in->headed + in->retracted <= in->begun);
	require(in->begun - in->ended - in->retracted == connection->in.begun);
	require(in->headed - in->ended == connection->in.headed);
	require(in->unseen == connection->in.unseen);
	require(out->completed <= out->started && out->started - out->completed <= 1);
	require(out->started - out->completed == connection->out.open);
}

/* A part in memory of exactly its size. */
static void part_feed(struct connection *connection, bool receive, const uint8_t *text,
		      size_t bytes, size_t kept, size_t tail, uint32_t first_bytes)
{
	struct http_bytes part = { .bytes = bytes, .first_bytes = first_bytes };
	uint8_t *head;

	part.head_bytes = kept < bytes ? kept : bytes;
	part.tail_bytes = tail < bytes ? tail : bytes;
	head = malloc(part.head_bytes + !part.head_bytes);
	require(head);
	if (bytes) {
		memcpy(head, text, part.head_bytes);
		memcpy(part.tail, text + bytes - part.tail_bytes, part.tail_bytes);
	}
	part.head = head;
	connection->requests.bytes = bytes;
	connection->responses.bytes = bytes;
	if (receive)
		require(!http_receive(&connection->in, &part, on_request, &connection->requests));
	else
		require(!http_send(&connection->out, &part, 0, on_response,
				   &connection->responses));
	free(head);
	consistent(connection);
}

static void any_bytes(struct input input)
{
	static struct connection connection;
	unsigned flags = take(&input);

	memset(&connection, 0, sizeof(connection));
	connection.in.joined = flags & 1;
	connection.out.joined = flags & 2;
	while (input.size) {
		unsigned how = take(&input), first = take(&input);
		size_t bytes = take(&input) | (how & 1) << 8, kept = take(&input);
		bool receive = how & 2;

		if (bytes > input.size)
			bytes = input.size;
		part_feed(&connection, receive, input.data, bytes, how & 4 ? SIZE_MAX : kept,
			  how & 8 ? LS_TAIL_BYTES : 0, first);
		input.data += bytes;
		input.size -= bytes;
		if ((how & 0x30) == 0x30 && http_request_resync(&connection.in))
			connection.requests.ended++;
		else if ((how & 0x30) == 0x30 && !connection.in.begun)
			require(!connection.in.refusal);
		if ((how & 0xc0) == 0xc0 && connection.out.open) {
			http_response_finish(&connection.out);
			connection.responses.completed++;
		}
		consistent(&connection);
	}
}

/* Appends well-formed requests or responses. */
static size_t messages(struct input *input, bool requests, char *text)
{
	static const char *const methods[] = { "GET", "POST", "HEAD", "PURGE",
			"X-LONG-METHOD-NAME" };
	static const char *const statuses[] = { "200 OK", "404 ", "204 No", "304 \xff", "500",
			"103 A" };
	size_t at = 0, count = 1 + take(input) % MESSAGES;

	while (count-- && at < STREAM_BYTES - 1000) {
		unsigned shape = take(input), length = take(input) % 100;
		unsigned status = shape % 6;

		if (requests)
			at += (size_t)sprintf(text + at, "%s /%.*s%%20?a=b HTTP/1.1\r\n",
					      methods[shape % 5],
					      (int)length * 2,
					      "pppppppppppppppppppppppppppppppppppppppppppppppppp"
					      "pppppppppppppppppppppppppppppppppppppppppppppppppp"
					      "pppppppppppppppppppppppppppppppppppppppppppppppppp"
					      "pppppppppppppppppppppppppppppppppppppppppppppppppp");
		else
			at += (size_t)sprintf(text + at, "HTTP/1.1 %s\r\n", statuses[status]);
		if (shape & 64)
			at += (size_t)sprintf(text + at, "Folded: a\r\n\tContent-Length: 3\r\n");
		if (!requests && status > 1 && status != 4) {
			at += (size_t)sprintf(text + at, "A: b\r\n\r\n");
			continue;
		}
		if (shape & 128) {
			at += (size_t)sprintf(text + at, "TRANSFER-encoding: chunked\r\n\r\n");
			for (unsigned part = length; part; part /= 3) {
				at += (size_t)sprintf(text + at, "%x;e\r\n", part);
				memset(text + at, part & 1 ? '0' : '\n', part);
				at += part;
				at += (size_t)sprintf(text + at, "\r\n");
			}
			at += (size_t)sprintf(text + at, "0\r\n%s\r\n",
					      shape & 8 ? "T: 0\r\n" : "");
		} else {
			at += (size_t)sprintf(text + at, "content-length:%u\r\n\r\n", length);
			memset(text + at, "\r\nGH"[length % 4], length);
			at += length;
		}
	}
	return at;
}

static void well_formed(struct input input, bool requests)
{
	static struct connection whole, parts;
	static char text[STREAM_BYTES];
	size_t length = messages(&input, requests, text), at = 0;
	struct seen *a = requests ? &whole.requests : &whole.responses;
	struct seen *b = requests ? &parts.requests : &parts.responses;

	memset(&whole, 0, sizeof(whole));
	memset(&parts, 0, sizeof(parts));
	part_feed(&whole, requests, (const uint8_t *)text, length, SIZE_MAX, LS_TAIL_BYTES, 0);
	while (at < length) {
		size_t bytes = 1 + take(&input);

		if (bytes > length - at)
			bytes = length - at;
		part_feed(&parts, requests, (const uint8_t *)text + at, bytes, SIZE_MAX,
			  LS_TAIL_BYTES, (uint32_t)(bytes / 2));
		at += bytes;
	}
	require(a->length == b->length && !memcmp(a->text, b->text, a->length));
	require(!a->uncertain && !b->uncertain && a->unseen + a->retracted == 0);
	require(a->begun == a->ended && a->started == a->completed);
	require(a->begun + a->started > 0 || !requests);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };

	any_bytes(input);
	well_formed(input, true);
	well_formed(input, false);
	return 0;
}
