// SPDX-License-Identifier: Apache-2.0
/*
 * The walk of the probes in hostile memory: the input says which words of an
 * image that is right point somewhere else.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define ARENA (256u << 10)
#define assert_true(condition) \
	do { \
		if (!(condition)) \
			abort(); \
	} while (0)

#include "unit/walk_image.h"

#define PATCH 4	/* bytes of input for one word */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t scope_role(uint8_t flags)
{
	return code_of_local(LS_END_SCOPE, flags, 10 + flags);
}

/* A request in a chain of tasks, a stack with a worker's frame, all kinds of callbacks. */
static void fill(void)
{
	static const struct follow_op ops[] = {
		{ .op = LS_OP_LOCAL, .arg = 1 }, { .op = LS_OP_CELL },
		{ .op = LS_OP_ATTR, .arg = 1, .arg2 = LS_KEY_HOST_TASK },
	};
	static const struct follow_op closure = { .op = LS_OP_CLOSURE };
	uint64_t request = new_task(scope_role(LS_ROLE_ROOT), string("Task-5")), frame, done;
	uint64_t child = new_task(code_at_line(2), integer(false, 2, 42, 3, 0));
	uint64_t worker = code_at_line(3), callback = code_at_line(4);
	struct item items[] = {
		{ "type", string("http") }, { "method", string("GET") },
		{ "path", string("/items/1") }, { "root_path", string("/api") },
		{ "fastapi", dict_of_one("effective_route_context", request) },
	};

	add_role(worker, LS_END_TASK, 0, ops, 3);
	add_role(callback, LS_END_FUTURE, 0, &closure, 1);
	put_local(task_code_frame(request), 0, dict_of(items, 5, 0));
	frame = new_frame(scope_role(0), 0);
	put_local(frame, 0, new_instance_dict("scope", http_scope("/")));
	frame = new_frame(worker, frame);
	put_local(frame, 1, new_cell(new_instance(child)));
	run_frame(new_frame(code_at_line(5), frame));
	await_plain(child, request);
	done = new_future(config.type_future);
	put64(done + layout.future_callback0, new_partial(new_function(callback, child), child));
	put64(request + layout.future_callback0, new_method(new_function(callback, done), child));
	run_task(child);
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct walk_result twice;

	if (size < 1 || size > PATCH * 256)
		return 0;
	if (!arena)
		assert_true(image_set_up(NULL) == 0);
	walk_build(&py_layouts[data[0] % py_layout_count]);
	fill();
	for (size_t i = 1; i + PATCH <= size; i += PATCH)
		patch(data + i);
	loop = size & 1 ? loop : 0;
	walk();
	assert_true(result.stack.count <= LS_MAX_FRAMES);
	assert_true(result.stack.end != STACK_NONE);
	assert_true(result.request.task_name[sizeof(result.request.task_name) - 1] == 0);
	assert_true(result.request.method[sizeof(result.request.method) - 1] == 0);
	twice = result;
	walk();
	assert_true(memcmp(&twice, &result, sizeof(twice)) == 0);
	return 0;
}
