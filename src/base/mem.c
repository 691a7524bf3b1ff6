// SPDX-License-Identifier: Apache-2.0
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1	/* process_vm_readv() */
#endif

#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define MEM_BATCH 1024		/* IOV_MAX: pieces per system call */
#define MEM_BATCH_BYTES (256u << 20)	/* the kernel cuts a call at 2 GiB without an error */
#define MEM_PAGE 4096ull
#define MEM_STRING_STEP 256	/* most strings end in the first read */

struct mem {
	pid_t pid;		/* of a live process; 0 for an image */
	const struct mem_range *ranges;
	size_t range_count;
};

struct mem *mem_open_process(pid_t pid)
{
	struct mem *mem = calloc(1, sizeof(*mem));

	if (mem)
		mem->pid = pid;
	return mem;
}

struct mem *mem_open_image(const struct mem_range *ranges, size_t count)
{
	struct mem *mem = calloc(1, sizeof(*mem));

	if (!mem)
		return NULL;
	mem->ranges = ranges;
	mem->range_count = count;
	return mem;
}

void mem_free(struct mem *mem)
{
	free(mem);
}

static const struct mem_range *range_at(const struct mem *mem, uint64_t address)
{
	for (size_t i = 0; i < mem->range_count; i++) {
		const struct mem_range *range = &mem->ranges[i];

		if (address >= range->address && address - range->address < range->length)
			return range;
	}
	return NULL;
}

/* A read may span ranges that touch, as it does on a live process. */
static int image_read(const struct mem *mem, uint64_t address, char *buffer, size_t length)
{
	while (length) {
		const struct mem_range *range = range_at(mem, address);
		size_t offset, part;

		if (!range)
			return -EFAULT;
		offset = address - range->address;
		part = range->length - offset;
		if (part > length)
			part = length;
		memcpy(buffer, (const char *)range->bytes + offset, part);
		address += part;
		buffer += part;
		length -= part;
	}
	return 0;
}

/* 0, or why a read must not even be tried. */
static int check(uint64_t address, size_t length)
{
	if (length > MEM_MAX_READ)
		return -E2BIG;
	if (address + length < address)
		return -EFAULT;
	return 0;
}

int mem_read(const struct mem *mem, uint64_t address, void *buffer, size_t length)
{
	struct mem_piece piece = { .address = address, .buffer = buffer };
	int error = check(address, length);

	if (error)
		return error;
	piece.length = length;
	mem_read_pieces(mem, &piece, 1);
	return piece.error;
}

/* Marks the pieces that `bytes` fill; returns how many they are. */
static size_t settle(struct mem_piece *pieces, size_t count, size_t bytes)
{
	size_t i;

	for (i = 0; i < count && pieces[i].length <= bytes; i++) {
		bytes -= pieces[i].length;
		pieces[i].error = 0;
	}
	return i;
}

/*
 * One system call for up to MEM_BATCH pieces.  The kernel stops at the first
 * byte that it cannot read, so the piece after the last whole one is the one
 * that failed.  Returns how many pieces are settled, at least one.
 */
static size_t process_batch(const struct mem *mem, struct mem_piece *pieces, size_t count)
{
	struct iovec local[MEM_BATCH], remote[MEM_BATCH];
	size_t used = 0, index, total = 0;
	ssize_t bytes;

	for (; used < count && used < MEM_BATCH; used++) {
		struct mem_piece *piece = &pieces[used];
		int error = check(piece->address, piece->length);

		if (used && (error || total + piece->length > MEM_BATCH_BYTES))
			break;
		if (error) {
			piece->error = error;
			return 1;
		}
		local[used] = (struct iovec){ piece->buffer, piece->length };
		remote[used] = (struct iovec){ (void *)(uintptr_t)piece->address, piece->length };
		total += piece->length;
	}
	if (!total)
		return settle(pieces, used, 0);
	bytes = process_vm_readv(mem->pid, local, used, remote, used, 0);
	if (bytes < 0) {
		int error = -errno;

		if (error != -EFAULT) {
			for (index = 0; index < used; index++)
				pieces[index].error = error;
			return used;
		}
		bytes = 0;
	}
	index = settle(pieces, used, bytes);
	if (index < used)
		pieces[index++].error = -EFAULT;
	return index;
}

size_t mem_read_pieces(const struct mem *mem, struct mem_piece *pieces, size_t count)
{
	size_t done = 0, good = 0;

	while (mem->pid && done < count)
		done += process_batch(mem, pieces + done, count - done);
	for (; done < count; done++) {
		struct mem_piece *piece = &pieces[done];

		piece->error = check(piece->address, piece->length);
		if (!piece->error)
			piece->error = image_read(mem, piece->address, piece->buffer,
						  piece->length);
	}
	for (size_t i = 0; i < count; i++)
		good += !pieces[i].error;
	return good;
}

int mem_read_u64(const struct mem *mem, uint64_t address, uint64_t *ret_value)
{
	uint64_t value;
	int error = mem_read(mem, address, &value, sizeof(value));

	if (!error)
		*ret_value = value;
	return error;
}

int mem_read_u32(const struct mem *mem, uint64_t address, uint32_t *ret_value)
{
	uint32_t value;
	int error = mem_read(mem, address, &value, sizeof(value));

	if (!error)
		*ret_value = value;
	return error;
}

/*
 * Reads in steps that end at page borders: what is behind the terminator may be
 * unmapped, and must not make the string fail.
 */
ssize_t mem_read_string(const struct mem *mem, uint64_t address, char *buffer, size_t size)
{
	size_t length = 0;

	if (!size)
		return -EINVAL;
	while (length < size - 1) {
		size_t part = MEM_PAGE - (address + length) % MEM_PAGE;
		char *end;
		int error;

		if (part > MEM_STRING_STEP)
			part = MEM_STRING_STEP;
		if (part > size - 1 - length)
			part = size - 1 - length;
		error = mem_read(mem, address + length, buffer + length, part);
		if (error)
			return error;
		end = memchr(buffer + length, '\0', part);
		if (end)
			return end - buffer;
		length += part;
	}
	buffer[length] = '\0';
	return length;
}
