// SPDX-License-Identifier: Apache-2.0
/*
 * PostgreSQL, protocol 3.0.  A call ends with ReadyForQuery, one per simple query or
 * Sync.  When a reply is longer than what was kept of it, its last six bytes tell.
 */
#include "attribute/peer_internal.h"

#include <string.h>

#include "base/intern.h"

#define HEADER 5
#define MESSAGE_MAX (1u << 30)
#define FRONTEND "QPBEDSHCFdcfpX"
#define BACKEND "123ACDEGHIKNRSTVWZcdnstv"

#define CODE_STARTUP 196608u
#define CODE_CANCEL 80877102u
#define CODE_SSL 80877103u
#define CODE_GSS 80877104u

#define KIND_STATEMENT 'S'
#define KIND_PORTAL 'P'

bool postgres_startup(const struct peer_view *view)
{
	uint32_t code;

	if (view->visible < 8 || be32(view->bytes) != view->total)
		return false;
	code = be32(view->bytes + 4);
	return (code >> 16 == 3 && (code & 0xffff) < 16 && view->visible > 8 && view->bytes[8]) ||
	       (code == CODE_CANCEL && view->total == 16) ||
	       ((code == CODE_SSL || code == CODE_GSS) && view->total == 8);
}

/* Messages of the given types from the first byte on; all that can be seen must be right. */
static bool messages(const struct peer_view *view, const char *types)
{
	uint64_t at = 0;

	while (at + HEADER <= view->visible) {
		uint32_t length = be32(view->bytes + at + 1);

		if (!view->bytes[at] || !strchr(types, view->bytes[at]) || length < 4 ||
		    length > MESSAGE_MAX)
			return false;
		at += 1 + (uint64_t)length;
	}
	return at && (at >= view->visible || view->visible < view->total);
}

bool postgres_messages(const struct peer_view *view)
{
	const uint8_t *sql = view->bytes + HEADER;

	if (!messages(view, FRONTEND))
		return false;
	/* A query is text, and ends in a zero. */
	if (view->bytes[0] != 'Q')
		return true;
	return view->visible > HEADER && (*sql >= 0x20 || *sql == '\n' || *sql == '\t' || !*sql) &&
	       (be32(view->bytes + 1) + 1 != view->total || !view->tail[PEER_TAIL_BYTES - 1]);
}

bool postgres_replies(const struct peer_view *view)
{
	return view->total >= 6 && messages(view, BACKEND);
}

/* Length of the string at `at` without its end; *ret_whole: the end was seen. */
static size_t string_at(const struct peer_view *view, size_t at, uint64_t end, bool *ret_whole)
{
	size_t limit = end < view->visible ? end : view->visible;
	const uint8_t *zero = at < limit ? memchr(view->bytes + at, '\0', limit - at) : NULL;

	*ret_whole = zero;
	return zero ? (size_t)(zero - view->bytes) - at : at < limit ? limit - at : 0;
}

static const char *sql_shape(struct peer *peer, const struct peer_view *view, size_t at,
			     uint64_t end)
{
	struct shape_text text;
	bool whole;
	size_t length = string_at(view, at, end, &whole);

	shape_sql(&text, view->bytes + at, length, whole, SQL_POSTGRES);
	return peer_shape(peer, &text);
}

/* A statement in this send: the first that is no housekeeping gives it its shape. */
static void statement(struct peer *peer, struct peer_send *send, const char *shape, bool empty)
{
	bool control = empty || (shape && shape_sql_internal(shape));

	send->page |= shape && (!strncmp(shape, "FETCH ", 6) || !strncmp(shape, "MOVE ", 5));
	send->prepare = false;
	if (!send->commands++ || (send->internal && !control))
		send->shape = shape;
	else if (!control)
		send->shape = peer_joined(peer, send->shape, shape);
	send->internal &= control;
}

static void parse(struct peer *peer, const struct peer_view *view, size_t at, uint64_t end,
		  struct peer_send *send)
{
	bool whole;
	size_t length = string_at(view, at, end, &whole);
	uint64_t hash;
	const char *shape;

	if (!whole)
		return;
	hash = peer_hash(KIND_STATEMENT, view->bytes + at, length);
	shape = sql_shape(peer, view, at + length + 1, end);
	/* An empty statement is a question whether anyone is there. */
	if (!shape && at + length + 1 < view->visible)
		shape = intern("");
	peer_define(peer, hash, shape);
	peer->postgres.named = hash;
	if (!send->commands) {
		send->prepare = true;
		send->id = hash;
		send->shape = shape && *shape ? shape : NULL;
		send->internal = shape && shape_sql_internal(shape);
	}
}

/* Bind: the portal gets the shape of the statement. */
static void bind(struct peer *peer, const struct peer_view *view, size_t at, uint64_t end)
{
	bool whole;
	size_t portal = string_at(view, at, end, &whole), name;
	uint64_t hash;

	if (!whole)
		return;
	name = string_at(view, at + portal + 1, end, &whole);
	if (!whole)
		return;
	hash = peer_hash(KIND_STATEMENT, view->bytes + at + portal + 1, name);
	peer->postgres.named = peer->postgres.bound = hash;
	peer_define(peer, peer_hash(KIND_PORTAL, view->bytes + at, portal),
		    peer_defined(peer, hash));
}

/*
 * What was bound has a name of the client's, and was prepared before anybody saw it: the name
 * tells it from other statements of this connection.
 */
static uint64_t named_statement(const struct peer *peer)
{
	uint64_t bound = peer->postgres.bound;

	return bound == peer_hash(KIND_STATEMENT, NULL, 0) ? 0 : bound;
}

static void execute(struct peer *peer, const struct peer_view *view, size_t at, uint64_t end,
		    struct peer_send *send)
{
	bool whole;
	size_t length = string_at(view, at, end, &whole);
	const char *shape = NULL;

	if (whole)
		shape = peer_defined(peer, peer_hash(KIND_PORTAL, view->bytes + at, length));
	if (!shape)
		send->statement = named_statement(peer);
	/* what was bound in an earlier call goes on */
	send->page = send->begins && !peer->postgres.bound;
	statement(peer, send, shape && *shape ? shape : NULL, shape && !*shape);
}

static void close_name(struct peer *peer, const struct peer_view *view, size_t at, uint64_t end)
{
	bool whole;
	size_t length = string_at(view, at + 1, end, &whole);

	if (whole)
		peer_forget(peer, peer_hash(view->bytes[at], view->bytes + at + 1, length));
}

static void sent_message(struct peer *peer, const struct peer_view *view, size_t at, uint64_t end,
			 struct peer_send *send)
{
	struct postgres_state *state = &peer->postgres;
	const char *shape;

	state->typed = true;
	switch (view->bytes[at]) {
	case 'Q':
		shape = sql_shape(peer, view, at + HEADER, end);
		statement(peer, send, shape, !shape);
		send->replies++;
		send->open = false;
		break;
	case 'P':
		parse(peer, view, at + HEADER, end, send);
		send->open = true;
		break;
	case 'B':
		bind(peer, view, at + HEADER, end);
		send->open = true;
		break;
	case 'E':
		execute(peer, view, at + HEADER, end, send);
		send->open = true;
		break;
	case 'S':
		state->synced = true;
		send->replies++;
		send->open = false;
		break;
	case 'F':
		send->internal = false;
		send->commands++;
		send->replies++;
		send->open = false;
		break;
	case 'd': case 'c': case 'f':
		state->copying = true;
		break;
	case 'C':
		close_name(peer, view, at + HEADER, end);
		send->open = true;
		break;
	default:
		send->open = true;
	}
}

/* Whether a send that starts with this message is not part of the newest call. */
static bool begins_call(struct peer *peer, const struct peer_view *view)
{
	const struct peer_outstanding *newest = peer_newest(peer);
	uint8_t type = view->bytes[0];
	uint64_t next = 1 + (uint64_t)be32(view->bytes + 1);
	bool whole;
	size_t portal, name;

	if (!newest)
		return true;
	if (strchr("dcfp", type))
		return false;
	if (!newest->open)
		return true;
	if (type == 'Q' || (type == 'P' && newest->prepare && newest->answered))
		return true;
	if (type != 'B' || !newest->prepare || !newest->answered)
		return false;
	portal = string_at(view, HEADER, next, &whole);
	name = whole ? string_at(view, HEADER + portal + 1, next, &whole) : 0;
	return whole && newest->id !=
				peer_hash(KIND_STATEMENT, view->bytes + HEADER + portal + 1, name);
}

/* Terminate; Flush behind a Sync, as libpq sends it. */
static bool no_call(struct peer *peer, const struct peer_view *view)
{
	const struct peer_outstanding *newest = peer_newest(peer);

	return view->total == HEADER &&
	       (view->bytes[0] == 'X' || (view->bytes[0] == 'H' && !(newest && newest->open)));
}

/* Messages before there are types: log-in, TLS, cancelling. */
static void sent_startup(struct peer *peer, const struct peer_view *view, struct peer_send *send)
{
	uint32_t code = be32(view->bytes + 4);

	send->begins = send->internal = send->exact = true;
	send->open = code >> 16 == 3;
	send->replies = code == CODE_CANCEL ? 0 : 1;
	send->silent = code == CODE_CANCEL;
	peer->postgres.ssl_asked = code == CODE_SSL || code == CODE_GSS;
}

/* What was not seen of a send: its last message can be told when it is Sync or Flush. */
static void sent_unseen(struct peer *peer, const struct peer_view *view, uint64_t at,
			struct peer_send *send)
{
	static const uint8_t sync[HEADER] = { 'S', 0, 0, 0, 4 };
	static const uint8_t flush[HEADER] = { 'H', 0, 0, 0, 4 };
	const uint8_t *last = view->tail + PEER_TAIL_BYTES - HEADER;
	struct postgres_state *state = &peer->postgres;
	bool synced = !memcmp(last, sync, HEADER), flushed = !memcmp(last, flush, HEADER);
	const char *shape;

	/* nothing but that message */
	send->exact = view->total - at == HEADER && (synced || flushed);
	send->prepare &= flushed || send->exact;
	state->lost_sent = !synced && !flushed;
	state->synced |= synced;
	send->open = !synced;
	send->replies += synced && !send->replies;
	/* what was bound is executed before the Sync */
	if (synced && !send->exact && state->bound && !send->commands) {
		shape = peer_defined(peer, state->bound);
		if (!shape)
			send->statement = named_statement(peer);
		statement(peer, send, shape && *shape ? shape : NULL, shape && !*shape);
	}
}

void postgres_sent(struct peer *peer, const struct peer_view *view, struct peer_send *send,
		   const struct peer_sink *sink)
{
	struct postgres_state *state = &peer->postgres;
	const struct peer_outstanding *newest = peer_newest(peer);
	uint64_t at = state->skip_sent < view->total ? state->skip_sent : view->total;
	size_t from = at;

	if (!state->typed && postgres_startup(view)) {
		sent_startup(peer, view, send);
		return;
	}
	send->exact = send->internal = true;
	state->bound = 0;
	send->open = newest && newest->open;
	state->skip_sent -= at;
	if (!from && state->lost_sent) {
		state->lost_sent = !postgres_messages(view);
		send->exact = false;
	}
	if (state->lost_sent || at == view->total) {
		send->internal = newest && newest->call.internal;
		send->prepare = newest && newest->prepare;
		return;
	}
	send->prepare = newest && newest->prepare;
	if (!from && view->visible >= HEADER) {
		send->nothing = no_call(peer, view);
		if (send->nothing)
			return;
		send->begins = begins_call(peer, view);
		send->open &= !send->begins;
		send->prepare &= !send->begins;
		if (send->begins && newest && newest->prepare && newest->answered)
			peer_finish(peer, peer->count - 1, sink);
		if (send->begins)
			state->copying = state->synced = false;
	}
	while (at + HEADER <= view->visible) {
		uint64_t end = at + 1 + (uint64_t)be32(view->bytes + at + 1);

		if (!view->bytes[at] || !strchr(FRONTEND, view->bytes[at]) ||
		    end < at + HEADER || end - at > MESSAGE_MAX)
			break;
		sent_message(peer, view, at, end, send);
		at = end;
	}
	if (at > view->total)
		state->skip_sent = at - view->total;
	else if (at < view->total)
		sent_unseen(peer, view, at, send);
	if (!from && view->visible && view->bytes[0] == 'B')
		send->resumes = state->named;
}

/* ---- replies ----------------------------------------------------------------- */

static bool ready(const struct peer_view *view)
{
	static const uint8_t message[] = { 'Z', 0, 0, 0, 5 };

	return !memcmp(view->tail + 2, message, sizeof(message)) && view->tail[7] &&
	       strchr("ITE", view->tail[7]);
}

static void received_ready(struct peer *peer, uint8_t status, const struct peer_view *view,
			   bool first, const struct peer_sink *sink)
{
	struct peer_outstanding *front;

	peer_reply(peer, view, first);
	/* Nothing but an error makes the transaction fail. */
	if (status == 'E' && peer->postgres.status && peer->postgres.status != 'E')
		peer_reply_error(peer);
	peer->postgres.status = status;
	front = peer_front(peer);
	if (front && front->replies <= 1)
		front->open = false;
	/* One reply was due, and here is its end. */
	if (front && peer->count == 1 && front->replies <= 1)
		front->exact = true;
	peer_reply_end(peer, sink);
}

static void copy_in(struct peer *peer, const struct peer_view *view, bool first)
{
	struct peer_outstanding *front = peer_front(peer);

	/* With rows on their way already, the wait for this one is no wait. */
	if (front && !peer->postgres.copying)
		peer_reply(peer, view, first);
	/* The server ignores a Sync that came before the rows. */
	if (front && peer->postgres.synced && front->replies && !front->open) {
		front->replies--;
		front->open = true;
	}
}

static void received_message(struct peer *peer, const struct peer_view *view, size_t at,
			     const struct peer_sink *sink)
{
	bool first = !at;

	switch (view->bytes[at]) {
	case 'A': case 'S':
		/* may come at any time */
		return;
	case 'G':
		copy_in(peer, view, first);
		return;
	case 'E':
		peer_reply(peer, view, first);
		peer_reply_error(peer);
		return;
	case 'Z':
		received_ready(peer, at + HEADER < view->visible ? view->bytes[at + HEADER] : 0,
			       view, first, sink);
		return;
	default:
		peer_reply(peer, view, first);
	}
}

/* Somewhere in a reply. */
static void received_lost(struct peer *peer, const struct peer_view *view,
			  const struct peer_sink *sink)
{
	struct postgres_state *state = &peer->postgres;
	const struct peer_outstanding *front = peer_front(peer);

	state->lost_received = !ready(view);
	if (!front || front->answered || peer->unpaired)
		peer_reply(peer, view, true);
	if (state->lost_received) {
		peer_reply_lost(peer, view, false);
	} else if (peer->count == 1 && front->replies > 1) {
		/* the end of the last reply, or of one before it */
		peer_reply_lost(peer, view, true);
	} else if (peer->count > 1) {
		peer_reply_lost(peer, view, true);
	} else {
		received_ready(peer, view->tail[7], view, false, sink);
	}
}

static void received_ssl(struct peer *peer, const struct peer_view *view,
			 const struct peer_sink *sink)
{
	struct postgres_state *state = &peer->postgres;

	state->ssl_asked = false;
	state->ssl = view->bytes[0] == 'S' || view->bytes[0] == 'G';
	peer_reply(peer, view, true);
	if (view->bytes[0] == 'E')
		peer_reply_error(peer);
	peer_reply_end(peer, sink);
}

void postgres_received(struct peer *peer, const struct peer_view *view,
		       const struct peer_sink *sink)
{
	struct postgres_state *state = &peer->postgres;
	uint64_t at = state->skip_received < view->total ? state->skip_received : view->total;

	if (state->ssl_asked && view->visible) {
		received_ssl(peer, view, sink);
		return;
	}
	if (at && peer->count && peer->items[0].answered)
		peer_reply(peer, view, true);
	state->skip_received -= at;
	if (!at && state->lost_received && postgres_replies(view) && peer->count == 1 &&
	    !peer->items[0].answered)
		state->lost_received = false;
	if (state->lost_received) {
		received_lost(peer, view, sink);
		return;
	}
	while (at + HEADER <= view->visible) {
		uint64_t end = at + 1 + (uint64_t)be32(view->bytes + at + 1);

		if (!view->bytes[at] || !strchr(BACKEND, view->bytes[at]) || end < at + HEADER ||
		    end - at > MESSAGE_MAX)
			break;
		received_message(peer, view, at, sink);
		at = end;
	}
	if (at > view->total)
		state->skip_received = at - view->total;
	else if (at < view->total)
		received_lost(peer, view, sink);
}
