/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) OR Apache-2.0 */
/*
 * Records in the ring buffer and the shared loop slots.  Size first, plain
 * data, no implicit padding, every byte sent was written.
 */
#ifndef LS_EVENTS_H
#define LS_EVENTS_H

#include <linux/types.h>

#define LS_MAX_FRAMES 160	/* kept of one Python stack; the walk looks at LS_MAX_WALK */
#define LS_MAX_WALK 224		/* frames looked at, interpreter shims included */
#define LS_PATH_BYTES 160	/* kept of a request path */
#define LS_NAME_BYTES 96	/* kept of a file name or socket path */
#define LS_HEAD_BYTES 512	/* kept of what a socket call sent or received */
#define LS_TAIL_BYTES 8		/* and of its end */
#define LS_STEP_BUCKETS 112	/* histogram of step lengths, see step_bucket() */

/* kind, record, printable name */
#define EVENT_KINDS(X) \
	X(CALL, event_call, "slow system call") \
	X(SAMPLE, event_sample, "cpu sample of a long step") \
	X(HOLDER, event_sample, "cpu sample of the holder of the GIL") \
	X(GIL_WAIT, event_gil_wait, "wait for the GIL") \
	X(PAGE_FAULT, event_page_fault, "page fault that slept") \
	X(STEP, event_step, "long step") \
	X(TRANSFER, event_transfer, "bytes sent or received on a socket") \
	X(RESPONSE, event_response, "bytes that begin a response") \
	X(MESSAGE, event_message, "bytes that begin a call to a peer") \
	X(CLOSED, event_closed, "connection closed") \
	X(WORK, event_work, "work item of a thread") \
	X(LOOP_SEEN, event_loop_seen, "thread left an epoll wait for the first time") \
	X(PROCESS, event_process, "process forked, executed or ended")

enum event_kind {
	EVENT_NONE,
#define X(kind, record, text) EVENT_##kind,
	EVENT_KINDS(X)
#undef X
	EVENT_KIND_COUNT
};

struct event_header {
	__u32 size;	/* of the whole record in bytes */
	__u16 kind;	/* EVENT_* */
	__u16 flags;	/* EVENT_F_* */
	__u64 time_ns;	/* CLOCK_MONOTONIC at which it was made */
	__u32 tgid;	/* as the initial pid namespace knows it */
	__u32 tid;
};

#define EVENT_F_SINCE_BEFORE 1	/* had begun before the probes were there */
#define EVENT_F_ON_CPU 2	/* CALL: spent in the kernel on a CPU, not asleep */
#define EVENT_F_LOWER_BOUND 4	/* CALL: entry unknown, the length is what was seen */
#define EVENT_F_KERNEL_MODE 8	/* SAMPLE: the sample hit kernel code */
#define EVENT_F_GC 16		/* SAMPLE, HOLDER: the garbage collector was running */
#define EVENT_F_RESTARTED 32	/* CALL: interrupted and continued by the kernel */
#define EVENT_F_NO_TASK 64	/* no task was current: the server's or loop's own work */

struct frame_record {
	__u64 code;	/* address of the code object, 0: unreadable */
	__u32 check;	/* check word of the code object, see code_check() in py_frames.bpf.h */
	__u32 where;	/* bits 0-23: instruction offset in 2-byte units; bits 24-31: owner */
};

#define FRAME_OFFSET_BITS 24
#define FRAME_NOT_STARTED 0xffffffu	/* offset of a frame that has not run yet */

/* How a stack ends. */
enum {
	STACK_NONE = 0,		/* not walked */
	STACK_COMPLETE = 1,
	STACK_TRUNCATED = 2,	/* more frames than LS_MAX_FRAMES */
	STACK_FAULT = 3,	/* memory that could not be read */
};

struct stack_record {	/* always last in a record; only `count` frames are sent */
	__u16 count;
	__u16 end;	/* STACK_* */
	__u32 pad;
	struct frame_record frames[LS_MAX_FRAMES];
};

#define SERIAL_OF_NAME (1ull << 63)	/* a serial that is a hash: the program named the task */

/* What kind of ASGI scope was found. */
enum {
	SCOPE_NONE = 0,
	SCOPE_HTTP = 1,
	SCOPE_WEBSOCKET = 2,
	SCOPE_LIFESPAN = 3,
	SCOPE_OTHER = 4,
};

/*
 * The request something ran for.  Addresses are only to be compared or, for
 * route, endpoint, context, app and router, which live as long as the
 * application, read.
 */
struct request_record {
	__u64 task;		/* current task of the thread, or the worker's host task */
	__u64 task_code;	/* code object of that task's coroutine */
	__u64 root;		/* the task that a server started for the request */
	__u64 root_serial;	/* number in that task's default name, or SERIAL_OF_NAME | hash */
	__u64 root_code;	/* code object of the root task's coroutine */
	__u64 scope;
	__u64 route, endpoint, context, router;
	__u64 app;		/* without a scope: the server */
	__u32 scope_type;	/* SCOPE_* */
	__u16 path_len;		/* full length in the target, may exceed what is kept */
	__u16 client_port;	/* of scope["client"], 0: not known */
	char method[8];		/* zero padded */
	char task_name[32];	/* of `task`, when it was given one by the program */
	char path[LS_PATH_BYTES];
};

/* What a descriptor is. */
enum {
	FD_NONE = 0,
	FD_FILE = 1,
	FD_PIPE = 2,
	FD_INET = 3,
	FD_INET6 = 4,
	FD_UNIX = 5,
	FD_OTHER = 6,
	FD_PATH = 7,	/* no descriptor: `name` is the path argument */
};

struct call_target {
	__s32 fd;	/* -1: none */
	__u16 type;	/* FD_* */
	__u16 port;	/* of the peer, host order */
	__u8 address[16];	/* of the peer, network order */
	char name[LS_NAME_BYTES];	/* last part of a file, socket path or path argument */
};

/*
 * What a loop thread did for whoever an event is about: all of its step since
 * the event before, or since the step began.
 */
struct own_time {
	__u64 start_ns;		/* 0: not on a loop thread */
	__u64 cpu_ns, blocked_ns, gil_ns, runnable_ns;
	__u64 busy_ns;		/* time that this loop has spent in steps by now: its clock */
};

/*
 * A slow call; or `calls` of one step that are short each, which the last of them stands
 * for: duration_ns is their sum, all else is its own.
 */
struct event_call {
	struct event_header header;
	__u64 start_ns;		/* where the thread first slept in it, or its entry if known */
	__u64 duration_ns;	/* start to exit, less run-queue delay and stops */
	__u64 run_delay_ns;	/* runnable without a CPU meanwhile */
	__u64 step_seq;
	__u64 args[4];
	__s64 result;
	__u32 number;		/* system call */
	__u32 process;		/* slot of the process */
	__u32 calls;
	__u32 pad;
	struct own_time own;
	struct call_target target;
	struct request_record request;
	struct stack_record stack;
};

struct event_sample {
	struct event_header header;
	__u64 ip;		/* user instruction pointer */
	__u64 step_seq;
	__u64 step_start_ns;
	__u64 holder_for_ns;	/* HOLDER: how long a loop of this process has waited by now */
	__u64 contexts[2];	/* SAMPLE: first contextvars contexts entered, 0: none */
	__s32 number;		/* system call it was in, -1: none */
	__u32 process;
	struct own_time own;
	struct request_record request;
	struct stack_record stack;
};

struct event_gil_wait {
	struct event_header header;
	__u64 start_ns;
	__u64 duration_ns;	/* less run-queue delay */
	__u64 step_seq;
	__u32 slices;		/* futex calls merged */
	__u32 process;
	struct request_record request;	/* who waited */
};

struct event_page_fault {
	struct event_header header;
	__u64 duration_ns;	/* of `faults` faults together */
	__u64 step_seq;
	__u32 faults;
	__u32 process;
	struct request_record request;
	struct stack_record stack;
};

/* The parts of a step; they add up to its length. */
struct step_parts {
	__u64 cpu_user_ns, cpu_kernel_ns;
	__u64 calls_ns;		/* in system calls, from where they first slept */
	__u64 gil_ns;
	__u64 runnable_ns;
	__u64 page_fault_ns;
	__u64 stopped_ns;
};

struct event_step {
	struct event_header header;
	__u64 start_ns, end_ns;
	__u64 seq;
	__u64 busy_ns;		/* time that this loop has spent in steps at its end: its clock */
	struct step_parts parts;
	__u32 calls;		/* system calls that slept */
	__u32 samples;		/* clock samples sent of this step */
	__u32 gc_samples;	/* of them in the garbage collector */
	__u32 rival_tgid;	/* who ran for longest while the step waited for a CPU */
	__u32 process;
	__u32 pad;
	char rival[16];		/* comm of it */
};

enum {
	ROLE_OTHER = 0,		/* neither: a socket pair, UDP that is no dependency */
	ROLE_SERVER = 1,	/* a client of the target opened it */
	ROLE_CLIENT = 2,	/* the target opened it */
};

enum {
	IO_RECEIVE = 1,
	IO_SEND = 2,
	IO_CONNECT = 3,		/* MESSAGE only: the target opens a connection */
	IO_LOGGED = 4,		/* MESSAGE only: the server logs the response that it sends next */
};

#define IO_TLS 1		/* what was seen first on it are TLS records */
#define IO_CONTINUED 2		/* SEND: more of what the last one began */
#define IO_SEEN_OPENING 4	/* the probes saw the connection being opened */
#define IO_DATAGRAM 8
#define IO_PARTIAL 16		/* SEND: the socket took less than it was given */
#define IO_LATE 32		/* TLS: no frame tells what is sent, the server's log may */

/* One transfer on a connection. */
struct io_record {
	__u64 connection;	/* number of the connection, made by the probes */
	__u64 opened_ns;	/* established, 0: before the attach */
	__u64 arrived_ns;	/* RECEIVE: first of these bytes reached the socket, 0: not seen */
	__u64 arrived_last_ns;	/* and the last one */
	__u64 arrived_busy_ns;	/* clock of the connection's loop at arrived_ns, 0: not known */
	__u64 step_seq;
	__s64 bytes;		/* 0: end of the stream; CONNECT: result */
	__u32 first_bytes;	/* in the first of several buffers, 0: there was one */
	__u16 head_bytes;	/* kept in head[] */
	__u8 tail_bytes;	/* kept in tail[] */
	__u8 direction;		/* IO_* */
	__u8 role;		/* ROLE_* */
	__u8 family;		/* FD_INET, FD_INET6, FD_UNIX */
	__u16 flags;		/* IO_TLS and so on */
	__u16 peer_port, local_port;	/* host order */
	__u32 process;
	__s32 loop;		/* slot of the loop whose thread did it, -1: another thread */
	__u8 address[16];	/* of the peer, network order */
	__u8 tail[LS_TAIL_BYTES];
	struct own_time own;
};

struct event_transfer {		/* only `io.head_bytes` of head[], rounded up to 8, are sent */
	struct event_header header;
	struct io_record io;
	__u8 head[LS_HEAD_BYTES];
};

enum {
	ASGI_NONE = 0,		/* not looked for */
	ASGI_START = 1,		/* http.response.start */
	ASGI_BODY = 2,		/* http.response.body */
	ASGI_OTHER = 3,
};

struct event_response {		/* of head[] as much is sent as of a transfer's */
	struct event_header header;
	struct io_record io;
	__u16 asgi;		/* ASGI_*: what is sent below TLS */
	__u16 status;		/* ASGI_START */
	__u32 more_body;	/* ASGI_BODY */
	struct request_record request;
	__u8 head[LS_HEAD_BYTES];
};

struct event_message {
	struct event_header header;
	struct io_record io;
	__u8 head[LS_HEAD_BYTES];
	char unix_path[LS_NAME_BYTES];	/* of the peer, FD_UNIX */
	struct request_record request;
	struct stack_record stack;
};

struct event_closed {
	struct event_header header;
	__u64 connection;
	__u32 role;	/* ROLE_* */
	__u16 failed;	/* it was never established */
	__u16 given_up;	/* the target closed it first, and all that had arrived was read */
};

/* What a worker thread did between getting a work item and telling its loop. */
struct event_work {
	struct event_header header;
	__u64 start_ns;
	__u64 busy_ns;		/* clock of the process's loop now, 0: it has several */
	__u64 loop_seq;		/* and its step */
	__u64 function_code;	/* code object of what it ran, or a callable; 0: not known */
	__u32 process;
	__u32 waited;		/* it slept until it got it; else start_ns may be too early */
	struct request_record request;
};

struct event_loop_seen {
	struct event_header header;
	__s32 epoll_fd;
	__u32 process;
};

enum {
	PROCESS_FORK = 1,
	PROCESS_EXEC = 2,
	PROCESS_EXIT = 3,
};

struct event_process {
	struct event_header header;	/* tgid: the process it is about */
	__u32 what;		/* PROCESS_* */
	__u32 parent;		/* FORK: tgid of the parent */
	__u32 status;		/* EXIT: wait status */
	__u32 pad;
};

/*
 * One slot per event loop thread, in a memory-mapped array: written by the
 * probes in the thread's own context or while it is off CPU, read by user
 * space without a system call.  A reader takes `seq` before and after.
 */
struct loop_slot {
	__u32 tid, tgid;
	__u32 process;		/* slot of the process */
	__u32 state;		/* LOOP_* */
	__s32 epoll_fd;		/* the loop's own */
	__s32 call_number;	/* open system call, -1: none known */
	__u64 tstate;		/* PyThreadState of the thread */
	__u64 loop;		/* address of the loop object, key of LS_TASK_DICT */

	__u64 seq;		/* steps begun */
	__u64 step_start_ns;	/* 0: waiting in the selector */
	__u64 call_start_ns;	/* 0: no call that sleeps is open */
	__u64 call_args[4];
	__u64 off_ns;		/* when it left the CPU, 0: on it */
	__u64 on_ns;		/* when it got it */
	__u64 enter_ns;		/* entry of the open call when sys_enter is attached */
	__u64 call_run_delay;	/* sched_info.run_delay at its start */
	__u64 off_run_delay;	/* and when it left the CPU without going to sleep */
	__u64 call_stopped_ns;	/* stops inside the open call */
	__u64 step_utime, step_stime;
	__u64 kernel_sample_ns;	/* first clock sample inside the call on CPU */
	__u64 gil_start_ns, gil_last_ns, gil_ns;
	__u64 short_call_ns;	/* of `short_calls` calls of the step that no record stands for */
	__u64 fault_off_ns;	/* off the CPU in a page fault, run-queue delay still in it */
	__u64 fault_run_delay;	/* sched_info.run_delay before */
	__u64 fault_pending_ns;	/* of `faults_pending` faults, not recorded yet */
	__u64 stopped_start_ns;
	__u64 rival_ns;		/* for which `rival` ran before it gave the CPU to the loop */
	struct step_parts parts;
	__u32 gil_slices, faults_pending;
	__u32 calls, short_calls, samples, gc_samples;
	__u32 off_kind;		/* OFF_* */
	__u32 flags;		/* SLOT_* */
	__u32 rival_tgid;
	__u32 pad;
	char rival[16];

	/* up to where time was given to a request, see struct own_time */
	__u64 point_ns, point_calls_ns, point_gil_ns, point_runnable_ns, point_other_ns;

	/* totals since the attach, exact whatever was lost */
	__u64 steps;
	__u64 busy_ns;		/* sum of all steps */
	__u64 step_max_ns, step_min_ns;
	__u64 slow_calls, slow_call_ns;
	__u64 gil_total_ns, runnable_total_ns, stopped_total_ns, fault_total_ns;
	__u64 gil_waits;
	__u64 histogram[LS_STEP_BUCKETS];
};

enum {
	LOOP_FREE = 0,
	LOOP_ACTIVE = 1,
	LOOP_GONE = 2,		/* its thread ended */
	LOOP_ENDED = 3,		/* its thread goes on without it: no step is open */
};

enum {
	OFF_NONE = 0,
	OFF_SELECTOR = 1,	/* in the loop's own epoll wait */
	OFF_CALL = 2,
	OFF_GIL = 3,
	OFF_RUNNABLE = 4,
	OFF_FAULT = 5,
	OFF_STOPPED = 6,
};

#define SLOT_SINCE_BEFORE 1	/* the open step had begun before the attach */
#define SLOT_RESTARTING 2	/* the open call was interrupted and will be continued */
#define SLOT_GIL_CALL 4		/* the open call is a futex of the GIL */
#define SLOT_CALL_BEFORE 8	/* the open call had begun before the attach */

/*
 * Bucket of a step length: four per power of two from 1 us on, the last one
 * open.  step_bucket_ns() in src/collect gives the upper bound back.
 */
static inline __u32 step_bucket(__u64 ns)
{
	__u64 us = ns >> 10;
	__u32 log = 0, bucket;

	if (us < 4)
		return (__u32)us;
	if (us >> 16)
		log += 16, us >>= 16;
	if (us >> 8)
		log += 8, us >>= 8;
	if (us >> 4)
		log += 4, us >>= 4;
	if (us >> 2)
		log += 2, us >>= 2;
	if (us >> 1)
		log += 1;
	bucket = 4 + (log - 2) * 4 + (__u32)((ns >> 10 >> (log - 2)) & 3);
	return bucket < LS_STEP_BUCKETS ? bucket : LS_STEP_BUCKETS - 1;
}

#endif
