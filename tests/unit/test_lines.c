// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "resolve/code.h"
#include "unit/line_tables.h"

#define TABLES (sizeof(line_tables) / sizeof(line_tables[0]))

/* Bytes of exactly their size on the heap, so that a sanitizer sees one read too many. */
static uint8_t *from_hex(const char *hex, size_t *ret_size)
{
	size_t size = strlen(hex) / 2;
	uint8_t *bytes = malloc(size ? size : 1);

	assert_non_null(bytes);
	for (size_t i = 0; i < size; i++) {
		unsigned value;

		assert_int_equal(sscanf(hex + 2 * i, "%2x", &value), 1);
		bytes[i] = (uint8_t)value;
	}
	*ret_size = size;
	return bytes;
}

static void test_compiled(void **state)
{
	unsigned minors = 0;

	(void)state;
	for (size_t i = 0; i < TABLES; i++) {
		unsigned minor = line_tables[i].minor, first = line_tables[i].first_line;
		const char *at = line_tables[i].runs;
		uint32_t unit = 0;
		size_t size;
		uint8_t *table = from_hex(line_tables[i].table, &size);

		while (*at) {
			char *end;
			unsigned long count = strtoul(at, &end, 10);
			unsigned long line = strtoul(end + 1, &end, 10);

			for (at = end + (*end == ' '); count--; unit++)
				assert_int_equal(
					line_of_instruction(table, size, first, unit, minor), line);
		}
		assert_true(unit > 0);
		if (minor >= 10)
			assert_int_equal(line_of_instruction(table, size, first, unit, minor), 0);
		minors |= 1u << minor;
		free(table);
	}
	assert_int_equal(minors & 7u << 11, 7u << 11);
}

static void test_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < TABLES; i++) {
		size_t size;
		uint8_t *table = from_hex(line_tables[i].table, &size);

		for (size_t length = 0; length < size; length++) {
			uint8_t *cut = malloc(length ? length : 1);

			assert_non_null(cut);
			memcpy(cut, table, length);
			for (unsigned minor = 8; minor < 15; minor++)
				line_of_instruction(cut, length, 1, UINT32_MAX, minor);
			free(cut);
		}
		free(table);
	}
}

static void test_impossible(void **state)
{
	/* A line below 1; a number that never ends; lines beyond an int. */
	const uint8_t negative[] = { 0x80 | 13 << 3, 5 };
	const uint8_t endless[] = { 0x80 | 13 << 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	const uint8_t large[] = { 0x80 | 13 << 3 | 7, 0x7e, 0x7f, 0x7f, 0x7f, 0x7f, 0x03,
				  0x80 | 13 << 3 | 7, 0x7e, 0x7f, 0x7f, 0x7f, 0x7f, 0x03 };

	(void)state;
	assert_int_equal(line_of_instruction(negative, sizeof(negative), 2, 0, 11), 0);
	assert_int_equal(line_of_instruction(negative, sizeof(negative), 3, 0, 11), 1);
	line_of_instruction(endless, sizeof(endless), 1, 0, 11);
	assert_int_equal(line_of_instruction(large, sizeof(large), 1, 8, 12), 0);
	assert_int_equal(line_of_instruction(NULL, 0, 7, 0, 12), 0);
	assert_int_equal(line_of_instruction(negative, 0, 7, 0, 12), 0);
	/* In 3.9 and older a table without entries says that all is on the first line. */
	assert_int_equal(line_of_instruction(negative, 0, 7, 3, 9), 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_compiled),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_impossible),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
