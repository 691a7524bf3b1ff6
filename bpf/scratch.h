/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Space in which one record is built; no BPF stack is large enough. */
#ifndef LS_SCRATCH_H
#define LS_SCRATCH_H

#include "events.h"
#include "target_config.h"

#define SCRATCH_FRAME_BYTES 128	/* of an interpreter frame, up to its locals */
#define SCRATCH_CODE_BYTES 128	/* of a code object, flags to line table */
#define SCRATCH_TABLE_BYTES 1024	/* of a dictionary's entry array */
#define SCRATCH_KEY_BYTES 128	/* of a str, an int or a tuple */
#define SCRATCH_OBJECT_BYTES 256	/* of a task or coroutine */
#define SCRATCH_NAME_BYTES 32

/* Where a walk or look-up stands; in memory, so that the verifier forgets it. */
struct walk_state {
	__u64 tstate;		/* of the thread whose stack is walked */
	__u64 loop;		/* its event loop, 0: any */
	__u64 address;		/* of the frame, task or dictionary at hand */
	__u64 value;		/* the value register of follow() */
	__u64 scope;		/* ASGI scope found, 0: none yet */
	__u64 scope_keys;	/* and its keys object */
	__u64 host;		/* task a worker thread works for, 0: none */
	__u64 found;		/* of dict_find() and keys_find() */
	__u64 subject;	/* what a frame with LS_ROLE_WORK or LS_ROLE_SEND works on */
	__u64 held;		/* address of what is in object[], 0: nothing */
	__u64 wanted[32];	/* values of a scope by LS_KEY_*; [LS_KEY_NONE] is any other */
	__u32 context;		/* which scratch slot this is */
	__u32 process;		/* slot of the process */
	__u32 entries;		/* of the dictionary at hand */
	__u32 entry_size;
	__u32 entries_at;	/* where they begin in table[] */
	__u32 faults;		/* WALK_*: what went wrong on the way */
	__u32 response;		/* the connection is known: who asked need not be read */
	__u32 text_bytes;	/* of the str in key[] that are there at least */
};

#define WALK_REQUEST_FAULT 1	/* a scope could not be read */
#define WALK_TASK_FAULT 2	/* the current task could not be read */
#define WALK_PARENT_LIMIT 4	/* more tasks than MAX_TASK_HOPS */

/*
 * All records with Python in them end in a request and a stack; what stands
 * before them is built at the end of `prefix`, so that a record is contiguous
 * and the walks need not know its kind.
 */
#define SCRATCH_PREFIX 1024

#define ARRIVALS 8	/* segments that wait to be read and are told apart */

struct arrival {
	__u64 time_ns;
	__u64 busy_ns;	/* clock of the connection's loop then */
	__u32 end_seq;	/* TCP sequence number behind it */
	__u32 pad;
};

/*
 * One socket of an observed process.  Arrivals are written by the network side
 * alone (head) and taken by the reading thread alone (tail).
 */
struct connection {
	__u64 id;
	__u64 opened_ns;
	__u64 sent_ns;		/* end of the last send, when nothing came since; else 0 */
	__u64 sent_step;	/* step in which it was */
	struct arrival arrivals[ARRIVALS];
	__u32 head, tail;
	__u32 tgid;		/* 0: nobody has read or written yet */
	__u32 process;
	__s32 loop;		/* slot of the loop that serves it, -1 */
	__u8 role;		/* ROLE_* */
	__u8 family;		/* FD_* */
	__u16 flags;		/* IO_* */
	__u16 peer_port, local_port;
	__u8 address[16];
	__u32 pad;
};

struct call_end {	/* of a call that is to be recorded */
	__u64 start_ns, duration_ns, run_delay_ns;
	__s64 result;
	__u32 number, calls;
	__u16 flags;
	__u16 pad[3];
};

struct io_state {	/* of the system call at hand */
	__u64 socket;		/* address of the struct sock */
	__u64 args[4];
	__s64 result;
	__u64 now;
	__u32 number;
	__s32 loop;		/* slot of the calling thread's loop, -1: it has none */
	__u64 buffer;		/* first one */
	__u64 iov;		/* struct iovec array, 0: one buffer */
	__u64 left;		/* bytes of the transfer not looked at yet */
	__u64 given;		/* bytes in the buffers that were looked at */
	__u32 iov_count;
	__u32 first_bytes;
	__u32 head_bytes, tail_bytes;
	__u32 short_one;	/* head has room for all of it */
	__u32 messages;		/* of sendmmsg(): sent by one call */
	__u8 tail[LS_TAIL_BYTES];
};

struct scratch {
	struct walk_state walk;
	struct io_state io;
	struct call_end call_end;
	struct connection connection;	/* of a socket that is not remembered */
	__u8 frame[SCRATCH_FRAME_BYTES];
	__u8 code[SCRATCH_CODE_BYTES];
	__u8 table[SCRATCH_TABLE_BYTES];
	__u8 key[SCRATCH_KEY_BYTES];
	__u8 object[SCRATCH_OBJECT_BYTES];
	__u8 name[SCRATCH_NAME_BYTES];
	__u8 prefix[SCRATCH_PREFIX];
	struct request_record request;
	struct stack_record stack;
	union {	/* records without Python */
		struct event_gil_wait gil_wait;
		struct event_step step;
		struct event_loop_seen loop_seen;
		struct event_process process;
		struct {	/* its head[] is where every transfer is read to */
			struct event_transfer transfer;
			__u8 pad[LS_HEAD_BYTES]; /* the verifier adds up offset and length */
		};
	};
};

_Static_assert(sizeof(struct stack_record) >= 2 * LS_HEAD_BYTES,
	       "the head of a response is built where stacks are");

#define scratch_record(s, kind) \
	((struct kind *)((s)->prefix + SCRATCH_PREFIX - __builtin_offsetof(struct kind, request)))

#endif
