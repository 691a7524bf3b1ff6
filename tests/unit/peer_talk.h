/* SPDX-License-Identifier: Apache-2.0 */
/* A connection for tests: what was said, and one line of text per call. */
#ifndef PEER_TALK_H
#define PEER_TALK_H

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "attribute/peer.h"
#include "unit/peer_bytes.h"

#define TALK_THINKS 100	/* time that a client takes before it sends */
#define TALK_WAITS 1	/* and a peer before it answers */

struct talk {
	struct peer *peer;
	uint64_t now;
	uint64_t token;
	char calls[8192];	/* "12 wait 1: 2 error SELECT ..." */
	size_t used;
	size_t count;
	struct peer_call last;
};

static void talk_call(void *context, const struct peer_call *call)
{
	struct talk *talk = context;
	char wait[24] = "no reply";
	int length;

	if (call->reply_ns)
		snprintf(wait, sizeof(wait), "wait %lld",
			 (long long)(call->reply_ns - call->sent_ns));
	length = snprintf(talk->calls + talk->used, sizeof(talk->calls) - talk->used,
			  "%u %s: %u%s%s%s%s %s\n", (unsigned int)call->token, wait,
			  call->commands, call->error ? " error" : "",
			  call->failed ? " failed" : "", call->unpaired ? " unpaired" : "",
			  call->internal ? " internal" : "", call->shape ? call->shape : "-");
	talk->used += (size_t)length;
	if (talk->used > sizeof(talk->calls))
		talk->used = sizeof(talk->calls);
	talk->count++;
	talk->last = *call;
}

static void talk_bytes(struct talk *talk, char way, const char *head, size_t head_bytes,
		       uint64_t bytes, const char *tail)
{
	struct peer_data data = { .bytes = bytes, .head = (const uint8_t *)head,
				  .head_bytes = head_bytes };

	data.tail_bytes = bytes < PEER_TAIL_BYTES ? bytes : PEER_TAIL_BYTES;
	memcpy(data.tail, tail, data.tail_bytes);
	talk->now += way == 'S' ? TALK_THINKS : TALK_WAITS;
	data.time_ns = data.last_ns = talk->now;
	if (way == 'S')
		peer_sent(talk->peer, &data, ++talk->token, talk_call, talk);
	else
		peer_received(talk->peer, &data, talk_call, talk);
}

/* A send or receive; what a probe would not keep of it is cut off. */
static inline void talk_piece(struct talk *talk, char way, const char *text, size_t length)
{
	size_t head = way == 'S' ? 512 : 64;

	talk_bytes(talk, way, text, length < head ? length : head, length,
		   text + (length < PEER_TAIL_BYTES ? 0 : length - PEER_TAIL_BYTES));
}

#define SEND(talk, text) talk_piece(talk, 'S', text, sizeof(text) - 1)
#define RECEIVE(talk, text) talk_piece(talk, 'R', text, sizeof(text) - 1)

static inline void talk_recorded(struct talk *talk, const struct piece *pieces, size_t count,
				 size_t head_limit)
{
	for (size_t i = 0; i < count; i++)
		talk_bytes(talk, pieces[i].way, pieces[i].head,
			   pieces[i].head_bytes < head_limit ? pieces[i].head_bytes : head_limit,
			   pieces[i].bytes, pieces[i].tail);
}

#endif
