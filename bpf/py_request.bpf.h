/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From a frame, task or callback to the request it runs for.  Followed in the
 * kernel while the thread stands still, because these objects die with the
 * request.  Compiles for the host as well; see py_read.bpf.h.
 */
#ifndef LS_PY_REQUEST_BPF_H
#define LS_PY_REQUEST_BPF_H

#include "py_read.bpf.h"

#define SET_SLOTS 32	/* of a set of awaiting tasks: any one of them will do */
#define MAX_TASK_HOPS 12	/* tasks and futures on the way to a request's root */

#ifdef __bpf__
static __always_inline const struct code_role *ls_code_role(const struct process_config *config,
							    __u64 code)
{
	struct code_role_key key = { .code = code, .tgid = config->tgid };

	return bpf_map_lookup_elem(&code_roles, &key);
}
#endif

/* Instance attribute: by index of the shared keys, by name in a dictionary of its own. */
static __always_inline __u64 attribute(struct scratch *s, const struct process_config *config,
				       __u64 object, __u16 index, __u32 key)
{
	const struct py_layout *layout = &config->layout;
	__u64 values = 0, dict = 0, value = 0, word;

	if (layout->managed_dict == LS_DICT_INLINE) {
		__u64 type = type_of(config, object), size = 0;
		__u8 valid = 0;

		if (!type || read_u64(type + layout->type_basicsize, &size) || size > 4096)
			return 0;
		values = object + size;
		if (ls_read_user(&valid, 1, values + layout->values_valid) || valid != 1)
			values = 0;
		if (!values)
			read_u64(object - 24, &dict);
	} else if (layout->managed_dict == LS_DICT_TAGGED) {
		if (read_u64(object - 24, &word))
			return 0;
		if (word & 1)
			values = word + 1;
		else
			dict = word;
	} else {
		read_u64(object - 32, &values);
		if (!values)
			read_u64(object - 24, &dict);
	}
	if (values && index == LS_ABSENT) {
		/* the class had no instance when user space looked: its keys have it now */
		if (read_u64(type_of(config, object) + layout->type_cached_keys, &word))
			return 0;
		KEYS_FIND(s, config, word, key);
		if (!s->walk.found)
			return 0;
		index = (__u16)(s->walk.found - 1);
	}
	if (values) {
		read_u64(values + layout->values_first + 8ull * index, &value);
		return value;
	}
	if (!dict)
		return 0;
	DICT_FIND(s, config, dict, key);
	return s->walk.found;
}

/* One step of a follow program; s->walk.value in and out. */
static __always_inline void follow_step(struct scratch *s, const struct process_config *config,
					const struct follow_op *op, __u64 frame)
{
	const struct py_layout *layout = &config->layout;
	__u64 value = s->walk.value, next = 0;

	switch (op->op) {
	case LS_OP_LOCAL:
		read_u64(frame + layout->frame_locals + 8ull * op->arg, &next);
		next = untag(config, next);
		break;
	case LS_OP_CELL:
		next = value;
		if (type_of(config, value) == config->type_cell)
			read_u64(value + layout->cell_ref, &next);
		break;
	case LS_OP_FIELD:
		if (value)
			read_u64(value + op->arg, &next);
		break;
	case LS_OP_ATTR:
		if (value)
			next = attribute(s, config, value, op->arg, op->arg2);
		break;
	case LS_OP_CLOSURE: {
		__u64 closure, cell;

		if (!value || read_u64(value + layout->function_closure, &closure) || !closure ||
		    read_u64(closure + layout->tuple_items + 8ull * op->arg, &cell) || !cell)
			break;
		read_u64(cell + layout->cell_ref, &next);
		break;
	}
	default:
		next = value;
	}
	s->walk.value = next;
}

/*
 * Runs the follow program of a code object from its frame, or from `start` (a
 * function, method or partial).  Returns LS_END_* | LS_ROLE_* << 8, 0 for a
 * code object without a role; the result is s->walk.value.
 */
static __always_inline int follow(struct scratch *s, const struct process_config *config,
				  __u64 code, __u64 frame, __u64 start)
{
	const struct code_role *role = code ? ls_code_role(config, code) : 0;

	s->walk.value = start;
	if (!role)
		return 0;
	for (__u32 i = 0; i < LS_MAX_OPS; i++) {
		if (i >= role->nops)
			break;
		follow_step(s, config, &role->ops[i], frame);
	}
	return role->end | role->flags << 8;
}

/* Takes the value of a follow program as the scope, if it is one. */
static __always_inline void scope_take(struct scratch *s, const struct process_config *config)
{
	__u64 type = type_of(config, s->walk.value);

	if (type == config->type_dict)
		s->walk.scope = s->walk.value;
	else if (s->walk.value && !type)
		s->walk.faults |= WALK_REQUEST_FAULT;
}

/* Called for each frame of a walk: remembers the innermost scope and the worker's host task. */
static __always_inline void frame_follow(struct scratch *s, const struct process_config *config,
					 __u64 code)
{
	int end;

	if (s->walk.scope || s->walk.host)
		return;
	end = FOLLOW(s, config, code, s->walk.address, 0) & 0xff;
	if (end == LS_END_SCOPE)
		scope_take(s, config);
	else if (end == LS_END_TASK || end == LS_END_FUTURE)
		s->walk.host = s->walk.value;
}

/* One entry {loop: task} of asyncio's dictionary of current tasks. */
static __always_inline int current_entry(struct scratch *s, __u64 loop, __u64 task)
{
	if (task && loop && (!s->walk.loop || loop == s->walk.loop))
		s->walk.found = task;
	return 0;
}

/* s->walk.found = the task that runs now on the loop of s->walk, 0: none. */
static __always_inline int current_task_of(struct scratch *s,
					   const struct process_config *config)
{
	const struct py_layout *layout = &config->layout;

	s->walk.found = 0;
	if (config->current_task == LS_TASK_TSTATE) {
		if (read_u64(s->walk.tstate + layout->tstate_running_task, &s->walk.found))
			s->walk.faults |= WALK_TASK_FAULT;
		return 0;
	}
	if (config->current_task != LS_TASK_DICT)
		return 0;
	if (dict_load(s, config, config->current_tasks)) {
		s->walk.faults |= WALK_TASK_FAULT;
		return 0;
	}
	for (__u32 i = 0; i < DICT_ENTRIES; i++) {
		if (i >= s->walk.entries)
			break;
		CURRENT_ENTRY(s, entry_key(s, i), entry_value(s, i));
	}
	return 0;
}

/* The task or future that waits for what calls `callback` when it is done. */
static __always_inline __u64 waiter_of_callback(struct scratch *s,
						const struct process_config *config,
						__u64 callback)
{
	const struct py_layout *layout = &config->layout;
	__u64 type = type_of(config, callback), function = callback, start = callback, code;
	int end;

	if (!type)
		return 0;
	if (type == config->type_cfunction) {
		__u64 self;

		if (read_u64(callback + layout->cfunction_self, &self) ||
		    type_of(config, self) != config->type_task)
			return 0;
		return self;
	}
	if (type == config->type_method) {
		if (read_u64(callback + layout->method_func, &function) ||
		    read_u64(callback + layout->method_self, &start))
			return 0;
	} else if (type == config->type_partial) {
		__u64 args;

		if (read_u64(callback + layout->partial_fn, &function) ||
		    read_u64(callback + layout->partial_args, &args) || !args ||
		    read_u64(args + layout->tuple_items, &start))
			return 0;
	} else if (type != config->type_function) {
		return 0;
	}
	if (type_of(config, function) != config->type_function ||
	    read_u64(function + layout->function_code, &code))
		return 0;
	end = FOLLOW(s, config, code, 0, start) & 0xff;
	return end == LS_END_TASK || end == LS_END_FUTURE ? s->walk.value : 0;
}

static __always_inline __u64 first_of_set(const struct process_config *config, __u64 set)
{
	__u64 items, item, mask;

	if (read_u64(set + config->layout.set_table, &items) ||
	    read_u64(set + config->layout.set_mask, &mask))
		return 0;
	for (__u32 i = 0; i < SET_SLOTS; i++) {
		if (i > mask)
			break;
		if (read_u64(items + 16ull * i, &item))
			return 0;
		if (item && type_of(config, item) == config->type_task)
			return item;
	}
	return 0;
}

/*
 * s->walk.address = who awaits a task or future: a task, or a future on the
 * way to one; 0: nobody known.
 */
static __always_inline int awaiter_of(struct scratch *s, const struct process_config *config,
				      __u64 node)
{
	const struct py_layout *layout = &config->layout;
	__u64 next = 0, items, item = 0;

	s->walk.address = 0;
	if (layout->task_awaited_by != LS_ABSENT) {
		__u8 is_set = 0;

		if (read_u64(node + layout->task_awaited_by, &next) || !next)
			return 0;
		ls_read_user(&is_set, 1, node + layout->task_awaited_by_is_set);
		s->walk.address = is_set ? first_of_set(config, next) : next;
		return 0;
	}
	read_u64(node + layout->future_callback0, &next);
	if (!next) {
		if (read_u64(node + layout->future_callbacks, &items) || !items ||
		    read_u64(items + layout->list_items, &items) || !items ||
		    read_u64(items, &item) || !item ||
		    read_u64(item + layout->tuple_items, &next))
			return 0;
	}
	s->walk.address = waiter_of_callback(s, config, next);
	return 0;
}

/* Frame of the coroutine a task runs, 0 when it is no plain coroutine. */
static __always_inline __u64 task_frame(const struct process_config *config, __u64 task)
{
	const struct py_layout *layout = &config->layout;
	__u64 coroutine;

	if (read_u64(task + layout->task_coro, &coroutine) ||
	    type_of(config, coroutine) != config->type_coroutine)
		return 0;
	return coroutine + layout->gen_frame;
}

static __always_inline __u64 code_of_frame(const struct process_config *config, __u64 frame)
{
	__u64 code;

	if (!frame || read_u64(frame + config->layout.frame_code, &code))
		return 0;
	return untag(config, code);
}

#define SERIAL_OF_NAME (1ull << 63)	/* the serial is a hash: the program named the task */

/*
 * s->walk.value = what tells a task from a later one at the same address:
 * asyncio numbers those without a name of their own.  Copies another name to
 * the request when asked.
 */
static __always_inline int task_serial(struct scratch *s, const struct process_config *config,
				       __u64 task, __u32 copy)
{
	const struct py_layout *layout = &config->layout;
	__u64 *words = (__u64 *)s->name, *kept = (__u64 *)s->request.task_name;
	__u64 name, type, serial = 0, length;
	__u32 digits[2] = {};

	s->walk.value = 0;
	if (read_u64(task + layout->task_name, &name) || !name)
		return 0;
	type = type_of(config, name);
	if (type == config->type_long) {
		/* at most 60 bits: two digits of 30 */
		if (ls_read_user(digits, sizeof(digits), name + layout->long_digit) ||
		    read_u64(name + layout->long_tag, &length))
			return 0;
		s->walk.value = length >> 3 > 1 ? digits[0] | (__u64)digits[1] << 30 : digits[0];
		return 0;
	}
	if (type != config->type_unicode || read_u64(name + layout->unicode_length, &length))
		return 0;
	for (__u32 i = 0; i < SCRATCH_NAME_BYTES / 8; i++)
		words[i] = 0;
	if (length > SCRATCH_NAME_BYTES - 1)
		length = SCRATCH_NAME_BYTES - 1;
	if (ls_read_user(s->name, (__u32)length, name + layout->unicode_ascii))
		return 0;
	if (*(__u32 *)s->name == 0x6b736154 /* Task */ && s->name[4] == '-') {
		for (__u32 i = 5; i < 24; i++) {
			__u8 digit = s->name[i] - '0';

			if (digit > 9)
				break;
			serial = serial * 10 + digit;
		}
		s->walk.value = serial;
		return 0;
	}
	for (__u32 i = 0; i < SCRATCH_NAME_BYTES / 8; i++) {
		serial = (serial ^ words[i]) * 0x9e3779b97f4a7c15ull;
		serial ^= serial >> 29;
		if (copy)
			kept[i] = words[i];
	}
	s->walk.value = serial | SERIAL_OF_NAME;
	return 0;
}

/* Copies an ASCII str to a zeroed buffer of `size` bytes; returns its length. */
static __always_inline __u16 text_copy(const struct process_config *config, __u64 object,
				       char *to, __u32 size)
{
	const struct py_layout *layout = &config->layout;
	__u64 length;
	__u32 state, bytes;

	if (type_of(config, object) != config->type_unicode ||
	    read_u64(object + layout->unicode_length, &length) ||
	    read_u32(object + layout->unicode_state, &state))
		return 0;
	if (length > 0xffff)
		length = 0xffff;
	bytes = length < size ? (__u32)length : size;
	if (state >> 6 & 1 && bytes && bytes <= size)
		ls_read_user(to, bytes, object + layout->unicode_ascii);
	return (__u16)length;
}

static __always_inline __u32 scope_type_of(const struct process_config *config, __u64 object)
{
	char text[16] = {};

	text_copy(config, object, text, 15);
	if (*(__u32 *)text == 0x70747468 && !text[4]) /* http */
		return SCOPE_HTTP;
	if (*(__u32 *)text == 0x73626577) /* webs */
		return SCOPE_WEBSOCKET;
	if (*(__u32 *)text == 0x6566696c) /* life */
		return SCOPE_LIFESPAN;
	return SCOPE_OTHER;
}

/* Takes one entry of an ASGI scope into s->request, if it is one of those wanted. */
static __always_inline int scope_entry(struct scratch *s, const struct process_config *config,
				       __u64 key, __u64 value)
{
	struct request_record *to = &s->request;

	switch (KEY_OF(s, config, key)) {
	case LS_KEY_TYPE:
		to->scope_type = scope_type_of(config, value);
		break;
	case LS_KEY_METHOD:
		text_copy(config, value, to->method, sizeof(to->method) - 1);
		break;
	case LS_KEY_PATH:
		to->path_len = text_copy(config, value, to->path, sizeof(to->path));
		break;
	case LS_KEY_ROOT_PATH:
		to->root_path_len = text_copy(config, value, to->root_path,
					      sizeof(to->root_path));
		break;
	case LS_KEY_ROUTE:
		to->route = value;
		break;
	case LS_KEY_ENDPOINT:
		to->endpoint = value;
		break;
	case LS_KEY_APP:
		to->app = value;
		break;
	case LS_KEY_ROUTER:
		to->router = value;
		break;
	case LS_KEY_FASTAPI:
		s->walk.value = value;
		break;
	}
	return 0;
}

/* Takes route, method and so on out of an ASGI scope, into s->request. */
static __always_inline int scope_read(struct scratch *s, const struct process_config *config,
				      __u64 scope)
{
	struct request_record *to = &s->request;

	to->scope = scope;
	s->walk.value = 0; /* the "fastapi" dictionary */
	if (dict_load(s, config, scope)) {
		s->walk.faults |= WALK_REQUEST_FAULT;
		return 0;
	}
	for (__u32 i = 0; i < DICT_ENTRIES; i++) {
		if (i >= s->walk.entries)
			break;
		SCOPE_ENTRY(s, config, entry_key(s, i), entry_value(s, i));
	}
	if (s->walk.value) {
		DICT_FIND(s, config, s->walk.value, LS_KEY_CONTEXT);
		to->context = s->walk.found;
	}
	return 0;
}

/* One task on the way to the root of a request; non-zero when it is the root. */
static __always_inline int request_task(struct scratch *s, const struct process_config *config,
					__u64 task)
{
	struct request_record *to = &s->request;
	__u64 frame = task_frame(config, task), code = code_of_frame(config, frame);
	int end;

	if (!to->task) {
		to->task = task;
		to->task_code = code;
		TASK_SERIAL(s, config, task, 1);
	}
	to->root = task;
	to->root_code = code;
	if (!code)
		return 0;
	end = FOLLOW(s, config, code, frame, 0);
	if ((end & 0xff) == LS_END_SCOPE && !s->walk.scope)
		scope_take(s, config);
	return end >> 8 & LS_ROLE_ROOT;
}

/*
 * Fills s->request (zeroed) after frames_walk(): the innermost scope on the
 * stack, else that of the running task or one it runs for; and the root task,
 * whose serial tells requests apart.
 */
static __always_inline int request_find(struct scratch *s, const struct process_config *config,
					__u64 task)
{
	s->walk.address = s->walk.host ? s->walk.host : task;
	for (__u32 hop = 0; hop < MAX_TASK_HOPS; hop++) {
		__u64 node = s->walk.address;

		if (!node)
			break;
		if (type_of(config, node) == config->type_task && REQUEST_TASK(s, config, node)) {
			s->walk.address = 0;
			break;
		}
		AWAITER_OF(s, config, node);
	}
	if (s->walk.address)
		s->walk.faults |= WALK_PARENT_LIMIT;
	if (s->request.root) {
		TASK_SERIAL(s, config, s->request.root, 0);
		s->request.root_serial = s->walk.value;
	}
	if (s->walk.scope)
		SCOPE_READ(s, config, s->walk.scope);
	return 0;
}

#endif
