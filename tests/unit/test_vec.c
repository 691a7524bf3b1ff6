// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/intern.h"
#include "base/vec.h"

struct numbers {
	uint32_t *items;
	size_t count, capacity;
};

static void test_grow(void **state)
{
	struct numbers numbers = { 0 };

	(void)state;
	for (uint32_t i = 0; i < 1000; i++) {
		assert_int_equal(vec_grow(&numbers, 1000), 0);
		assert_int_equal(numbers.items[numbers.count], 0);
		numbers.items[numbers.count++] = i + 1;
	}
	assert_int_equal(numbers.capacity, 1000);
	assert_int_equal(vec_grow(&numbers, 1000), -E2BIG);
	assert_int_equal(numbers.items[999], 1000);
	free(numbers.items);
}

static void test_reserve(void **state)
{
	void *items = NULL;
	size_t capacity = 0;

	(void)state;
	assert_int_equal(vec_reserve(&items, &capacity, 0, 8, 10), 0);
	assert_null(items);
	assert_int_equal(vec_reserve(&items, &capacity, 3, 8, 5), 0);
	assert_int_equal(capacity, 5);
	assert_int_equal(vec_reserve(&items, &capacity, SIZE_MAX / 4, 8, SIZE_MAX), -ENOMEM);
	assert_int_equal(capacity, 5);
	for (size_t i = 0; i < 5 * 8; i++)
		assert_int_equal(((char *)items)[i], 0);
	free(items);
}

static void test_intern(void **state)
{
	const char *first[3000];
	char text[32];

	(void)state;
	assert_null(intern(NULL));
	assert_null(intern_bytes(NULL, 3));
	assert_string_equal(intern(""), "");
	assert_ptr_equal(intern("a\nb\x7f"), intern("a?b?"));
	assert_string_equal(intern_bytes("a\0b", 3), "a?b");
	assert_ptr_equal(intern_bytes("path/x", 4), intern("path"));
	assert_string_equal(intern("gr\xc3\xbc\xc3\x9f"), "gr\xc3\xbc\xc3\x9f");
	for (int i = 0; i < 3000; i++) {	/* the table grows in between */
		snprintf(text, sizeof(text), "name %d", i);
		first[i] = intern(text);
		assert_string_equal(first[i], text);
	}
	for (int i = 0; i < 3000; i++) {
		snprintf(text, sizeof(text), "name %d", i);
		assert_ptr_equal(intern(text), first[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grow),
		cmocka_unit_test(test_reserve),
		cmocka_unit_test(test_intern),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
