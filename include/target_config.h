/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) OR Apache-2.0 */
/*
 * Per-process configuration, written by user space into BPF maps and read by
 * the probes: where things are in one CPython process, and which code objects
 * lead to a request.  Plain data, compiled by both sides.
 */
#ifndef LS_TARGET_CONFIG_H
#define LS_TARGET_CONFIG_H

#include <linux/types.h>

#define LS_MAX_PROCESSES 64	/* processes observed at the same time */
#define LS_MAX_LOOPS 64		/* event loop threads observed at the same time */
#define LS_MAX_THREADS 4096	/* threads of observed processes that the probes know */
#define LS_MAX_CODE_ROLES 8192	/* special code objects of all processes together */
#define LS_MAX_CONNECTIONS 32768	/* sockets of observed processes that are known */
#define LS_MAX_LISTENERS 32	/* ports that observed processes listen on */
#define LS_MAX_FILTER 8		/* process ids compared one by one before a hash is asked */

#define LS_ABSENT 0xffff	/* this interpreter has no such field */

/*
 * Offsets in bytes inside CPython objects.  The names follow
 * struct_field; sources are given in tools/cpython-offsets.json, from which
 * src/discover/py_layouts.c is generated.  One row per minor version.
 */
#define PY_LAYOUT_FIELDS(X) \
	X(runtime_interpreters_head) X(runtime_interpreters_main) X(runtime_gil) \
	X(interp_next) X(interp_id) X(interp_tstate_head) X(interp_modules) \
	X(interp_gil_ptr) X(interp_gc) X(gc_collecting) \
	X(gil_last_holder) X(gil_locked) X(gil_cond) X(gil_size) \
	X(tstate_next) X(tstate_interp) X(tstate_frame) X(tstate_cframe) X(cframe_frame) \
	X(tstate_thread_id) X(tstate_native_thread_id) X(tstate_dict) X(tstate_context) \
	X(tstate_running_loop) X(tstate_running_task) X(tstate_tasks_head) \
	X(frame_code) X(frame_previous) X(frame_instr) X(frame_owner) X(frame_locals) \
	X(frame_stacktop) X(frame_stackpointer) \
	X(code_argcount) X(code_kwonlyargcount) X(code_flags) X(code_firstlineno) \
	X(code_nlocalsplus) X(code_consts) X(code_localsplusnames) X(code_localspluskinds) \
	X(code_filename) X(code_name) X(code_qualname) X(code_linetable) \
	X(code_adaptive) X(code_firsttraceable) \
	X(ob_type) X(var_size) \
	X(unicode_length) X(unicode_state) X(unicode_ascii) X(unicode_compact) X(unicode_data) \
	X(long_tag) X(long_digit) X(bytes_data) X(tuple_items) X(list_items) \
	X(set_mask) X(set_table) \
	X(dict_used) X(dict_keys) X(dict_values) \
	X(keys_log2_size) X(keys_log2_index_bytes) X(keys_kind) X(keys_nentries) X(keys_indices) \
	X(values_valid) X(values_first) \
	X(type_name) X(type_basicsize) X(type_itemsize) X(type_flags) X(type_dictoffset) \
	X(type_base) X(type_dict) X(type_mro) X(type_cached_keys) \
	X(member_descr_member) X(member_def_offset) \
	X(context_prev) X(gen_frame) X(gen_state) X(gen_name) X(gen_qualname) \
	X(task_coro) X(task_name) X(task_fut_waiter) X(task_awaited_by) X(task_awaited_by_is_set) \
	X(task_node) X(interp_tasks_head) \
	X(future_loop) X(future_callback0) X(future_callbacks) X(future_state) \
	X(method_func) X(method_self) X(function_code) X(function_closure) X(function_qualname) \
	X(function_module) X(cell_ref) X(partial_fn) X(partial_args) X(cfunction_self) \
	X(weakref_object) X(module_dict) X(module_state) X(property_fget) \
	X(queue_list) X(queue_position) \
	X(queue_get) X(queue_items) X(queue_capacity) X(queue_count)

enum {
	LS_DICT_VALUES_PTR = 1,	/* 3.11: values at obj-32, dictionary at obj-24 */
	LS_DICT_TAGGED = 2,	/* 3.12: one word at obj-24, bit 0 set: values */
	LS_DICT_INLINE = 3,	/* 3.13+: values behind the object, dictionary at obj-24 */
};

struct py_layout {
	__u32 version;		/* major << 8 | minor, for instance 0x030c */
	__u8 owner_generator;	/* iframe.owner of a frame inside a generator or coroutine */
	__u8 owner_shim;	/* owner >= this: no Python code, walk on; 255: none */
	__u8 managed_dict;	/* LS_DICT_* */
	__u8 stackref_tags;	/* low bits of frame slots that are not address, as a mask */
	__s8 state_suspended;	/* gen_state of a coroutine that awaits something */
	__s8 state_executing;
	__u8 instr_is_prev;	/* frame_instr is the instruction before the current one */
	__u8 pad[5];
#define X(name) __u16 name;
	PY_LAYOUT_FIELDS(X)
#undef X
};

/* How the current task of a loop thread is found. */
enum {
	LS_TASK_NONE = 0,	/* not known: no asyncio module loaded yet */
	LS_TASK_DICT = 1,	/* <= 3.13: the dictionary {loop: task} at current_tasks */
	LS_TASK_TSTATE = 2,	/* >= 3.14: layout.tstate_running_task */
};

/* What the kernel needs to know of one process. Index in the map: process slot. */
struct process_config {
	__u64 start_time_ns;	/* task_struct.start_boottime of the leader: identity with tgid */
	__u64 gil;		/* address of struct _gil_runtime_state */
	__u64 gc_collecting;	/* address of the u32 flag */
	__u64 interp;		/* main interpreter state */
	__u64 current_tasks;	/* for LS_TASK_DICT: the dict object */
	__u64 type_coroutine, type_cell, type_unicode, type_long, type_dict, type_method;
	__u64 type_function, type_cfunction, type_partial, type_task, type_future, type_set;
	__u32 tgid;
	__u32 current_task;	/* LS_TASK_* */
	__u32 late_writes;	/* responses are written when their frames have gone */
	__u32 pad2;
	struct py_layout layout;
	__u8 pad[(8 - sizeof(struct py_layout) % 8) % 8];
};

/*
 * How to get from a frame or callback to a request: a program of at most
 * LS_MAX_OPS steps over one value register.
 */
#define LS_MAX_OPS 8

enum {
	LS_OP_END = 0,
	LS_OP_LOCAL = 1,	/* value = localsplus[arg] of the frame */
	LS_OP_CELL = 2,		/* value is a cell: its content; else unchanged */
	LS_OP_FIELD = 3,	/* value = *(u64 *)(value + arg) */
	LS_OP_ATTR = 4,		/* value = instance attribute: index arg of the shared keys,
				 * dictionary look-up of key `arg2` when it was moved to one */
	LS_OP_CLOSURE = 5,	/* value is a function: content of closure cell arg */
};

enum {
	LS_END_SCOPE = 1,	/* value is an ASGI scope dictionary */
	LS_END_TASK = 2,	/* value is a Task: go on there */
	LS_END_FUTURE = 3,	/* value is a Future: go on at its first callback */
	LS_END_SERVER = 4,	/* value is the server: it knows its ASGI application */
	LS_END_GENERATOR = 5,	/* value is the generator that a method of its manager runs */
};

#define LS_ROLE_ROOT 1	/* the coroutine that a server starts for one request */
#define LS_ROLE_WORK 2	/* runs what a loop gave to a thread: its local `subject` */
#define LS_ROLE_SEND 4	/* sends an ASGI message: its local `subject` */

struct follow_op {
	__u8 op;	/* LS_OP_* */
	__u8 pad;
	__u16 arg;
	__u32 arg2;	/* LS_OP_ATTR: LS_KEY_* */
};

struct code_role {
	__u8 end;	/* LS_END_* */
	__u8 flags;	/* LS_ROLE_* */
	__u8 nops;
	__u8 subject;	/* LS_ROLE_WORK, LS_ROLE_SEND: index of a local variable */
	__u8 pad[4];
	struct follow_op ops[LS_MAX_OPS];
};

struct code_role_key {
	__u64 code;	/* address of the code object */
	__u32 tgid;
	__u32 pad;
};

/* Dictionary keys that are compared by content: name and its first 16 bytes. */
#define LS_KEYS(X) \
	X(TYPE, "type") X(METHOD, "method") X(PATH, "path") \
	X(ROUTE, "route") X(ENDPOINT, "endpoint") X(APP, "app") X(FASTAPI, "fastapi") \
	X(CONTEXT, "effective_route_context") X(SCOPE, "scope") X(HOST_TASK, "_host_task") \
	X(PARENT_TASK, "_parent_task") X(CANCEL_SCOPE, "cancel_scope") \
	X(ROUTER, "router") X(CLIENT, "client") \
	X(STATUS, "status") X(MORE_BODY, "more_body") X(FUTURE, "future") \
	X(DONE_CALLBACKS, "_done_callbacks") X(PROTOCOL, "_protocol") X(WAITER, "_waiter") \
	X(GEN, "gen")

enum {
	LS_KEY_NONE = 0,
#define X(id, text) LS_KEY_##id,
	LS_KEYS(X)
#undef X
	LS_KEY_COUNT
};

/* Keys of the scopes of one process by their position; see scope_key(). Index: process slot. */
struct key_memo {
	__u64 words[64];	/* address of a key | LS_KEY_* << 48, by its position */
};

/* What the probes know of a thread of an observed process; key: tid. */
struct thread_entry {
	__s32 slot;	/* of its loop, or THREAD_* */
	__u32 process;
	__u64 seen_ns;	/* last LOOP_SEEN about it */
	__u64 tstate;	/* PyThreadState, 0: not looked for yet */
	__u64 work_ns;	/* when it got the work item it runs, 0: it did not wait for one */
	__u64 worked_ns;	/* when it was done with the one before, 0: not known */
};

#define THREAD_NO_LOOP (-1)
#define THREAD_REFUSED (-2)	/* ran a loop when LS_MAX_LOOPS were observed already */

/* A port that an observed process listens on. */
struct listener {
	__u32 net;	/* inode number of the network namespace */
	__u32 port;
	__s32 loop;	/* slot of the loop that serves it, -1: there are several */
	__u32 pad;
};

/* Waits for the GIL going on in a process; index: process slot. */
struct process_runtime {
	__u64 gil_wait_since;	/* 0: no loop thread waits */
	__u64 holder_ns;	/* last sample of the thread that had it */
	__u64 start_ns;		/* start_boottime of the process, once it was seen */
	__s32 loop;		/* slot of its loop, -1: it has none or several */
	__u32 tls;		/* it serves TLS */
};

/* Knobs of the probes, the same for all processes. In .rodata, set before load. */
struct probe_config {
	__u64 slow_call_ns;	/* a system call of a loop thread is recorded from here on */
	__u64 step_ns;		/* a step is recorded from here on */
	__u64 sample_after_ns;	/* a step is sampled from this age on */
	__u64 urgent_ns;	/* calls that user space is woken up for */
	__u32 drop_per_mille;	/* events dropped on purpose, for tests */
	__u32 pad;
};

#endif
