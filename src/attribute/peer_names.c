// SPDX-License-Identifier: Apache-2.0
/* What a connection remembers: shapes, and the names of prepared statements and portals. */
#include "attribute/peer_internal.h"

#include <errno.h>
#include <string.h>

#include "base/vec.h"

#define OWN_SHAPES 256

const char *peer_shape(struct peer *peer, const struct shape_text *shape)
{
	uint64_t before;
	const char *text;

	if (!peer->shapes) {
		peer->shapes = shape_set_new(OWN_SHAPES);
		peer->own_shapes = peer->shapes;
	}
	if (!peer->shapes) {
		peer->dropped++;
		peer->error = -ENOMEM;
		return NULL;
	}
	before = shape_set_dropped(peer->shapes);
	text = shape_intern(peer->shapes, shape);
	peer->dropped += shape_set_dropped(peer->shapes) - before;
	return text;
}

const char *peer_joined(struct peer *peer, const char *first, const char *second)
{
	static const char more[] = "; ...";
	struct shape_text text = { .length = 0 };
	size_t length;

	if (!first || !second || first == second)
		return first ? first : second;
	length = strlen(first);
	if (length + sizeof(more) > SHAPE_BYTES - 3 ||
	    (length >= sizeof(more) && !strcmp(first + length - sizeof(more) + 1, more)))
		return first;
	shape_add(&text, first, length);
	shape_add(&text, more, sizeof(more) - 1);
	return peer_shape(peer, &text);
}

uint64_t peer_hash(uint8_t kind, const uint8_t *name, size_t length)
{
	uint64_t hash = (0xcbf29ce484222325ull ^ kind) * 0x100000001b3ull;

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ name[i]) * 0x100000001b3ull;
	return hash ? hash : 1;
}

static struct peer_name *find_name(const struct peer *peer, uint64_t hash)
{
	for (size_t i = 0; i < peer->name_count; i++)
		if (peer->names[i].hash == hash)
			return &peer->names[i];
	return NULL;
}

const char *peer_defined(const struct peer *peer, uint64_t hash)
{
	const struct peer_name *name = find_name(peer, hash);

	return name ? name->shape : NULL;
}

/* A full table forgets the oldest. */
void peer_define(struct peer *peer, uint64_t hash, const char *shape)
{
	struct peer_name *name = find_name(peer, hash);
	int error = 0;

	if (!name && peer->name_count < PEER_MAX_NAMES)
		error = vec_reserve((void **)&peer->names, &peer->name_capacity,
				    peer->name_count + 1, sizeof(*peer->names), PEER_MAX_NAMES);
	if (error) {
		peer->dropped++;
		peer->error = error;
		return;
	}
	if (!name && peer->name_count < PEER_MAX_NAMES) {
		name = &peer->names[peer->name_count++];
	} else if (!name) {
		peer->dropped++;
		name = &peer->names[peer->name_next++ % PEER_MAX_NAMES];
	}
	*name = (struct peer_name){ hash, shape };
}

void peer_forget(struct peer *peer, uint64_t hash)
{
	struct peer_name *name = find_name(peer, hash);

	if (name)
		*name = peer->names[--peer->name_count];
}
