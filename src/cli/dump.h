/* SPDX-License-Identifier: Apache-2.0 */
/* What `loopscope dump` gathers and prints, inside cli. */
#ifndef LS_DUMP_H
#define LS_DUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "discover/target.h"
#include "resolve/code.h"
#include "resolve/roles.h"
#include "resolve/routes.h"
#include "resolve/tasks.h"
#include "resolve/walk.h"

/* Names are interned. */
struct dump_thread {
	pid_t tid;
	struct thread_state at;
	uint64_t cpu_ns;	/* CPU time when its state was read, 0: not known */
	const char *name;	/* NULL: not known */
	const char *state;
	const char *syscall;	/* NULL: in none */
	const char *task;	/* NULL: none runs */
	struct route_name route;
	struct frame *frames;	/* owned; leaf first, borrowing from the target's code cache */
	size_t frame_count;
	uint16_t end;		/* STACK_* */
	bool torn;		/* it ran on while it was read */
};

struct dump_task {
	const struct task_info *info;	/* borrowed from the watch */
	struct route_name route;
	const struct frame *frames;	/* borrowed from task_frames */
	size_t frame_count;
	bool waits;
	struct task_wait wait;
};

struct dump_target {
	struct target *target;
	const char *python;
	struct process_config config;
	struct code_options code_options;
	struct code_cache *codes;
	struct route_cache *routes;
	struct role_table roles;
	struct {
		struct dump_thread *items;
		size_t count, capacity;
	} threads;
	struct task_watch *watch;
	struct dump_task *tasks;	/* owned */
	size_t task_count;
	struct frame *task_frames;	/* owned */
};

/* What is not whole, and of how many. */
#define DUMP_REASONS(X) \
	X(torn, "stacks that changed while they were read") \
	X(truncated, "stacks that are deeper than what is kept") \
	X(unreadable, "stacks with memory that could not be read") \
	X(threads, "threads that could not be looked at") \
	X(processes, "processes with a Python that is not supported or cannot be read")

enum dump_reason {
#define X(name, text) DUMP_REASON_##name,
	DUMP_REASONS(X)
#undef X
	DUMP_REASON_COUNT
};

struct dump {
	struct {
		struct dump_target **items;	/* owned */
		size_t count, capacity;
	} targets;
	uint64_t realtime_ns;
	unsigned reasons[DUMP_REASON_COUNT];
	unsigned task_reasons[TASK_REASON_COUNT], tasks_dropped;
};

/* What is known of a thread when its state is to be named. */
struct dump_facts {
	const struct thread_state *at;
	const struct process_config *config;	/* where the GIL is */
	const struct event_loop *loop;	/* that runs on it, NULL: none */
	bool ran;		/* it got CPU time while we looked */
	bool has_task;		/* a task is current */
	bool waits_for_work;	/* a worker thread in front of its queue */
};

/* "running", "runnable", "blocked", "gil_wait" or "idle". */
const char *dump_state(const struct dump_facts *facts);

/* A worker thread that waits for its next piece of work. */
bool dump_waits_for_work(const struct frame *frames, size_t count);

/* Two walks of one thread saw the same chain; the leaf may have gone on in its function. */
bool dump_same_stack(const struct stack_record *a, const struct stack_record *b);

/* "asyncio", "uvloop" or NULL. */
const char *dump_loop_kind(const struct target *target);

/* All tasks of a target. 0 or -errno. */
int dump_tasks(struct dump *dump, struct dump_target *of);

/* Tasks as a tree of who awaits whom. 0 or -ENOMEM. */
int dump_tasks_text(const struct dump_target *of, FILE *out);

/* A JSON array in memory of its own; NULL when out of memory. */
char *dump_tasks_json(const struct dump_target *of);

/* What both write; text of a target, with what a terminal would obey taken out. */
void dump_print_clean(FILE *out, const char *text);
void dump_print_frames(FILE *out, const struct frame *frames, size_t count, int indent);
struct cJSON *dump_text_of(const char *text);
struct cJSON *dump_frames_of(const struct frame *frames, size_t count);

/* 0 or -errno (-EIO when the stream failed). */
int dump_write_json(const struct dump *dump, FILE *out);
int dump_write_text(const struct dump *dump, FILE *out);

#endif
