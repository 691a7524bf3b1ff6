/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From a frame or task to the request it runs for.  Followed in the kernel
 * while the thread stands still, because these objects die with the request.
 * Compiles for the host as well; see py_read.bpf.h.
 */
#ifndef LS_PY_REQUEST_BPF_H
#define LS_PY_REQUEST_BPF_H

#include "py_task.bpf.h"

#define MAX_TASK_HOPS 12	/* tasks and futures on the way to a request's root */

/* Takes the value of a follow program as the scope, if it is one. */
static __always_inline void scope_take(struct scratch *s, const struct process_config *config)
{
	if (!s->walk.value)
		return;
	if (key_load(s, s->walk.value)) {
		s->walk.faults |= WALK_REQUEST_FAULT;
	} else if (loaded_u64(s, config->layout.ob_type) == config->type_dict) {
		s->walk.scope = s->walk.value;
		s->walk.scope_keys = loaded_u64(s, config->layout.dict_keys);
	}
}

static __always_inline bool is_awaited(const struct process_config *config, __u64 type)
{
	return type && (type == config->type_task || type == config->type_future);
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
	else if ((end == LS_END_TASK || end == LS_END_FUTURE) &&
		 is_awaited(config, type_of(config, s->walk.value)))
		s->walk.host = s->walk.value;
	else if (end == LS_END_SERVER)
		s->request.app = s->walk.value;
}

/* Copies an ASCII str to `size` bytes of zeroed words; returns its length. */
static __always_inline __u16 text_copy(struct scratch *s, const struct process_config *config,
				       __u64 object, __u64 *to, __u32 size)
{
	const struct py_layout *layout = &config->layout;
	__u64 length;
	__u32 bytes;

	if (key_load(s, object) || loaded_u64(s, layout->ob_type) != config->type_unicode)
		return 0;
	length = loaded_u64(s, layout->unicode_length);
	if (length > 0xffff)
		length = 0xffff;
	bytes = length < size ? (__u32)length : size;
	if (loaded_u32(s, layout->unicode_state) >> 6 & 1)
		text_take(s, config, object, to, bytes, size);
	return (__u16)length;
}

static __always_inline __u32 scope_type_of(struct scratch *s, const struct process_config *config,
					   __u64 object)
{
	__u64 text[2] = {};

	text_copy(s, config, object, text, 15);
	if ((text[0] & 0xffffffffff) == 0x70747468) /* http */
		return SCOPE_HTTP;
	if ((__u32)text[0] == 0x73626577) /* webs */
		return SCOPE_WEBSOCKET;
	if ((__u32)text[0] == 0x6566696c) /* life */
		return SCOPE_LIFESPAN;
	return SCOPE_OTHER;
}

/* Port of a tuple (host, port); 0 when it is none. */
static __always_inline __u16 port_of_client(struct scratch *s, const struct process_config *config,
					    __u64 client)
{
	const struct py_layout *layout = &config->layout;
	__u64 port;
	__u32 digit;

	if (key_load(s, client) || loaded_u64(s, layout->var_size) != 2)
		return 0;
	port = loaded_u64(s, layout->tuple_items + 8);
	if (key_load(s, port) || loaded_u64(s, layout->ob_type) != config->type_long)
		return 0;
	digit = loaded_u32(s, layout->long_digit);
	return digit <= 0xffff ? (__u16)digit : 0;
}

#define MEMO_CONTEXT DICT_ENTRIES	/* positions of scope["fastapi"] come after the scope's */
#define CONTEXT_ENTRIES 8
#define MEMO_ADDRESS_BITS 48	/* the rest of a word has the LS_KEY_* */

/*
 * Which key the entry at position `i` of a scope has.  A server makes all its scopes
 * with the same constants in the same order: what was there last time is remembered.
 */
static __always_inline int scope_key(struct scratch *s, const struct process_config *config,
				     __u32 i, __u64 key)
{
	__u64 *memo = ls_key_memo(s, i), id = KEY_OF(s, config, key);

	if (memo && !(key >> MEMO_ADDRESS_BITS)) /* in one word: other loops write it, too */
		*memo = key | id << MEMO_ADDRESS_BITS;
	return (int)id;
}

/* Takes the values of the loaded dictionary, whose positions count from `first` on. */
static __always_inline void entries_take(struct scratch *s, const struct process_config *config,
					 __u32 first, __u32 limit)
{
	const __u64 *memo = ls_key_memo(s, first);

	for (__u32 i = 0; i < limit; i++) {
		__u64 known, key;
		__u32 id;

		if (i >= s->walk.entries)
			break;
		key = entry_key(s, i);
		known = memo ? memo[i] : 0;
		if (known && known << (64 - MEMO_ADDRESS_BITS) == key << (64 - MEMO_ADDRESS_BITS))
			id = (__u32)(known >> MEMO_ADDRESS_BITS);
		else
			id = SCOPE_KEY(s, config, first + i, key);
		s->walk.wanted[id & 31] = entry_value(s, i);
	}
}

_Static_assert(LS_KEY_COUNT <= 32, "each key of a scope has its place");

/* Takes route, method and so on out of the ASGI scope that was found, into s->request. */
static __always_inline int scope_read(struct scratch *s, const struct process_config *config)
{
	struct request_record *to = &s->request;
	const __u64 *wanted = s->walk.wanted;

	to->scope = s->walk.scope;
	__builtin_memset(s->walk.wanted, 0, sizeof(s->walk.wanted));
	if (keys_load(s, config, s->walk.scope_keys, KEYS_SCOPE)) {
		s->walk.faults |= WALK_REQUEST_FAULT;
		return 0;
	}
	entries_take(s, config, 0, DICT_ENTRIES);
	if (wanted[LS_KEY_FASTAPI] && !dict_load(s, config, wanted[LS_KEY_FASTAPI]))
		entries_take(s, config, MEMO_CONTEXT, CONTEXT_ENTRIES);
	to->route = wanted[LS_KEY_ROUTE];
	to->endpoint = wanted[LS_KEY_ENDPOINT];
	to->context = wanted[LS_KEY_CONTEXT];
	to->router = wanted[LS_KEY_ROUTER];
	if (wanted[LS_KEY_APP])
		to->app = wanted[LS_KEY_APP];
	if (wanted[LS_KEY_TYPE])
		to->scope_type = scope_type_of(s, config, wanted[LS_KEY_TYPE]);
	text_copy(s, config, wanted[LS_KEY_METHOD], (__u64 *)to->method, sizeof(to->method) - 1);
	to->path_len = text_copy(s, config, wanted[LS_KEY_PATH], (__u64 *)to->path,
				 sizeof(to->path));
	if (!s->walk.response)
		to->client_port = port_of_client(s, config, wanted[LS_KEY_CLIENT]);
	return 0;
}

/* Type of an ASGI message, and its status or whether more of the body follows. */
static __always_inline void message_read(struct scratch *s, const struct process_config *config)
{
	__u64 message = s->walk.subject;
	__u64 words[3] = {};
	const char *text = (const char *)words;
	__u32 digit = 0;
	bool start;

	s->walk.value = ASGI_NONE;
	if (type_of(config, message) != config->type_dict)
		return;
	DICT_FIND(s, config, message, LS_KEY_TYPE);
	text_copy(s, config, s->walk.found, words, 20);
	/* "http.response.start", "http.response.body" */
	start = text[14] == 's' && text[15] == 't';
	if ((__u32)words[0] != 0x70747468 || (!start && (text[14] != 'b' || text[15] != 'o'))) {
		s->walk.value = ASGI_OTHER;
		return;
	}
	DICT_FIND(s, config, message, start ? LS_KEY_STATUS : LS_KEY_MORE_BODY);
	if (s->walk.found)
		read_u32(s->walk.found + config->layout.long_digit, &digit);
	s->walk.found = digit;
	s->walk.value = start ? ASGI_START : ASGI_BODY;
}

#define PARTIALS 3	/* one inside the other */

/*
 * Code object of a function, bound method or partial, of the generator that the method of a
 * context manager runs; of any other callable, such as a class, the callable itself.
 */
static __always_inline __u64 callable_code(struct scratch *s, const struct process_config *config,
					   __u64 callable)
{
	const struct py_layout *layout = &config->layout;
	__u64 type = type_of(config, callable), code, self = 0, inside;

	for (__u32 i = 0; i < PARTIALS && type == config->type_partial; i++) {
		if (read_u64(callable + layout->partial_fn, &callable))
			return 0;
		type = type_of(config, callable);
	}
	if (type == config->type_method) {
		if (read_u64(callable + layout->method_self, &self) ||
		    read_u64(callable + layout->method_func, &callable))
			return 0;
		type = type_of(config, callable);
	}
	if (type != config->type_function)
		return callable;
	if (read_u64(callable + layout->function_code, &code))
		return 0;
	if (!self || (FOLLOW(s, config, code, 0, self) & 0xff) != LS_END_GENERATOR)
		return code;
	inside = s->walk.value ? code_of_frame(config, s->walk.value + layout->gen_frame) : 0;
	return inside ? inside : code;
}

/* What is on the way to the root of a request; non-zero when it is the root task. */
static __always_inline int request_task(struct scratch *s, const struct process_config *config,
					__u64 task)
{
	const struct py_layout *layout = &config->layout;
	struct request_record *to = &s->request;
	__u64 frame, code, name;
	int end;

	object_hold(s, task);
	if (held_u64(s, task + layout->ob_type) != config->type_task)
		return 0;
	name = held_u64(s, task + layout->task_name);
	frame = coroutine_frame_of(s, config, held_u64(s, task + layout->task_coro));
	code = frame ? untag(config, held_u64(s, frame + layout->frame_code)) : 0;
	if (!to->task) {
		to->task = task;
		to->task_code = code;
		TASK_SERIAL(s, config, name, 1);
		to->root_serial = s->walk.value;
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
	__u64 name;

	s->walk.address = s->walk.host ? s->walk.host : task;
	for (__u32 hop = 0; hop < MAX_TASK_HOPS; hop++) {
		__u64 node = s->walk.address;

		if (!node)
			break;
		if (REQUEST_TASK(s, config, node)) {
			s->walk.address = 0;
			break;
		}
		AWAITER_OF(s, config, node);
	}
	if (s->walk.address)
		s->walk.faults |= WALK_PARENT_LIMIT;
	s->walk.held = 0;
	if (s->request.root != s->request.task) {
		read_u64(s->request.root + config->layout.task_name, &name);
		TASK_SERIAL(s, config, name, 0);
		s->request.root_serial = s->walk.value;
	}
	if (s->walk.scope)
		SCOPE_READ(s, config);
	return 0;
}

#endif
