// SPDX-License-Identifier: Apache-2.0
#include "resolve/code_cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/intern.h"

struct code_cache *code_cache_new(const struct py_reader *py, const struct code_options *options)
{
	struct code_cache *cache = calloc(1, sizeof(*cache));
	struct code_info nameless = { .origin = CODE_FROZEN };

	if (!cache)
		return NULL;
	nameless.file = nameless.function = nameless.qualname = intern("");
	cache->slots = calloc(CODE_FIRST_SLOTS, sizeof(*cache->slots));
	if (!cache->slots || !nameless.file) {
		code_cache_free(cache);
		return NULL;
	}
	cache->slot_count = CODE_FIRST_SLOTS;
	cache->py = py;
	cache->options = options;
	cache->fixed_size = code_fixed_size(py->layout);
	cache->unreadable = cache->stale = cache->not_code = cache->too_many = nameless;
	cache->stale.stale = true;
	return cache;
}

void code_info_free(struct code_info *info)
{
	if (!info)
		return;
	free(info->line_table);
	free(info);
}

void code_cache_free(struct code_cache *cache)
{
	if (!cache)
		return;
	for (size_t i = 0; i < cache->slot_count; i++)
		code_info_free(cache->slots[i].info);
	free(cache->slots);
	free(cache);
}

static size_t hash_of(uint64_t address, uint32_t check)
{
	return ((address >> 4 ^ (uint64_t)check << 20) * 0x9e3779b97f4a7c15ull) >> 32;
}

/* The slot of this key, or the free one where it belongs; the table is never full. */
static struct slot *slot_of(struct slot *slots, size_t count, uint64_t address, uint32_t check)
{
	for (size_t i = hash_of(address, check);; i++) {
		struct slot *slot = &slots[i & (count - 1)];

		if (!slot->info || (slot->address == address && slot->info->check == check))
			return slot;
	}
}

const struct code_info *code_cache_find(struct code_cache *cache, uint64_t address,
					uint32_t check)
{
	const struct recent *recent = &cache->recent[hash_of(address, check) & (CODE_RECENT - 1)];
	const struct slot *slot;

	if (!address)
		return &cache->unreadable;
	if (check) {
		slot = slot_of(cache->slots, cache->slot_count, address, check);
		if (slot->info)
			return slot->info;
	}
	if (recent->info && recent->address == address && recent->check == check &&
	    monotonic_ns() < recent->until_ns)
		return recent->info;
	return NULL;
}

bool code_cache_full(const struct code_cache *cache)
{
	return cache->used >= CODE_MAX_ENTRIES || cache->bytes >= CODE_MAX_BYTES;
}

/* Keeps the table at most half full; false: no memory for that. */
static bool cache_reserve(struct code_cache *cache)
{
	size_t wanted = cache->slot_count * 2;
	struct slot *slots;

	if (cache->used < cache->slot_count / 2)
		return true;
	slots = calloc(wanted, sizeof(*slots));
	if (!slots)
		return false;
	for (size_t i = 0; i < cache->slot_count; i++) {
		const struct slot *slot = &cache->slots[i];

		if (slot->info)
			*slot_of(slots, wanted, slot->address, slot->info->check) = *slot;
	}
	free(cache->slots);
	cache->slots = slots;
	cache->slot_count = wanted;
	return true;
}

void code_settle_recent(struct code_cache *cache, struct pending *pending,
			const struct code_info *info)
{
	size_t index = hash_of(pending->address, pending->wanted) & (CODE_RECENT - 1);

	pending->result = info;
	cache->recent[index] = (struct recent){
		.address = pending->address,
		.until_ns = monotonic_ns() + CODE_RECENT_NS,
		.info = info,
		.check = pending->wanted,
	};
}

/* Moves what was loaded into the table. */
void code_settle_loaded(struct code_cache *cache, struct pending *pending)
{
	struct code_info *info = pending->loaded;
	size_t bytes = sizeof(*info) + info->line_table_size + strlen(info->file) +
		       strlen(info->function) + strlen(info->qualname);
	struct slot *slot;

	if (code_cache_full(cache) || bytes > CODE_MAX_BYTES - cache->bytes) {
		pending->result = &cache->too_many;
		return;
	}
	if (!cache_reserve(cache)) {
		pending->result = &cache->unreadable;
		return;
	}
	slot = slot_of(cache->slots, cache->slot_count, pending->address, info->check);
	if (!slot->info) {
		*slot = (struct slot){ pending->address, info };
		pending->loaded = NULL;
		cache->used++;
		cache->bytes += bytes;
	}
	pending->result = slot->info;
}

/* Its place among the pending ones, where it may be already; CODE_BATCH: no room. */
static size_t pending_add(struct code_cache *cache, uint64_t address, uint32_t check)
{
	struct pending *pending;

	for (size_t i = 0; i < cache->pending_count; i++)
		if (cache->pending[i].address == address && cache->pending[i].wanted == check)
			return i;
	pending = &cache->pending[cache->pending_count];
	pending->address = address;
	pending->wanted = check;
	pending->result = NULL;
	if (code_cache_full(cache))
		pending->result = &cache->too_many;
	else if (!cache->fixed_size)
		pending->result = &cache->unreadable;
	return cache->pending_count++;
}

/* `count` <= CODE_BATCH records at once. */
static void find_batch(struct code_cache *cache, const struct frame_record *records, size_t count,
		       const struct code_info **ret_infos)
{
	size_t place[CODE_BATCH];

	cache->pending_count = 0;
	for (size_t i = 0; i < count; i++) {
		ret_infos[i] = code_cache_find(cache, records[i].code, records[i].check);
		if (!ret_infos[i])
			place[i] = pending_add(cache, records[i].code, records[i].check);
	}
	code_load_pending(cache);
	for (size_t i = 0; i < count; i++)
		if (!ret_infos[i])
			ret_infos[i] = cache->pending[place[i]].result;
}

const struct code_info *code_cache_get(struct code_cache *cache, uint64_t address,
				       uint32_t check)
{
	const struct frame_record record = { .code = address, .check = check };
	const struct code_info *info;

	find_batch(cache, &record, 1, &info);
	return info;
}

/* False when the frame is none that Python would show. */
static bool make_frame(const struct code_cache *cache, const struct frame_record *record,
		       const struct code_info *info, struct frame *ret_frame)
{
	const struct py_layout *at = cache->py->layout;
	uint32_t unit = record->where & FRAME_NOT_STARTED;
	uint8_t owner = (uint8_t)(record->where >> FRAME_OFFSET_BITS);
	bool begun = unit != FRAME_NOT_STARTED && unit >= info->first_traceable;
	uint32_t line = 0;

	if (owner >= at->owner_shim || info == &cache->not_code ||
	    (owner != at->owner_generator && !begun))
		return false;
	if (unit != FRAME_NOT_STARTED)
		line = line_of_instruction(info->line_table, info->line_table_size,
					   info->first_line, unit, at->version & 0xff);
	if (!line && !begun)
		line = info->first_line;
	*ret_frame = (struct frame){ .code = info, .line = line, .owner = owner };
	return true;
}

size_t code_cache_resolve(struct code_cache *cache, const struct frame_record *records,
			  size_t count, struct frame *frames, size_t size)
{
	const struct code_info *infos[CODE_BATCH];
	size_t used = 0, batch;

	for (size_t base = 0; base < count && used < size; base += batch) {
		batch = count - base < CODE_BATCH ? count - base : CODE_BATCH;
		find_batch(cache, records + base, batch, infos);
		for (size_t i = 0; i < batch && used < size; i++)
			used += make_frame(cache, &records[base + i], infos[i], &frames[used]);
	}
	return used;
}
