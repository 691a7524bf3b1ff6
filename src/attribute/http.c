// SPDX-License-Identifier: Apache-2.0
#include <string.h>
#include <strings.h>

#include "attribute/http_message.h"

enum {
	CHUNK_SIZE_FIRST,	/* the stream starts zeroed */
	CHUNK_SIZE,
	CHUNK_EXTENSION,
	CHUNK_SIZE_END,
	CHUNK_DATA,
	CHUNK_DATA_RETURN,
	CHUNK_DATA_END,
	CHUNK_TRAILER,
	CHUNK_LOST,
};

bool http_bytes_valid(const struct http_bytes *bytes)
{
	return bytes->tail_bytes <= sizeof(bytes->tail) && bytes->tail_bytes <= bytes->bytes &&
	       bytes->head_bytes <= bytes->bytes && (bytes->head || !bytes->head_bytes);
}

int http_byte(const struct http_bytes *bytes, uint64_t at)
{
	if (at < bytes->head_bytes)
		return bytes->head[at];
	if (at < bytes->bytes && bytes->bytes - at <= bytes->tail_bytes)
		return bytes->tail[bytes->tail_bytes - (bytes->bytes - at)];
	return -1;
}

bool http_ends_with(const struct http_bytes *bytes, const char *text)
{
	size_t length = strlen(text);

	if (bytes->bytes < length)
		return false;
	for (size_t i = 0; i < length; i++)
		if (http_byte(bytes, bytes->bytes - length + i) != (uint8_t)text[i])
			return false;
	return true;
}

/* ---- header fields ---- */

/* The next element of a comma-separated list, without blanks around it; false: none. */
static bool list_next(const char **list, const char **ret_item, size_t *ret_length)
{
	const char *item = *list;
	size_t length;

	while (*item == ' ' || *item == ',')
		item++;
	if (!*item)
		return false;
	length = strcspn(item, ",");
	*list = item + length;
	while (length && item[length - 1] == ' ')
		length--;
	*ret_item = item;
	*ret_length = length;
	return true;
}

static bool same(const char *item, size_t length, const char *word)
{
	return length == strlen(word) && !strncasecmp(item, word, length);
}

static bool list_has(const char *list, const char *word)
{
	const char *item;
	size_t length;

	while (list_next(&list, &item, &length))
		if (same(item, length, word))
			return true;
	return false;
}

/* Repeated lengths must be equal, in one field or in several. */
static void content_length(struct http_fields *fields, const char *value)
{
	bool any = false;
	const char *item;
	size_t length;

	while (list_next(&value, &item, &length)) {
		uint64_t number = 0;

		any = true;
		for (size_t i = 0; i < length; i++) {
			if (item[i] < '0' || item[i] > '9' ||
			    __builtin_mul_overflow(number, 10, &number) ||
			    __builtin_add_overflow(number, (uint64_t)(item[i] - '0'), &number))
				fields->bad_length = true;
		}
		if (fields->has_length && fields->length != number)
			fields->bad_length = true;
		fields->has_length = true;
		fields->length = number;
	}
	if (!any)
		fields->bad_length = true;
}

static void transfer_encoding(struct http_fields *fields, const char *value)
{
	const char *item;
	size_t length;

	while (list_next(&value, &item, &length)) {
		fields->has_coding = true;
		fields->chunked = same(item, length, "chunked");
	}
}

static void field_take(struct http_fields *fields)
{
	char *line = fields->line, *value;
	size_t name;

	line[fields->line_bytes] = '\0';
	value = strchr(line, ':');
	if (!value)
		return;
	name = (size_t)(value - line);
	while (name && line[name - 1] == ' ')
		name--;
	value++;
	if (same(line, name, "content-length")) {
		content_length(fields, value);
		fields->bad_length |= fields->line_cut;
	} else if (same(line, name, "transfer-encoding")) {
		transfer_encoding(fields, value);
		fields->has_coding |= fields->line_cut;
		fields->chunked &= !fields->line_cut;
	} else if (same(line, name, "expect")) {
		fields->expect_continue |= list_has(value, "100-continue");
	} else if (same(line, name, "connection")) {
		fields->connection_upgrade |= list_has(value, "upgrade");
	} else if (same(line, name, "upgrade")) {
		fields->to_websocket |= list_has(value, "websocket");
	}
}

static void line_begin(struct http_fields *fields)
{
	fields->line_bytes = 0;
	fields->line_cut = false;
	fields->line_ended = false;
	fields->carriage_return = false;
}

/* Blanks are folded, so that they cannot push a value out of what is kept. */
static void line_add(struct http_fields *fields, char byte)
{
	if (byte == '\t' || byte == '\r')
		byte = ' ';
	if (!byte)
		byte = '\x01'; /* ends no string */
	if (byte == ' ' && fields->line_bytes && fields->line[fields->line_bytes - 1] == ' ')
		return;
	if (fields->line_bytes + 1u < sizeof(fields->line))
		fields->line[fields->line_bytes++] = byte;
	else
		fields->line_cut = true;
}

bool http_fields_take(struct http_fields *fields, uint8_t byte)
{
	if (fields->line_ended) {
		fields->line_ended = false;
		if (byte != ' ' && byte != '\t') {
			field_take(fields);
			line_begin(fields);
		}
	}
	if (byte == '\n') {
		fields->carriage_return = false;
		if (!fields->line_bytes && !fields->line_cut)
			return true;
		fields->line_ended = true;
		return false;
	}
	if (fields->carriage_return)
		line_add(fields, '\r'); /* no end of the line, then */
	fields->carriage_return = byte == '\r';
	if (byte != '\r')
		line_add(fields, (char)byte);
	return false;
}

void http_fields_skip(struct http_fields *fields)
{
	if (fields->line_ended)
		field_take(fields);
	line_begin(fields);
	fields->line_cut = true;
}

/* ---- chunks ---- */

static int hex_digit(uint8_t byte)
{
	if (byte >= '0' && byte <= '9')
		return byte - '0';
	byte |= 0x20;
	return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

static bool size_take(struct http_chunks *chunks, uint8_t byte)
{
	int digit = hex_digit(byte);

	if (digit >= 0) {
		if (chunks->left >> 60)
			return false;
		chunks->left = chunks->left << 4 | (uint64_t)digit;
		chunks->step = CHUNK_SIZE;
		return true;
	}
	if (chunks->step == CHUNK_SIZE_FIRST)
		return false;
	if (byte == ';' || byte == ' ' || byte == '\t')
		chunks->step = CHUNK_EXTENSION;
	else if (byte == '\r')
		chunks->step = CHUNK_SIZE_END;
	else
		return false;
	return true;
}

static void size_end(struct http_chunks *chunks)
{
	chunks->step = chunks->left ? CHUNK_DATA : CHUNK_TRAILER;
	chunks->line_empty = true;
	chunks->line_return = false;
}

/* True: the empty line after the last chunk. */
static bool trailer_take(struct http_chunks *chunks, uint8_t byte)
{
	if (byte == '\n') {
		if (chunks->line_empty)
			return true;
		chunks->line_empty = true;
		chunks->line_return = false;
		return false;
	}
	if (byte != '\r' || chunks->line_return)
		chunks->line_empty = false;
	chunks->line_return = byte == '\r';
	return false;
}

/* A byte that is no data.  False: there are no chunks here. */
static bool chunk_byte(struct http_chunks *chunks, uint8_t byte, bool *ret_done)
{
	switch (chunks->step) {
	case CHUNK_SIZE_FIRST:
	case CHUNK_SIZE:
		if (byte != '\n' || chunks->step == CHUNK_SIZE_FIRST)
			return size_take(chunks, byte);
		size_end(chunks);
		return true;
	case CHUNK_EXTENSION:
		if (byte == '\n')
			size_end(chunks);
		else if (byte == '\r')
			chunks->step = CHUNK_SIZE_END;
		return true;
	case CHUNK_SIZE_END:
		size_end(chunks);
		return byte == '\n';
	case CHUNK_DATA_RETURN:
	case CHUNK_DATA_END:
		if (byte == '\r' && chunks->step == CHUNK_DATA_RETURN) {
			chunks->step = CHUNK_DATA_END;
			return true;
		}
		chunks->step = CHUNK_SIZE_FIRST;
		return byte == '\n';
	case CHUNK_TRAILER:
		*ret_done = trailer_take(chunks, byte);
		return true;
	}
	return false;
}

/* As http_chunks_take() where the position is known; false: it is not any more. */
static bool chunks_follow(struct http_chunks *chunks, const struct http_bytes *bytes,
			  uint64_t *at, bool *ret_done)
{
	*ret_done = false;
	while (*at < bytes->bytes && !*ret_done) {
		int byte;

		if (chunks->step == CHUNK_DATA) {
			uint64_t data = bytes->bytes - *at;

			if (data > chunks->left)
				data = chunks->left;
			*at += data;
			chunks->left -= data;
			if (!chunks->left)
				chunks->step = CHUNK_DATA_RETURN;
			continue;
		}
		byte = http_byte(bytes, *at);
		if (byte < 0 || !chunk_byte(chunks, (uint8_t)byte, ret_done))
			return false;
		++*at;
	}
	return true;
}

/* Servers write whole chunks: bytes that are exactly that give the position back. */
static bool chunks_found(struct http_chunks *chunks, const struct http_bytes *bytes)
{
	struct http_chunks fresh = { 0 };
	uint64_t at = 0;
	bool done;

	if (!chunks_follow(&fresh, bytes, &at, &done) || at != bytes->bytes ||
	    (!done && fresh.step != CHUNK_SIZE_FIRST))
		return false;
	memset(chunks, 0, sizeof(*chunks));
	return true;
}

/* The bytes of the connection end with the last chunk. */
static bool chunks_end_seen(struct http_chunks *chunks, const struct http_bytes *bytes)
{
	static const uint8_t end[] = { '\r', '\n', '0', '\r', '\n', '\r', '\n' };
	uint64_t from = bytes->bytes > sizeof(chunks->last) ? bytes->bytes - sizeof(chunks->last)
							    : 0;

	for (uint64_t at = from; at < bytes->bytes; at++) {
		int byte = http_byte(bytes, at);

		if (byte < 0) {
			chunks->last_bytes = 0;
			continue;
		}
		if (chunks->last_bytes == sizeof(chunks->last))
			memmove(chunks->last, chunks->last + 1, --chunks->last_bytes);
		chunks->last[chunks->last_bytes++] = (uint8_t)byte;
	}
	return chunks->last_bytes >= sizeof(end) &&
	       !memcmp(chunks->last + chunks->last_bytes - sizeof(end), end, sizeof(end));
}

void http_chunks_lose(struct http_chunks *chunks)
{
	memset(chunks, 0, sizeof(*chunks));
	chunks->step = CHUNK_LOST;
}

bool http_chunks_lost(const struct http_chunks *chunks)
{
	return chunks->step == CHUNK_LOST;
}

static bool is_between_chunks(const struct http_chunks *chunks)
{
	return chunks->step == CHUNK_DATA_RETURN || chunks->step == CHUNK_DATA_END ||
	       chunks->step == CHUNK_SIZE_FIRST;
}

enum http_chunks_end http_chunks_take(struct http_chunks *chunks, const struct http_bytes *bytes,
				      uint64_t *at)
{
	bool done, whole = false;

	if (chunks->step != CHUNK_LOST || (!*at && chunks_found(chunks, bytes))) {
		if (chunks_follow(chunks, bytes, at, &done))
			return done ? CHUNKS_DONE : CHUNKS_OPEN;
		/* several chunks written at once, the last one as it should be */
		whole = is_between_chunks(chunks) && http_byte(bytes, *at) < 0 &&
			http_ends_with(bytes, "\r\n0\r\n\r\n");
		if (!whole)
			http_chunks_lose(chunks);
	}
	*at = bytes->bytes;
	if (whole)
		return CHUNKS_DONE;
	return chunks_end_seen(chunks, bytes) ? CHUNKS_ENDED : CHUNKS_OPEN;
}
