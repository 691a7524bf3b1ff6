/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The frame chain of a CPython thread, leaf first.  Compiles for the host as
 * well; see py_read.bpf.h.
 */
#ifndef LS_PY_FRAMES_BPF_H
#define LS_PY_FRAMES_BPF_H

#include "py_request.bpf.h"

/*
 * Tells one code object from another one at the same address: of its first
 * line, flags and the addresses of its file's name, its name and line table.  Never 0.
 */
static __always_inline __u32 code_check(__u32 first_line, __u32 flags, __u64 file, __u64 name,
					__u64 line_table)
{
	__u32 hash = first_line * 0x9e3779b1u ^ flags;

	hash = (hash << 13 | hash >> 19) ^ (__u32)(file >> 3) * 0x27d4eb2fu;
	hash = (hash << 13 | hash >> 19) ^ (__u32)(name >> 3) * 0x85ebca6bu;
	hash = (hash << 13 | hash >> 19) ^ (__u32)(line_table >> 3) * 0xc2b2ae35u;
	return hash | 1;
}

#define NO_FRAME (~0ull)	/* nothing is mapped there: a walk from it ends with a fault */

/* Address of the innermost frame of a thread, 0 when it runs no Python. */
static __always_inline __u64 first_frame(const struct process_config *config, __u64 tstate)
{
	const struct py_layout *layout = &config->layout;
	__u64 frame, cframe;

	if (!tstate)
		return 0;
	if (layout->tstate_frame != LS_ABSENT)
		return read_u64(tstate + layout->tstate_frame, &frame) ? NO_FRAME : frame;
	if (read_u64(tstate + layout->tstate_cframe, &cframe))
		return NO_FRAME;
	if (!cframe)
		return 0;
	return read_u64(cframe + layout->cframe_frame, &frame) ? NO_FRAME : frame;
}

static __always_inline void frame_store(struct scratch *s, const struct process_config *config,
					struct frame_record *to, __u64 code, __u8 owner)
{
	const struct py_layout *layout = &config->layout;
	__u64 instr = field_u64(s->frame, layout->frame_instr);
	__u64 offset = (instr - code - layout->code_adaptive) / 2;
	__u32 base = layout->code_flags, size = layout->code_linetable + 8u - base;

	if (offset >= FRAME_NOT_STARTED)
		offset = FRAME_NOT_STARTED;
	to->code = code;
	to->where = (__u32)offset | (__u32)owner << FRAME_OFFSET_BITS;
	to->check = 0;
	if (size > SCRATCH_CODE_BYTES || ls_read_user(s->code, size, code + base))
		return;
	to->check = code_check(field_u32(s->code, layout->code_firstlineno - base),
			       field_u32(s->code, 0),
			       field_u64(s->code, layout->code_filename - base),
			       field_u64(s->code, layout->code_name - base),
			       field_u64(s->code, layout->code_linetable - base));
}

/* Takes the frame at s->walk.address and goes on to the one before; non-zero: the end. */
static __always_inline int frame_step(struct scratch *s, const struct process_config *config)
{
	const struct py_layout *layout = &config->layout;
	struct stack_record *stack = &s->stack;
	__u32 at = stack->count, size = layout->frame_locals;
	__u64 code;
	__u8 owner;

	if (!s->walk.address) {
		stack->end = STACK_COMPLETE;
		return 1;
	}
	if (at >= LS_MAX_FRAMES)
		return 1;
	if (size > SCRATCH_FRAME_BYTES - 32 || ls_read_user(s->frame, size, s->walk.address)) {
		stack->end = STACK_FAULT;
		return 1;
	}
	owner = s->frame[layout->frame_owner & 0x7f];
	code = untag(config, field_u64(s->frame, layout->frame_code));
	if (owner < layout->owner_shim && code) {
		frame_store(s, config, &stack->frames[at], code, owner);
		stack->count = at + 1;
		frame_follow(s, config, code);
	}
	s->walk.address = field_u64(s->frame, layout->frame_previous);
	return 0;
}

/*
 * Walks from the innermost frame of s->walk.tstate and fills s->stack.  Frames
 * whose code leads to a request are followed on the way: see frame_follow().
 */
static __always_inline int frames_walk(struct scratch *s, const struct process_config *config)
{
	s->stack.count = 0;
	s->stack.pad = 0;
	s->stack.end = STACK_TRUNCATED;
	s->walk.scope = 0;
	s->walk.host = 0;
	s->walk.address = first_frame(config, s->walk.tstate);
	for (__u32 i = 0; i < LS_MAX_WALK; i++)
		if (FRAME_STEP(s, config))
			break;
	return 0;
}

#endif
