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
 * one step of a loop its address tells them apart.  The chain of contexts ends
 * with that of the thread; the two before it, outermost first, go to `to`.
 */
static __always_inline void callback_contexts(const struct process_config *config, __u64 tstate,
					      __u64 to[2])
{
	const struct py_layout *layout = &config->layout;
	__u64 context = 0, outer, inner = 0, innermost = 0;

	to[0] = 0;
	to[1] = 0;
	if (!tstate || read_u64(tstate + layout->tstate_context, &context))
		return;
	for (__u32 i = 0; i < MAX_CONTEXTS && context; i++) {
		if (read_u64(context + layout->context_prev, &outer))
			return;
		if (!outer) {
			to[0] = inner;
			to[1] = innermost;
			return;
		}
		innermost = inner;
		inner = context;
		context = outer;
	}
}

#endif
