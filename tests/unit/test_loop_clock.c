// SPDX-License-Identifier: Apache-2.0
/* What a loop did for whom: bpf/loop_clock.bpf.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../bpf/loop_clock.bpf.h"

static void expect(const struct own_time *own, uint64_t start, uint64_t cpu, uint64_t blocked)
{
	assert_int_equal(own->start_ns, start);
	assert_int_equal(own->cpu_ns, cpu);
	assert_int_equal(own->blocked_ns, blocked);
}

/* A step that began at 100, when the loop had been busy for 1000. */
static struct loop_slot step(void)
{
	struct loop_slot slot = { .busy_ns = 1000, .step_start_ns = 100 };

	own_reset(&slot);
	return slot;
}

static void each_has_what_was_since_the_last(void **state)
{
	struct loop_slot slot = step();
	struct own_time own = { 0 };

	(void)state;
	own_take(&slot, &own, 150);
	expect(&own, 100, 50, 0);
	assert_int_equal(own.busy_ns, 1050);
	slot.parts.calls_ns = 30;
	slot.parts.gil_ns = 10;
	slot.parts.runnable_ns = 5;
	slot.parts.stopped_ns = 5;
	own_take(&slot, &own, 220);
	expect(&own, 150, 20, 30);
	assert_int_equal(own.gil_ns, 10);
	assert_int_equal(own.runnable_ns, 5);
	own_take(&slot, &own, 230);
	expect(&own, 220, 10, 0);
	/* between steps there is nothing to have */
	slot.step_start_ns = 0;
	own = (struct own_time){ 0 };
	own_take(&slot, &own, 240);
	expect(&own, 0, 0, 0);
	assert_int_equal(own.busy_ns, 1000);
}

/* A sample after the wake-up from a call and before its end: the call has its time once. */
static void a_call_that_is_not_over(void **state)
{
	struct loop_slot slot = step();
	struct own_time own = { 0 };

	(void)state;
	slot.call_start_ns = 160;
	own_take(&slot, &own, 205);
	expect(&own, 100, 60, 0);
	slot.call_start_ns = 0;
	slot.parts.calls_ns = 45;
	own_take(&slot, &own, 215);
	expect(&own, 160, 10, 45);
}

/* Of one that began before the last point nothing is had twice, or less than nothing. */
static void a_call_since_before_the_last(void **state)
{
	struct loop_slot slot = step();
	struct own_time own = { 0 };

	(void)state;
	own_take(&slot, &own, 180);
	slot.call_start_ns = 170;
	own_take(&slot, &own, 190);
	expect(&own, 180, 0, 0);
	slot.call_start_ns = 0;
	own_take(&slot, &own, 200);
	expect(&own, 180, 20, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_has_what_was_since_the_last),
		cmocka_unit_test(a_call_that_is_not_over),
		cmocka_unit_test(a_call_since_before_the_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
