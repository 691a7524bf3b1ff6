// SPDX-License-Identifier: Apache-2.0
#include "aggregate/distribution.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"

/*
 * Beyond DISTRIBUTION_EXACT values `items` are the counts of a histogram: one
 * bucket per ns below SUB_BUCKETS, then SUB_BUCKETS of equal width for every
 * power of two, so that a bucket is never wider than 1/128 of its values.
 */
#define SUB_BITS 7
#define SUB_BUCKETS (1u << SUB_BITS)
#define BUCKETS ((64 - SUB_BITS + 1) * SUB_BUCKETS)

static size_t bucket_of(uint64_t ns)
{
	unsigned shift;

	if (ns < SUB_BUCKETS)
		return ns;
	shift = 63 - SUB_BITS - (unsigned)__builtin_clzll(ns);
	return (size_t)(shift + 1) * SUB_BUCKETS + ((ns >> shift) & (SUB_BUCKETS - 1));
}

/* The middle of a bucket. */
static uint64_t bucket_value(size_t bucket)
{
	uint64_t low;
	unsigned shift;

	if (bucket < SUB_BUCKETS)
		return bucket;
	shift = (unsigned)(bucket / SUB_BUCKETS) - 1;
	low = (uint64_t)(SUB_BUCKETS + bucket % SUB_BUCKETS) << shift;
	return low + (shift ? 1ull << (shift - 1) : 0);
}

static int to_histogram(struct distribution *distribution)
{
	uint64_t *buckets = calloc(BUCKETS, sizeof(*buckets));

	if (!buckets)
		return -ENOMEM;
	for (uint64_t i = 0; i < distribution->count; i++)
		buckets[bucket_of(distribution->items[i])]++;
	free(distribution->items);
	distribution->items = buckets;
	distribution->capacity = BUCKETS;
	return 0;
}

int distribution_add(struct distribution *distribution, uint64_t ns)
{
	uint64_t count = distribution->count;
	int err = 0;

	if (count < DISTRIBUTION_EXACT)
		err = vec_reserve((void **)&distribution->items, &distribution->capacity, count + 1,
				  sizeof(*distribution->items), DISTRIBUTION_EXACT);
	else if (count == DISTRIBUTION_EXACT)
		err = to_histogram(distribution);
	if (err)
		return err;
	if (count < DISTRIBUTION_EXACT)
		distribution->items[count] = ns;
	else
		distribution->items[bucket_of(ns)]++;
	if (!count || ns < distribution->min_ns)
		distribution->min_ns = ns;
	if (ns > distribution->max_ns)
		distribution->max_ns = ns;
	if (__builtin_add_overflow(distribution->total_ns, ns, &distribution->total_ns))
		distribution->total_ns = UINT64_MAX;
	distribution->count++;
	return 0;
}

static int compare(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return a < b ? -1 : a > b;
}

/* The nearest rank of a percentile among `count` values, from 1 on. */
static uint64_t rank_of(uint64_t count, unsigned percent)
{
	/* Split, so that the product cannot overflow. */
	return count / 100 * percent + (count % 100 * percent + 99) / 100;
}

static uint64_t histogram_value(const struct distribution *distribution, uint64_t rank)
{
	uint64_t seen = 0, value;

	for (size_t i = 0; i < BUCKETS; i++) {
		seen += distribution->items[i];
		if (seen < rank)
			continue;
		value = bucket_value(i);
		if (value < distribution->min_ns)
			return distribution->min_ns;
		return value < distribution->max_ns ? value : distribution->max_ns;
	}
	return distribution->max_ns;
}

static uint64_t percentile(const struct distribution *distribution, unsigned percent)
{
	uint64_t rank = rank_of(distribution->count, percent);

	if (distribution->count > DISTRIBUTION_EXACT)
		return histogram_value(distribution, rank);
	return distribution->items[rank - 1];
}

void distribution_summary(const struct distribution *distribution, struct summary *ret_summary)
{
	struct summary summary = { .count = distribution->count };

	if (distribution->count) {
		/* The order of the values means nothing: they may be sorted in place. */
		if (distribution->count <= DISTRIBUTION_EXACT)
			qsort(distribution->items, distribution->count,
			      sizeof(*distribution->items), compare);
		summary.total = distribution->total_ns;
		summary.mean = distribution->total_ns / distribution->count;
		summary.min = distribution->min_ns;
		summary.max = distribution->max_ns;
		summary.p50 = percentile(distribution, 50);
		summary.p90 = percentile(distribution, 90);
		summary.p99 = percentile(distribution, 99);
	}
	*ret_summary = summary;
}

void distribution_free(struct distribution *distribution)
{
	if (!distribution)
		return;
	free(distribution->items);
	memset(distribution, 0, sizeof(*distribution));
}
