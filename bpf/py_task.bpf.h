/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Tasks: which one runs, what its coroutine is, who awaits it, what tells it
 * from a later one.  Compiles for the host as well; see py_read.bpf.h.
 */
#ifndef LS_PY_TASK_BPF_H
#define LS_PY_TASK_BPF_H

#include "py_follow.bpf.h"

#define SET_SLOTS 32	/* of a set of awaiting tasks: any one of them will do */

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
		if (entry_key(s, i)) /* that of a task that ran before is empty */
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
	/* few variables: kernels up to 6.1 grant 512 bytes of stack to all that call another */
	if (type == config->type_cfunction) {
		if (read_u64(callback + layout->cfunction_self, &start) ||
		    type_of(config, start) != config->type_task)
			return 0;
		return start;
	}
	if (type == config->type_method) {
		if (read_u64(callback + layout->method_func, &function) ||
		    read_u64(callback + layout->method_self, &start))
			return 0;
	} else if (type == config->type_partial) {
		if (read_u64(callback + layout->partial_fn, &function) ||
		    read_u64(callback + layout->partial_args, &start) || !start ||
		    read_u64(start + layout->tuple_items, &start))
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
	/* a future of a thread's has one that passes its cancellation on, then the waiter */
	for (__u32 i = 0; i < 2 && !s->walk.address; i++) {
		if (!i)
			read_u64(node + layout->future_callback0, &next);
		else if (read_u64(node + layout->future_callbacks, &items) || !items ||
			 read_u64(items + layout->list_items, &items) || !items ||
			 read_u64(items, &item) || !item ||
			 read_u64(item + layout->tuple_items, &next))
			return 0;
		if (next)
			s->walk.address = waiter_of_callback(s, config, next);
	}
	return 0;
}

/* Frame of the coroutine a task runs, which is then held; 0 when it is no plain coroutine. */
static __always_inline __u64 coroutine_frame_of(struct scratch *s,
						const struct process_config *config,
						__u64 coroutine)
{
	const struct py_layout *layout = &config->layout;

	if (!coroutine)
		return 0;
	object_hold(s, coroutine);
	if (held_u64(s, coroutine + layout->ob_type) != config->type_coroutine)
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

/*
 * s->walk.value = what tells a task from a later one at the same address, by
 * its name: asyncio numbers those without a name of their own.  Copies another
 * name to the request when asked.
 */
static __always_inline int task_serial(struct scratch *s, const struct process_config *config,
				       __u64 name, __u32 copy)
{
	const struct py_layout *layout = &config->layout;
	__u64 *words = (__u64 *)s->name, *kept = (__u64 *)s->request.task_name;
	__u64 type, serial = 0, length;

	s->walk.value = 0;
	if (key_load(s, name))
		return 0;
	type = loaded_u64(s, layout->ob_type);
	if (type == config->type_long) {
		/* at most 60 bits: two digits of 30 */
		s->walk.value = loaded_u32(s, layout->long_digit);
		if (loaded_u64(s, layout->long_tag) >> 3 > 1)
			s->walk.value |= (__u64)loaded_u32(s, layout->long_digit + 4) << 30;
		return 0;
	}
	if (type != config->type_unicode)
		return 0;
	length = loaded_u64(s, layout->unicode_length);
	if (length > SCRATCH_NAME_BYTES - 1)
		length = SCRATCH_NAME_BYTES - 1;
	for (__u32 i = 0; i < SCRATCH_NAME_BYTES / 8; i++)
		words[i] = 0;
	if (text_take(s, config, name, words, (__u32)length, SCRATCH_NAME_BYTES - 1))
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

#endif
