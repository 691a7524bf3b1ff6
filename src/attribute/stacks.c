// SPDX-License-Identifier: Apache-2.0
#include "attribute/stacks.h"

#include <stdlib.h>
#include <string.h>

#include "attribute/attribute.h"
#include "base/text.h"

struct stack_set {
	struct stack *items;	/* by hash */
	uint64_t dropped;
};

struct stack_set *stack_set_new(void)
{
	return calloc(1, sizeof(struct stack_set));
}

void stack_set_free(struct stack_set *set)
{
	struct stack *stack, *next;

	if (!set)
		return;
	HASH_ITER(hh, set->items, stack, next) {
		HASH_DEL(set->items, stack);
		free(stack);
	}
	free(set);
}

uint64_t stack_set_dropped(const struct stack_set *set)
{
	return set->dropped;
}

/* What runs callbacks: below it there is nothing of a request. */
static bool is_of_loop(const struct code_info *code)
{
	static const char *const files[] = { "/asyncio/events.py", "/asyncio/runners.py",
					     "/asyncio/base_events.py", "/uvloop/__init__.py" };

	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		if (text_ends_with(code->file, files[i]))
			return strstr(code->qualname, "run") != NULL;
	return false;
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15ull;
	return hash ^ hash >> 29;
}

static uint64_t hash_of(const struct place *frames, size_t count, bool truncated)
{
	uint64_t hash = mix(count, truncated);

	for (size_t i = 0; i < count; i++) {
		hash = mix(hash, (uintptr_t)frames[i].file);
		hash = mix(hash, (uintptr_t)frames[i].qualname);
		hash = mix(hash, frames[i].line);
	}
	return hash;
}

static bool same_frames(const struct stack *stack, const struct place *frames, size_t count)
{
	if (stack->count != count)
		return false;
	for (size_t i = 0; i < count; i++)
		if (!place_same(&stack->frames[i], &frames[i]))
			return false;
	return true;
}

static struct stack *keep(struct stack_set *set, const struct place *frames, size_t count,
			  bool truncated)
{
	uint64_t hash = hash_of(frames, count, truncated);
	struct stack *stack;

	HASH_FIND(hh, set->items, &hash, sizeof(hash), stack);
	if (stack && same_frames(stack, frames, count))
		return stack;
	stack = stack || HASH_COUNT(set->items) >= STACKS_MAX
			? NULL
			: calloc(1, sizeof(*stack) + count * sizeof(*frames));
	if (!stack) {
		set->dropped++;
		return NULL;
	}
	stack->hash = hash;
	stack->truncated = truncated;
	stack->count = count;
	memcpy(stack->frames, frames, count * sizeof(*frames));
	HASH_ADD(hh, set->items, hash, sizeof(stack->hash), stack);
	return stack;
}

const struct stack *stack_of_frames(struct stack_set *set, const struct frame *frames,
				    size_t count)
{
	struct place places[STACK_FRAMES];
	struct stack *stack;
	size_t kept = 0, site = 0;

	if (!set)
		return NULL;
	while (kept < count && kept < STACK_FRAMES && !is_of_loop(frames[kept].code)) {
		places[kept] = place_of(&frames[kept]);
		kept++;
	}
	if (!kept)
		return NULL;
	while (site < kept && frames[site].code->origin != CODE_APPLICATION)
		site++;
	stack = keep(set, places, kept, kept == STACK_FRAMES && count > kept);
	if (stack) {
		stack->has_site = site < kept;
		stack->site = stack->has_site ? site : 0;
	}
	return stack;
}

const struct place *stack_site(const struct stack *stack)
{
	static const struct place unknown;

	return stack ? &stack->frames[stack->site] : &unknown;
}

const struct stack *stack_of_place(struct stack_set *set, const struct place *place)
{
	return set && place->file ? keep(set, place, 1, false) : NULL;
}
