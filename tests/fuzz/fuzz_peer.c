// SPDX-License-Identifier: Apache-2.0
/*
 * A connection whose bytes are hostile: port, then sends and receives (what, how much
 * more there was than is shown, length, bytes).  Real first bytes come from the recordings.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "attribute/peer.h"
#include "attribute/shape.h"
#include "unit/peer_bytes.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
	struct peer *peer;
	uint64_t now;
	size_t sends, calls;
};

static void check(int condition)
{
	if (!condition)
		abort();
}

static void on_call(void *context, const struct peer_call *call)
{
	struct run *run = context;

	run->calls++;
	check(call->commands > 0 && call->start_ns <= call->sent_ns);
	check(!call->reply_ns ||
	      (call->reply_ns >= call->sent_ns && call->end_ns >= call->reply_ns));
	check(!call->failed || !call->reply_ns);
	check(!call->shape || strlen(call->shape) <= SHAPE_BYTES);
	check(strcmp(protocol_name(call->protocol), "") != 0);
}

static void data(struct run *run, int send, const uint8_t *head, size_t length, uint64_t more)
{
	/* so that a byte too far is found */
	uint8_t *copy = malloc(length ? length : 1);
	struct peer_data data = { .time_ns = run->now + 1000, .last_ns = run->now + 1000 + more % 7,
				  .bytes = length + more, .head = copy, .head_bytes = length };

	if (!copy)
		return;
	memcpy(copy, head, length);
	run->now = data.time_ns;

	data.tail_bytes = length < PEER_TAIL_BYTES ? length : PEER_TAIL_BYTES;
	memcpy(data.tail, head + length - data.tail_bytes, data.tail_bytes);
	run->sends += send;
	if (send)
		peer_sent(run->peer, &data, run->now, on_call, run);
	else
		peer_received(run->peer, &data, on_call, run);
	free(copy);
}

/* Some real conversation up to a place; how the input goes on differs. */
static void real(struct run *run, uint8_t which, uint8_t pieces)
{
	static const struct {
		const struct piece *pieces;
		size_t count;
	} all[] = {
		{ asyncpg_bytes, COUNT(asyncpg_bytes) }, { psycopg_bytes, COUNT(psycopg_bytes) },
		{ sqlalchemy_bytes, COUNT(sqlalchemy_bytes) },
		{ redis_py_bytes, COUNT(redis_py_bytes) },
		{ redis_asyncio_bytes, COUNT(redis_asyncio_bytes) },
		{ redis_pubsub_bytes, COUNT(redis_pubsub_bytes) },
		{ httpx_bytes, COUNT(httpx_bytes) }, { aiohttp_bytes, COUNT(aiohttp_bytes) },
		{ requests_bytes, COUNT(requests_bytes) }, { pymysql_bytes, COUNT(pymysql_bytes) },
		{ aiomysql_bytes, COUNT(aiomysql_bytes) }, { pymongo_bytes, COUNT(pymongo_bytes) },
	};

	if (which >= COUNT(all))
		return;
	for (size_t i = 0; i < pieces && i < all[which].count; i++) {
		const struct piece *piece = &all[which].pieces[i];

		data(run, piece->way == 'S', (const uint8_t *)piece->head, piece->head_bytes,
		     piece->bytes - piece->head_bytes);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct shape_set *set;
	struct run run = { .now = 1 };
	size_t at = 4;

	/* one for the whole run, or the shapes would fill the memory */
	if (!set)
		set = shape_set_new(SHAPES_MAX);
	if (size < at || !set)
		return 0;
	run.peer = peer_new((uint16_t)(bytes[0] << 8 | bytes[1]));
	if (!run.peer)
		return 0;
	peer_share_shapes(run.peer, set);
	real(&run, bytes[2], bytes[3]);
	while (at + 4 <= size) {
		uint8_t what = bytes[at];
		uint64_t more = what & 0x80 ? (uint64_t)bytes[at + 1] << (bytes[at + 1] % 50) : 0;
		size_t length = (size_t)bytes[at + 2] | (size_t)(bytes[at + 3] & 1) << 8;

		at += 4;
		if (length > size - at)
			length = size - at;
		if (what % 16 < 14)
			data(&run, what % 2, bytes + at, length, more);
		else if (what % 16 == 14)
			peer_gap(run.peer, on_call, &run);
		else
			peer_settle(run.peer, run.now - more % 5000, on_call, &run);
		at += length;
	}
	if (bytes[0] & 1)
		peer_closed(run.peer, run.now, bytes[1] % 3, on_call, &run);
	else
		peer_open(run.peer, run.now, on_call, &run);
	/* HTTP/2: as many as there are frames in what is seen of a send */
	check(run.calls <= run.sends * (PEER_HEAD_BYTES / 9));
	peer_free(run.peer);
	return 0;
}
