/* SPDX-License-Identifier: Apache-2.0 */
/* Threads, frames, tasks and requests of a CPython of any layout in a memory image. */
#ifndef LS_TEST_WALK_IMAGE_H
#define LS_TEST_WALK_IMAGE_H

#include "py_image.h"

#include "resolve/walk.h"

#define UNMAPPED 0x7ead00000000ull
#define LOCALS 8	/* places for locals behind each frame */
#define CODE_BYTES 256

static struct process_config config;
static struct role_table roles;
static struct walk_result result;
static uint64_t tstate, loop;

static inline uint64_t read64(uint64_t at)
{
	uint64_t value;

	memcpy(&value, arena + (at - BASE), sizeof(value));
	return value;
}

/* A reference as a frame has it. */
static inline uint64_t tagged(uint64_t object)
{
	return object | (layout.stackref_tags & 1);
}

static inline uint64_t code_at_line(uint32_t line)
{
	uint64_t at = get(CODE_BYTES);

	put32(at + layout.code_flags, 3);
	put32(at + layout.code_firstlineno, line);
	put64(at + layout.code_name, string("name"));
	put64(at + layout.code_linetable, at + 8ull * line);
	return at;
}

static inline void put_frame(uint64_t at, uint64_t code, uint64_t previous, uint32_t offset,
			     uint8_t owner)
{
	put64(at + layout.frame_code, tagged(code));
	put64(at + layout.frame_previous, previous);
	put64(at + layout.frame_instr, code + layout.code_adaptive + 2ull * offset);
	put8(at + layout.frame_owner, owner);
}

static inline void put_local(uint64_t frame, unsigned index, uint64_t object)
{
	put64(frame + layout.frame_locals + 8ull * index, tagged(object));
}

static inline uint64_t new_frame(uint64_t code, uint64_t previous)
{
	uint64_t at = get(layout.frame_locals + 8 * LOCALS);

	put_frame(at, code, previous, 7, 0);
	return at;
}

/* The innermost frame of the thread. */
static inline void run_frame(uint64_t frame)
{
	if (layout.tstate_frame != LS_ABSENT)
		put64(tstate + layout.tstate_frame, frame);
	else
		put64(read64(tstate + layout.tstate_cframe) + layout.cframe_frame, frame);
}

static inline uint64_t new_cell(uint64_t content)
{
	uint64_t at = object_of(config.type_cell, 0, 32);

	put64(at + layout.cell_ref, content);
	return at;
}

static inline uint64_t new_function(uint64_t code, uint64_t captured)
{
	uint64_t at = object_of(config.type_function, 0, 160), cell = new_cell(captured);

	put64(at + layout.function_code, code);
	put64(at + layout.function_closure, tuple(&cell, 1));
	return at;
}

static inline uint64_t new_method(uint64_t function, uint64_t self)
{
	uint64_t at = object_of(config.type_method, 0, 64);

	put64(at + layout.method_func, function);
	put64(at + layout.method_self, self);
	return at;
}

static inline uint64_t new_partial(uint64_t function, uint64_t first)
{
	uint64_t at = object_of(config.type_partial, 0, 64);

	put64(at + layout.partial_fn, function);
	put64(at + layout.partial_args, tuple(&first, 1));
	return at;
}

/* A bound built-in method, such as the wake-up of a task. */
static inline uint64_t new_builtin(uint64_t self)
{
	uint64_t at = object_of(config.type_cfunction, 0, 64);

	put64(at + layout.cfunction_self, self);
	return at;
}

static inline uint64_t coroutine_frame(uint64_t coroutine)
{
	return coroutine + layout.gen_frame;
}

static inline uint64_t new_coroutine(uint64_t code)
{
	uint64_t at = object_of(config.type_coroutine, 0,
				layout.gen_frame + layout.frame_locals + 8 * LOCALS);

	put_frame(coroutine_frame(at), code, 0, 3, layout.owner_generator);
	return at;
}

static inline uint64_t new_future(uint64_t type_)
{
	return object_of(type_, 0, 256);
}

static inline uint64_t new_task(uint64_t code, uint64_t name)
{
	uint64_t at = new_future(config.type_task);

	put64(at + layout.task_coro, new_coroutine(code));
	put64(at + layout.task_name, name);
	return at;
}

static inline uint64_t task_code_frame(uint64_t task)
{
	return coroutine_frame(read64(task + layout.task_coro));
}

/* An instance with one attribute, the way the layout keeps attributes. */
static inline uint64_t new_instance(uint64_t value)
{
	uint64_t of = type("Instance", F_HEAP | F_MANAGED | F_INLINE, 0), at, values;

	put64(of + layout.type_basicsize, 32);
	if (layout.managed_dict == LS_DICT_INLINE) {
		at = object_of(of, 32, 96);
		values_at(at + 32, 0, value);
		return at;
	}
	at = object_of(of, 32, 32);
	values = values_at(get(64), 0, value);
	if (layout.managed_dict == LS_DICT_TAGGED)
		put64(at - 24, values - 1);
	else
		put64(at - 32, values);
	return at;
}

/* The same after its attributes were moved to a dictionary. */
static inline uint64_t new_instance_dict(const char *name, uint64_t value)
{
	uint64_t at = new_instance(0);

	if (layout.managed_dict == LS_DICT_INLINE)
		put8(at + 32 + layout.values_valid, 0);
	else if (layout.managed_dict == LS_DICT_VALUES_PTR)
		put64(at - 32, 0);
	put64(at - 24, dict_of_one(name, value));
	return at;
}

struct item {
	const char *key;
	uint64_t value;
};

static inline uint64_t dict_of(const struct item *items, size_t count, unsigned kind)
{
	uint64_t table = keys(kind, 6, count);

	for (size_t i = 0; i < count; i++)
		put_entry(table, kind, 6, i, string(items[i].key), items[i].value);
	return dict(table, 0);
}

static inline uint64_t http_scope(const char *path)
{
	const struct item items[] = {
		{ "type", string("http") }, { "method", string("GET") }, { "path", string(path) },
	};

	return dict_of(items, 3, 1);
}

static inline void add_role(uint64_t code, uint8_t end, uint8_t flags, const struct follow_op *ops,
			    uint8_t count)
{
	struct code_role role = { .end = end, .flags = flags, .nops = count };

	if (count)
		memcpy(role.ops, ops, count * sizeof(*ops));
	assert_true(role_table_set(&roles, code, &role) == 0);
}

/* A code object whose first local is a scope, a task or a future. */
static inline uint64_t code_of_local(uint8_t end, uint8_t flags, uint32_t line)
{
	static const struct follow_op op = { .op = LS_OP_LOCAL };
	uint64_t code = code_at_line(line);

	add_role(code, end, flags, &op, 1);
	return code;
}

/* The task that runs now, or none. */
static inline void run_task(uint64_t task)
{
	if (config.current_task == LS_TASK_TSTATE) {
		put64(tstate + layout.tstate_running_task, task);
	} else {
		uint64_t table = keys(0, 3, task ? 1 : 0);

		if (task)
			put_entry(table, 0, 3, 0, loop, task);
		put64(config.current_tasks + layout.dict_keys, table);
	}
}

/* `task` is awaited by `other`, in the way that the layout knows. */
static inline void await_plain(uint64_t node, uint64_t other)
{
	if (layout.task_awaited_by != LS_ABSENT)
		put64(node + layout.task_awaited_by, other);
	else
		put64(node + layout.future_callback0, new_builtin(other));
}

static inline void walk_build_types(void)
{
	config = (struct process_config){ .layout = layout };
	config.type_coroutine = type("coroutine", 0, 0);
	config.type_cell = type("cell", 0, 0);
	config.type_unicode = t_str;
	config.type_long = t_int;
	config.type_dict = t_dict;
	config.type_set = t_set;
	config.type_method = type("method", 0, 0);
	config.type_function = type("function", 0, 0);
	config.type_cfunction = type("builtin_function_or_method", 0, 0);
	config.type_partial = type("functools.partial", 0, 0);
	config.type_task = type("_asyncio.Task", 0, 0);
	config.type_future = type("_asyncio.Future", 0, 0);
}

/* A thread that runs nothing, in an image of its own. */
static inline void walk_build(const struct py_layout *row)
{
	build(row);
	role_table_free(&roles);
	walk_build_types();
	tstate = get(1024);
	loop = get(64);
	config.gil = get(256);
	if (layout.tstate_frame == LS_ABSENT)
		put64(tstate + layout.tstate_cframe, get(64));
	if (layout.tstate_running_task != LS_ABSENT) {
		config.current_task = LS_TASK_TSTATE;
	} else {
		config.current_task = LS_TASK_DICT;
		config.current_tasks = dict(keys(0, 3, 0), 0);
	}
}

static inline void walk(void)
{
	memset(&result, 0, sizeof(result));
	assert_true(walk_thread(py.mem, &config, &roles, tstate, loop, &result) == 0);
}

#endif
