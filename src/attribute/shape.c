// SPDX-License-Identifier: Apache-2.0
#include "attribute/shape.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "attribute/shape_internal.h"
#include "base/intern.h"
#include "resolve/routes.h"

#define ELLIPSIS "..."
#define ELLIPSIS_BYTES (sizeof(ELLIPSIS) - 1)
#define ROOM (SHAPE_BYTES - ELLIPSIS_BYTES)
#define NAME_DIGITS 3	/* a path segment with more of them is no name */
#define SECRET_BYTES 20	/* a path segment of letters and digits that is no word any more */

struct shape_set {
	const char **items;	/* open addressing, interned; a power of two */
	size_t size, count, limit;
	uint64_t dropped;
};

struct shape_set *shape_set_new(size_t limit)
{
	struct shape_set *set = calloc(1, sizeof(*set));

	if (!set)
		return NULL;
	set->limit = limit < SHAPES_MAX ? limit : SHAPES_MAX;
	for (set->size = 16; set->size < set->limit * 2; set->size *= 2)
		;
	set->items = calloc(set->size, sizeof(*set->items));
	if (!set->items) {
		free(set);
		return NULL;
	}
	return set;
}

void shape_set_free(struct shape_set *set)
{
	if (!set)
		return;
	free(set->items);
	free(set);
}

uint64_t shape_set_dropped(const struct shape_set *set)
{
	return set ? set->dropped : 0;
}

const char *shape_intern(struct shape_set *set, const struct shape_text *shape)
{
	uint64_t hash = 0xcbf29ce484222325ull;
	size_t slot;

	if (!shape->length)
		return NULL;
	for (size_t i = 0; i < shape->length; i++)
		hash = (hash ^ (uint8_t)shape->text[i]) * 0x100000001b3ull;
	for (slot = hash & (set->size - 1); set->items[slot]; slot = (slot + 1) & (set->size - 1))
		if (!strcmp(set->items[slot], shape->text))
			return set->items[slot];
	if (set->count >= set->limit) {
		set->dropped++;
		return intern(SHAPE_OTHER);
	}
	set->items[slot] = intern_bytes(shape->text, shape->length);
	set->count += set->items[slot] ? 1 : 0;
	return set->items[slot];
}

/* Bytes of the UTF-8 character at `text`; 0: it is none, or not whole. */
static size_t utf8_length(const uint8_t *text, size_t left)
{
	size_t length = text[0] < 0x80 ? 1 : text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : 4;

	if (text[0] >= 0xf5 || (text[0] >= 0x80 && text[0] < 0xc2))
		return 0;
	if (length > left)
		return 0;
	for (size_t i = 1; i < length; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
	    (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
		return 0;
	return length;
}

void shape_cut(struct shape_text *shape)
{
	if (shape->full)
		return;
	while (shape->length && shape->text[shape->length - 1] == ' ')
		shape->length--;
	memcpy(shape->text + shape->length, ELLIPSIS, ELLIPSIS_BYTES + 1);
	shape->length += ELLIPSIS_BYTES;
	shape->full = true;
}

void shape_append(struct shape_text *shape, const uint8_t *text, size_t length)
{
	for (size_t i = 0; i < length && !shape->full;) {
		size_t size = utf8_length(text + i, length - i);
		size_t taken = size ? size : 1;

		if (shape->length + taken > ROOM) {
			shape_cut(shape);
			return;
		}
		if (size && text[i] >= 0x20 && text[i] != 0x7f)
			memcpy(shape->text + shape->length, text + i, size);
		else
			shape->text[shape->length] = '?';
		shape->length += taken;
		shape->text[shape->length] = '\0';
		i += taken;
	}
}

void shape_add(struct shape_text *shape, const char *text, size_t length)
{
	shape_append(shape, (const uint8_t *)text, length);
}

bool shape_ends(const struct shape_text *shape, const char *text)
{
	size_t length = strlen(text);

	return shape->length >= length &&
	       !memcmp(shape->text + shape->length - length, text, length);
}

void shape_take_back(struct shape_text *shape, size_t length)
{
	shape->length -= length;
	shape->text[shape->length] = '\0';
}

/* ---- HTTP ------------------------------------------------------------------ */

/* A segment whose bytes or length say that it is no part of a template. */
static bool private_segment(const char *segment, size_t length)
{
	size_t digits = 0;
	bool inside = false;

	for (size_t i = 0; i < length; i++) {
		if (!isalnum((unsigned char)segment[i]) && !strchr("-._", segment[i]))
			return true;
		/* "oauth2" and "v1.2" are names, "x7Kq" is none */
		inside |= i && isalpha((unsigned char)segment[i]) &&
			  isdigit((unsigned char)segment[i - 1]);
		digits += !!isdigit((unsigned char)segment[i]);
	}
	return inside || digits > NAME_DIGITS || (length >= SECRET_BYTES && digits);
}

/* Where the path starts in "http://user:password@host/path". */
static size_t skip_authority(const uint8_t *target, size_t length)
{
	const uint8_t *scheme = memmem(target, length, "://", 3), *path;

	if (!scheme || target[0] == '/')
		return 0;
	scheme += 3;
	path = memchr(scheme, '/', length - (size_t)(scheme - target));
	return path ? (size_t)(path - target) : length;
}

void shape_http(struct shape_text *ret_shape, const uint8_t *method, size_t method_length,
		const uint8_t *target, size_t length, bool whole)
{
	char path[512];
	size_t used = 0, from = length ? skip_authority(target, length) : 0, to = from;
	const char *folded;

	*ret_shape = (struct shape_text){ .length = 0 };
	shape_append(ret_shape, method, method_length);
	while (to < length && target[to] && !strchr("?#; ", target[to]))
		to++;
	whole |= to < length;
	if (from == to || target[from] != '/')
		return;
	while (from < to && used < sizeof(path) - 48) {
		const uint8_t *next = memchr(target + from + 1, '/', to - from - 1);
		size_t size = next ? (size_t)(next - target) - from : to - from;

		path[used++] = '/';
		if (size > 1 && private_segment((const char *)target + from + 1, size - 1)) {
			memcpy(path + used, "{id}", 4);
			used += 4;
		} else if (next || whole) {
			/* route_fold() makes an id of a long one */
			size_t kept = size - 1 < 42 ? size - 1 : 42;

			memcpy(path + used, target + from + 1, kept);
			used += kept;
		}
		from += size;
	}
	path[used] = '\0';
	folded = route_fold(path);
	shape_add(ret_shape, " ", 1);
	if (folded)
		shape_add(ret_shape, folded, strlen(folded));
	if (!whole)
		shape_cut(ret_shape);
}
