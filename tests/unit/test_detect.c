// SPDX-License-Identifier: Apache-2.0
/* From activities made by hand to findings: calls, waits of steps, what all have. */
#include "activities.h"

static const struct code_info queue_code = {
	.file = "/usr/lib/python3.12/queue.py", .function = "get", .qualname = "Queue.get",
	.origin = CODE_STDLIB,
};

/* --- calls ------------------------------------------------------------------ */

static void call_threshold(void **state)
{
	struct case_state *t = *state;
	const struct finding *finding;

	add_call(t, 1, 19999);
	none(t);
	add_call(t, 2, 20000);
	finding = only(t, FINDING_blocking_call);
	assert_int_equal(finding->count, 1);
	assert_int_equal(finding->requests, 1);
	assert_int_equal(finding->calls, 1);
	assert_int_equal(finding->duration.total, STALL_NS);
	assert_int_equal(finding->evidence, EVIDENCE_EXACT);
	assert_int_equal(finding->severity, SEVERITY_WARNING);
	assert_string_equal(finding->route, "/a/{id}");
	assert_string_equal(finding->culprit.qualname, "work");
	assert_int_equal(finding->culprit.line, 12);
	assert_string_equal(finding->syscall, "clock_nanosleep");
	assert_int_equal(finding->last_ns, t->now + 5);
	assert_int_equal(finding->last_ns - finding->first_ns, STALL_NS);
}

static void calls_of_a_request_are_summed(void **state)
{
	struct case_state *t = *state;
	const struct finding *finding;

	for (unsigned i = 0; i < 8; i++) {
		add_call(t, 1, 5000);
		t->seq++;
	}
	for (unsigned i = 0; i < 8; i++) {	/* as much, but of eight requests */
		add_call(t, 10 + i, 5000);
		t->seq++;
	}
	finding = only(t, FINDING_blocking_call);
	assert_int_equal(finding->count, 1);
	assert_int_equal(finding->calls, 8);
	assert_int_equal(finding->duration.total, 40 * NS_PER_MS);
	assert_int_equal(finding->duration.max, 40 * NS_PER_MS);
}

static void websockets_count_by_connection_and_step(void **state)
{
	struct case_state *t = *state;
	const struct finding *finding;

	/* two connections in one step, one of them in another one as well; one short */
	for (unsigned i = 0; i < 4; i++) {
		struct activity activity = call_of(t, i == 1 ? 2 : 1, i == 3 ? 15000 : 30000);

		activity.websocket = true;
		if (i >= 2)
			activity.step_seq = ++t->seq;
		add(t, &activity);
	}
	finding = only(t, FINDING_blocking_call);
	assert_int_equal(finding->count, 3);
	assert_int_equal(finding->duration.total, 90 * NS_PER_MS);
}

static void work_of_no_request_counts_by_step(void **state)
{
	struct case_state *t = *state;
	const struct finding *finding;

	add_call(t, 0, 15000);
	add_call(t, 0, 15000);
	t->seq++;
	add_call(t, 0, 15000);
	finding = only(t, FINDING_blocking_call);
	assert_int_equal(finding->count, 1);
	assert_int_equal(finding->requests, 0);
	assert_null(finding->route);
	assert_string_equal(finding->owner_task, "sweeper");
}

static void own_work_is_silent(void **state)
{
	struct case_state *t = *state;
	struct activity activity = call_of(t, 0, 500000);

	activity.own_work = true;
	add(t, &activity);
	activity = call_of(t, 0, 500000);
	activity.owner_task = NULL;
	activity.culprit = (struct place){ 0 };
	add(t, &activity);
	none(t);
}

static void futexes_and_logs_have_kinds_of_their_own(void **state)
{
	struct case_state *t = *state;
	struct call_target pipe = { .fd = 9, .type = FD_PIPE };
	struct activity activity = call_of(t, 1, 30000);
	struct frame frames[2] = { { .code = &queue_code }, { .code = &work_code } };

	activity.number = NR_FUTEX;
	add(t, &activity);
	only(t, FINDING_lock_wait);
	activity = call_of(t, 2, 30000);	/* waits for a result, not for a lock */
	activity.number = NR_FUTEX;
	activity.frames = frames;
	activity.frame_count = 2;
	activity.hand_over = 2;
	add(t, &activity);
	activity = call_of(t, 3, 40000);
	activity.number = NR_WRITE;
	activity.target = &pipe;
	activity.logging = true;
	add(t, &activity);
	activity = call_of(t, 4, 50000);	/* a pipe, but no log */
	activity.number = NR_WRITE;
	activity.target = &pipe;
	add(t, &activity);
	detect(t);
	assert_int_equal(t->findings.count, 3);
	assert_int_equal(t->findings.items[0].kind, FINDING_blocking_call);
	assert_int_equal(t->findings.items[0].count, 2);
	assert_int_equal(t->findings.items[1].kind, FINDING_log_backpressure);
	assert_int_equal(t->findings.items[2].kind, FINDING_lock_wait);
}

static void page_faults_are_summed(void **state)
{
	struct case_state *t = *state;
	const struct finding *finding;

	for (unsigned i = 0; i < 5; i++) {
		struct activity activity = made(t, ACTIVITY_PAGE_FAULT, 1);

		activity.duration_ns = 5 * NS_PER_MS;
		activity.count = 40;
		add(t, &activity);
	}
	finding = only(t, FINDING_page_fault);
	assert_int_equal(finding->count, 1);
	assert_int_equal(finding->calls, 200);
	assert_int_equal(finding->duration.total, 25 * NS_PER_MS);
}

/* --- waits of steps ----------------------------------------------------------------- */

static void add_holder(struct case_state *t, const char *thread, const struct code_info *code,
		       uint64_t time_ns)
{
	struct activity activity = made(t, ACTIVITY_HOLDER, 0);

	activity.tid = 8;
	activity.time_ns = time_ns;
	activity.owner_task = NULL;
	activity.owner_thread = thread;
	t->frame.code = code;
	activity.culprit = (struct place){ code->file, code->function, code->qualname, 31 };
	add(t, &activity);
}

static void the_holder_is_named(void **state)
{
	struct case_state *t = *state;
	const struct finding *finding;

	add_holder(t, "early", &work_code, t->now);
	t->now += 200 * NS_PER_MS;
	add_holder(t, "other", &work_code, t->now - 60 * NS_PER_MS);
	add_holder(t, "burner", &other_code, t->now - 50 * NS_PER_MS);
	add_holder(t, "burner", &other_code, t->now - 40 * NS_PER_MS);
	end_step(t, &(struct step_parts){ .cpu_user_ns = NS_PER_MS, .gil_ns = 99 * NS_PER_MS });
	t->now += 100 * NS_PER_MS;	/* no holder was sampled in this one */
	end_step(t, &(struct step_parts){ .cpu_user_ns = NS_PER_MS, .gil_ns = 30 * NS_PER_MS });
	t->now += 100 * NS_PER_MS;	/* too short */
	end_step(t, &(struct step_parts){ .cpu_user_ns = NS_PER_MS, .gil_ns = 19 * NS_PER_MS });
	finding = only(t, FINDING_gil_contention);
	assert_string_equal(finding->culprit.qualname, "other");
	assert_string_equal(finding->owner_thread, "burner");
	assert_int_equal(finding->count, 2);
	assert_int_equal(finding->samples, 2);
	assert_int_equal(finding->duration.total, 129 * NS_PER_MS);
	assert_int_equal(finding->loop_lag.max, 100 * NS_PER_MS);
}

static void threads_of_one_function_are_one_finding(void **state)
{
	struct case_state *t = *state;
	static const char *const threads[] = { "Thread-1 (other)", "Thread-2 (other)" };

	for (unsigned i = 0; i < 2; i++) {
		t->now += 100 * NS_PER_MS;
		add_holder(t, threads[i], &other_code, t->now - 10 * NS_PER_MS);
		end_step(t, &(struct step_parts){ .gil_ns = 50 * NS_PER_MS });
	}
	assert_int_equal(only(t, FINDING_gil_contention)->count, 2);
}

static void add_second(struct case_state *t, uint64_t wait_ms, bool gil)
{
	struct interval interval = { .start_ns = t->now, .end_ns = t->now + NS_PER_S,
				     .busy_ns = 300 * NS_PER_MS, .tid = 7 };

	interval.gil_ns = gil ? wait_ms * NS_PER_MS : 0;
	interval.runnable_ns = gil ? 0 : wait_ms * NS_PER_MS;
	assert_int_equal(window_add_interval(&t->window, &interval), 0);
	for (unsigned i = 0; i < 50; i++) {
		uint64_t ns = (i ? 4 : 0) * NS_PER_MS + NS_PER_MS / 2;

		t->now += 20 * NS_PER_MS;
		end_step(t, &(struct step_parts){ .cpu_user_ns = NS_PER_MS,
						  .gil_ns = gil ? ns : 0,
						  .runnable_ns = gil ? 0 : ns });
	}
}

static void short_waits_are_found_by_their_share(void **state)
{
	struct case_state *t = *state;
	const struct finding *finding;

	add_second(t, 149, true);
	add_second(t, 149, false);
	none(t);
	add_second(t, 220, false);
	finding = only(t, FINDING_cpu_starvation);
	assert_int_equal(finding->count, 49);	/* the one below a millisecond is not */
	assert_int_equal(finding->duration.total, 49 * 9 * NS_PER_MS / 2);
	assert_string_equal(finding->detail, "rival (pid 99) had the CPU");
	assert_null(finding->culprit.file);
	add_second(t, 220, true);
	detect(t);
	assert_int_equal(t->findings.count, 2);
}

static void the_rival_is_who_was_in_the_way_for_longest(void **state)
{
	struct case_state *t = *state;
	static const struct { uint64_t ms; uint32_t tgid; } waits[] = {
		{ 50, 1 }, { 30, 2 }, { 30, 2 }, { 19, 3 }, { 25, 0 },
	};

	for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		struct step_parts parts = { .runnable_ns = waits[i].ms * NS_PER_MS };
		struct activity activity;

		t->now += 100 * NS_PER_MS;
		activity = step_of(t, &parts);
		t->step.rival_tgid = waits[i].tgid;
		if (!waits[i].tgid)
			t->step.rival[0] = '\0';
		add(t, &activity);
	}
	assert_string_equal(only(t, FINDING_cpu_starvation)->detail, "rival (pid 2) had the CPU");
	assert_int_equal(t->findings.items[0].count, 4);
	assert_int_equal(t->findings.items[0].duration.total, 135 * NS_PER_MS);
}

static void an_idle_second_says_nothing(void **state)
{
	struct case_state *t = *state;
	struct interval interval = { .start_ns = t->now, .end_ns = t->now + NS_PER_S,
				     .busy_ns = 100 * NS_PER_MS,
				     .runnable_ns = 99 * NS_PER_MS, .tid = 7 };

	assert_int_equal(window_add_interval(&t->window, &interval), 0);
	t->now += 20 * NS_PER_MS;
	end_step(t, &(struct step_parts){ .runnable_ns = 19 * NS_PER_MS });
	none(t);
	t->now += 40 * NS_PER_MS;
	end_step(t, &(struct step_parts){ .runnable_ns = 20 * NS_PER_MS });
	assert_int_equal(only(t, FINDING_cpu_starvation)->count, 1);
}

/* --- all findings -------------------------------------------------------------------- */

static void open_at_the_end(void **state)
{
	struct case_state *t = *state;
	struct activity activity = call_of(t, 1, 30000);
	const struct finding *finding;

	activity.flags = EVENT_F_SINCE_BEFORE;
	activity.ongoing = true;
	assert_int_equal(window_add(&t->window, &activity), 0);
	finding = only(t, FINDING_blocking_call);
	assert_true(finding->ongoing);
	assert_true(finding->since_before);
}

static void an_open_step_is_shared_out(void **state)
{
	struct case_state *t = *state;
	struct activity activity;

	add_samples(t, 1, 0xa0, 50, 0);
	activity = step_of(t, &(struct step_parts){ .cpu_user_ns = 500 * NS_PER_MS });
	activity.flags = EVENT_F_SINCE_BEFORE;
	activity.ongoing = true;
	assert_int_equal(window_add(&t->window, &activity), 0);
	assert_true(only(t, FINDING_cpu_stall)->ongoing);
	assert_true(t->findings.items[0].since_before);
	assert_int_equal(t->findings.items[0].duration.total, 500 * NS_PER_MS);
}

static void workers_are_one_finding(void **state)
{
	struct case_state *t = *state;
	const struct finding *finding;

	for (unsigned i = 0; i < 6; i++) {
		struct activity activity = call_of(t, 1 + i, 30000);

		activity.pid = activity.tid = i < 4 ? 7 : 8;
		add(t, &activity);
	}
	finding = only(t, FINDING_blocking_call);
	assert_int_equal(finding->count, 6);
	assert_int_equal(finding->process_count, 2);
	assert_int_equal(finding->processes[0].pid, 7);
	assert_int_equal(finding->processes[0].count, 4);
	assert_int_equal(finding->processes[1].count, 2);
}

static void worst_first_and_ids_of_their_own(void **state)
{
	struct case_state *t = *state;
	char first[sizeof(t->findings.items[0].id)];
	struct activity activity;

	add_call(t, 1, 30000);
	activity = call_of(t, 2, 50000);
	activity.culprit.qualname = "other";
	add(t, &activity);
	activity = call_of(t, 3, 1200000);
	activity.route.route = "/b";
	add(t, &activity);
	detect(t);
	assert_int_equal(t->findings.count, 3);
	assert_string_equal(t->findings.items[0].route, "/b");
	assert_int_equal(t->findings.items[0].severity, SEVERITY_CRITICAL);
	assert_string_equal(t->findings.items[1].culprit.qualname, "other");
	for (size_t i = 0; i < 3; i++)
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(t->findings.items[i].id, t->findings.items[k].id);
	snprintf(first, sizeof(first), "%s", t->findings.items[0].id);
	detect(t);
	assert_string_equal(t->findings.items[0].id, first);
}

static void losses_are_said(void **state)
{
	struct case_state *t = *state;

	add_call(t, 1, 30000);
	t->lost = 1;
	assert_int_equal(only(t, FINDING_blocking_call)->evidence, EVIDENCE_INCOMPLETE);
}

static void samples_of_another_step_are_forgotten(void **state)
{
	struct case_state *t = *state;

	add_samples(t, 1, 0xa0, 6, 0);	/* the event of its end was lost */
	t->seq++;
	add_samples(t, 2, 0xb0, 1, 0);
	end_cpu_step(t, 12);
	none(t);
}

static void bounds(void **state)
{
	struct case_state *t = *state;
	const struct finding *finding;
	const struct group *group;

	for (uint64_t i = 0; i < WINDOW_MAX_CELLS + 10; i++)
		add_call(t, i + 1, 20000);
	finding = only(t, FINDING_blocking_call);
	assert_int_equal(finding->count, WINDOW_MAX_CELLS);
	group = t->window.groups[0];
	assert_int_equal(group->cells.count, WINDOW_MAX_CELLS);
	assert_int_equal(group->cells_lost, 10);
	add_call(t, 1, 20000);	/* a request that is known still counts */
	assert_int_equal(only(t, FINDING_blocking_call)->duration.max, 40 * NS_PER_MS);
}

static void bounds_of_groups(void **state)
{
	struct case_state *t = *state;

	for (unsigned i = 0; i < WINDOW_MAX_GROUPS + 10; i++) {
		struct activity activity = call_of(t, i + 1, 20000);
		char name[32];

		snprintf(name, sizeof(name), "/route/%u", i);
		activity.route.route = intern(name);
		add(t, &activity);
	}
	detect(t);
	assert_int_equal(t->findings.count, WINDOW_MAX_GROUPS);
	assert_int_equal(t->window.lost_groups, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(call_threshold),
		TEST(calls_of_a_request_are_summed),
		TEST(websockets_count_by_connection_and_step),
		TEST(work_of_no_request_counts_by_step),
		TEST(own_work_is_silent),
		TEST(futexes_and_logs_have_kinds_of_their_own),
		TEST(page_faults_are_summed),
		TEST(the_holder_is_named),
		TEST(threads_of_one_function_are_one_finding),
		TEST(short_waits_are_found_by_their_share),
		TEST(the_rival_is_who_was_in_the_way_for_longest),
		TEST(an_idle_second_says_nothing),
		TEST(open_at_the_end),
		TEST(an_open_step_is_shared_out),
		TEST(workers_are_one_finding),
		TEST(worst_first_and_ids_of_their_own),
		TEST(losses_are_said),
		TEST(samples_of_another_step_are_forgotten),
		TEST(bounds),
		TEST(bounds_of_groups),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
