// SPDX-License-Identifier: Apache-2.0
#include "base/vec.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define VEC_FIRST 8

int vec_reserve(void **items, size_t *capacity, size_t want, size_t size, size_t limit)
{
	size_t room = *capacity;
	void *grown;

	if (want > limit)
		return -E2BIG;
	if (want <= room)
		return 0;
	room = room > SIZE_MAX / 2 ? want : room * 2;
	if (room < VEC_FIRST)
		room = VEC_FIRST;
	if (room < want)
		room = want;
	if (room > limit)
		room = limit;
	if (size && room > SIZE_MAX / size)
		return -ENOMEM;
	grown = realloc(*items, room * size);
	if (!grown)
		return -ENOMEM;
	memset((char *)grown + *capacity * size, 0, (room - *capacity) * size);
	*items = grown;
	*capacity = room;
	return 0;
}
