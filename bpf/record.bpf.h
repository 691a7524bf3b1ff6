/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Building and sending records. */
#ifndef LS_RECORD_BPF_H
#define LS_RECORD_BPF_H

#include "maps.bpf.h"

/* Zeroes the fixed part of a record, by plain stores, and fills its header. */
static __always_inline void record_begin(void *record, __u32 fixed, __u16 kind, __u64 now,
					 __u32 tgid, __u32 tid)
{
	struct event_header *header = record;

	__builtin_memset(__builtin_assume_aligned(record, 8), 0, fixed);
	header->kind = kind;
	header->time_ns = now;
	header->tgid = tgid;
	header->tid = tid;
}

/* Sends a record whose stack comes last. */
#define record_send_stack(record, urgent) \
	do { \
		__u32 frames_ = (record)->stack.count; \
		if (frames_ > LS_MAX_FRAMES) \
			frames_ = LS_MAX_FRAMES; \
		(record)->header.size = __builtin_offsetof(typeof(*(record)), stack.frames) + \
					frames_ * sizeof(struct frame_record); \
		emit((record), __builtin_offsetof(typeof(*(record)), stack.frames) + \
				       frames_ * sizeof(struct frame_record), \
		     (urgent)); \
	} while (0)

#define record_send_as(record, urgent) \
	do { \
		(record)->header.size = sizeof(*(record)); \
		emit((record), sizeof(*(record)), (urgent)); \
	} while (0)

#define record_send(record) record_send_as(record, false)
/* What user space must act upon: it is woken at once. */
#define record_send_urgent(record) record_send_as(record, true)

#endif
