// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/pace.h"
#include "base/units.h"

#define START (1000 * NS_PER_MS)

static const struct pace_limits limits = { .least_ns = 10 * NS_PER_MS, .share = 100,
					   .most_ns = 100 * NS_PER_MS,
					   .credit_ns = 50 * NS_PER_MS };
static const struct pace_limits strict = { .least_ns = 10 * NS_PER_MS, .share = 100 };

/* Done at once and then whenever it is due, for that long; how often. */
static unsigned repeat(struct pace *pace, const struct pace_limits *of, uint64_t cost_ns,
		       uint64_t for_ns)
{
	uint64_t now = pace->due_ns ? pace->due_ns : START, end = now + for_ns;
	unsigned times = 0;

	for (; now < end; now = pace->due_ns, times++)
		pace_done(pace, of, now, cost_ns);
	return times;
}

static void test_cheap(void **state)
{
	struct pace pace = { 0 };

	(void)state;
	assert_int_equal(repeat(&pace, &limits, 1000, NS_PER_S), 100);
	assert_int_equal(repeat(&pace, &limits, 200000, NS_PER_S), 52);
}

/* The first time costs more than those that follow, and so does whatever is new. */
static void test_what_is_new(void **state)
{
	struct pace pace = { 0 };

	(void)state;
	for (unsigned i = 1; i < PACE_COSTS; i++) {
		pace_done(&pace, &strict, START, 5 * NS_PER_MS);
		assert_int_equal(pace.due_ns, START + 10 * NS_PER_MS);
	}
	pace_done(&pace, &strict, START, 5 * NS_PER_MS);
	assert_int_equal(pace.due_ns, START + 500 * NS_PER_MS);
	repeat(&pace, &strict, 200000, NS_PER_S);
	for (unsigned i = 1; i < PACE_COSTS; i++) {
		pace_done(&pace, &strict, START, 5 * NS_PER_MS);
		assert_int_equal(pace.due_ns, START + 20 * NS_PER_MS);
	}
	pace_done(&pace, &strict, START, 5 * NS_PER_MS);
	assert_int_equal(pace.due_ns, START + 500 * NS_PER_MS);
}

/* A pace is kept for as long as the credit lasts, and its share after that. */
static void test_credit(void **state)
{
	struct pace pace = { 0 };
	unsigned times;

	(void)state;
	/* each takes 4 ms more than the tenth of a second earns */
	times = repeat(&pace, &limits, 5 * NS_PER_MS, 2 * NS_PER_S);
	assert_in_range(times, 12 + 1, 12 + 3);
	times = repeat(&pace, &limits, 5 * NS_PER_MS, 10 * NS_PER_S);
	assert_in_range(times, 20, 21);
	/* what costs little fills it again */
	repeat(&pace, &limits, 1000, 10 * NS_PER_S);
	assert_in_range(pace.spent_ns, 1000, 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cheap),
		cmocka_unit_test(test_what_is_new),
		cmocka_unit_test(test_credit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
