/* SPDX-License-Identifier: Apache-2.0 */
/* What happened in the time that is looked at, grouped: what detectors judge. */
#ifndef LS_WINDOW_H
#define LS_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "aggregate/callables.h"
#include "aggregate/dependencies.h"
#include "aggregate/pools.h"
#include "aggregate/routes.h"
#include "aggregate/slow_log.h"
#include "aggregate/victims.h"
#include "attribute/activity.h"

#define WINDOW_MAX_GROUPS 4096
#define WINDOW_MAX_CELLS 65536	/* occurrences of one group kept one by one */
#define WINDOW_MAX_STACKS 48	/* different stacks of one group */
#define WINDOW_MAX_PENDING 4096	/* samples of one step that wait for its end */
#define WINDOW_MAX_STEPS 65536	/* steps with waits, saturated steps */

/* What kind of time a group gathers. */
enum window_class {
	CLASS_CALL,	/* asleep, or long in the kernel, in a system call */
	CLASS_LOCK,	/* in a futex that is not the GIL's */
	CLASS_LOG,	/* writing a log */
	CLASS_CPU,	/* on the CPU inside one step for longer than the threshold */
	CLASS_GC,	/* in the garbage collector */
	CLASS_FAULT,	/* in page faults */
	CLASS_HOLDER,	/* held the GIL while a loop waited; cells are the waiting steps */
	CLASS_COUNT
};

/* All time of one class at one culprit within one request (or step). */
struct cell {
	uint64_t key;
	uint64_t total_ns, lag_ns;
	uint64_t first_ns, last_ns;	/* CLOCK_MONOTONIC */
	uint32_t calls, samples;
	pid_t pid;
	bool ongoing, since_before, request;
};

struct line_share {	/* where in the culprit the time goes */
	struct place culprit, library;
	const char *peer, *detail;
	int32_t number;	/* system call, -1: none */
	uint64_t total_ns;
	uint64_t count;
};

struct stack_share {
	uint64_t hash, count, total_ns;
	struct place *frames;	/* owned, leaf first */
	size_t frame_count;
	bool truncated;
};

struct group_victim {	/* a route whose requests waited for it */
	const char *route, *method;
	uint64_t requests, max_ns, total_ns;
};

struct group {
	enum window_class class;
	const char *route, *method;
	bool folded;
	struct place culprit;	/* of the first occurrence; lines[] has the shares */
	const char *owner_task, *owner_thread;
	struct {
		struct cell *items;
		size_t count, capacity;
	} cells;
	uint32_t *index;	/* owned: hash table over cells, 0: free, else position + 1 */
	size_t index_size;
	struct line_share lines[16];
	size_t line_count;
	struct {	/* where in C its samples were */
		const char *name;	/* interned "library" or "library:symbol" */
		uint64_t count;
	} natives[16];
	size_t native_count;
	uint64_t noted;		/* activities noted */
	uint64_t added_ns, sampled_ns;	/* in its cells, and what of it was sampled */
	struct stack_share stacks[WINDOW_MAX_STACKS];
	size_t stack_count;
	struct {
		struct group_victim *items;	/* owned */
		size_t count, capacity;
	} victims;
	uint64_t cells_lost;	/* occurrences beyond WINDOW_MAX_CELLS */
};

/* A step that waited for the GIL or a CPU, or that many small callbacks filled. */
struct waiting_step {
	uint64_t start_ns, length_ns;
	uint64_t gil_ns, runnable_ns;
	uint64_t saturated_ns;	/* time that it ran when many callbacks shared it, else 0 */
	uint32_t gil_waits, samples, callbacks;
	int32_t holder;		/* index of the CLASS_HOLDER group, -1: not sampled */
	uint32_t rival_tgid;
	pid_t pid, tid;
	const char *rival;	/* interned comm */
	struct place modal;	/* saturated: function seen most, file NULL: none */
	bool ongoing, since_before;
};

/* A second of one loop: shares of its busy time. */
struct interval {
	uint64_t start_ns, end_ns;
	uint64_t busy_ns, gil_ns, runnable_ns;
	pid_t tid;
};

struct pending_sample;

/* Samples and cells of the step a loop is in. */
struct pending_step {
	pid_t pid, tid;
	uint64_t seq;
	struct pending_sample *samples;	/* owned */
	size_t sample_count, sample_capacity;
	uint64_t on_cpu_call_ns;	/* in calls that kept the CPU, recorded as calls */
	struct {
		uint32_t group, cell;
		uint64_t ns;
	} touched[64];	/* cells that get the length of the step as lag */
	size_t touched_count;
};

struct window {
	uint64_t stall_ns;	/* CPU work of one request in one step counts from here on */
	struct group **groups;	/* owned */
	size_t group_count, group_capacity;
	struct {
		struct waiting_step *items;
		size_t count, capacity;
	} steps;
	struct {
		struct interval *items;
		size_t count, capacity;
	} intervals;
	struct {
		struct pending_step *items;
		size_t count, capacity;
	} pending;
	struct {	/* of holders sampled lately */
		uint64_t time_ns;
		pid_t pid;
		uint32_t group;
	} holders[256];
	size_t holder_count;
	struct route_rows routes;
	struct dependency_rows dependencies;
	struct callable_rows callables;
	struct pool_rows pools;
	struct victim_log victims;
	struct slow_log slow;
	uint64_t stopped_ns;	/* longest stop is said of the target; sum of all */
	uint64_t lost_groups;
};

/* It must not be moved from then on. */
void window_init(struct window *window, uint64_t stall_ns);
void window_free(struct window *window);

/* Takes one activity.  0 or -ENOMEM; silently counts what is beyond the bounds. */
int window_add(struct window *window, const struct activity *activity);

/* A request that has ended, or is as long as it is when the window ends.  0 or -ENOMEM. */
int window_add_request(struct window *window, const struct served_request *request);

int window_add_interval(struct window *window, const struct interval *interval);

/* A process has ended, and the code that its samples point to is about to be freed. */
void window_forget(struct window *window, pid_t pid);

#endif
