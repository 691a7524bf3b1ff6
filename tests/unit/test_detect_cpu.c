// SPDX-License-Identifier: Apache-2.0
/* From clock samples made by hand to findings: who had the CPU of a step. */
#include "activities.h"

static void a_long_callback_is_a_stall(void **state)
{
	struct case_state *t = *state;
	const struct finding *finding;

	add_samples(t, 1, 0xa0, 6, 0);
	end_cpu_step(t, 62);
	finding = only(t, FINDING_cpu_stall);
	assert_int_equal(finding->count, 1);
	assert_int_equal(finding->samples, 6);
	assert_int_equal(finding->calls, 0);
	assert_int_equal(finding->evidence, EVIDENCE_SAMPLED);
	assert_true(finding->duration.total > 62 * NS_PER_MS - 6 &&
		    finding->duration.total <= 62 * NS_PER_MS);
	assert_int_equal(finding->loop_lag.max, 62 * NS_PER_MS);
}

static void cpu_threshold(void **state)
{
	struct case_state *t = *state;

	add_samples(t, 1, 0xa0, 2, 0);
	end_cpu_step(t, 19);
	none(t);
	add_samples(t, 1, 0xa0, 1, 0);	/* the only sample of a step */
	end_cpu_step(t, 21);
	only(t, FINDING_cpu_stall);
}

static void cooperative_slices_are_silent(void **state)
{
	struct case_state *t = *state;

	for (unsigned i = 0; i < 50; i++) {
		add_samples(t, 1, 0xa0, 1, 0);
		end_cpu_step(t, 10);
	}
	none(t);
}

static void small_callbacks_are_no_stall(void **state)
{
	struct case_state *t = *state;
	const struct finding *finding;

	for (unsigned i = 0; i < 30; i++)	/* of one function, of one request even */
		add_samples(t, 1, 0x1000 + 64 * i, 1, 0);
	end_cpu_step(t, 310);
	finding = only(t, FINDING_loop_saturated);
	assert_int_equal(finding->count, 1);
	assert_int_equal(finding->samples, 30);
	assert_int_equal(finding->duration.total, 310 * NS_PER_MS);
	assert_null(finding->route);
	assert_null(finding->culprit.file);
	assert_string_equal(finding->library.qualname, "work");
	assert_int_equal(finding->evidence, EVIDENCE_SAMPLED);
}

static void one_callback_is_not_saturation(void **state)
{
	struct case_state *t = *state;

	add_samples(t, 0, 0xa0, 30, 0);
	end_cpu_step(t, 310);
	only(t, FINDING_cpu_stall);
}

static void two_samples_of_many_callbacks_blame_nobody(void **state)
{
	struct case_state *t = *state;

	add_samples(t, 1, 0xa0, 1, 0);
	add_samples(t, 2, 0xb0, 1, 0);
	end_cpu_step(t, 60);
	none(t);
}

static void saturation_by_share_of_a_second(void **state)
{
	struct case_state *t = *state;

	for (unsigned i = 0; i < 8; i++) {
		for (unsigned k = 0; k < 4; k++)
			add_samples(t, 0, 0x1000 + 64 * k, 1, 0);
		end_cpu_step(t, 40);	/* 320 ms of a second */
	}
	none(t);
	t->now += 10 * NS_PER_S;
	for (unsigned i = 0; i < 20; i++) {
		for (unsigned k = 0; k < 4; k++)
			add_samples(t, 0, 0x1000 + 64 * k, 1, 0);
		end_cpu_step(t, 40);
	}
	assert_true(only(t, FINDING_loop_saturated)->count >= 18);
}

static void saturation_leaves_out_what_others_took(void **state)
{
	struct case_state *t = *state;

	for (unsigned i = 0; i < 15; i++)
		add_samples(t, 0, 0x1000 + 64 * i, 1, 0);
	end_step(t, &(struct step_parts){ .cpu_user_ns = 150 * NS_PER_MS,
					  .runnable_ns = 400 * NS_PER_MS });
	detect(t);
	assert_int_equal(t->findings.count, 2);
	assert_int_equal(t->findings.items[0].kind, FINDING_cpu_starvation);
	assert_int_equal(t->findings.items[1].kind, FINDING_loop_saturated);
	assert_int_equal(t->findings.items[1].duration.total, 150 * NS_PER_MS);
}

static void requests_share_a_step(void **state)
{
	struct case_state *t = *state;
	const struct finding *finding;

	add_samples(t, 1, 0xa0, 6, 0);
	add_samples(t, 2, 0xb0, 3, 0);
	add_samples(t, 3, 0xc0, 1, 0);
	end_cpu_step(t, 100);
	finding = only(t, FINDING_cpu_stall);
	assert_int_equal(finding->count, 2);
	assert_int_equal(finding->requests, 2);
	assert_int_equal(finding->duration.max, 60 * NS_PER_MS);
	assert_int_equal(finding->duration.total, 90 * NS_PER_MS);
	assert_int_equal(finding->loop_lag.max, 100 * NS_PER_MS);
}

static void collections_have_their_share(void **state)
{
	struct case_state *t = *state;

	add_samples(t, 1, 0xa0, 7, 0);
	add_samples(t, 1, 0xa0, 3, EVENT_F_GC);
	end_cpu_step(t, 100);
	detect(t);
	assert_int_equal(t->findings.count, 2);
	assert_int_equal(t->findings.items[0].kind, FINDING_cpu_stall);
	assert_int_equal(t->findings.items[0].duration.total, 70 * NS_PER_MS);
	assert_int_equal(t->findings.items[1].kind, FINDING_gc_pause);
	assert_int_equal(t->findings.items[1].duration.total, 30 * NS_PER_MS);
}

/* Its code is freed: the next process of that number has nothing to do with it. */
static void samples_end_with_their_process(void **state)
{
	struct case_state *t = *state;

	add_samples(t, 1, 0xa0, 6, 0);
	window_forget(&t->window, 8);
	end_cpu_step(t, 62);
	only(t, FINDING_cpu_stall);
	add_samples(t, 2, 0xa0, 6, 0);
	window_forget(&t->window, 7);
	end_cpu_step(t, 62);
	assert_int_equal(only(t, FINDING_cpu_stall)->count, 1);
}

/* Two samples are 10 to 30 ms. */
static void one_short_collection_is_nobodys(void **state)
{
	struct case_state *t = *state;

	add_samples(t, 1, 0xa0, 2, EVENT_F_GC);
	end_cpu_step(t, 21);
	none(t);
	add_samples(t, 2, 0xa0, 2, EVENT_F_GC);
	end_cpu_step(t, 21);
	assert_int_equal(only(t, FINDING_gc_pause)->count, 2);
}

static void one_long_collection_is_found(void **state)
{
	struct case_state *t = *state;

	add_samples(t, 1, 0xa0, 3, EVENT_F_GC);
	end_cpu_step(t, 31);
	only(t, FINDING_gc_pause);
}

static void calls_on_the_cpu_are_no_cpu_work(void **state)
{
	struct case_state *t = *state;
	struct call_target file = { .fd = 5, .type = FD_FILE };
	struct activity activity;

	for (unsigned i = 0; i < 7; i++) {
		t->now += 10 * NS_PER_MS;
		activity = made(t, ACTIVITY_SAMPLE, 1);
		activity.callback = 0xa0;
		activity.number = NR_READ;
		add(t, &activity);
	}
	activity = call_of(t, 1, 70000);
	activity.number = NR_READ;
	activity.flags = EVENT_F_ON_CPU;
	activity.target = &file;
	add(t, &activity);
	add_samples(t, 1, 0xa0, 1, 0);
	end_cpu_step(t, 85);
	assert_int_equal(only(t, FINDING_blocking_call)->duration.total, 70 * NS_PER_MS);
}

static void calls_that_move_no_data_are_cpu_work(void **state)
{
	struct case_state *t = *state;
	struct activity activity = call_of(t, 1, 70000);

	activity.number = 318;	/* getrandom */
	activity.flags = EVENT_F_ON_CPU;
	add(t, &activity);
	add_samples(t, 1, 0xa0, 7, 0);
	end_cpu_step(t, 72);
	only(t, FINDING_cpu_stall);
}

static void time_in_helpers_goes_to_their_caller(void **state)
{
	struct case_state *t = *state;
	struct code_info helpers[4];
	const struct finding *finding;

	for (unsigned i = 0; i < 8; i++) {
		struct frame frames[2] = { { .code = &helpers[i % 4], .line = 50 },
					   { .code = &work_code, .line = 14 } };
		static const char *const names[] = { "h0", "h1", "h2", "h3" };
		struct activity activity = made(t, ACTIVITY_SAMPLE, 1);

		helpers[i % 4] = other_code;
		helpers[i % 4].qualname = helpers[i % 4].function = names[i % 4];
		activity.callback = 0xa0;
		activity.frames = frames;
		activity.frame_count = activity.hand_over = 2;
		activity.culprit = (struct place){ other_code.file, names[i % 4], names[i % 4],
						   50 };
		add(t, &activity);
	}
	t->now += 80 * NS_PER_MS;
	end_cpu_step(t, 80);
	finding = only(t, FINDING_cpu_stall);
	assert_string_equal(finding->culprit.qualname, "work");
	assert_int_equal(finding->culprit.line, 14);
	assert_int_equal(finding->duration.total, 80 * NS_PER_MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_long_callback_is_a_stall),
		TEST(cpu_threshold),
		TEST(cooperative_slices_are_silent),
		TEST(small_callbacks_are_no_stall),
		TEST(one_callback_is_not_saturation),
		TEST(two_samples_of_many_callbacks_blame_nobody),
		TEST(saturation_by_share_of_a_second),
		TEST(saturation_leaves_out_what_others_took),
		TEST(requests_share_a_step),
		TEST(collections_have_their_share),
		TEST(samples_end_with_their_process),
		TEST(one_short_collection_is_nobodys),
		TEST(one_long_collection_is_found),
		TEST(calls_on_the_cpu_are_no_cpu_work),
		TEST(calls_that_move_no_data_are_cpu_work),
		TEST(time_in_helpers_goes_to_their_caller),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
