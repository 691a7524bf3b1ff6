// SPDX-License-Identifier: Apache-2.0
/* Messages of name servers, RFC 1035, 4: foreign bytes, cut off where we stopped looking. */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "attribute/names.h"

#define HEADER 12
#define FLAG_ANSWER 0x80	/* of byte 2 */
#define FLAGS_OPCODE 0x78
#define FLAG_CUT 0x02
#define FLAGS_CODE 0x0f		/* of byte 3 */
#define CLASS_INTERNET 1
#define POINTER 0xc0
#define JUMPS_MAX 16
#define RECORDS_MAX 32

struct reader {
	const uint8_t *bytes;
	size_t size, at;
};

static int take16(struct reader *reader, uint16_t *ret_value)
{
	if (reader->size - reader->at < 2)
		return -EBADMSG;
	*ret_value = (uint16_t)(reader->bytes[reader->at] << 8 | reader->bytes[reader->at + 1]);
	reader->at += 2;
	return 0;
}

static int skip(struct reader *reader, size_t size)
{
	if (reader->size - reader->at < size)
		return -EBADMSG;
	reader->at += size;
	return 0;
}

/* Adds a label; only what host names are made of: what is shown must not be odd. */
static int label_add(char *name, size_t *length, const uint8_t *label, size_t size)
{
	if (*length + size + 2 > NAME_BYTES)
		return -EBADMSG;
	if (*length)
		name[(*length)++] = '.';
	for (size_t i = 0; i < size; i++) {
		if (!isalnum(label[i]) && label[i] != '-' && label[i] != '_')
			return -EBADMSG;
		name[(*length)++] = (char)tolower(label[i]);
	}
	name[*length] = '\0';
	return 0;
}

/* Goes on behind the name.  A pointer leads to what stands before it, so it comes to an end. */
static int take_name(struct reader *reader, char ret_name[NAME_BYTES])
{
	size_t at = reader->at, length = 0, start = at;
	unsigned jumps = 0;

	ret_name[0] = '\0';
	while (at < reader->size && reader->bytes[at]) {
		uint8_t size = reader->bytes[at];

		if ((size & POINTER) == POINTER) {
			size_t to;

			if (reader->size - at < 2 || jumps++ == JUMPS_MAX)
				return -EBADMSG;
			to = (size_t)(size & ~POINTER) << 8 | reader->bytes[at + 1];
			if (jumps == 1)
				reader->at = at + 2;
			if (to < HEADER || to >= start)
				return -EBADMSG;
			start = at = to;
			continue;
		}
		if (size & POINTER || reader->size - at - 1 < size ||
		    label_add(ret_name, &length, reader->bytes + at + 1, size))
			return -EBADMSG;
		at += 1u + size;
	}
	if (at >= reader->size || !length)
		return -EBADMSG;
	if (!jumps)
		reader->at = at + 1;
	return 0;
}

/* The header and its one question; leaves the reader at the records. */
static int question(struct reader *reader, uint8_t flags, struct name_message *message)
{
	const uint8_t *bytes = reader->bytes;
	uint16_t class;
	int error;

	if (reader->size < HEADER ||
	    (bytes[2] & (FLAG_ANSWER | FLAGS_OPCODE | FLAG_CUT)) != flags ||
	    bytes[3] & FLAGS_CODE || bytes[4] || bytes[5] != 1)
		return -EBADMSG;
	message->id = (uint16_t)(bytes[0] << 8 | bytes[1]);
	message->count = 0;
	reader->at = HEADER;
	error = take_name(reader, message->name) ?: take16(reader, &message->type) ?:
		take16(reader, &class);
	if (error)
		return error;
	if (class != CLASS_INTERNET ||
	    (message->type != NAME_TYPE_A && message->type != NAME_TYPE_AAAA))
		return -EBADMSG;
	return 0;
}

int name_query_parse(const uint8_t *bytes, size_t size, struct name_message *ret_message)
{
	struct reader reader = { bytes, size, 0 };

	return question(&reader, 0, ret_message);
}

static void add_address(struct name_message *message, const uint8_t *data, size_t size)
{
	struct name_address *to = &message->addresses[message->count];

	if (message->count == NAME_ADDRESSES)
		return;
	*to = (struct name_address){ { [10] = 0xff, [11] = 0xff } };
	memcpy(to->bytes + 16 - size, data, size);
	message->count++;
}

/* One record; `owner` is the name that is followed by now. */
static int record(struct reader *reader, char owner[NAME_BYTES], struct name_message *message)
{
	size_t wanted = message->type == NAME_TYPE_A ? 4 : 16;
	char name[NAME_BYTES], target[NAME_BYTES];
	uint16_t type, class, size;
	struct reader data;
	int error = take_name(reader, name) ?: take16(reader, &type) ?: take16(reader, &class) ?:
		    skip(reader, 4) ?: take16(reader, &size);

	if (error)
		return error;
	data = *reader;
	error = skip(reader, size);
	if (error || class != CLASS_INTERNET || strcmp(name, owner))
		return error;
	if (type == message->type && size == wanted) {
		add_address(message, data.bytes + data.at, size);
	} else if (type == NAME_TYPE_CNAME) {
		error = take_name(&data, target);
		if (error || data.at != reader->at)
			return -EBADMSG;
		memcpy(owner, target, NAME_BYTES);
	}
	return 0;
}

int name_answer_parse(const uint8_t *bytes, size_t size, struct name_message *ret_message)
{
	struct reader reader = { bytes, size, 0 };
	int error = question(&reader, FLAG_ANSWER, ret_message);
	char owner[NAME_BYTES];
	size_t records;

	if (error)
		return error;
	records = (size_t)bytes[6] << 8 | bytes[7];
	memcpy(owner, ret_message->name, NAME_BYTES);
	/* what is wrong, or not seen, ends it: what was before is as the resolver saw it */
	for (size_t i = 0; i < records && i < RECORDS_MAX; i++)
		if (record(&reader, owner, ret_message))
			break;
	return 0;
}
