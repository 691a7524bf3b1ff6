/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Attributes of instances, and the follow programs that lead from a frame or
 * callback to a scope, task or future.  Compiles for the host as well; see
 * py_read.bpf.h.
 */
#ifndef LS_PY_FOLLOW_BPF_H
#define LS_PY_FOLLOW_BPF_H

#include "py_read.bpf.h"

#ifdef __bpf__
static __always_inline const struct code_role *ls_code_role(const struct process_config *config,
							    __u64 code)
{
	struct code_role_key key = { .code = code, .tgid = config->tgid };

	return bpf_map_lookup_elem(&code_roles, &key);
}

/* Where the key at a position of a scope is remembered; NULL: nowhere. */
static __always_inline __u64 *ls_key_memo(const struct scratch *s, __u32 i)
{
	__u32 process = s->walk.process;
	struct key_memo *memo = bpf_map_lookup_elem(&key_memos, &process);

	if (!memo)
		return 0;
	/* no arithmetic on what may be NULL: clang 18 would do it before it asks */
	asm volatile("" : "+r"(memo));
	return &memo->words[i & 63];
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
		next = held_u64(s, frame + layout->frame_locals + 8ull * op->arg);
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

/* s->walk.subject = a local variable of a frame, through its cell. */
static __always_inline void subject_take(struct scratch *s, const struct process_config *config,
					 __u64 frame, __u8 local)
{
	__u64 value;

	if (read_u64(frame + config->layout.frame_locals + 8ull * local, &value))
		return;
	value = untag(config, value);
	if (type_of(config, value) == config->type_cell)
		read_u64(value + config->layout.cell_ref, &value);
	s->walk.subject = value;
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
	if (frame && role->flags & (LS_ROLE_WORK | LS_ROLE_SEND))
		subject_take(s, config, frame, role->subject);
	return role->end | role->flags << 8;
}

#endif
