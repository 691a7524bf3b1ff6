/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only module that reads the memory of a target.  A source is either a
 * live process or a memory image (a file of pages, for tests and fuzzers).
 * Reads may fail, lie or never be repeatable; they never stop the target.
 */
#ifndef LS_MEM_H
#define LS_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct mem;	/* opaque */

struct mem_piece {
	uint64_t address;
	void *buffer;
	uint32_t length;
	int32_t error;	/* out: 0 or -errno of this piece */
};

/* Live memory of process `pid`; NULL when out of memory.  Free with mem_free(). */
struct mem *mem_open_process(pid_t pid);

/*
 * A memory image: an array of `count` ranges, borrowed until mem_free().
 * Reads outside of them fail with -EFAULT.
 */
struct mem_range {
	uint64_t address;
	const void *bytes;
	size_t length;
};
struct mem *mem_open_image(const struct mem_range *ranges, size_t count);

/* NULL is legal. */
void mem_free(struct mem *mem);

/* Reads all `length` bytes or fails with -errno; at most MEM_MAX_READ bytes. */
#define MEM_MAX_READ (16u << 20)
int mem_read(const struct mem *mem, uint64_t address, void *buffer, size_t length);

/*
 * Reads `count` pieces with as few system calls as possible; each gets its own
 * error.  Returns how many succeeded.
 */
size_t mem_read_pieces(const struct mem *mem, struct mem_piece *pieces, size_t count);

/* One value; `ret_value` is untouched on failure. */
int mem_read_u64(const struct mem *mem, uint64_t address, uint64_t *ret_value);
int mem_read_u32(const struct mem *mem, uint64_t address, uint32_t *ret_value);

/*
 * A C string of at most `size - 1` bytes; always terminated on success.
 * Returns its length or -errno.
 */
ssize_t mem_read_string(const struct mem *mem, uint64_t address, char *buffer, size_t size);

#endif
