// SPDX-License-Identifier: Apache-2.0
/* Redis, RESP2 and RESP3: one reply per command, in order, and pushes between them. */
#include "attribute/peer_internal.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define MANY (1ull << 40)

enum { COMMANDS, REPLIES };

static const char *const with_subcommand[] = {
	"ACL", "CLIENT", "CLUSTER", "COMMAND", "CONFIG", "DEBUG", "FUNCTION", "LATENCY",
	"MEMORY", "MODULE", "OBJECT", "PUBSUB", "SCRIPT", "SLOWLOG", "XGROUP", "XINFO",
};

static const char *const housekeeping[] = {
	"AUTH", "CLIENT", "DISCARD", "ECHO", "HELLO", "MULTI", "PING", "QUIT", "READONLY",
	"RESET", "SELECT", "UNWATCH", "WATCH",
};

/* Runs the commands before it, which have been counted. */
static const char *const end_of_transaction[] = { "EXEC" };

/* Answered by pushes, or by more than one reply: counting ends. */
static const char *const endless[] = {
	"MONITOR", "PSUBSCRIBE", "PSYNC", "PUNSUBSCRIBE", "SSUBSCRIBE", "SUBSCRIBE",
	"SUNSUBSCRIBE", "SYNC", "UNSUBSCRIBE",
};

/* One page of many: the next one needs what this one answers. */
static const char *const pages[] = { "HSCAN", "SCAN", "SSCAN", "ZSCAN" };

static bool word_among(const struct redis_state *state, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strlen(words[i]) == state->word_bytes[0] &&
		    !strncasecmp(words[i], state->word[0], state->word_bytes[0]))
			return true;
	return false;
}

#define AMONG(state, words) word_among(state, words, sizeof(words) / sizeof((words)[0]))

bool redis_command(const struct peer_view *view)
{
	size_t at = 1;

	if (view->visible < 4 || view->bytes[0] != '*' || !isdigit(view->bytes[1]))
		return false;
	while (at < view->visible && at < 12 && isdigit(view->bytes[at]))
		at++;
	if (at + 1 < view->visible && (view->bytes[at] != '\r' || view->bytes[at + 1] != '\n'))
		return false;
	return at + 2 >= view->visible || view->bytes[at + 2] == '$';
}

/* Takes bytes of a line, cut off perhaps; true when it is whole: line[] holds its start. */
static bool take_line(struct redis_state *state, int direction, const struct peer_view *view,
		      size_t *at)
{
	uint8_t *length = &state->line_bytes[direction];

	while (*at < view->visible) {
		uint8_t byte = view->bytes[(*at)++];

		if (byte == '\n')
			return true;
		if (*length < REDIS_LINE - 1)
			state->line[direction][(*length)++] = (char)byte;
	}
	return false;
}

/* The number behind the type of a line; -1 for none and for what cannot be. */
static int64_t line_number(struct redis_state *state, int direction)
{
	const char *line = state->line[direction];
	int64_t number = 0;
	size_t at = 1, length = state->line_bytes[direction];

	state->line_bytes[direction] = 0;
	if (length < 2 || !isdigit((unsigned char)line[1]))
		return -1;
	for (; at < length && isdigit((unsigned char)line[at]); at++) {
		number = number * 10 + (line[at] - '0');
		if (number > (int64_t)MANY)
			return -1;
	}
	return number;
}

/* ---- commands ---------------------------------------------------------------- */

static bool name_byte(char byte)
{
	return isalnum((unsigned char)byte) || strchr("._-|", byte);
}

/* "CLIENT SETINFO"; a word that is no name makes a shape without it. */
static const char *command_name(struct peer *peer)
{
	const struct redis_state *state = &peer->redis;
	struct shape_text text = { .length = 0 };

	for (size_t i = 0; i < 2; i++) {
		for (size_t k = 0; k < state->word_bytes[i]; k++) {
			char byte = state->word[i][k];

			if (!byte || !name_byte(byte))
				return NULL;
			if (i && !k)
				shape_add(&text, " ", 1);
			byte = (char)toupper((unsigned char)byte);
			shape_add(&text, &byte, 1);
		}
	}
	return text.length ? peer_shape(peer, &text) : NULL;
}

/* The command and its arguments that name it have been seen. */
static void named(struct peer *peer, struct peer_send *send)
{
	struct redis_state *state = &peer->redis;
	const char *name = command_name(peer);

	send->page = AMONG(state, pages);
	if (!AMONG(state, housekeeping)) {
		send->commands += !AMONG(state, end_of_transaction);
		send->internal = false;
	}
	if (AMONG(state, endless))
		peer_give_up_pairing(peer);
	for (size_t i = 0; i < state->count && name; i++)
		if (state->names[i] == name)
			name = NULL;
	if (name && state->count < REDIS_NAMES)
		state->names[state->count++] = name;
	else if (name)
		state->more = true;
	state->word_bytes[0] = state->word_bytes[1] = 0;
}

/* How many arguments name the command. */
static uint32_t naming_arguments(const struct redis_state *state)
{
	return AMONG(state, with_subcommand) ? 2 : 1;
}

static void argument_done(struct peer *peer, struct peer_send *send)
{
	struct redis_state *state = &peer->redis;

	state->in_argument = false;
	state->args -= !!state->args;
	state->index++;
	if (state->word_bytes[0] &&
	    (state->index >= naming_arguments(state) || (!state->args && state->index)))
		named(peer, send);
}

/* Bytes of an argument: kept where they name the command. */
static void argument_bytes(struct redis_state *state, const uint8_t *bytes, size_t length)
{
	uint8_t *used;

	if (state->index > 1 || (state->index == 1 && !state->word_bytes[0]) ||
	    (state->index == 1 && !AMONG(state, with_subcommand)))
		return;
	used = &state->word_bytes[state->index];
	for (size_t i = 0; i < length && *used < REDIS_LINE; i++)
		if (bytes[i] != '\r' && bytes[i] != '\n')
			state->word[state->index][(*used)++] = (char)bytes[i];
}

/* "*3" or "$5"; anything else is no command. */
static bool command_line(struct redis_state *state, struct peer_send *send)
{
	char type = state->line_bytes[COMMANDS] ? state->line[COMMANDS][0] : '\0';
	int64_t number = line_number(state, COMMANDS);

	if (number < 0 || type != (state->args ? '$' : '*'))
		return false;
	if (type == '*') {
		state->args = (uint64_t)number;
		state->index = 0;
		state->word_bytes[0] = state->word_bytes[1] = 0;
		send->replies += !!number;
		return true;
	}
	state->skip = (uint64_t)number + 2;
	state->in_argument = true;
	return true;
}

static void sent_bytes(struct peer *peer, const struct peer_view *view, struct peer_send *send)
{
	struct redis_state *state = &peer->redis;
	size_t at = 0;

	while (at < view->visible && !state->lost) {
		size_t left = view->visible - at;
		size_t taken = state->skip < left ? state->skip : left;

		if (state->in_argument) {
			argument_bytes(state, view->bytes + at, taken);
			state->skip -= taken;
			at += taken;
			if (!state->skip)
				argument_done(peer, send);
		} else if (take_line(state, COMMANDS, view, &at)) {
			state->lost = !command_line(state, send);
		}
	}
	if (view->visible == view->total || state->lost)
		return;
	if (state->in_argument && state->skip >= view->total - view->visible) {
		state->skip -= view->total - view->visible;
		if (!state->skip)
			argument_done(peer, send);
		return;
	}
	if (state->index) {
		state->word_bytes[1] = 0;
		if (state->word_bytes[0])
			named(peer, send);
	}
	state->lost = true;
}

static const char *redis_shape(struct peer *peer, bool several)
{
	const struct redis_state *state = &peer->redis;
	struct shape_text text = { .length = 0 };

	if (!several || !state->count)
		return state->count ? state->names[0] : NULL;
	shape_add(&text, "pipeline(", 9);
	for (size_t i = 0; i < state->count; i++) {
		if (i)
			shape_add(&text, ", ", 2);
		shape_add(&text, state->names[i], strlen(state->names[i]));
	}
	if (state->more)
		shape_add(&text, ", ...", 5);
	shape_add(&text, ")", 1);
	return peer_shape(peer, &text);
}

/* A long pipeline is sent in pieces, by one call site. */
static bool same_pipeline(const struct peer_outstanding *newest, const struct peer_send *send)
{
	return !newest->exact || (send->token && newest->call.token == send->token);
}

void redis_sent(struct peer *peer, const struct peer_view *view, struct peer_send *send,
		const struct peer_sink *sink)
{
	struct redis_state *state = &peer->redis;
	const struct peer_outstanding *newest = peer_newest(peer);
	bool middle = state->args || state->skip || state->line_bytes[COMMANDS];
	uint32_t before = newest ? newest->replies : 0;
	bool one_cut;

	(void)sink;
	send->exact = send->internal = true;
	if (state->lost && redis_command(view)) {
		state->lost = middle = false;
		state->args = state->skip = state->line_bytes[COMMANDS] = 0;
		state->in_argument = false;
	}
	send->begins = !newest || (!middle && !state->lost &&
				   (newest->answered || !same_pipeline(newest, send)));
	if (send->begins) {
		state->count = 0;
		state->more = false;
		before = 0;
	}
	sent_bytes(peer, view, send);
	one_cut = state->lost && before + send->replies == 1 && state->args;
	if (state->lost)
		send->exact = false;
	/* more than was seen can hide behind a command that is long itself */
	if (state->lost && !one_cut)
		state->more = true;
	send->shape = redis_shape(peer, before + send->replies > 1);
}

/* ---- replies ------------------------------------------------------------------ */

/* One element is complete; with it, perhaps, the reply. */
static void element_done(struct peer *peer, const struct peer_sink *sink)
{
	struct redis_state *state = &peer->redis;

	state->pending -= !!state->pending;
	if (state->pending)
		return;
	if (!state->push)
		peer_reply_end(peer, sink);
	state->push = false;
}

/* Opens a collection: its elements are still to come. */
static void collection(struct peer *peer, char type, int64_t number, const struct peer_sink *sink)
{
	struct redis_state *state = &peer->redis;
	uint64_t children = number > 0 ? (uint64_t)number : 0;

	if (type == '%' || type == '|')
		children *= 2;
	/* what an attribute is about is still to come */
	state->pending += children + (type == '|');
	if (state->pending > MANY)
		state->pending = MANY;
	element_done(peer, sink);
}

static void reply_line(struct peer *peer, const struct peer_sink *sink)
{
	struct redis_state *state = &peer->redis;
	char type = state->line_bytes[REPLIES] ? state->line[REPLIES][0] : '\0';
	int64_t number;

	switch (type) {
	case '*': case '~': case '>': case '%': case '|':
		number = line_number(state, REPLIES);
		collection(peer, type, number, sink);
		return;
	case '$': case '=': case '!':
		number = line_number(state, REPLIES);
		if (type == '!' && !state->push)
			peer_reply_error(peer);
		if (number < 0)
			element_done(peer, sink);
		else
			state->skip_reply = (uint64_t)number + 2;
		return;
	default:
		state->line_bytes[REPLIES] = 0;
		if (type == '-' && !state->push)
			peer_reply_error(peer);
		element_done(peer, sink);
	}
}

static void received_unseen(struct peer *peer, const struct peer_view *view,
			    const struct peer_sink *sink)
{
	struct redis_state *state = &peer->redis;
	uint64_t unseen = view->total - view->visible;

	if (state->skip_reply >= unseen && !state->lost_reply) {
		state->skip_reply -= unseen;
		if (unseen && !state->skip_reply)
			element_done(peer, sink);
		return;
	}
	state->lost_reply = true;
	state->skip_reply = 0;
	peer_reply_lost(peer, view, view->tail[PEER_TAIL_BYTES - 2] == '\r' &&
			view->tail[PEER_TAIL_BYTES - 1] == '\n');
}

/* What is being read is lost; a call that has not been answered starts anew. */
static bool find_again(struct peer *peer, const struct peer_view *view)
{
	struct redis_state *state = &peer->redis;

	if (peer->count > 1 || (peer->count && peer->items[0].answered) || !view->visible ||
	    !view->bytes[0] || !strchr("+-:$*_#,(!=%~>|", view->bytes[0]))
		return false;
	state->lost_reply = state->push = false;
	state->pending = state->skip_reply = 0;
	state->line_bytes[REPLIES] = 0;
	return true;
}

void redis_received(struct peer *peer, const struct peer_view *view, const struct peer_sink *sink)
{
	struct redis_state *state = &peer->redis;
	size_t at = 0;

	if (state->lost_reply && !find_again(peer, view)) {
		peer_reply(peer, view, true);
		received_unseen(peer, view, sink);
		return;
	}
	while (at < view->visible) {
		size_t left = view->visible - at;
		size_t taken = state->skip_reply < left ? state->skip_reply : left;

		if (!state->pending) {
			state->push = view->bytes[at] == '>' ||
				      !strchr("+-:$*_#,(!=%~|", view->bytes[at]);
			state->pending = 1;
		}
		if (!state->push || peer->unpaired)
			peer_reply(peer, view, !at);
		if (taken) {
			state->skip_reply -= taken;
			at += taken;
			if (!state->skip_reply)
				element_done(peer, sink);
		} else if (take_line(state, REPLIES, view, &at)) {
			reply_line(peer, sink);
		}
	}
	if (view->visible < view->total)
		received_unseen(peer, view, sink);
}
