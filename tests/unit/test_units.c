// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/units.h"

static void test_parse_duration(void **state)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} good[] = {
		{ "10", 10 * NS_PER_S }, { "0.5", 500 * NS_PER_MS }, { "500ms", 500 * NS_PER_MS },
		{ "30s", 30 * NS_PER_S }, { "5m", 300 * NS_PER_S }, { "2h", 7200 * NS_PER_S },
		{ "0", 0 }, { ".5", 500 * NS_PER_MS }, { "1.", NS_PER_S }, { "100us", 100000 },
		{ "8760h", 31536000 * NS_PER_S },
	};
	static const char *const bad[] = {
		"", "-1", "+1", " 1", "1 ", "s", ".", "1x", "1e9", "0x10", "inf", "nan", "1..2",
		"1sm", "1S", "8761h", "99999999999999999999999", "1,5",
	};
	uint64_t ns = 42;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(parse_duration(bad[i], &ns), -EINVAL);
	assert_int_equal(parse_duration(NULL, &ns), -EINVAL);
	assert_int_equal(ns, 42);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(parse_duration(good[i].text, &ns), 0);
		assert_int_equal(ns, good[i].ns);
	}
}

static void test_parse_duration_long(void **state)
{
	char digits[1000];
	uint64_t ns;

	(void)state;
	memset(digits, '9', sizeof(digits) - 1);
	digits[sizeof(digits) - 1] = '\0';
	assert_int_equal(parse_duration(digits, &ns), -EINVAL);
	digits[0] = '.';
	assert_int_equal(parse_duration(digits, &ns), -EINVAL);
}

static void test_parse_numbers(void **state)
{
	double number = 42;
	long integer = 42;

	(void)state;
	assert_int_equal(parse_number("100.5", 100, &number), -EINVAL);
	assert_int_equal(parse_number("-1", 100, &number), -EINVAL);
	assert_int_equal(parse_number("1%", 100, &number), -EINVAL);
	assert_int_equal(parse_number("", 100, &number), -EINVAL);
	assert_true(number == 42);
	assert_int_equal(parse_number("99.5", 100, &number), 0);
	assert_true(number == 99.5);
	assert_int_equal(parse_integer("70000", 1, 65535, &integer), -EINVAL);
	assert_int_equal(parse_integer("0", 1, 65535, &integer), -EINVAL);
	assert_int_equal(parse_integer(" 1", 1, 65535, &integer), -EINVAL);
	assert_int_equal(parse_integer("1.0", 1, 65535, &integer), -EINVAL);
	assert_int_equal(parse_integer("", 1, 65535, &integer), -EINVAL);
	assert_int_equal(parse_integer("-", -9, 9, &integer), -EINVAL);
	assert_int_equal(parse_integer("99999999999999999999", 0, 9, &integer), -EINVAL);
	assert_int_equal(integer, 42);
	assert_int_equal(parse_integer("-7", -9, 9, &integer), 0);
	assert_int_equal(integer, -7);
}

static void test_format_duration(void **state)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} cases[] = {
		{ 0, "0 us" }, { 812000, "812 us" }, { 999499, "999 us" }, { 999500, "1.0 ms" },
		{ 12340000, "12.3 ms" }, { 99940000, "99.9 ms" }, { 99950000, "100 ms" },
		{ 999499000, "999 ms" }, { 999500000, "1.00 s" }, { 1240000000, "1.24 s" },
		{ 9995000000, "10.0 s" }, { 59949999000, "59.9 s" }, { 59950000000, "1 min 0 s" },
		{ 200 * NS_PER_S, "3 min 20 s" }, { 3599 * NS_PER_S, "59 min 59 s" },
		{ 3600 * NS_PER_S, "1 h 0 min" }, { 90061 * NS_PER_S, "25 h 1 min" },
	};
	char buffer[32];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(format_duration(cases[i].ns, buffer, sizeof(buffer)),
				    cases[i].text);
	assert_int_equal(strlen(format_duration(UINT64_MAX, buffer, 5)), 4);
}

static void test_time(void **state)
{
	uint64_t before = monotonic_ns();
	char buffer[32];

	(void)state;
	assert_string_equal(format_time(1700000000123999999ull, buffer, sizeof(buffer)),
			    "2023-11-14T22:13:20.123Z");
	assert_string_equal(format_time(0, buffer, sizeof(buffer)), "1970-01-01T00:00:00.000Z");
	assert_true(monotonic_ns() >= before);
	assert_true(realtime_ns() > 1700000000 * NS_PER_S);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_duration),
		cmocka_unit_test(test_parse_duration_long),
		cmocka_unit_test(test_parse_numbers),
		cmocka_unit_test(test_format_duration),
		cmocka_unit_test(test_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
