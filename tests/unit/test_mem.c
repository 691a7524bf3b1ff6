// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"

#define PAGE 4096
#define PIECES 2500	/* more than two batches */

/* Three pages of which the middle one cannot be read. */
static char *map_with_hole(void)
{
	char *pages = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(pages, MAP_FAILED);
	memset(pages, 'a', PAGE);
	memset(pages + 2 * PAGE, 'c', PAGE);
	assert_int_equal(munmap(pages + PAGE, PAGE), 0);
	return pages;
}

static void unmap_with_hole(char *pages)
{
	munmap(pages, PAGE);
	munmap(pages + 2 * PAGE, PAGE);
}

static void test_process_read(void **state)
{
	struct mem *mem = mem_open_process(getpid());
	char *pages = map_with_hole();
	uint64_t base = (uintptr_t)pages, value = 7;
	uint32_t small = 7;
	char buffer[PAGE];

	(void)state;
	assert_non_null(mem);
	assert_int_equal(mem_read(mem, base, buffer, PAGE), 0);
	assert_memory_equal(buffer, pages, PAGE);
	assert_int_equal(mem_read(mem, base, buffer, 0), 0);
	assert_int_equal(mem_read(mem, base + 1, buffer, PAGE), -EFAULT);
	assert_int_equal(mem_read(mem, 8, buffer, 8), -EFAULT);
	assert_int_equal(mem_read(mem, UINT64_MAX - 3, buffer, 8), -EFAULT);
	assert_int_equal(mem_read(mem, base, buffer, MEM_MAX_READ + 1ul), -E2BIG);
	assert_int_equal(mem_read_u64(mem, base + PAGE, &value), -EFAULT);
	assert_int_equal(mem_read_u32(mem, base + PAGE, &small), -EFAULT);
	assert_int_equal(value, 7);
	assert_int_equal(small, 7);
	assert_int_equal(mem_read_u64(mem, base, &value), 0);
	assert_int_equal(mem_read_u32(mem, base, &small), 0);
	assert_int_equal(value, 0x6161616161616161);
	assert_int_equal(small, 0x61616161);
	unmap_with_hole(pages);
	mem_free(mem);
}

/* Every third piece is in the hole or reaches into it: only those may fail. */
static void test_process_pieces(void **state)
{
	struct mem_piece *pieces = calloc(PIECES, sizeof(*pieces));
	uint64_t *values = calloc(PIECES, sizeof(*values));
	struct mem *mem = mem_open_process(getpid());
	char *pages = map_with_hole();
	uint64_t base = (uintptr_t)pages;
	size_t good = 0;

	(void)state;
	assert_non_null(pieces);
	assert_non_null(values);
	for (size_t i = 0; i < PIECES; i++) {
		static const uint32_t offsets[] = { 0, 2 * PAGE + 8, PAGE + 16, PAGE - 8,
						    2 * PAGE, PAGE - 4 };

		pieces[i].address = base + offsets[i % 6];
		pieces[i].buffer = &values[i];
		pieces[i].length = 8;
		pieces[i].error = 1;
		good += i % 3 != 2;
	}
	pieces[100].address = UINT64_MAX - 1;
	assert_int_equal(mem_read_pieces(mem, pieces, PIECES), good - 1);
	for (size_t i = 0; i < PIECES; i++) {
		if (i % 3 == 2 || i == 100) {
			assert_int_equal(pieces[i].error, -EFAULT);
			continue;
		}
		assert_int_equal(pieces[i].error, 0);
		assert_int_equal(values[i], i % 3 ? (i % 6 == 1 || i % 6 == 4 ?
				 0x6363636363636363 : 0) : 0x6161616161616161);
	}
	assert_int_equal(mem_read_pieces(mem, pieces, 0), 0);
	unmap_with_hole(pages);
	mem_free(mem);
	free(values);
	free(pieces);
}

static void test_process_gone(void **state)
{
	struct mem_piece pieces[2] = { 0 };
	char byte;
	struct mem *mem;
	pid_t child = fork();

	(void)state;
	if (!child)
		_exit(0);
	assert_true(child > 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	mem = mem_open_process(child);
	for (size_t i = 0; i < 2; i++)
		pieces[i] = (struct mem_piece){ (uintptr_t)&byte, &byte, 1, 0 };
	assert_int_equal(mem_read_pieces(mem, pieces, 2), 0);
	assert_int_equal(pieces[0].error, -ESRCH);
	assert_int_equal(pieces[1].error, -ESRCH);
	mem_free(mem);
}

static void test_image(void **state)
{
	static const char low[] = "0123456789", high[] = "abcdef";
	struct mem_range ranges[] = {
		{ 0x1000, low, 10 },
		{ 0x100a, high, 6 },
		{ 0x2000, low, 4 },
		{ 0x3000, NULL, 0 },
	};
	struct mem *mem = mem_open_image(ranges, 4);
	struct mem_piece pieces[2];
	char buffer[16];

	(void)state;
	assert_int_equal(mem_read(mem, 0x1002, buffer, 14), 0);
	assert_memory_equal(buffer, "23456789abcdef", 14);
	assert_int_equal(mem_read(mem, 0x1002, buffer, 15), -EFAULT);
	assert_int_equal(mem_read(mem, 0xfff, buffer, 2), -EFAULT);
	assert_int_equal(mem_read(mem, 0x3000, buffer, 1), -EFAULT);
	assert_int_equal(mem_read(mem, UINT64_MAX, buffer, 2), -EFAULT);
	pieces[0] = (struct mem_piece){ 0x1fff, buffer, 2, 0 };
	pieces[1] = (struct mem_piece){ 0x2000, buffer, 4, 0 };
	assert_int_equal(mem_read_pieces(mem, pieces, 2), 1);
	assert_int_equal(pieces[0].error, -EFAULT);
	assert_int_equal(pieces[1].error, 0);
	mem_free(mem);
	mem_free(NULL);
}

static void test_string(void **state)
{
	struct mem *mem = mem_open_process(getpid());
	char *pages = map_with_hole();
	uint64_t base = (uintptr_t)pages;
	char buffer[64];

	(void)state;
	strcpy(pages + PAGE - 6, "hello");	/* ends right before the hole */
	assert_int_equal(mem_read_string(mem, base + PAGE - 6, buffer, sizeof(buffer)), 5);
	assert_string_equal(buffer, "hello");
	assert_int_equal(mem_read_string(mem, base + PAGE - 6, buffer, 3), 2);
	assert_string_equal(buffer, "he");
	assert_int_equal(mem_read_string(mem, base + PAGE - 6, buffer, 1), 0);
	assert_string_equal(buffer, "");
	assert_int_equal(mem_read_string(mem, base, buffer, 0), -EINVAL);
	pages[PAGE - 1] = 'x';			/* not terminated before the hole */
	assert_int_equal(mem_read_string(mem, base + PAGE - 6, buffer, sizeof(buffer)),
			 -EFAULT);
	assert_int_equal(mem_read_string(mem, base, buffer, sizeof(buffer)), 63);
	unmap_with_hole(pages);
	mem_free(mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_process_read),
		cmocka_unit_test(test_process_pieces),
		cmocka_unit_test(test_process_gone),
		cmocka_unit_test(test_image),
		cmocka_unit_test(test_string),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
