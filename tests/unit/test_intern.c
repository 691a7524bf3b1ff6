// SPDX-License-Identifier: Apache-2.0
/* Interned text: one copy of each, and of names that are made up only so many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/intern.h"

static void test_equal_text_is_one(void **state)
{
	char copy[] = "text";
	const char *text = intern("text");

	(void)state;
	assert_string_equal(text, "text");
	assert_ptr_equal(intern(copy), text);
	assert_ptr_equal(intern_bytes("textual", 4), text);
	assert_ptr_equal(intern_passing(copy), text);
	assert_string_equal(intern("a\nb"), "a?b");
	assert_ptr_equal(intern("a\tb"), intern("a\nb"));
	assert_null(intern(NULL));
	assert_null(intern_passing(NULL));
}

static void test_made_up_names_are_bounded(void **state)
{
	const char *first = intern_passing("job-0"), *other = intern(INTERN_OTHER);
	const char *known = intern("known for another reason");
	unsigned kept = 0;
	char name[32];

	(void)state;
	assert_string_equal(first, "job-0");
	assert_int_equal(intern_others(), 0);
	for (unsigned i = 0; i < INTERN_PASSING_MAX + 100; i++) {
		snprintf(name, sizeof(name), "job-%u", i);
		kept += !strcmp(intern_passing(name), name);
	}
	assert_int_equal(kept, INTERN_PASSING_MAX);
	assert_int_equal(intern_others(), 100);
	assert_ptr_equal(intern_passing("another one"), other);
	assert_int_equal(intern_others(), 101);
	/* what is known stays what it is, and others are not bounded */
	assert_ptr_equal(intern_passing("job-0"), first);
	assert_ptr_equal(intern_passing("known for another reason"), known);
	assert_string_equal(intern("another one"), "another one");
	assert_string_equal(intern_passing("another one"), "another one");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equal_text_is_one),
		cmocka_unit_test(test_made_up_names_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
