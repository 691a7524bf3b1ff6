/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files that implement tasks.h only. */
#ifndef LS_TASKS_INTERNAL_H
#define LS_TASKS_INTERNAL_H

#include "base/mem.h"
#include "base/pages.h"
#include "discover/py_object.h"
#include "discover/target.h"
#include "resolve/tasks.h"
#include "resolve/walk.h"

#define TASK_NAME_WINDOW 96	/* of a name, header included: what is compared each time */
#define TASK_MAX_AWAITERS 64	/* of one task */
#define TASK_BATCH 1024		/* tasks or pieces of memory at a time */
#define TASK_TRIES 3		/* readings until two agree */
#define TASK_TYPES 256
#define TASK_PAGES 4096		/* of the target, held while it is read */

/* What an object that is awaited is. */
enum object_kind {
	OBJECT_OTHER,
	OBJECT_COROUTINE,
	OBJECT_GENERATOR,	/* asynchronous ones, too */
	OBJECT_HOP,		/* stands for the object that it points to */
	OBJECT_FUTURE_ITER,
	OBJECT_FUTURE,
	OBJECT_GATHER,
	OBJECT_TASK,
};

struct object_type {
	uint64_t type;
	enum object_kind kind;
	const char *name;	/* interned */
};

/* No padding: compared as a whole. */
struct task_head {
	uint64_t type, loop, callback0, callbacks, awaited_by, waiter, coroutine, name;
	uint32_t state, awaited_by_is_set;
};

/* One object of an await chain, as it was when it was walked. */
struct task_link {
	uint64_t object, code, instruction;
	uint64_t next;		/* what it awaits, 0: nothing */
	uint32_t slot;		/* where `next` is in the object, 0: nowhere */
	uint32_t check;		/* of the code object */
	uint8_t kind;		/* enum object_kind */
	int8_t state;
	uint8_t owner;
	uint8_t pad[5];
};

struct task_entry {
	uint64_t address;
	struct task_head head;
	uint64_t node_next, node_prev;	/* 3.14: its place in the list of all tasks */
	uint64_t member;	/* snapshot in which it was seen among all tasks */
	uint64_t checked;	/* snapshot in which its head was read */
	uint64_t since_ns;

	char *name;		/* owned */
	uint64_t serial;
	uint8_t name_bytes[TASK_NAME_WINDOW];
	uint32_t name_size;	/* of them that are compared, 0: none */

	struct task_link *links;	/* owned; its own coroutine first */
	uint32_t link_count, link_capacity;
	uint32_t good_links;	/* so many of them are what they were */
	struct frame_record *frames;	/* owned; leaf first */
	uint32_t frame_count, frame_capacity;
	uint64_t end_object;
	const char *end_type;
	uint64_t root_code;	/* code object of its own coroutine */
	uint64_t tortoise;	/* object of a walk that must not come again */

	uint64_t *awaiters;	/* owned: tasks */
	uint32_t awaiter_count, awaiter_capacity;
	struct request_record *request;	/* owned; of those that a scope belongs to */
	uint64_t request_read;	/* snapshot in which that was */

	uint64_t try_again;	/* snapshot from which on a bad one is walked again */
	uint8_t failures;	/* walks in a row that were bad */
	uint8_t end;		/* enum task_end */
	uint8_t reason;		/* why it is left out: TASK_REASON_*, when bad */
	bool fresh;		/* never walked to its end */
	bool dirty;		/* its chain is not what it was */
	bool stale_name, stale_awaiters;
	bool open_awaiters;	/* one led to a future that nobody awaits yet */
	bool bad;
	bool running, thread_call;
	bool related, related_known;
	bool unsure;		/* its request was another one whenever it was read */
	bool walking, differs;	/* within one walk */
	bool changed;		/* walked in this snapshot */
	uint32_t index;		/* among those reported */
};

struct check_word {
	uint64_t code;
	uint32_t check;
};

struct task_watch {
	const struct target *target;
	const struct process_config *config;
	const struct role_table *roles;
	const struct mem *mem;
	struct pages *pages;	/* of the step at hand: cleared before things are read again */
	const struct py_layout *layout;
	struct {
		struct task_entry **items;	/* owned */
		size_t count, capacity;
	} entries;
	uint32_t *table;	/* hash of addresses: index of entries plus 1 */
	size_t table_size;	/* a power of two */

	uint64_t sequence, deadline_ns, full_ns, sets_ns, turn;
	struct task_limits limits;
	bool requests_only, all_members;
	bool whole;		/* the last snapshot looked at all tasks there were */
	size_t frame_total;
	uint64_t scheduled_set, eager_set;	/* objects of 3.13 and older, 0: not found */

	struct object_type types[TASK_TYPES];
	size_t type_count;
	struct {
		struct check_word *items;
		size_t count, capacity;
	} checks;	/* of this snapshot */
	struct scratch *scratch;

	struct {
		struct task_info *items;
		size_t count, capacity;
	} infos;
	uint32_t *children;
	size_t children_capacity;
	struct task_snapshot snapshot;
};

struct task_entry *task_entry_find(const struct task_watch *watch, uint64_t address);

/* The entry of an address, new when there is none; NULL: no memory, or too many. */
struct task_entry *task_entry_add(struct task_watch *watch, uint64_t address);

/* It is another task than before, of which nothing is known yet. */
void task_entry_renew(struct task_entry *entry);

/* Out of time? */
bool task_out_of_time(const struct task_watch *watch);

/* A task that is still one, and has not ended. */
bool task_is_open(struct task_watch *watch, const struct task_entry *entry);

/* The loop of a thread that runs it now; NULL: none does. */
const struct event_loop *task_loop(const struct task_watch *watch, uint64_t loop);

/* Says of each task whether it is on the way of a request. */
void task_relate(struct task_watch *watch);

/* Fills `infos` with all that is to be reported. 0 or -ENOMEM. */
int task_report(struct task_watch *watch);

/* Type of an awaited object, from the address of the type. */
const struct object_type *task_object_type(struct task_watch *watch, uint64_t type);

/* Takes the fields of a task out of its memory; task_head_size() bytes. */
size_t task_head_size(const struct py_layout *layout);
void task_head_decode(const struct py_layout *layout, const uint8_t *bytes,
		      struct task_head *ret_head, uint64_t *ret_next, uint64_t *ret_prev);

/* A new head replaces the old one: notes what has to be read again. */
void task_head_take(struct task_entry *entry, const struct task_head *head);

/* Finds the tasks there are: marks their entries, makes new ones. 0 or -errno. */
int task_find_all(struct task_watch *watch);

/*
 * Reads heads, names and chains of entries that are known and compares them.
 * `heads_only` leaves the chains out.
 */
void task_check(struct task_watch *watch, struct task_entry **entries, size_t count,
		bool heads_only);

/* Walks the chains of these entries, and reads them twice. 0 or -ENOMEM. */
int task_walk(struct task_watch *watch, struct task_entry **entries, size_t count);

/* Reads names that are not known. */
void task_read_names(struct task_watch *watch, struct task_entry **entries, size_t count);

/* Who awaits the task, and whether a thread works for it. 0 or -ENOMEM. */
int task_read_awaiters(struct task_watch *watch, struct task_entry *entry);

/* Frames of a task that is on the stack of a thread. 0, -EAGAIN: it no longer is; -ENOMEM. */
int task_running_frames(struct task_watch *watch, struct task_entry *entry, uint64_t tstate);

/* Is the future that it waits for one that a thread will finish? */
bool task_waits_for_thread(struct task_watch *watch, uint64_t future);

/* The request of a task as the probes would find it; false: it did not hold still, zeroed. */
bool task_read_request(struct task_watch *watch, uint64_t task, struct request_record *ret_request);

/* The role of a code object, NULL: none. */
const struct code_role *task_role(const struct task_watch *watch, uint64_t code);

/* Serial of a task whose name was read: `name_bytes` is its object. */
uint64_t task_read_serial(struct task_watch *watch, const struct task_entry *entry);

#endif
