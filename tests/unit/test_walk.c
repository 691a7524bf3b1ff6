// SPDX-License-Identifier: Apache-2.0
/* Stacks and requests over hand-made memory, whole, torn and hostile, in every layout. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "walk_image.h"

#include "resolve/code.h"

static void each_walk(void (*check)(void))
{
	assert_true(py_layout_count >= 4);
	for (unsigned i = 0; i < py_layout_count; i++) {
		walk_build(&py_layouts[i]);
		check();
	}
}

static uint32_t check_word(uint64_t code)
{
	uint32_t line, flags;

	memcpy(&line, arena + (code + layout.code_firstlineno - BASE), sizeof(line));
	memcpy(&flags, arena + (code + layout.code_flags - BASE), sizeof(flags));
	return code_check_word(line, flags, read64(code + layout.code_filename),
			       read64(code + layout.code_name),
			       read64(code + layout.code_linetable));
}

static void assert_frame(unsigned index, uint64_t code, uint32_t offset, uint8_t owner)
{
	const struct frame_record *frame = &result.stack.frames[index];

	assert_true(index < result.stack.count);
	assert_int_equal(frame->code, code);
	assert_int_equal(frame->check, check_word(code));
	assert_int_equal(frame->where, offset | (uint32_t)owner << FRAME_OFFSET_BITS);
}

/* A chain of `count` frames of one code object; returns the innermost. */
static uint64_t chain(uint64_t code, unsigned count)
{
	uint64_t frame = 0;

	while (count--)
		frame = new_frame(code, frame);
	return frame;
}

/* ---- stacks ---------------------------------------------------------------- */

static void check_whole(void)
{
	uint64_t code[3] = { code_at_line(1), code_at_line(2), code_at_line(3) };
	uint64_t outer = new_frame(code[0], 0), shim = get(128), middle, inner;

	/* Between two calls from C there is a frame without Python, from 3.12 on. */
	put_frame(shim, layout.owner_shim < 255 ? code[0] : 0, outer, 0,
		  layout.owner_shim < 255 ? layout.owner_shim : 0);
	middle = new_frame(code[1], shim);
	put_frame(middle, code[1], shim, 12345, layout.owner_generator);
	inner = new_frame(code[2], middle);
	put_frame(inner, code[2], middle, 0, 0);
	run_frame(inner);
	walk();
	assert_int_equal(result.stack.end, STACK_COMPLETE);
	assert_int_equal(result.stack.count, 3);
	assert_frame(0, code[2], 0, 0);
	assert_frame(1, code[1], 12345, layout.owner_generator);
	assert_frame(2, code[0], 7, 0);
	assert_int_not_equal(check_word(code[0]), check_word(code[1]));
	assert_int_equal(result.request.task, 0);
}

static void test_whole_stack(void **state)
{
	(void)state;
	each_walk(check_whole);
}

static void check_nothing_runs(void)
{
	walk();
	assert_int_equal(result.stack.end, STACK_COMPLETE);
	assert_int_equal(result.stack.count, 0);
	tstate = 0;
	walk();
	assert_int_equal(result.stack.count, 0);
	tstate = UNMAPPED;
	walk();
	assert_int_equal(result.stack.end, STACK_FAULT);
	assert_int_equal(result.stack.count, 0);
}

static void test_nothing_runs(void **state)
{
	(void)state;
	each_walk(check_nothing_runs);
}

/* Its instruction is one before the first, or none of its code object. */
static void check_not_started(void)
{
	uint64_t code = code_at_line(5), frame = new_frame(code, 0);

	put64(frame + layout.frame_instr, code + layout.code_adaptive - 2);
	run_frame(frame);
	walk();
	assert_frame(0, code, FRAME_NOT_STARTED, 0);
	put64(frame + layout.frame_instr, UINT64_MAX);
	walk();
	assert_frame(0, code, FRAME_NOT_STARTED, 0);
}

static void test_not_started(void **state)
{
	(void)state;
	each_walk(check_not_started);
}

static void check_deep(void)
{
	uint64_t code = code_at_line(9);

	run_frame(chain(code, LS_MAX_FRAMES));
	walk();
	assert_int_equal(result.stack.end, STACK_COMPLETE);
	assert_int_equal(result.stack.count, LS_MAX_FRAMES);
	run_frame(chain(code, LS_MAX_FRAMES + 1));
	walk();
	assert_int_equal(result.stack.end, STACK_TRUNCATED);
	assert_int_equal(result.stack.count, LS_MAX_FRAMES);
	assert_frame(LS_MAX_FRAMES - 1, code, 7, 0);
}

static void test_deep_stack(void **state)
{
	(void)state;
	each_walk(check_deep);
}

static void check_cycle(void)
{
	uint64_t code = code_at_line(9), first = new_frame(code, 0), last = chain(code, 1);

	put64(first + layout.frame_previous, last);
	put64(last + layout.frame_previous, first);
	run_frame(first);
	walk();
	assert_int_equal(result.stack.end, STACK_TRUNCATED);
	assert_int_equal(result.stack.count, LS_MAX_FRAMES);
	/* And one that has no code at all. */
	put64(first + layout.frame_code, 0);
	put64(first + layout.frame_previous, first);
	walk();
	assert_int_equal(result.stack.end, STACK_TRUNCATED);
	assert_int_equal(result.stack.count, 0);
}

static void test_cyclic_stack(void **state)
{
	(void)state;
	each_walk(check_cycle);
}

static void check_unmapped(void)
{
	uint64_t code = code_at_line(1), broken = new_frame(UNMAPPED, chain(code, 1));

	run_frame(new_frame(code, broken));
	walk();
	/* An unreadable code object is kept: user space completes it or says so. */
	assert_int_equal(result.stack.end, STACK_COMPLETE);
	assert_int_equal(result.stack.count, 3);
	assert_int_equal(result.stack.frames[1].code, UNMAPPED);
	assert_int_equal(result.stack.frames[1].check, 0);
	put64(broken + layout.frame_previous, UNMAPPED);
	walk();
	assert_int_equal(result.stack.end, STACK_FAULT);
	assert_int_equal(result.stack.count, 2);
	assert_frame(0, code, 7, 0);
	run_frame(UNMAPPED);
	walk();
	assert_int_equal(result.stack.end, STACK_FAULT);
	assert_int_equal(result.stack.count, 0);
}

static void test_unmapped_stack(void **state)
{
	(void)state;
	each_walk(check_unmapped);
}

/* ---- from a frame to a request --------------------------------------------- */

static void assert_request(const char *path)
{
	assert_int_equal(result.request.scope_type, path ? SCOPE_HTTP : SCOPE_NONE);
	assert_string_equal(result.request.path, path ? path : "");
	assert_string_equal(result.request.method, path ? "GET" : "");
	assert_int_equal(result.request.path_len, path ? strlen(path) : 0);
}

static void check_local(void)
{
	uint64_t role = code_of_local(LS_END_SCOPE, 0, 10), plain = code_at_line(11);
	uint64_t outer = new_frame(role, 0), inner;

	put_local(outer, 0, http_scope("/outer"));
	run_frame(new_frame(plain, outer));
	walk();
	assert_request("/outer");
	inner = new_frame(role, outer);
	put_local(inner, 0, http_scope("/inner"));
	run_frame(inner);
	walk();
	assert_request("/inner");
	/* Not bound yet, no dictionary, not there: the next one outwards. */
	put_local(inner, 0, 0);
	walk();
	assert_request("/outer");
	put_local(inner, 0, string("no scope"));
	walk();
	assert_request("/outer");
	put_local(inner, 0, UNMAPPED);
	walk();
	assert_request("/outer");
	put_local(outer, 0, UNMAPPED);
	walk();
	assert_request(NULL);
	assert_int_equal(result.stack.end, STACK_COMPLETE);
}

static void test_scope_in_a_local(void **state)
{
	(void)state;
	each_walk(check_local);
}

static void check_ops(const struct follow_op *ops, uint8_t count, uint64_t local,
		      const char *path)
{
	uint64_t code = code_at_line(20), frame = new_frame(code, 0);

	add_role(code, LS_END_SCOPE, 0, ops, count);
	put_local(frame, 2, local);
	run_frame(frame);
	walk();
	assert_request(path);
}

static void check_cell(void)
{
	static const struct follow_op ops[] = { { .op = LS_OP_LOCAL, .arg = 2 },
						{ .op = LS_OP_CELL } };

	check_ops(ops, 2, new_cell(http_scope("/cell")), "/cell");
	check_ops(ops, 2, http_scope("/bare"), "/bare");
	check_ops(ops, 2, new_cell(0), NULL);
	check_ops(ops, 2, new_cell(UNMAPPED), NULL);
	check_ops(ops, 2, 0, NULL);
}

static void test_scope_in_a_cell(void **state)
{
	(void)state;
	each_walk(check_cell);
}

static void check_attribute(void)
{
	static const struct follow_op ops[] = { { .op = LS_OP_LOCAL, .arg = 2 },
						{ .op = LS_OP_CELL },
						{ .op = LS_OP_ATTR, .arg = 1,
						  .arg2 = LS_KEY_SCOPE } };
	static const struct follow_op late[] = { { .op = LS_OP_LOCAL, .arg = 2 },
						 { .op = LS_OP_ATTR, .arg = LS_ABSENT,
						   .arg2 = LS_KEY_SCOPE } };
	uint64_t torn;

	check_ops(ops, 3, new_instance(http_scope("/values")), "/values");
	check_ops(ops, 3, new_instance_dict("scope", http_scope("/dict")), "/dict");
	check_ops(late, 2, new_instance_dict("scope", http_scope("/late")), "/late");
	/* The place among the shared keys is not known: no guess. */
	check_ops(late, 2, new_instance(http_scope("/values")), NULL);
	check_ops(ops, 3, new_instance_dict("other", http_scope("/dict")), NULL);
	check_ops(ops, 3, new_instance(0), NULL);
	check_ops(ops, 3, UNMAPPED, NULL);
	torn = new_instance(http_scope("/torn"));
	if (layout.managed_dict == LS_DICT_INLINE)
		put64(read64(torn + layout.ob_type) + layout.type_basicsize, 1ull << 40);
	else if (layout.managed_dict == LS_DICT_TAGGED)
		put64(torn - 24, UNMAPPED - 1);
	else
		put64(torn - 32, UNMAPPED);
	check_ops(ops, 3, torn, NULL);
}

#define SPLIT 2	/* Objects/dictobject.c: keys that instances share, values are theirs */

/* The class had no instance when its attributes were asked for: its keys have them now. */
static void check_late_attribute(void)
{
	static const struct follow_op late[] = { { .op = LS_OP_LOCAL, .arg = 2 },
						 { .op = LS_OP_ATTR, .arg = LS_ABSENT,
						   .arg2 = LS_KEY_SCOPE } };
	uint64_t object = new_instance(http_scope("/second")), table = keys(SPLIT, 3, 2);

	put_entry(table, SPLIT, 3, 0, string("other"), 0);
	put64(read64(object + layout.ob_type) + layout.type_cached_keys, table);
	put_entry(table, SPLIT, 3, 1, string("scopes"), 0);
	check_ops(late, 2, object, NULL);
	put_entry(table, SPLIT, 3, 1, string("scope"), 0);
	check_ops(late, 2, object, "/second");
	put64(read64(object + layout.ob_type) + layout.type_cached_keys, UNMAPPED);
	check_ops(late, 2, object, NULL);
}

static void test_late_attribute(void **state)
{
	(void)state;
	each_walk(check_late_attribute);
}

/* Wherever a key is, with and without hashes in the table; one without a value is none. */
static void check_dictionary(void)
{
	static const struct follow_op ops[] = { { .op = LS_OP_LOCAL, .arg = 2 },
						{ .op = LS_OP_ATTR, .arg = LS_ABSENT,
						  .arg2 = LS_KEY_SCOPE } };

	for (unsigned at = 0; at < 3; at++) {
		for (unsigned kind = 0; kind < 2; kind++) {
			struct item items[3] = { { "one", 0x7001 }, { "two", 0x7002 },
						 { "three", 0x7003 } };
			uint64_t object = new_instance_dict("scope", 0);

			check_ops(ops, 2, object, NULL);
			put64(object - 24, dict_of(items, 3, kind));
			check_ops(ops, 2, object, NULL);
			items[at] = (struct item){ "scope", http_scope("/found") };
			put64(object - 24, dict_of(items, 3, kind));
			check_ops(ops, 2, object, "/found");
		}
	}
}

static void test_scope_in_a_dictionary(void **state)
{
	(void)state;
	each_walk(check_dictionary);
}

static void test_scope_in_an_attribute(void **state)
{
	(void)state;
	each_walk(check_attribute);
}

static void check_field_and_closure(void)
{
	struct follow_op field[] = { { .op = LS_OP_LOCAL, .arg = 2 },
				     { .op = LS_OP_FIELD, .arg = 40 } };
	static const struct follow_op closure[] = { { .op = LS_OP_LOCAL, .arg = 2 },
						    { .op = LS_OP_CLOSURE, .arg = 0 } };
	uint64_t slots = object_of(type("Slots", F_HEAP, 0), 0, 64);

	put64(slots + 40, http_scope("/slot"));
	check_ops(field, 2, slots, "/slot");
	check_ops(field, 2, UNMAPPED, NULL);
	check_ops(closure, 2, new_function(0, http_scope("/captured")), "/captured");
	check_ops(closure, 2, new_function(0, 0), NULL);
	check_ops(closure, 2, UNMAPPED, NULL);
}

static void test_scope_in_a_slot_or_closure(void **state)
{
	(void)state;
	each_walk(check_field_and_closure);
}

/* ---- what a scope says ----------------------------------------------------- */

static void walk_scope(uint64_t scope)
{
	uint64_t code = code_of_local(LS_END_SCOPE, 0, 30), frame = new_frame(code, 0);

	put_local(frame, 0, scope);
	run_frame(frame);
	walk();
	assert_int_equal(result.request.scope, scope);
}

static void check_scope(void)
{
	static const char context[] = "effective_route_context";
	char path[LS_PATH_BYTES + 40];
	uint64_t fastapi = dict_of_one(context, 0x7001);
	struct item items[] = {
		{ "http_version", string("1.1") }, { "type", string("http") },
		{ "method", string("PROPFIND-LONG") }, { "root_path", string("/api") },
		{ "path", 0 }, { "raw_path", string("/raw") }, { "route", 0x7002 },
		{ "endpoint", 0x7003 }, { "app", 0x7004 }, { "router", 0x7005 },
		{ "fastapi", fastapi }, { "app_root_path", string("/other") },
	};

	memset(path, 'p', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	items[4].value = string(path);
	for (unsigned kind = 0; kind < 2; kind++) {
		walk_scope(dict_of(items, sizeof(items) / sizeof(items[0]), kind));
		assert_int_equal(result.request.scope_type, SCOPE_HTTP);
		assert_string_equal(result.request.method, "PROPFIN");
		assert_int_equal(result.request.path_len, sizeof(path) - 1);
		assert_memory_equal(result.request.path, path, LS_PATH_BYTES);
		assert_int_equal(result.request.route, 0x7002);
		assert_int_equal(result.request.endpoint, 0x7003);
		assert_int_equal(result.request.app, 0x7004);
		assert_int_equal(result.request.router, 0x7005);
		assert_int_equal(result.request.context, 0x7001);
	}
	items[1].value = string("websocket");
	walk_scope(dict_of(items, 2, 1));
	assert_int_equal(result.request.scope_type, SCOPE_WEBSOCKET);
	items[1].value = string("lifespan");
	walk_scope(dict_of(items, 2, 1));
	assert_int_equal(result.request.scope_type, SCOPE_LIFESPAN);
	items[1].value = string("https");
	walk_scope(dict_of(items, 2, 1));
	assert_int_equal(result.request.scope_type, SCOPE_OTHER);
}

static void test_what_a_scope_says(void **state)
{
	(void)state;
	each_walk(check_scope);
}

static void check_torn_scope(void)
{
	uint64_t scope = http_scope("/whole"), wide;
	struct item item = { "path", 0 };

	wide = string_of("/caf\xe9", 5, 1, false);
	item.value = wide;
	walk_scope(dict_of(&item, 1, 1));
	/* Not ASCII: its length is known, its text is not taken. */
	assert_int_equal(result.request.path_len, 5);
	assert_string_equal(result.request.path, "");
	item.value = UNMAPPED;
	walk_scope(dict_of(&item, 1, 1));
	assert_int_equal(result.request.path_len, 0);
	put64(read64(scope + layout.dict_keys) + layout.keys_nentries, UINT64_MAX);
	walk_scope(scope);
	put8(read64(scope + layout.dict_keys) + layout.keys_log2_index_bytes, 255);
	walk_scope(scope);
	assert_request(NULL);
	put64(scope + layout.dict_keys, UNMAPPED);
	walk_scope(scope);
	assert_request(NULL);
}

static void test_torn_scope(void **state)
{
	(void)state;
	each_walk(check_torn_scope);
}

/* ---- tasks ----------------------------------------------------------------- */

static void check_current(void)
{
	uint64_t code = code_at_line(40), task = new_task(code, string("Task-17")), other;

	walk();
	assert_int_equal(result.request.task, 0);
	run_task(task);
	walk();
	assert_int_equal(result.request.task, task);
	assert_int_equal(result.request.task_code, code);
	assert_int_equal(result.request.root, task);
	assert_int_equal(result.request.root_serial, 17);
	assert_string_equal(result.request.task_name, "");
	if (config.current_task == LS_TASK_TSTATE) {
		config.layout.tstate_running_task = 8; /* of an address that is not mapped */
		tstate = UNMAPPED;
	} else {
		/* Two loops in one process: each has a task of its own. */
		uint64_t table = keys(0, 3, 2);

		other = new_task(code, string("Task-18"));
		put_entry(table, 0, 3, 0, loop + 16, other);
		put_entry(table, 0, 3, 1, loop, task);
		put64(config.current_tasks + layout.dict_keys, table);
		walk();
		assert_int_equal(result.request.task, task);
		loop += 16;
		walk();
		assert_int_equal(result.request.task, other);
		config.current_tasks = UNMAPPED;
	}
	walk();
	assert_int_equal(result.request.task, 0);
	config.current_task = LS_TASK_NONE;
	walk();
	assert_int_equal(result.request.task, 0);
	config.layout = layout;
}

static void test_current_task(void **state)
{
	(void)state;
	each_walk(check_current);
}

static uint64_t serial_of(uint64_t name)
{
	run_task(new_task(code_at_line(41), name));
	walk();
	return result.request.root_serial;
}

#define OF_A_NAME (1ull << 63)

static void check_serial(void)
{
	uint64_t first;

	if (layout.version >= 0x030c) {
		assert_int_equal(serial_of(integer(false, 1, 42, 0xbad, 0)), 42);
		assert_int_equal(serial_of(integer(false, 2, 42, 3, 0)), 42 | 3ull << 30);
	}
	assert_int_equal(serial_of(string("Task-1")), 1);
	assert_int_equal(serial_of(string("Task-1234567890")), 1234567890);
	first = serial_of(string("refresh"));
	assert_true(first & OF_A_NAME);
	assert_string_equal(result.request.task_name, "refresh");
	assert_int_equal(serial_of(string("refresh")), first);
	assert_int_not_equal(serial_of(string("refresh-2")), first);
	/* As long as is kept, and terminated. */
	serial_of(string("a name that is longer than what is kept of it"));
	assert_string_equal(result.request.task_name, "a name that is longer than what");
	assert_int_equal(serial_of(UNMAPPED), 0);
	assert_int_equal(serial_of(0), 0);
}

static void test_serials(void **state)
{
	(void)state;
	each_walk(check_serial);
}

/*
 * `child` runs; through `link` something leads to the task of a request.  The
 * frames of that task are not on the stack: its own coroutine frame is read.
 */
static void check_parent(uint64_t child, uint64_t parent, const char *path)
{
	run_task(child);
	walk();
	assert_int_equal(result.request.task, child);
	assert_int_equal(result.request.root, path ? parent : child);
	assert_request(path);
}

static uint64_t request_task(const char *path)
{
	uint64_t code = code_of_local(LS_END_SCOPE, LS_ROLE_ROOT, 50);
	uint64_t task = new_task(code, string("Task-5"));

	put_local(task_code_frame(task), 0, http_scope(path));
	return task;
}

static uint64_t plain_task(void)
{
	return new_task(code_at_line(51), string("Task-6"));
}

static void check_awaited(void)
{
	uint64_t parent = request_task("/parent"), child = plain_task(), future, set, table;

	if (layout.task_awaited_by == LS_ABSENT)
		return;
	await_plain(child, parent);
	check_parent(child, parent, "/parent");
	/* Over a future, as gather() does. */
	future = new_future(config.type_future);
	put64(child + layout.task_awaited_by, future);
	await_plain(future, parent);
	check_parent(child, parent, "/parent");
	/* Several wait: any of them. */
	set = object_of(t_set, 0, 200);
	table = get(16 * 8);
	put64(set + layout.set_table, table);
	put64(set + layout.set_mask, 7);
	put64(table + 16 * 2, string("a dummy"));
	put64(table + 16 * 5, parent);
	put64(child + layout.task_awaited_by, set);
	put8(child + layout.task_awaited_by_is_set, 1);
	check_parent(child, parent, "/parent");
	put64(set + layout.set_table, UNMAPPED);
	check_parent(child, parent, NULL);
}

static void test_awaited_by(void **state)
{
	(void)state;
	each_walk(check_awaited);
}

static void check_callback(uint64_t callback, uint64_t parent, const char *path)
{
	uint64_t child = plain_task(), entry, list, items;

	put64(child + layout.future_callback0, callback);
	check_parent(child, parent, path);
	/* With others before it was taken: in the list. */
	put64(child + layout.future_callback0, 0);
	entry = tuple(&callback, 1);
	items = get(8);
	put64(items, entry);
	list = object_of(t_list, 0, 64);
	put64(list + layout.list_items, items);
	put64(child + layout.future_callbacks, list);
	check_parent(child, parent, path);
	put64(list + layout.list_items, UNMAPPED);
	check_parent(child, parent, NULL);
}

static void check_callbacks(void)
{
	static const struct follow_op closure = { .op = LS_OP_CLOSURE };
	static const struct follow_op attribute_op = { .op = LS_OP_ATTR, .arg = 1,
						       .arg2 = LS_KEY_PARENT_TASK };
	uint64_t parent = request_task("/parent"), code, bound, first, gather, none;

	if (layout.task_awaited_by != LS_ABSENT)
		return;
	check_callback(new_builtin(parent), parent, "/parent");
	check_callback(new_builtin(string("no task")), parent, NULL);
	code = code_at_line(60);
	add_role(code, LS_END_TASK, 0, &closure, 1);
	check_callback(new_function(code, parent), parent, "/parent");
	check_callback(new_function(code, 0), parent, NULL);
	bound = code_at_line(61);
	add_role(bound, LS_END_TASK, 0, &attribute_op, 1);
	check_callback(new_method(new_function(bound, 0), new_instance(parent)), parent,
		       "/parent");
	first = code_at_line(62);
	add_role(first, LS_END_TASK, 0, NULL, 0);
	check_callback(new_partial(new_function(first, 0), parent), parent, "/parent");
	/* Over the future of gather(), which somebody awaits. */
	gather = new_future(config.type_future);
	await_plain(gather, parent);
	code = code_at_line(63);
	add_role(code, LS_END_FUTURE, 0, &closure, 1);
	check_callback(new_function(code, gather), parent, "/parent");
	/* Nobody knows these. */
	none = code_at_line(64);
	check_callback(new_function(none, parent), parent, NULL);
	check_callback(string("no callback"), parent, NULL);
	check_callback(UNMAPPED, parent, NULL);
}

static void test_callbacks(void **state)
{
	(void)state;
	each_walk(check_callbacks);
}

/* A worker thread runs no task; its frame knows for whom it works. */
static void check_worker(void)
{
	static const struct follow_op ops[] = { { .op = LS_OP_LOCAL, .arg = 1 },
						{ .op = LS_OP_ATTR, .arg = 1,
						  .arg2 = LS_KEY_HOST_TASK } };
	uint64_t code = code_at_line(70), frame = new_frame(code, 0), host = request_task("/host");

	add_role(code, LS_END_TASK, 0, ops, 2);
	put_local(frame, 1, new_instance(host));
	run_frame(new_frame(code_at_line(71), frame));
	loop = 0;
	walk();
	assert_int_equal(result.request.task, host);
	assert_request("/host");
}

static void test_worker_thread(void **state)
{
	(void)state;
	each_walk(check_worker);
}

/* Tasks that wait for each other, or for themselves, and a chain without end. */
static void check_hostile(void)
{
	uint64_t first = plain_task(), second = plain_task(), root, at;

	await_plain(first, first);
	check_parent(first, first, NULL);
	await_plain(first, second);
	await_plain(second, first);
	run_task(first);
	walk();
	assert_int_equal(result.request.task, first);
	assert_request(NULL);
	root = request_task("/far");
	at = root;
	for (unsigned hop = 0; hop < 11; hop++) {
		uint64_t child = plain_task();

		await_plain(child, at);
		at = child;
	}
	run_task(at);
	walk();
	assert_int_equal(result.request.root, root);
	assert_request("/far");
	first = plain_task();
	await_plain(first, at);
	run_task(first);
	walk();
	assert_int_not_equal(result.request.root, root);
	assert_request(NULL);
	/* A coroutine that is none, and one whose frame cannot be read. */
	put64(root + layout.task_coro, string("a generator"));
	check_parent(root, root, NULL);
	put64(root + layout.task_coro, UNMAPPED);
	check_parent(root, root, NULL);
}

static void test_hostile_tasks(void **state)
{
	(void)state;
	each_walk(check_hostile);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_stack),
		cmocka_unit_test(test_nothing_runs),
		cmocka_unit_test(test_not_started),
		cmocka_unit_test(test_deep_stack),
		cmocka_unit_test(test_cyclic_stack),
		cmocka_unit_test(test_unmapped_stack),
		cmocka_unit_test(test_scope_in_a_local),
		cmocka_unit_test(test_scope_in_a_cell),
		cmocka_unit_test(test_scope_in_an_attribute),
		cmocka_unit_test(test_late_attribute),
		cmocka_unit_test(test_scope_in_a_dictionary),
		cmocka_unit_test(test_scope_in_a_slot_or_closure),
		cmocka_unit_test(test_what_a_scope_says),
		cmocka_unit_test(test_torn_scope),
		cmocka_unit_test(test_current_task),
		cmocka_unit_test(test_serials),
		cmocka_unit_test(test_awaited_by),
		cmocka_unit_test(test_callbacks),
		cmocka_unit_test(test_worker_thread),
		cmocka_unit_test(test_hostile_tasks),
	};

	return cmocka_run_group_tests(tests, image_set_up, image_tear_down);
}
