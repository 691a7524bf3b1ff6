// SPDX-License-Identifier: Apache-2.0
/* HTTP/1.1 and the frames of HTTP/2. */
#include "attribute/peer_internal.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static const char *const methods[] = {
	"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE",
	"PROPFIND", "REPORT", "SEARCH", "QUERY", "PURGE",
};

/* Length of the method that the bytes start with, space not included; 0: none. */
static size_t method_length(const struct peer_view *view)
{
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		size_t length = strlen(methods[i]);

		if (view->visible > length + 1 && !memcmp(view->bytes, methods[i], length) &&
		    view->bytes[length] == ' ' && view->bytes[length + 1] > ' ')
			return length;
	}
	return 0;
}

/* Where the line that starts at `at` ends; `visible` when that cannot be seen. */
static size_t line_end(const struct peer_view *view, size_t at)
{
	const uint8_t *end = at < view->visible ?
			     memchr(view->bytes + at, '\n', view->visible - at) : NULL;

	return end ? (size_t)(end - view->bytes) : view->visible;
}

bool http1_request(const struct peer_view *view)
{
	static const char version[] = " HTTP/1.";
	size_t end = line_end(view, 0), length = method_length(view);

	if (!length)
		return false;
	if (end == view->visible)
		return view->visible < view->total && view->visible >= PEER_HEAD_BYTES;
	return end > length + sizeof(version) + 2 &&
	       !memcmp(view->bytes + end - sizeof(version) - 1, version, sizeof(version) - 1);
}

bool http1_status(const struct peer_view *view, size_t at, unsigned int *ret_status)
{
	const uint8_t *line = view->bytes + at;

	if (at + 12 > view->visible || memcmp(line, "HTTP/1.", 7) || line[8] != ' ' ||
	    !isdigit(line[9]) || !isdigit(line[10]) || !isdigit(line[11]))
		return false;
	*ret_status = (line[9] - '0') * 100u + (line[10] - '0') * 10u + (line[11] - '0');
	return true;
}

static bool header_is(const struct peer_view *view, size_t at, size_t end, const char *name)
{
	size_t length = strlen(name);

	return end - at > length && !strncasecmp((const char *)view->bytes + at, name, length);
}

/* How much of the body is still to be sent, where the headers were seen to their end. */
static void read_headers(struct http_state *state, const struct peer_view *view)
{
	static const char length_name[] = "content-length:";
	size_t at = line_end(view, 0) + 1, end;
	uint64_t length = 0;
	bool chunked = false;

	state->known = false;
	state->body = 0;
	for (; (end = line_end(view, at)) < view->visible; at = end + 1) {
		if (end - at <= 1) {
			uint64_t sent = view->total - (end + 1);

			state->known = !chunked;
			state->body = length > sent ? length - sent : 0;
			return;
		}
		chunked |= header_is(view, at, end, "transfer-encoding:");
		if (!header_is(view, at, end, length_name))
			continue;
		for (size_t i = at + sizeof(length_name) - 1; i < end; i++)
			if (isdigit(view->bytes[i]) && length < UINT64_MAX / 20)
				length = length * 10 + (view->bytes[i] - '0');
	}
}

void http1_sent(struct peer *peer, const struct peer_view *view, struct peer_send *send,
		const struct peer_sink *sink)
{
	struct http_state *state = &peer->http;
	struct shape_text text;
	size_t method, end;

	(void)sink;
	if (state->tunnel) {
		send->nothing = true;
		return;
	}
	if ((state->known && state->body) || !http1_request(view)) {
		state->body -= view->total < state->body ? view->total : state->body;
		send->nothing = !peer->count;
		return;
	}
	method = method_length(view);
	end = line_end(view, 0);
	shape_http(&text, view->bytes, method, view->bytes + method + 1, end - method - 1,
		   end < view->visible);
	send->begins = true;
	send->commands = send->replies = 1;
	send->shape = peer_shape(peer, &text);
	read_headers(state, view);
	state->interim = false;
}

/* Behind the blank line that ends the headers at `at`; 0: it was not seen. */
static size_t headers_end(const struct peer_view *view, size_t at)
{
	const uint8_t *end = memmem(view->bytes + at, view->visible - at, "\r\n\r\n", 4);

	return end ? (size_t)(end - view->bytes) + 4 : 0;
}

void http1_received(struct peer *peer, const struct peer_view *view, const struct peer_sink *sink)
{
	struct http_state *state = &peer->http;
	struct peer_outstanding *front = peer_front(peer);
	unsigned int status = 0;
	size_t at = 0, next;

	(void)sink;
	if (!front)
		return;
	if (front->answered && !peer->unpaired) {
		peer_reply(peer, view, true);
		return;
	}
	while (http1_status(view, at, &status) && status / 100 == 1 && status != 101) {
		next = headers_end(view, at);
		state->interim = !next;
		if (!next || next == view->total)
			return;
		at = next;
		status = 0;
	}
	if (!status && state->interim && !at)
		return;
	state->interim = false;
	/* another reply's rest, or one whose start was not seen */
	front->call.unpaired |= !status;
	if (status >= 500)
		peer_reply_error(peer);
	peer_reply(peer, view, !at);
	state->tunnel = status == 101 || (status / 100 == 2 && front->call.shape &&
					  !strncmp(front->call.shape, "CONNECT", 7));
	if (peer->count > 1)
		peer_reply_lost(peer, view, true);
}

/* ---- HTTP/2 ------------------------------------------------------------------- */

#define FRAME 9
#define FRAME_MAX (1u << 24)
#define DATA 0
#define HEADERS 1
#define RESET 3
static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
#define PREFACE_BYTES (sizeof(preface) - 1)

static uint32_t frame_length(const uint8_t *frame)
{
	return (uint32_t)frame[0] << 16 | frame[1] << 8 | frame[2];
}

/* The length that this type has, and the stream that it may be on. */
static bool frame_plausible(const uint8_t *frame)
{
	uint32_t length = frame_length(frame), stream = be32(frame + 5);

	switch (frame[3]) {
	case DATA: case HEADERS: case 9:
		return stream & 1 && stream < 1u << 31;
	case RESET: return length == 4 && stream & 1;
	case 4: return length % 6 == 0 && !stream;
	case 6: return length == 8 && !stream;
	case 7: return length >= 8 && !stream;
	case 8: return length == 4 && stream < 1u << 31;
	default: return false;
	}
}

/* Walks frames; how many are of these types (bits), or -1 when they are no frames. */
static int frames(struct frame_state *state, const struct peer_view *view, unsigned int types)
{
	uint64_t at = state->skip < view->total ? state->skip : view->total;
	int count = 0;

	state->skip -= at;
	if (view->visible >= PREFACE_BYTES && !memcmp(view->bytes, preface, PREFACE_BYTES))
		at = PREFACE_BYTES;
	while (at + FRAME <= view->visible) {
		if (!frame_plausible(view->bytes + at))
			return -1;
		state->counts = types >> view->bytes[at + 3] & 1;
		count += state->counts;
		at += FRAME + (uint64_t)frame_length(view->bytes + at);
	}
	state->lost = at < view->total;
	if (at > view->total)
		state->skip = at - view->total;
	return count;
}

bool http2_frames(const struct peer_view *view)
{
	struct frame_state state = { 0 };

	if (view->visible >= PREFACE_BYTES && !memcmp(view->bytes, preface, PREFACE_BYTES))
		return true;
	return view->visible >= FRAME && frames(&state, view, 0) >= 0 && !state.skip && !state.lost;
}

/* The same for what may begin in the middle of a frame: then the next one is looked for. */
static int frames_again(struct frame_state *state, const struct peer_view *view,
			unsigned int types)
{
	struct frame_state fresh = { 0 };
	int count = frames(state->lost ? &fresh : state, view, types);

	if (state->lost && count >= 0)
		*state = fresh;
	return count;
}

/* HEADERS begin calls; settings, windows and pings are no calls. */
void http2_sent(struct peer *peer, const struct peer_view *view, struct peer_send *send,
		const struct peer_sink *sink)
{
	int requests = frames_again(&peer->frames[0], view, 1u << HEADERS);

	(void)sink;
	send->begins = requests > 0;
	send->calls = requests > 0 ? (uint32_t)requests : 0;
	send->commands = send->begins;
	send->nothing = !send->begins && (!peer->count || peer_newest(peer)->answered);
}

void http2_received(struct peer *peer, const struct peer_view *view, const struct peer_sink *sink)
{
	struct frame_state *state = &peer->frames[1];
	bool inside = state->skip && state->counts;

	(void)sink;
	/* settings, windows and pings answer nobody's request */
	if (frames_again(state, view, 1u << DATA | 1u << HEADERS | 1u << RESET) || inside ||
	    state->lost)
		peer_reply(peer, view, true);
}
