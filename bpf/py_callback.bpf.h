/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which callback a loop runs.  Compiles for the host as well; see
 * py_read.bpf.h.
 */
#ifndef LS_PY_CALLBACK_BPF_H
#define LS_PY_CALLBACK_BPF_H

#include "py_read.bpf.h"

#define MAX_CONTEXTS 8	/* entered one inside the other */

/*
 * Both loops run each callback and each step of a task in the contextvars
 * context that was copied for it, and all that are ready live at once: within
 * one step of a loop its address tells them apart.  It is the last but one in
 * the chain; the last is that of the thread, and inside are those that the
 * callback entered itself.
 */
static __always_inline __u64 callback_of(const struct process_config *config, __u64 tstate)
{
	const struct py_layout *layout = &config->layout;
	__u64 context = 0, inner = 0, outer;

	if (!tstate || read_u64(tstate + layout->tstate_context, &context))
		return 0;
	for (__u32 i = 0; i < MAX_CONTEXTS && context; i++) {
		if (read_u64(context + layout->context_prev, &outer))
			return 0;
		if (!outer)
			return inner;
		inner = context;
		context = outer;
	}
	return 0;
}

#endif
