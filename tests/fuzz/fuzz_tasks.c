// SPDX-License-Identifier: Apache-2.0
/*
 * Snapshots of tasks in hostile memory: the input says which words of an image
 * that is right point somewhere else, before each of three snapshots.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define ARENA (512u << 10)
#define assert_true(condition) \
	do { \
		if (!(condition)) \
			abort(); \
	} while (0)
#define assert_non_null(pointer) assert_true((pointer) != NULL)

#include "unit/task_image.h"

#define PATCH 4	/* bytes of input for one word */
#define MAX_CHAIN 40
#define SNAPSHOTS 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct task_snapshot *snapshot;

/* A request with a child, tasks that wait for it, chains through a wrapper and long ones. */
static void fill(void)
{
	uint64_t root, child, other, wrapper, code;

	start();
	code = code_of_local(LS_END_SCOPE, LS_ROLE_ROOT, 77);
	root = waiting_task("Task-9", 2);
	put_frame(task_code_frame(root), code, 0, 3, layout.owner_generator);
	put_local(task_code_frame(root), 0, http_scope("/items/7"));
	child = waiting_task("a child with a name", 3);
	await_plain(child, root);
	other = waiting_task("Task-10", 1);
	wrapper = object_of(t_wrapper, 0, 32);
	put64(wrapper + 16, read64(child + layout.task_coro));
	suspend(read64(other + layout.task_coro), wrapper);
	put64(other + layout.task_fut_waiter, read64(child + layout.task_fut_waiter));
	await_plain(root, other);
	waiting_task("deep", 30);
}

static void patch(const uint8_t *bytes)
{
	uint64_t words = (used - 4096) / 8;
	uint64_t at = BASE + 4096 + (bytes[0] | (uint64_t)bytes[1] << 8) % words * 8;
	uint64_t choice = bytes[2] | (uint64_t)bytes[3] << 8;

	if (choice & 0x8000)
		put64(at, BASE + 4096 + (choice & 0x7fff) % words * 8);
	else if (choice & 0x4000)
		put8(at + (choice >> 8 & 7), (uint8_t)choice);
	else
		put64(at, choice & 1 ? UINT64_MAX - choice : choice >> 1);
}

static void check(const struct task_limits *limits)
{
	unsigned reasons = 0;

	if (task_watch_snapshot(watch, limits, &snapshot))
		return;
	assert_true(snapshot->count <= limits->max_tasks);
	for (size_t i = 0; i < snapshot->count; i++) {
		const struct task_info *info = &snapshot->tasks[i];

		assert_true(info->state == TASK_RUNNING || info->frame_count <= MAX_CHAIN);
		assert_true(info->frame_count <= LS_MAX_FRAMES);
		for (size_t k = 0; k < info->child_count; k++)
			assert_true(info->children[k] < snapshot->count);
		assert_true(!limits->requests_only || info->request);
	}
	for (unsigned i = 0; i < TASK_REASON_COUNT; i++)
		reasons += snapshot->reasons[i];
	assert_true(snapshot->dropped <= reasons);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct task_limits limits = { .max_tasks = 20, .max_chain = MAX_CHAIN };
	size_t part = size / SNAPSHOTS;

	if (size < 1 || size > PATCH * 256)
		return 0;
	if (!arena)
		assert_true(image_set_up(NULL) == 0);
	build_tasks(&py_layouts[data[0] % py_layout_count]);
	fill();
	limits.requests_only = size & 1;
	for (size_t i = 1, n = 0; i + PATCH <= size; i += PATCH) {
		patch(data + i);
		if (i > part * n) {
			check(&limits);
			n++;
		}
	}
	check(&limits);
	task_watch_free(watch);
	watch = NULL;
	return 0;
}
