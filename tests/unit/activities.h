/* SPDX-License-Identifier: Apache-2.0 */
/* A window filled with activities made by hand, and what is found in it. */
#ifndef LS_TEST_ACTIVITIES_H
#define LS_TEST_ACTIVITIES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/intern.h"
#include "base/units.h"
#include "detect/detect.h"

#define STALL_NS (20 * NS_PER_MS)
#define START_NS (1000 * NS_PER_S)
#define NR_CLOCK_NANOSLEEP 230
#define NR_WRITE 1
#define NR_FUTEX 202
#define NR_READ 0

static const struct code_info work_code = {
	.file = "/srv/app.py", .function = "work", .qualname = "work", .first_line = 10,
};
static const struct code_info other_code = {
	.file = "/srv/app.py", .function = "other", .qualname = "other", .first_line = 30,
};

struct case_state {
	struct window window;
	struct thresholds thresholds;
	struct findings findings;
	uint64_t lost;
	uint64_t now;	/* moves with what is added */
	uint64_t seq;
	struct frame frame;
	struct event_step step;
};

static inline int begin(void **state)
{
	static struct case_state t;

	memset(&t, 0, sizeof(t));
	window_init(&t.window, STALL_NS);
	t.thresholds = thresholds_default(STALL_NS);
	t.now = START_NS;
	t.seq = 1;
	*state = &t;
	return 0;
}

static inline int finish(void **state)
{
	struct case_state *t = *state;

	findings_free(&t->findings);
	window_free(&t->window);
	return 0;
}

static inline void detect(struct case_state *t)
{
	struct detect_input input = {
		.window = &t->window, .thresholds = &t->thresholds, .start_ns = START_NS,
		.end_ns = START_NS + 10 * NS_PER_S, .realtime_offset_ns = 5, .lost = t->lost,
	};

	findings_free(&t->findings);
	assert_int_equal(detect_all(&input, &t->findings), 0);
}

static inline const struct finding *only(struct case_state *t, enum finding_kind kind)
{
	detect(t);
	assert_int_equal(t->findings.count, 1);
	assert_int_equal(t->findings.items[0].kind, kind);
	return &t->findings.items[0];
}

static inline void none(struct case_state *t)
{
	detect(t);
	assert_int_equal(t->findings.count, 0);
}

/* Of process 7, thread 7, in function work(), for a request unless it is 0. */
static inline struct activity made(struct case_state *t, enum activity_kind kind, uint64_t request)
{
	struct activity activity = {
		.kind = kind, .pid = 7, .tid = 7, .time_ns = t->now, .step_seq = t->seq,
		.request = request, .number = -1, .frames = &t->frame, .frame_count = 1,
		.hand_over = 1,
		.culprit = { work_code.file, work_code.function, work_code.qualname, 12 },
	};

	t->frame = (struct frame){ .code = &work_code, .line = 12 };
	if (request)
		activity.route = (struct route_name){ .route = "/a/{id}", .method = "GET" };
	else
		activity.owner_task = "sweeper";
	return activity;
}

static inline struct activity call_of(struct case_state *t, uint64_t request, uint64_t us)
{
	struct activity activity;

	t->now += us * 1000;
	activity = made(t, ACTIVITY_CALL, request);
	activity.duration_ns = us * 1000;
	activity.start_ns = activity.time_ns - activity.duration_ns;
	activity.count = 1;
	activity.number = NR_CLOCK_NANOSLEEP;
	return activity;
}

static inline void add(struct case_state *t, const struct activity *activity)
{
	assert_int_equal(window_add(&t->window, activity), 0);
}

static inline void add_call(struct case_state *t, uint64_t request, uint64_t us)
{
	struct activity activity = call_of(t, request, us);

	add(t, &activity);
}

/* Samples of one callback, 10 ms apart. */
static inline void add_samples(struct case_state *t, uint64_t request, uint64_t callback,
			       unsigned count, uint16_t flags)
{
	for (unsigned i = 0; i < count; i++) {
		struct activity activity;

		t->now += 10 * NS_PER_MS;
		activity = made(t, ACTIVITY_SAMPLE, request);
		activity.callback = callback;
		activity.flags = flags;
		add(t, &activity);
	}
}

static inline struct activity step_of(struct case_state *t, const struct step_parts *parts)
{
	struct activity activity;
	uint64_t length = parts->cpu_user_ns + parts->cpu_kernel_ns + parts->calls_ns +
			  parts->gil_ns + parts->runnable_ns + parts->page_fault_ns +
			  parts->stopped_ns;

	t->step = (struct event_step){ .parts = *parts, .rival_tgid = 99, .rival = "rival" };
	activity = made(t, ACTIVITY_STEP, 0);
	activity.owner_task = NULL;
	activity.frame_count = 0;
	activity.duration_ns = length;
	activity.start_ns = t->now - length;
	activity.step = &t->step;
	return activity;
}

static inline void end_step(struct case_state *t, const struct step_parts *parts)
{
	struct activity activity = step_of(t, parts);

	add(t, &activity);
	t->seq++;
}

static inline void end_cpu_step(struct case_state *t, uint64_t cpu_ms)
{
	end_step(t, &(struct step_parts){ .cpu_user_ns = cpu_ms * NS_PER_MS });
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)

#endif
