// SPDX-License-Identifier: Apache-2.0
/*
 * produced - received - lost = 0, with a ring of one page and a reader that
 * stands still: ten million records through the way the probes hand theirs over.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "collect/collect.h"
#include "counters.h"
#include "events.h"
#include "target_config.h"

#include "tests/bpf/produce.skel.h"

#define RECORDS 10000000ull
#define RECORDS_A_RUN 2500ull	/* of produce.bpf.c */
#define RUNS (RECORDS / RECORDS_A_RUN)

struct production {
	struct produce_bpf *skeleton;
	struct collector *collector;
	uint64_t handled[EVENT_KIND_COUNT];
};

static void on_event(void *context, const struct event_header *event)
{
	struct production *production = context;

	production->handled[event->kind]++;
}

static void production_open(struct production *production, unsigned drop_per_mille)
{
	struct produce_bpf *skeleton = produce_bpf__open();

	assert_non_null(skeleton);
	*production = (struct production){ .skeleton = skeleton };
	skeleton->rodata->probe.drop_per_mille = drop_per_mille;
	assert_int_equal(bpf_map__set_max_entries(skeleton->maps.events,
						  (uint32_t)sysconf(_SC_PAGESIZE)), 0);
	assert_int_equal(produce_bpf__load(skeleton), 0);
	assert_int_equal(collector_new(bpf_map__fd(skeleton->maps.events), on_event, production,
				       &production->collector), 0);
}

static void production_close(struct production *production)
{
	collector_free(production->collector);
	produce_bpf__destroy(production->skeleton);
}

static void run(const struct production *production, uint64_t runs)
{
	for (uint64_t i = 0; i < runs; i++) {
		LIBBPF_OPTS(bpf_test_run_opts, options);

		assert_int_equal(bpf_prog_test_run_opts(
			bpf_program__fd(production->skeleton->progs.produce), &options), 0);
	}
}

static uint64_t counted(const struct production *production, enum counter which)
{
	int cpus = libbpf_num_possible_cpus();
	uint32_t key = which;
	uint64_t *values, sum = 0;

	assert_true(cpus > 0);
	values = calloc((size_t)cpus, sizeof(*values));
	assert_non_null(values);
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(production->skeleton->maps.counters),
					     &key, values), 0);
	for (int cpu = 0; cpu < cpus; cpu++)
		sum += values[cpu];
	free(values);
	return sum;
}

/* Reads the ring to its end; every record has then been received or counted as lost. */
static void check_equation(struct production *production)
{
	uint64_t lost = 0, handled = 0, received;

	collector_drain(production->collector);
	received = collector_received(production->collector);
	for (unsigned kind = 0; kind < EVENT_KIND_COUNT; kind++)
		handled += production->handled[kind];
#define X(name, text) lost += counted(production, COUNTER_##name);
	LOSS_COUNTERS(X)
#undef X
	printf("produced %llu, received %llu, lost %llu\n",
	       (unsigned long long)counted(production, COUNTER_produced),
	       (unsigned long long)received, (unsigned long long)lost);
	assert_int_equal(counted(production, COUNTER_produced), RECORDS);
	assert_int_equal(collector_malformed(production->collector), 0);
	assert_int_equal(handled, received);
	assert_true(received > 0);
	assert_int_equal(RECORDS - received - lost, 0);
}

static void test_stopped_reader(void **state)
{
	struct production production;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	(void)state;
	production_open(&production, 0);
	run(&production, RUNS);
	check_equation(&production);
	/* What fits into the ring: two records in turn, each with the kernel's 8 bytes. */
	assert_true(collector_received(production.collector) <=
		    page / (sizeof(struct event_process) + 8));
	assert_true(counted(&production, COUNTER_ring_full) > RECORDS - page);
	assert_int_equal(counted(&production, COUNTER_dropped_on_purpose), 0);
	production_close(&production);
}

/* A reader that looks once in a while gets what the ring holds then. */
static void test_slow_reader(void **state)
{
	struct production production;

	(void)state;
	production_open(&production, 0);
	for (unsigned i = 0; i < 100; i++) {
		run(&production, RUNS / 100);
		assert_true(collector_drain(production.collector) > 0);
	}
	check_equation(&production);
	production_close(&production);
}

static void *run_half(void *production)
{
	run(production, RUNS / 2);
	return NULL;
}

/* Two producers at once, and a reader that runs after them all the time. */
static void test_two_producers(void **state)
{
	struct production production;
	pthread_t other;

	(void)state;
	production_open(&production, 0);
	assert_int_equal(pthread_create(&other, NULL, run_half, &production), 0);
	for (unsigned i = 0; i < RUNS / 2; i++) {
		run(&production, 1);
		collector_drain(production.collector);
	}
	pthread_join(other, NULL);
	check_equation(&production);
	production_close(&production);
}

static void check_dropped(unsigned per_mille)
{
	struct production production;
	double share;

	production_open(&production, per_mille);
	run(&production, RUNS);
	check_equation(&production);
	share = (double)counted(&production, COUNTER_dropped_on_purpose) / RECORDS;
	/* thirty standard deviations of ten million draws */
	assert_true(share > per_mille / 1e3 - 0.005 && share < per_mille / 1e3 + 0.005);
	production_close(&production);
}

static void test_dropped_on_purpose(void **state)
{
	(void)state;
	check_dropped(50);
	check_dropped(500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stopped_reader),
		cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_two_producers),
		cmocka_unit_test(test_dropped_on_purpose),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
