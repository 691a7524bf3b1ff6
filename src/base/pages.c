// SPDX-License-Identifier: Apache-2.0
#include "base/pages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 4096ull
#define BATCH 256	/* pages for which memory is got at a time; runs read at a time */
#define RUN 16		/* the kernel looks up so many pages at a time */

struct page {
	uint64_t number;
	int32_t error;
	uint16_t from, to;	/* what of it is wanted, or was read */
};

struct pages {
	const struct mem *mem;
	size_t limit, count, loaded;	/* the first `loaded` pages are */
	struct page *items;
	uint32_t *table;	/* hash of page numbers: index of items plus 1 */
	size_t table_size;	/* a power of two */
	uint8_t **blocks;	/* BATCH pages each, owned */
	struct mem_piece *pieces;
};

struct pages *pages_new(const struct mem *mem, size_t limit)
{
	struct pages *pages = calloc(1, sizeof(*pages));

	if (!pages)
		return NULL;
	pages->mem = mem;
	pages->limit = limit;
	pages->table_size = BATCH;
	while (pages->table_size < limit * 2)
		pages->table_size *= 2;
	pages->items = calloc(limit, sizeof(*pages->items));
	pages->table = calloc(pages->table_size, sizeof(*pages->table));
	pages->blocks = calloc(limit / BATCH + 1, sizeof(*pages->blocks));
	pages->pieces = calloc(BATCH, sizeof(*pages->pieces));
	if (!pages->items || !pages->table || !pages->blocks || !pages->pieces) {
		pages_free(pages);
		return NULL;
	}
	return pages;
}

void pages_free(struct pages *pages)
{
	if (!pages)
		return;
	for (size_t i = 0; pages->blocks && i <= pages->limit / BATCH; i++)
		free(pages->blocks[i]);
	free(pages->blocks);
	free(pages->items);
	free(pages->table);
	free(pages->pieces);
	free(pages);
}

static uint32_t *slot_of(const struct pages *pages, uint64_t number)
{
	size_t i = number * 0x9e3779b97f4a7c15ull >> 32;

	for (;; i++) {
		uint32_t *slot = &pages->table[i & (pages->table_size - 1)];

		if (!*slot || pages->items[*slot - 1].number == number)
			return slot;
	}
}

void pages_clear(struct pages *pages)
{
	if (pages->count > pages->table_size / 16)
		memset(pages->table, 0, pages->table_size * sizeof(*pages->table));
	else	/* from the last one on, so that no search ends too early */
		while (pages->count)
			*slot_of(pages, pages->items[--pages->count].number) = 0;
	pages->count = pages->loaded = 0;
}

static uint8_t *bytes_of(const struct pages *pages, size_t index)
{
	return pages->blocks[index / BATCH] + index % BATCH * PAGE;
}

/* Its place, where it may be already; `count` of the table: no room. */
static size_t add_page(struct pages *pages, uint64_t number)
{
	uint32_t *slot = slot_of(pages, number);
	uint8_t **block = &pages->blocks[pages->count / BATCH];

	if (*slot)
		return *slot - 1;
	if (pages->count == pages->limit)
		return pages->limit;
	if (!*block)
		*block = malloc(BATCH * PAGE);
	if (!*block)
		return pages->limit;
	pages->items[pages->count] = (struct page){ .number = number, .from = PAGE };
	*slot = (uint32_t)++pages->count;
	return *slot - 1;
}

bool pages_want(struct pages *pages, uint64_t address, size_t length)
{
	if (address + length < address)
		return true;	/* fails when it is read */
	while (length) {
		size_t from = address % PAGE, to = PAGE - from < length ? PAGE : from + length;
		size_t index = add_page(pages, address / PAGE);
		struct page *page = &pages->items[index];

		if (index == pages->limit)
			return false;
		if (index >= pages->loaded) {
			page->from = page->from < from ? page->from : (uint16_t)from;
			page->to = page->to > to ? page->to : (uint16_t)to;
		}
		address += to - from;
		length -= to - from;
	}
	return true;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = ((const struct page *)a)->number, y = ((const struct page *)b)->number;

	return x < y ? -1 : x > y;
}

/* In the order of their addresses, so that neighbours are read as one piece. */
static void sort_new(struct pages *pages)
{
	size_t first = pages->loaded;

	/* from the last one on, so that no search ends too early */
	for (size_t i = pages->count; i-- > first;)
		*slot_of(pages, pages->items[i].number) = 0;
	qsort(pages->items + first, pages->count - first, sizeof(*pages->items), by_number);
	for (size_t i = first; i < pages->count; i++)
		*slot_of(pages, pages->items[i].number) = (uint32_t)i + 1;
}

/* Pages from `index` on that lie next to each other, here and in the target. */
static size_t run_length(const struct pages *pages, size_t index)
{
	size_t length = 1;

	while (length < RUN && index + length < pages->count && (index + length) % BATCH &&
	       pages->items[index + length].number == pages->items[index].number + length)
		length++;
	return length;
}

static struct mem_piece piece_of(const struct pages *pages, size_t index, size_t length)
{
	const struct page *first = &pages->items[index], *last = first + length - 1;

	return (struct mem_piece){
		.address = first->number * PAGE + first->from,
		.buffer = bytes_of(pages, index) + first->from,
		.length = (uint32_t)((length - 1) * PAGE + last->to - first->from),
	};
}

/* What was read of a run; page by page when that failed as a whole. */
static void settle_run(struct pages *pages, size_t index, size_t length, int error)
{
	for (size_t i = index; i < index + length; i++) {
		struct mem_piece piece = piece_of(pages, i, 1);
		struct page *page = &pages->items[i];

		page->error = error;
		if (error && length > 1)
			page->error = mem_read(pages->mem, piece.address, piece.buffer,
					       piece.length);
		if (error)
			continue;
		page->from = i > index ? 0 : page->from;
		page->to = i < index + length - 1 ? PAGE : page->to;
	}
}

void pages_load(struct pages *pages)
{
	size_t runs[BATCH], count;

	if (pages->count - pages->loaded > 1)
		sort_new(pages);
	while (pages->loaded < pages->count) {
		size_t next = pages->loaded;

		for (count = 0; count < BATCH && next < pages->count; count++) {
			runs[count] = run_length(pages, next);
			pages->pieces[count] = piece_of(pages, next, runs[count]);
			next += runs[count];
		}
		mem_read_pieces(pages->mem, pages->pieces, count);
		for (size_t i = 0; i < count; i++) {
			settle_run(pages, pages->loaded, runs[i], pages->pieces[i].error);
			pages->loaded += runs[i];
		}
	}
}

/*
 * One page with these bytes of it; NULL: not readable, or no room.  What was
 * not asked for with the others is read with all that is around it.
 */
static const uint8_t *page_at(struct pages *pages, uint64_t number, size_t from, size_t to,
			      bool *ret_full)
{
	size_t index = add_page(pages, number);
	struct page *page = &pages->items[index];

	*ret_full = index == pages->limit;
	if (*ret_full)
		return NULL;
	if (index >= pages->loaded) {
		page->from = 0;
		page->to = PAGE;
		pages_load(pages);
	} else if (page->from > from || page->to < to) {
		page->from = 0;
		page->to = PAGE;
		page->error = mem_read(pages->mem, number * PAGE, bytes_of(pages, index), PAGE);
	}
	return page->error ? NULL : bytes_of(pages, index);
}

int pages_read(struct pages *pages, uint64_t address, void *buffer, size_t length)
{
	uint8_t *to = buffer;

	if (address + length < address)
		return -EFAULT;
	while (length) {
		size_t offset = address % PAGE, part = PAGE - offset;
		const uint8_t *page;
		bool full;

		if (part > length)
			part = length;
		page = page_at(pages, address / PAGE, offset, offset + part, &full);
		if (!page && !full)
			return -EFAULT;
		if (page)
			memcpy(to, page + offset, part);
		else if (mem_read(pages->mem, address, to, part))
			return -EFAULT;
		address += part;
		to += part;
		length -= part;
	}
	return 0;
}

const uint8_t *pages_at(struct pages *pages, uint64_t address, size_t length, void *buffer)
{
	const uint8_t *page;
	bool full;

	if (address % PAGE + length > PAGE)
		return pages_read(pages, address, buffer, length) ? NULL : buffer;
	page = page_at(pages, address / PAGE, address % PAGE, address % PAGE + length, &full);
	if (page)
		return page + address % PAGE;
	return full && !mem_read(pages->mem, address, buffer, length) ? buffer : NULL;
}

size_t pages_readable(struct pages *pages, uint64_t address, size_t length)
{
	uint8_t byte;

	if (!pages_at(pages, address, 1, &byte))
		return 0;
	if (address % PAGE + length <= PAGE ||
	    pages_at(pages, (address / PAGE + 1) * PAGE, 1, &byte))
		return length;
	return PAGE - address % PAGE;
}
