// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "aggregate/distribution.h"

#define MANY 100000

static int compare(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return a < b ? -1 : a > b;
}

/* Nearest rank, straight from its definition. */
static uint64_t expected(const uint64_t *sorted, size_t count, unsigned percent)
{
	size_t rank = (count * percent + 99) / 100;

	return sorted[rank - 1];
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void assert_close(uint64_t got, uint64_t wanted)
{
	uint64_t apart = got > wanted ? got - wanted : wanted - got;

	assert_true((double)apart <= (double)wanted * 0.01);
}

static void empty(void **state)
{
	struct distribution distribution = { 0 };
	struct summary summary = { .count = 7, .p50 = 7 };

	(void)state;
	distribution_summary(&distribution, &summary);
	assert_int_equal(summary.count, 0);
	assert_int_equal(summary.total, 0);
	assert_int_equal(summary.p50, 0);
	distribution_free(&distribution);
	distribution_free(NULL);
}

static void nearest_rank(void **state)
{
	static const uint64_t values[] = { 35, 20, 15, 50, 40 };
	struct distribution distribution = { 0 };
	struct summary summary;

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		assert_int_equal(distribution_add(&distribution, values[i]), 0);
	distribution_summary(&distribution, &summary);
	assert_int_equal(summary.count, 5);
	assert_int_equal(summary.total, 160);
	assert_int_equal(summary.mean, 32);
	assert_int_equal(summary.min, 15);
	assert_int_equal(summary.p50, 35);
	assert_int_equal(summary.p90, 50);
	assert_int_equal(summary.p99, 50);
	assert_int_equal(summary.max, 50);

	/* What was summed up once goes on growing. */
	assert_int_equal(distribution_add(&distribution, 1), 0);
	distribution_summary(&distribution, &summary);
	assert_int_equal(summary.min, 1);
	assert_int_equal(summary.p50, 20);
	distribution_free(&distribution);
	assert_null(distribution.items);
}

static void one_value(void **state)
{
	struct distribution distribution = { 0 };
	struct summary summary;

	(void)state;
	assert_int_equal(distribution_add(&distribution, UINT64_MAX), 0);
	distribution_summary(&distribution, &summary);
	assert_true(summary.min == UINT64_MAX && summary.p50 == UINT64_MAX &&
		    summary.p99 == UINT64_MAX && summary.max == UINT64_MAX);
	assert_int_equal(distribution_add(&distribution, UINT64_MAX), 0);
	distribution_summary(&distribution, &summary);
	assert_true(summary.total == UINT64_MAX);
	distribution_free(&distribution);
}

/* At the bound every percentile is exact, one value later within 1 %. */
static void bound(void **state)
{
	static uint64_t values[DISTRIBUTION_EXACT];
	struct distribution distribution = { 0 };
	uint64_t seed = 88172645463325252ull;
	struct summary summary;

	(void)state;
	for (size_t i = 0; i < DISTRIBUTION_EXACT; i++) {
		values[i] = next_random(&seed) >> (next_random(&seed) % 60);
		assert_int_equal(distribution_add(&distribution, values[i]), 0);
	}
	qsort(values, DISTRIBUTION_EXACT, sizeof(values[0]), compare);
	distribution_summary(&distribution, &summary);
	assert_true(summary.p50 == expected(values, DISTRIBUTION_EXACT, 50));
	assert_true(summary.p90 == expected(values, DISTRIBUTION_EXACT, 90));
	assert_true(summary.p99 == expected(values, DISTRIBUTION_EXACT, 99));
	assert_int_equal(distribution_add(&distribution, values[DISTRIBUTION_EXACT / 2]), 0);
	distribution_summary(&distribution, &summary);
	assert_int_equal(summary.count, DISTRIBUTION_EXACT + 1);
	assert_close(summary.p50, expected(values, DISTRIBUTION_EXACT, 50));
	distribution_free(&distribution);
}

/* From 1 ns to hours: percentiles within 1 %, everything else exact. */
static void histogram(void **state)
{
	uint64_t *values = calloc(MANY, sizeof(*values));
	struct distribution distribution = { 0 };
	uint64_t seed = 2463534242ull, total = 0;
	struct summary summary;

	(void)state;
	assert_non_null(values);
	for (size_t i = 0; i < MANY; i++) {
		values[i] = 1 + (next_random(&seed) >> (20 + next_random(&seed) % 44));
		total += values[i];
		assert_int_equal(distribution_add(&distribution, values[i]), 0);
	}
	qsort(values, MANY, sizeof(values[0]), compare);
	distribution_summary(&distribution, &summary);
	assert_int_equal(summary.count, MANY);
	assert_true(summary.total == total);
	assert_true(summary.mean == total / MANY);
	assert_true(summary.min == values[0]);
	assert_true(summary.max == values[MANY - 1]);
	assert_close(summary.p50, expected(values, MANY, 50));
	assert_close(summary.p90, expected(values, MANY, 90));
	assert_close(summary.p99, expected(values, MANY, 99));
	distribution_free(&distribution);
	free(values);
}

/* A percentile never lies outside of what was seen. */
static void histogram_of_one_value(void **state)
{
	struct distribution distribution = { 0 };
	struct summary summary;

	(void)state;
	for (size_t i = 0; i < 2 * DISTRIBUTION_EXACT; i++)
		assert_int_equal(distribution_add(&distribution, 100000001), 0);
	distribution_summary(&distribution, &summary);
	assert_int_equal(summary.p50, 100000001);
	assert_int_equal(summary.p99, 100000001);
	distribution_free(&distribution);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty),
		cmocka_unit_test(nearest_rank),
		cmocka_unit_test(one_value),
		cmocka_unit_test(bound),
		cmocka_unit_test(histogram),
		cmocka_unit_test(histogram_of_one_value),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
