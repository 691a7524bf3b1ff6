// SPDX-License-Identifier: Apache-2.0
#include "attribute/peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "attribute/peer_internal.h"
#include "base/vec.h"

/* A reply may arrive before the send that asked for it returns, but not long before. */
#define EARLY_NS 200000ull
/* A pipeline gets empty now and then; if not, a reply was missed and the count is wrong. */
#define BUSY_CALLS 16

struct peer *peer_new(uint16_t port)
{
	struct peer *peer = calloc(1, sizeof(*peer));

	if (peer)
		peer->port = port;
	return peer;
}

void peer_free(struct peer *peer)
{
	if (!peer)
		return;
	if (peer->own_shapes)
		shape_set_free(peer->shapes);
	free(peer->names);
	free(peer->items);
	free(peer);
}

void peer_share_shapes(struct peer *peer, struct shape_set *set)
{
	if (peer->own_shapes)
		shape_set_free(peer->shapes);
	peer->own_shapes = false;
	peer->shapes = set;
}

enum protocol peer_protocol(const struct peer *peer)
{
	return peer->protocol;
}

const char *peer_server_name(const struct peer *peer)
{
	return peer->server_name;
}

uint64_t peer_dropped(const struct peer *peer)
{
	return peer->dropped;
}

/* ---- calls that are over ---------------------------------------------------- */

/* Some are only ever told something: what never answered is no proof that it should have. */
static bool answers(const struct peer *peer)
{
	return peer->answered || peer->protocol != PROTOCOL_UNKNOWN;
}

static bool is_unpaired(const struct peer *peer)
{
	return peer->unpaired || peer_protocol_of(peer->protocol)->unpaired;
}

static void give(const struct peer *peer, const struct peer_outstanding *item,
		 const struct peer_sink *sink)
{
	struct peer_call call = item->call;

	call.protocol = peer->protocol;
	call.unpaired |= is_unpaired(peer);
	call.internal |= item->prepare && !call.error;
	if (!call.commands)
		call.commands = 1;
	/* what the peer said once nobody waited for it was about something else */
	if (!item->answered || (call.unpaired && item->over_ns && item->over_ns < call.reply_ns))
		call.reply_ns = 0;
	if (!call.reply_ns) {
		if (item->over_ns && item->over_ns < call.end_ns)
			call.end_ns = item->over_ns;
		call.due = answers(peer) && !call.silent && call.end_ns >= call.sent_ns &&
			   !item->answered;
	}
	call.sent_ns -= item->waited_ns;
	if (sink->each)
		sink->each(sink->context, &call);
}

static void give_held(struct peer *peer, const struct peer_sink *sink)
{
	if (peer->holding)
		give(peer, &peer->held, sink);
	peer->holding = false;
}

static void take_out(struct peer *peer, size_t index)
{
	peer->count--;
	memmove(&peer->items[index], &peer->items[index + 1],
		(peer->count - index) * sizeof(*peer->items));
}

void peer_finish(struct peer *peer, size_t index, const struct peer_sink *sink)
{
	struct peer_outstanding item = peer->items[index];

	take_out(peer, index);
	/* The statement is run next, as a rule: both are one call. */
	if (item.prepare && item.id && item.answered && !item.call.error && !peer->unpaired) {
		give_held(peer, sink);
		peer->held = item;
		peer->holding = true;
		return;
	}
	give(peer, &item, sink);
}

void peer_finish_all(struct peer *peer, const struct peer_sink *sink)
{
	give_held(peer, sink);
	while (peer->count) {
		struct peer_outstanding item = peer->items[0];

		take_out(peer, 0);
		give(peer, &item, sink);
	}
}

void peer_give_up_pairing(struct peer *peer)
{
	peer->unpaired = true;
}

/* ---- sends ------------------------------------------------------------------ */

/* Makes room for the new call: what was answered is over, what was not stays. */
static void settle_before(struct peer *peer, const struct peer_sink *sink)
{
	const struct peer_outstanding *front = peer_front(peer);

	if (peer->unpaired || peer_protocol_of(peer->protocol)->unpaired) {
		for (size_t i = 0; i < peer->count;) {
			if (peer->items[i].answered)
				peer_finish(peer, i, sink);
			else
				i++;
		}
	} else if (peer->count == 1 && front->answered && !front->exact) {
		peer->items[0].call.unpaired |= !front->ended;
		peer_finish(peer, 0, sink);
	} else if (peer->count) {
		/* Pipelined: counting goes on only where all of it can be counted. */
		for (size_t i = 0; i < peer->count; i++)
			if (!peer->items[i].exact)
				peer_give_up_pairing(peer);
	}
}

static void begin(struct peer *peer, const struct peer_view *view, const struct peer_send *send,
		  const struct peer_sink *sink)
{
	struct peer_outstanding *item;
	int error;

	settle_before(peer, sink);
	peer->busy = peer->count ? peer->busy + 1 : 0;
	if (peer->count && (!send->exact || peer->busy > BUSY_CALLS))
		peer_give_up_pairing(peer);
	if (peer->count >= PEER_MAX_CALLS) {
		peer->dropped++;
		peer_give_up_pairing(peer);
		peer_finish(peer, 0, sink);
	}
	error = vec_grow(peer, PEER_MAX_CALLS);
	if (error) {
		peer->dropped++;
		peer->error = error;
		peer_give_up_pairing(peer);
		return;
	}
	item = &peer->items[peer->count++];
	*item = (struct peer_outstanding){
		.call = { .token = send->token, .start_ns = view->time_ns, .sent_ns = view->time_ns,
			  .end_ns = send->silent ? view->time_ns : 0, .silent = send->silent,
			  .internal = send->internal, .page = send->page,
			  .commands = send->commands,
			  .shape = send->shape, .statement = send->statement,
			  .bytes_sent = view->total },
		.id = send->id, .replies = send->replies, .exact = send->exact,
		.open = send->open, .prepare = send->prepare, .ended = true,
	};
	if (send->silent)
		peer_finish(peer, peer->count - 1, sink);
}

static void go_on(struct peer *peer, struct peer_outstanding *item, const struct peer_view *view,
		  const struct peer_send *send)
{
	struct peer_call *call = &item->call;
	bool trips = peer_protocol_of(peer->protocol)->round_trips;

	call->bytes_sent += view->total;
	item->over_ns = 0;
	if (item->answered && trips) {
		item->waited_ns += call->reply_ns - call->sent_ns;
		item->answered = false;
	}
	if (!item->answered && view->time_ns > call->sent_ns)
		call->sent_ns = view->time_ns;
	if (peer->protocol == PROTOCOL_REDIS)
		call->shape = send->shape;
	else if (call->internal && !send->internal && send->shape)
		call->shape = send->shape;
	else if (!send->internal || !call->shape)
		call->shape = peer_joined(peer, call->shape, send->shape);
	call->internal &= send->internal;
	call->commands += send->commands;
	item->replies += send->replies;
	item->exact &= send->exact;
	item->open = send->open;
	item->prepare &= send->prepare;
	item->id = send->id ? send->id : item->id;
}

static void view_of(struct peer *peer, const struct peer_data *data, bool received,
		    uint8_t *scratch, struct peer_view *view)
{
	uint8_t *kept = peer->tail[received];
	size_t visible = data->head_bytes, tail = data->tail_bytes;

	if (visible > PEER_HEAD_BYTES)
		visible = PEER_HEAD_BYTES;
	if (visible > data->bytes || !data->head)
		visible = data->head ? data->bytes : 0;
	if (tail > PEER_TAIL_BYTES)
		tail = PEER_TAIL_BYTES;
	if (tail > data->bytes)
		tail = data->bytes;
	*view = (struct peer_view){
		.bytes = data->head ? data->head : scratch, .visible = visible,
		.total = data->bytes, .time_ns = data->time_ns,
		.last_ns = data->last_ns > data->time_ns ? data->last_ns : data->time_ns,
	};
	if (visible < data->bytes && visible + tail >= data->bytes) {
		/* head and tail overlap or meet: all of it is there */
		memcpy(scratch, data->head ? data->head : data->tail, visible);
		memcpy(scratch + data->bytes - tail, data->tail, tail);
		view->bytes = scratch;
		view->visible = data->bytes;
	}
	/* bytes that nobody saw are no end of anything */
	if (tail < PEER_TAIL_BYTES && tail < data->bytes)
		memset(kept, 0, PEER_TAIL_BYTES);
	memmove(kept, kept + tail, PEER_TAIL_BYTES - tail);
	memcpy(kept + PEER_TAIL_BYTES - tail, data->tail, tail);
	memcpy(view->tail, kept, PEER_TAIL_BYTES);
}

/* What nothing proves to be answered, and nobody waits for, is over when somebody else sends. */
static void leave_abandoned(struct peer *peer, struct peer_send *send,
			    const struct peer_sink *sink)
{
	struct peer_outstanding *newest = peer_newest(peer);

	if (!newest || !newest->over_ns || !send->token || newest->answered ||
	    !is_unpaired(peer))
		return;
	newest->call.silent = true;
	peer_finish(peer, peer->count - 1, sink);
	send->begins = true;
}

int peer_sent(struct peer *peer, const struct peer_data *data, uint64_t token, peer_each each,
	      void *context)
{
	const struct peer_sink sink = { each, context };
	struct peer_send send = { .token = token };
	uint8_t scratch[PEER_HEAD_BYTES + PEER_TAIL_BYTES];
	struct peer_view view;

	if (!data->bytes)
		return 0;
	peer->error = 0;
	view_of(peer, data, false, scratch, &view);
	peer_learn_sent(peer, &view, &sink);
	peer_protocol_of(peer->protocol)->sent(peer, &view, &send, &sink);
	if (send.nothing)
		return peer->error;
	if (send.begins && peer->holding && send.resumes == peer->held.id && !peer->count &&
	    !vec_grow(peer, PEER_MAX_CALLS)) {
		peer->items[peer->count++] = peer->held;
		peer->holding = false;
		send.begins = false;
	}
	leave_abandoned(peer, &send, &sink);
	if (send.begins || !peer->count) {
		give_held(peer, &sink);
		begin(peer, &view, &send, &sink);
		view.total = 0; /* the bytes are counted once */
		for (uint32_t i = 1; i < send.calls; i++)
			begin(peer, &view, &send, &sink);
	} else {
		go_on(peer, peer_newest(peer), &view, &send);
	}
	return peer->error;
}

/* ---- receives --------------------------------------------------------------- */

void peer_answer(struct peer *peer, struct peer_outstanding *item, const struct peer_view *view,
		 bool first)
{
	struct peer_call *call = &item->call;
	uint64_t when = first ? view->time_ns : view->last_ns;

	(void)peer;
	if (!item->answered) {
		item->answered = true;
		call->reply_ns = when > call->sent_ns ? when : call->sent_ns;
	}
	if (view->last_ns > call->end_ns)
		call->end_ns = view->last_ns;
	if (call->end_ns < call->reply_ns)
		call->end_ns = call->reply_ns;
}

void peer_reply(struct peer *peer, const struct peer_view *view, bool first)
{
	if (!peer->unpaired && !peer_protocol_of(peer->protocol)->unpaired) {
		if (peer->count)
			peer_answer(peer, &peer->items[0], view, first);
		return;
	}
	for (size_t i = 0; i < peer->count; i++)
		if (view->last_ns + EARLY_NS >= peer->items[i].call.start_ns)
			peer_answer(peer, &peer->items[i], view, true);
}

void peer_reply_end(struct peer *peer, const struct peer_sink *sink)
{
	struct peer_outstanding *front = peer_front(peer);

	if (!front || peer->unpaired || !front->answered)
		return;
	if (front->replies)
		front->replies--;
	front->ended = true;
	if (!front->replies && front->exact)
		peer_finish(peer, 0, sink);
}

void peer_reply_error(struct peer *peer)
{
	if (peer->count == 1 || (peer->count && !peer->unpaired))
		peer->items[0].call.error = true;
}

void peer_reply_lost(struct peer *peer, const struct peer_view *view, bool ended)
{
	if (peer->count > 1) {
		peer_give_up_pairing(peer);
		peer_reply(peer, view, true);
	} else if (peer->count) {
		peer->items[0].exact = false;
		peer->items[0].ended = ended;
	}
}

int peer_received(struct peer *peer, const struct peer_data *data, peer_each each, void *context)
{
	const struct peer_sink sink = { each, context };
	uint8_t scratch[PEER_HEAD_BYTES + PEER_TAIL_BYTES];
	struct peer_view view;

	if (!data->bytes)
		return 0;
	peer->error = 0;
	peer->answered = true;
	view_of(peer, data, true, scratch, &view);
	peer_learn_received(peer, &view);
	if (peer->count)
		peer->items[0].call.bytes_received += view.total;
	peer_protocol_of(peer->protocol)->received(peer, &view, &sink);
	return peer->error;
}

void peer_not_waited(struct peer *peer, uint64_t now_ns, peer_is_one is_one, void *context)
{
	for (size_t i = 0; i < peer->count; i++) {
		struct peer_outstanding *item = &peer->items[i];

		item->call.due = answers(peer) && !is_unpaired(peer);
		if (!item->answered && !item->over_ns && is_one(context, &item->call))
			item->over_ns = now_ns;
	}
}

/* ---- ends ------------------------------------------------------------------- */

void peer_gap(struct peer *peer, peer_each each, void *context)
{
	const struct peer_sink sink = { each, context };
	const enum protocol protocol = peer->protocol;

	for (size_t i = 0; i < peer->count; i++)
		peer->items[i].call.unpaired = true;
	peer_finish_all(peer, &sink);
	/* The next bytes may be in the middle of anything. */
	memset(peer->tail, 0, sizeof(peer->tail));
	switch (protocol) {
	case PROTOCOL_POSTGRES:
		peer->postgres.skip_sent = peer->postgres.skip_received = 0;
		peer->postgres.lost_sent = peer->postgres.lost_received = true;
		break;
	case PROTOCOL_REDIS:
		peer->redis = (struct redis_state){ .lost = true, .lost_reply = true };
		break;
	case PROTOCOL_MYSQL:
		peer->mysql = (struct mysql_state){ .lost_sent = true };
		break;
	case PROTOCOL_MONGODB:
		peer->mongodb = (struct mongodb_state){ .lost_sent = true, .lost_received = true };
		break;
	case PROTOCOL_HTTP1:
		peer->http = (struct http_state){ .tunnel = peer->http.tunnel };
		break;
	default:
		peer->frames[0] = peer->frames[1] = (struct frame_state){ .lost = true };
	}
}

void peer_settle(struct peer *peer, uint64_t before_ns, peer_each each, void *context)
{
	const struct peer_sink sink = { each, context };

	if (peer->holding && peer->held.call.end_ns < before_ns)
		give_held(peer, &sink);
	for (size_t i = 0; i < peer->count;) {
		const struct peer_outstanding *item = &peer->items[i];

		if (item->answered && item->call.end_ns < before_ns && !item->exact)
			peer_finish(peer, i, &sink);
		else
			i++;
	}
}

void peer_closed(struct peer *peer, uint64_t time_ns, enum peer_end how, peer_each each,
		 void *context)
{
	const struct peer_sink sink = { each, context };

	for (size_t i = 0; i < peer->count; i++) {
		struct peer_outstanding *item = &peer->items[i];

		/* who was only told something, and then left, owes nothing */
		item->call.silent |= !answers(peer) && how == PEER_GIVEN_UP;
		item->call.failed = !item->answered && !item->call.silent;
		/* Half of an answer and a reset is an error, too. */
		item->call.error |= item->answered && how == PEER_RESET && item->exact &&
				    item->replies;
		item->call.given_up = item->call.failed && how == PEER_GIVEN_UP;
		if (item->call.failed)
			item->call.end_ns = time_ns;
	}
	peer_finish_all(peer, &sink);
}

void peer_open(struct peer *peer, uint64_t now_ns, peer_each each, void *context)
{
	const struct peer_sink sink = { each, context };

	for (size_t i = 0; i < peer->count; i++)
		if (!peer->items[i].answered)
			peer->items[i].call.end_ns = now_ns;
	peer_finish_all(peer, &sink);
}
