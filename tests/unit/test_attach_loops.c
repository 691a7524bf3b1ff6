// SPDX-License-Identifier: Apache-2.0
/* What is known of a loop that was in a step when it was registered. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "attach/attach_internal.h"
#include "base/units.h"

#define FIRST 3
#define OFF_NS 1000

static struct loop_slot loops[LS_MAX_LOOPS];
static struct attachment attachment;
static const uint64_t args[4] = { 1, 2, 3, 4 };

/* A slot just taken, whose thread the probes have seen leave its CPU since, or not. */
static struct loop_slot *taken(uint32_t off_kind)
{
	struct loop_slot *slot = &loops[1];

	memset(loops, 0, sizeof(loops));
	attachment.loops = loops;
	attachment.slots[1].used = true;
	attachment.slots[1].seq = FIRST;
	*slot = (struct loop_slot){ .tgid = (uint32_t)getpid(), .tid = (uint32_t)getpid(),
				    .state = LOOP_ACTIVE, .seq = FIRST, .call_number = -1,
				    .off_kind = off_kind, .off_ns = off_kind ? OFF_NS : 0 };
	return slot;
}

static int before(int number)
{
	return attach_loop_since_before(&attachment, 1, number, args);
}

static void on_the_cpu(void **state)
{
	struct loop_slot *slot = taken(OFF_NONE);
	uint64_t now = monotonic_ns();

	(void)state;
	assert_int_equal(before(-1), 0);
	assert_true(slot->step_start_ns >= now);
	assert_int_equal(slot->on_ns, slot->step_start_ns);
	assert_int_equal(slot->flags, SLOT_SINCE_BEFORE);
	assert_int_equal(slot->call_start_ns, 0);
}

static void asleep_in_a_call(void **state)
{
	struct loop_slot *slot = taken(OFF_NONE);

	(void)state;
	assert_int_equal(before(230), 0);
	assert_true(slot->step_start_ns > 0);
	assert_int_equal(slot->call_start_ns, slot->step_start_ns);
	assert_int_equal(slot->call_number, 230);
	assert_memory_equal(slot->call_args, args, sizeof(args));
	assert_int_equal(slot->flags, SLOT_SINCE_BEFORE | SLOT_CALL_BEFORE);
	assert_int_equal(slot->off_kind, OFF_CALL);
}

/* Somebody else got its CPU before it was said that it is in a step. */
static void off_its_cpu_meanwhile(void **state)
{
	static const uint32_t kinds[] = { OFF_RUNNABLE, OFF_FAULT, OFF_STOPPED };

	(void)state;
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct loop_slot *slot = taken(kinds[i]);

		assert_int_equal(before(-1), 0);
		assert_int_equal(slot->step_start_ns, OFF_NS);
		assert_int_equal(slot->off_kind, kinds[i]);
		assert_int_equal(slot->off_ns, OFF_NS);
		assert_int_equal(slot->on_ns, 0);
		assert_int_equal(slot->flags, SLOT_SINCE_BEFORE);
	}
}

static void asleep_meanwhile(void **state)
{
	struct loop_slot *slot = taken(OFF_CALL);

	(void)state;
	assert_int_equal(before(-1), -EAGAIN);
	assert_int_equal(slot->step_start_ns, 0);
	assert_int_equal(before(230), 0);
	assert_int_equal(slot->call_start_ns, OFF_NS);
	assert_int_equal(slot->step_start_ns, OFF_NS);
	slot = taken(OFF_RUNNABLE);
	assert_int_equal(before(230), -EAGAIN);	/* it had been */
	assert_int_equal(slot->step_start_ns, 0);
}

static void over_meanwhile(void **state)
{
	struct loop_slot *slot = taken(OFF_SELECTOR);

	(void)state;
	assert_int_equal(before(-1), 0);
	assert_int_equal(slot->step_start_ns, 0);
	slot = taken(OFF_NONE);
	slot->seq++;	/* the next one has begun */
	assert_int_equal(before(-1), 0);
	assert_int_equal(slot->step_start_ns, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(on_the_cpu),
		cmocka_unit_test(asleep_in_a_call),
		cmocka_unit_test(off_its_cpu_meanwhile),
		cmocka_unit_test(asleep_meanwhile),
		cmocka_unit_test(over_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
