// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The larger functions as global ones: the verifier checks each of them once. */
#include "maps.bpf.h"
#include "py_frames.bpf.h"

#define WITH_SCRATCH(context) \
	struct scratch *s = scratch_of(context); \
	struct process_config *config = s ? process_of_slot(s->walk.process) : NULL; \
	if (!config) \
		return 0 /* shouldn't happen: context and process are always in range */

__noinline int global_key_of(__u32 context, __u64 object)
{
	WITH_SCRATCH(context);
	return (int)key_of(s, config, object);
}

__noinline int global_dict_find(__u32 context, __u64 dict, __u32 key)
{
	WITH_SCRATCH(context);
	return dict_find(s, config, dict, key);
}

__noinline int global_keys_find(__u32 context, __u64 keys, __u32 key)
{
	WITH_SCRATCH(context);
	return keys_find(s, config, keys, key);
}

__noinline int global_follow(__u32 context, __u64 code, __u64 frame, __u64 start)
{
	WITH_SCRATCH(context);
	return follow(s, config, code, frame, start);
}

__noinline int global_awaiter_of(__u32 context, __u64 node)
{
	WITH_SCRATCH(context);
	return awaiter_of(s, config, node);
}

__noinline int global_task_serial(__u32 context, __u64 name, __u32 copy)
{
	WITH_SCRATCH(context);
	return task_serial(s, config, name, copy);
}

__noinline int global_scope_key(__u32 context, __u32 i, __u64 key)
{
	WITH_SCRATCH(context);
	return scope_key(s, config, i, key);
}

__noinline int global_scope_read(__u32 context)
{
	WITH_SCRATCH(context);
	return scope_read(s, config);
}

__noinline int global_current_entry(__u32 context, __u64 loop, __u64 task)
{
	struct scratch *s = scratch_of(context);

	return s ? current_entry(s, loop, task) : 0;
}

__noinline int global_current_task(__u32 context)
{
	WITH_SCRATCH(context);
	return current_task_of(s, config);
}

__noinline int global_frame_step(__u32 context)
{
	WITH_SCRATCH(context);
	return frame_step(s, config);
}

__noinline int global_frames_walk(__u32 context)
{
	WITH_SCRATCH(context);
	return frames_walk(s, config);
}

__noinline int global_request_task(__u32 context, __u64 task)
{
	WITH_SCRATCH(context);
	return request_task(s, config, task);
}

__noinline int global_request_find(__u32 context, __u64 task)
{
	WITH_SCRATCH(context);
	return request_find(s, config, task);
}

/*
 * Walks the innermost `limit` frames only, up to the first that leads to a scope
 * or host task; s->stack is used up.
 */
__noinline int global_frames_near(__u32 context, __u32 limit)
{
	WITH_SCRATCH(context);
	s->stack.count = 0;
	s->stack.end = STACK_NONE;
	s->walk.scope = 0;
	s->walk.host = 0;
	s->walk.subject = 0;
	s->walk.address = first_frame(config, s->walk.tstate);
	for (__u32 i = 0; i < LS_MAX_FRAMES; i++)
		if (i >= limit || s->walk.scope || s->walk.host || FRAME_STEP(s, config))
			break;
	s->stack.count = 0;
	s->stack.end = STACK_NONE;
	return 0;
}

/*
 * What the subject of a frame, an ASGI message, says: ASGI_* in s->walk.value, and
 * the status or whether there is more to come in s->walk.found.
 */
__noinline int global_message_read(__u32 context)
{
	WITH_SCRATCH(context);
	message_read(s, config);
	return 0;
}

/* Code object of a callable: function, bound method or partial of one; in s->walk.value. */
__noinline int global_callable_code(__u32 context, __u64 callable)
{
	WITH_SCRATCH(context);
	s->walk.value = callable_code(s, config, callable);
	return 0;
}
