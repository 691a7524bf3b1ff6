// SPDX-License-Identifier: Apache-2.0
/* Frames of threads and their locals over hand-made memory in every layout. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "walk_image.h"

#include "resolve/thread_frames.h"

static struct target target;

static void set_up(const struct py_layout *row)
{
	walk_build(row);
	target = (struct target){ .mem = (struct mem *)py.mem, .layout = layout };
	target.py = (struct py_reader){ .mem = py.mem, .layout = &target.layout };
}

static void each(void (*check)(void))
{
	for (unsigned i = 0; i < py_layout_count; i++) {
		set_up(&py_layouts[i]);
		check();
	}
}

static struct thread_top top_of(uint64_t state)
{
	const struct thread_state_ref threads[] = { { .tstate = UNMAPPED }, { .tstate = state } };
	struct thread_top tops[2];

	assert_int_equal(thread_tops(&target, threads, 2, tops), 0);
	assert_int_equal(tops[0].frame, 0);
	return tops[1];
}

static void check_frames(void)
{
	uint64_t outer = new_frame(code_at_line(1), 0), middle, shim, inner, found = 77;
	struct thread_top top;

	/* between two functions there is what calls Python from C */
	shim = layout.owner_shim == 255 ? outer : new_frame(code_at_line(2), outer);
	if (shim != outer)
		put8(shim + layout.frame_owner, layout.owner_shim);
	middle = new_frame(code_at_line(3), shim);
	inner = new_frame(code_at_line(4), middle);
	run_frame(inner);
	top = top_of(tstate);
	assert_int_equal(top.frame, inner);
	assert_int_equal(top.code, read64(inner + layout.frame_code) &
					   ~(uint64_t)layout.stackref_tags);
	assert_int_equal(top.previous, middle);
	assert_int_equal(thread_frame(&target, &top, 0, &found), 0);
	assert_int_equal(found, inner);
	assert_int_equal(thread_frame(&target, &top, 1, &found), 0);
	assert_int_equal(found, middle);
	assert_int_equal(thread_frame(&target, &top, 2, &found), 0);
	assert_int_equal(found, outer);
	assert_int_equal(thread_frame(&target, &top, 3, &found), -ENOENT);
	/* a circle ends, and what is not there */
	put64(outer + layout.frame_previous, inner);
	assert_int_equal(thread_frame(&target, &top, 5000, &found), -ENOENT);
	put64(middle + layout.frame_previous, UNMAPPED);
	assert_int_equal(thread_frame(&target, &top, 2, &found), -EFAULT);
	assert_int_equal(found, outer);
	run_frame(UNMAPPED);
	assert_int_equal(top_of(tstate).frame, 0);
	run_frame(0);
	assert_int_equal(top_of(tstate).frame, 0);
}

static void check_locals(void)
{
	uint64_t frame = new_frame(code_at_line(1), 0), object = 77;
	uint64_t value = object_of(type("Pool", 0, 0), 0, 32);

	put_local(frame, 0, value);
	assert_int_equal(thread_local_object(&target, &config, frame, 0, &object), 0);
	assert_int_equal(object, value);
	put_local(frame, 1, new_cell(value));
	object = 77;
	assert_int_equal(thread_local_object(&target, &config, frame, 1, &object), 0);
	assert_int_equal(object, value);
	object = 77;
	put_local(frame, 1, new_cell(0));
	assert_int_equal(thread_local_object(&target, &config, frame, 1, &object), -ENOENT);
	put64(frame + layout.frame_locals, 0);
	assert_int_equal(thread_local_object(&target, &config, frame, 0, &object), -ENOENT);
	put_local(frame, 0, UNMAPPED);
	assert_int_equal(thread_local_object(&target, &config, frame, 0, &object), -EFAULT);
	assert_int_equal(thread_local_object(&target, &config, frame, 100000, &object), -ENOENT);
	assert_int_equal(object, 77);
}

static void test_frames(void **state)
{
	(void)state;
	each(check_frames);
}

static void test_locals(void **state)
{
	(void)state;
	each(check_locals);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_locals),
	};

	return cmocka_run_group_tests(tests, image_set_up, image_tear_down);
}
