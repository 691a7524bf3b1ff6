// SPDX-License-Identifier: Apache-2.0
/* Messages of name servers: what is made of any bytes is a host name and addresses. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "attribute/names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct name_message *message)
{
	size_t length = strnlen(message->name, NAME_BYTES);

	if (!length || length == NAME_BYTES || message->count > NAME_ADDRESSES)
		abort();
	for (size_t i = 0; i < length; i++)
		if (message->name[i] <= ' ' || (uint8_t)message->name[i] >= 0x7f)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1); /* so that a byte too far is found */
	struct name_message message;

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	if (!name_query_parse(copy, size, &message))
		check(&message);
	if (!name_answer_parse(copy, size, &message))
		check(&message);
	free(copy);
	return 0;
}
