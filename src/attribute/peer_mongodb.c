// SPDX-License-Identifier: Apache-2.0
/* MongoDB: messages with a request id, which the reply repeats. */
#include "attribute/peer_internal.h"

#include <string.h>

#define HEADER 16
#define MESSAGE_MAX (64u << 20)
#define OP_REPLY 1
#define OP_QUERY 2004
#define OP_COMPRESSED 2012
#define OP_MSG 2013
#define MORE_TO_COME 2u
#define NAME_BYTES 64

#define BSON_DOUBLE 0x01
#define BSON_STRING 0x02
#define BSON_INT32 0x10
#define BSON_INT64 0x12

bool mongodb_message(const struct peer_view *view, bool reply)
{
	uint32_t length, code;

	if (view->visible < HEADER)
		return false;
	length = le32(view->bytes);
	code = le32(view->bytes + 12);
	if (length < HEADER || length > MESSAGE_MAX || !le32(view->bytes + 8) == reply)
		return false;
	return code == OP_MSG || code == OP_COMPRESSED || code == (reply ? OP_REPLY : OP_QUERY);
}

/* What names a command or a collection; false: it is none. */
static bool add_name(struct shape_text *text, const uint8_t *name, size_t length)
{
	if (!length || length > NAME_BYTES)
		return false;
	for (size_t i = 0; i < length; i++)
		if (name[i] < 0x20 || name[i] == 0x7f)
			return false;
	shape_add(text, (const char *)name, length);
	return true;
}

static bool is(const uint8_t *name, size_t length, const char *text)
{
	return strlen(text) == length && !memcmp(name, text, length);
}

static bool internal_command(const uint8_t *name, size_t length)
{
	static const char *const names[] = {
		"hello", "isMaster", "ismaster", "ping", "saslStart", "saslContinue",
		"authenticate", "getnonce", "endSessions", "buildInfo", "buildinfo",
		"commitTransaction",
		"abortTransaction", "killCursors", "logout",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (is(name, length, names[i]))
			return true;
	return false;
}

/* The name of the element at `at`; 0: it is not whole.  *ret_value: where its value is. */
static size_t element(const struct peer_view *view, size_t at, size_t *ret_value)
{
	const uint8_t *zero;

	if (at + 2 > view->visible)
		return 0;
	zero = memchr(view->bytes + at + 1, '\0', view->visible - at - 1);
	if (!zero)
		return 0;
	*ret_value = (size_t)(zero - view->bytes) + 1;
	return *ret_value - at - 2;
}

/* The first key of the command's document is its name, the value its collection. */
static void command(struct peer *peer, const struct peer_view *view, size_t at,
		    struct peer_send *send)
{
	struct shape_text text = { .length = 0 };
	const uint8_t *name = view->bytes + at + 1;
	size_t value, length = element(view, at, &value), size;
	uint8_t type;

	if (!length || !add_name(&text, name, length))
		return;
	send->internal = internal_command(name, length);
	send->page = is(name, length, "getMore");
	type = view->bytes[at];
	size = type == BSON_INT64 ? 8 : type == BSON_INT32 ? 4 : 0;
	if (size && is(name, length, "getMore") && value + size < view->visible) {
		at = value + size;
		name = view->bytes + at + 1;
		length = element(view, at, &value);
		type = is(name, length, "collection") ? view->bytes[at] : 0;
	}
	if (type == BSON_STRING && !send->internal && value + 4 <= view->visible) {
		size = le32(view->bytes + value);
		if (size > 1 && size <= NAME_BYTES && value + 4 + size <= view->visible) {
			shape_add(&text, " ", 1);
			if (!add_name(&text, view->bytes + value + 4, size - 1))
				text.text[--text.length] = '\0';
		}
	}
	send->shape = peer_shape(peer, &text);
}

static void sent_message(struct peer *peer, const struct peer_view *view, size_t at,
			 struct peer_send *send)
{
	const uint8_t *bytes = view->bytes + at;
	uint32_t code = le32(bytes + 12);
	const uint8_t *zero;

	send->begins = send->exact = true;
	send->id = le32(bytes + 4) + 1ull;
	send->replies = send->commands = 1;
	if (code == OP_MSG && at + HEADER + 10 <= view->visible) {
		send->silent = le32(bytes + HEADER) & MORE_TO_COME;
		/* sections of documents may come before the one of the command */
		if (!bytes[HEADER + 4])
			command(peer, view, at + HEADER + 9, send);
	} else if (code == OP_QUERY && at + HEADER + 5 < view->visible) {
		zero = memchr(bytes + HEADER + 4, '\0', view->visible - at - HEADER - 4);
		if (zero && (size_t)(zero - view->bytes) + 14 < view->visible)
			command(peer, view, (size_t)(zero - view->bytes) + 13, send);
	}
}

void mongodb_sent(struct peer *peer, const struct peer_view *view, struct peer_send *send,
		  const struct peer_sink *sink)
{
	struct mongodb_state *state = &peer->mongodb;
	uint64_t at = state->skip_sent < view->total ? state->skip_sent : view->total;
	const struct peer_outstanding *newest = peer_newest(peer);

	(void)sink;
	state->skip_sent -= at;
	send->exact = true;
	send->internal = newest && newest->call.internal;
	if (state->lost_sent && !at)
		state->lost_sent = !mongodb_message(view, false);
	if (at == view->total || state->lost_sent) {
		send->nothing = !newest;
		return;
	}
	if (at + HEADER <= view->visible && le32(view->bytes + at) >= HEADER) {
		sent_message(peer, view, at, send);
		at += le32(view->bytes + at);
	}
	/* Clients send one message at a time; what is behind it would not be told apart. */
	if (at > view->total)
		state->skip_sent = at - view->total;
	else if (at < view->total)
		state->lost_sent = true;
}

/* ---- replies ------------------------------------------------------------------ */

static size_t find(const struct peer *peer, uint64_t id)
{
	size_t i = 0;

	while (i < peer->count && peer->items[i].id != id)
		i++;
	return i;
}

/* {ok: 0.0, ...}: the server puts it first when a command fails. */
static void body(struct peer *peer, const struct peer_view *view, size_t at)
{
	struct mongodb_state *state = &peer->mongodb;
	size_t index = find(peer, state->reply_to), value, length;
	static const uint8_t zero[8];

	state->body = false;
	if (at + 9 >= view->visible || view->bytes[at + 4] || index == peer->count)
		return;
	at += 9;
	length = element(view, at, &value);
	if (view->bytes[at] == BSON_DOUBLE && is(view->bytes + at + 1, length, "ok") &&
	    value + 8 <= view->visible && !memcmp(view->bytes + value, zero, 8))
		peer->items[index].call.error = true;
}

static void answered(struct peer *peer, const struct peer_view *view, bool first)
{
	size_t index = find(peer, peer->mongodb.reply_to);

	if (index < peer->count)
		peer_answer(peer, &peer->items[index], view, first);
}

static void over(struct peer *peer, const struct peer_sink *sink)
{
	size_t index = find(peer, peer->mongodb.reply_to);

	if (index < peer->count && peer->mongodb.reply_to)
		peer_finish(peer, index, sink);
	peer->mongodb.reply_to = 0;
}

void mongodb_received(struct peer *peer, const struct peer_view *view,
		      const struct peer_sink *sink)
{
	struct mongodb_state *state = &peer->mongodb;
	uint64_t at = 0;

	if (state->lost_received && !mongodb_message(view, true))
		return;
	state->lost_received = false;
	while (at < view->total) {
		uint64_t left = view->total - at;
		uint32_t length;

		if (state->skip_received) {
			answered(peer, view, !at);
			if (state->body && at < view->visible)
				body(peer, view, at);
			left = state->skip_received < left ? state->skip_received : left;
			state->skip_received -= left;
			at += left;
			if (!state->skip_received)
				over(peer, sink);
			continue;
		}
		length = at + HEADER <= view->visible ? le32(view->bytes + at) : 0;
		if (length < HEADER || length > MESSAGE_MAX) {
			state->lost_received = true;
			return;
		}
		state->reply_to = le32(view->bytes + at + 8) + 1ull;
		state->body = le32(view->bytes + at + 12) == OP_MSG;
		answered(peer, view, !at);
		at += HEADER;
		state->skip_received = length - HEADER;
	}
}
