// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/pages.h"

#define PAGE 4096
#define COUNT 64
#define BASE 0x100000ull
#define HOLE 20		/* a page that is not there */

static uint8_t bytes[COUNT * PAGE];
static struct mem_range ranges[2];
static struct mem *mem;

static int set_up(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + i / PAGE);
	ranges[0] = (struct mem_range){ BASE, bytes, HOLE * PAGE };
	ranges[1] = (struct mem_range){ BASE + (HOLE + 1) * PAGE, bytes + (HOLE + 1) * PAGE,
					(COUNT - HOLE - 1) * PAGE };
	mem = mem_open_image(ranges, 2);
	return mem ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	mem_free(mem);
	return 0;
}

static void check_read(struct pages *pages, size_t offset, size_t length)
{
	uint8_t buffer[3 * PAGE], other[PAGE];
	const uint8_t *at;

	assert_int_equal(pages_read(pages, BASE + offset, buffer, length), 0);
	assert_memory_equal(buffer, bytes + offset, length);
	if (length > PAGE)
		return;
	at = pages_at(pages, BASE + offset, length, other);
	assert_non_null(at);
	assert_memory_equal(at, bytes + offset, length);
}

/* Wanted in any order, in pieces that touch, overlap and cross pages. */
static void test_wanted(void **state)
{
	struct pages *pages = pages_new(mem, 256);
	static const size_t offsets[] = { 9000, 8100, 100, 4090, 12288, 50000, 49000, 0, 4095 };

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++)
			assert_true(pages_want(pages, BASE + offsets[i], 200));
		pages_load(pages);
		for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++)
			check_read(pages, offsets[i], 200);
		check_read(pages, 5000, 1);	/* not wanted, on a page that was */
		check_read(pages, 60000, 2 * PAGE + 1);
		pages_clear(pages);
	}
	pages_free(pages);
}

static void test_not_readable(void **state)
{
	struct pages *pages = pages_new(mem, 256);
	uint64_t hole = BASE + HOLE * PAGE;
	uint8_t buffer[PAGE];

	(void)state;
	for (int wanted = 0; wanted < 2; wanted++) {
		if (wanted)
			assert_true(pages_want(pages, hole - PAGE, 3 * PAGE));
		pages_load(pages);
		assert_true(pages_read(pages, hole, buffer, 1) < 0);
		assert_true(pages_read(pages, hole - 4, buffer, 8) < 0);
		assert_null(pages_at(pages, hole - 4, 8, buffer));
		check_read(pages, HOLE * PAGE - 8, 8);
		check_read(pages, (HOLE + 1) * PAGE, 8);
		assert_int_equal(pages_readable(pages, hole - 8, 100), 8);
		assert_int_equal(pages_readable(pages, hole, 100), 0);
		assert_int_equal(pages_readable(pages, hole + PAGE, 100), 100);
		assert_true(pages_read(pages, UINT64_MAX - 3, buffer, 8) < 0);
		assert_true(pages_want(pages, UINT64_MAX - 3, 8));
		pages_clear(pages);
	}
	pages_free(pages);
}

/* What there is no room for is read all the same. */
static void test_full(void **state)
{
	struct pages *pages = pages_new(mem, 4);

	(void)state;
	for (size_t i = 0; i < 4; i++)
		assert_true(pages_want(pages, BASE + 2 * i * PAGE, 8));
	assert_false(pages_want(pages, BASE + 9 * PAGE, 8));
	pages_load(pages);
	check_read(pages, 2 * PAGE, 8);
	check_read(pages, 9 * PAGE, 8);
	check_read(pages, 9 * PAGE - 4, 8);
	pages_free(pages);
	pages_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wanted),
		cmocka_unit_test(test_not_readable),
		cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
