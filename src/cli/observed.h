/* SPDX-License-Identifier: Apache-2.0 */
/* One observed process and its loops, inside cli. */
#ifndef LS_OBSERVED_H
#define LS_OBSERVED_H

#include "aggregate/window.h"
#include "attribute/attribute.h"
#include "attribute/tracker.h"
#include "base/pace.h"
#include "cli/observe.h"
#include "collect/collect.h"
#include "discover/target.h"
#include "resolve/roles.h"
#include "resolve/tasks.h"
#include "resolve/walk.h"

#define OBSERVED_MAX (LS_MAX_PROCESSES * 4)	/* processes, ended ones included */
#define NOTES_MAX 16

#define LOOPS_KEPT 256		/* threads with loops per process, ended ones included */

/* A thread with an event loop, or one after the other. */
struct observed_loop {
	pid_t tid;
	int slot;		/* of the attachment, -1: no loop of it is observed now */
	struct loop_slot *earlier;	/* owned: totals of its loops that ended, or NULL */
	uint64_t next_seq;	/* above the numbers of all steps of those */
	uint64_t since_ns;	/* when the one it runs now was registered */
	uint64_t gone_ns;	/* when it was noticed that the thread ended, 0: it did not */
	struct event_call *seen;	/* owned: the last open call that was looked at, or NULL */
	struct event_step open;	/* the step that was open then; start_ns 0: none */
	bool call_open;		/* and `seen` was */
	enum loop_kind kind;
	uint64_t alerted_seq;	/* step that was reported as a stall, plus 1; 0: none */
	struct activity alert;	/* what was said then; its frames and target are gone */
	uint64_t last_busy_ns, last_gil_ns, last_runnable_ns;	/* at the last interval */
	uint64_t interval_ns;
};

struct observed {
	pid_t pid;
	uint64_t start_time_ns;
	struct target *target;		/* owned; NULL: no Python yet */
	struct process_config config;
	struct process_view view;
	struct thread_names thread_names;
	struct code_options code_options;
	struct role_table roles;
	struct role_scan scan;
	struct task_watch *tasks;	/* owned; NULL: no snapshot was needed yet */
	struct pool_memory *pools;	/* owned; the same */
	struct pace snapshots;
	uint64_t asleep_since;	/* state of its loops while all of them slept, 0: one did not */
	uint64_t rescan_ns, rescan_wait_ns;	/* when to look again, and how long after that */
	int process;			/* slot of the attachment, -1: none */
	struct observed_loop *loops;	/* owned */
	size_t loop_count, loop_capacity;
	bool listening;		/* the ports it listens on are known */
	uint64_t ended_ns;
	bool released;			/* it ended, and only what is reported of it is left */
	bool ended, tried;		/* tried: no Python, not asked again before its next exec */
	bool refused;			/* it was said that not all of its loops are observed */
	bool forgotten;			/* the same of more than LOOPS_KEPT threads */
	const char *cmdline, *python, *server;
	uint64_t start_realtime_ns;
	const char *notes[NOTES_MAX];
	size_t note_count;
};

struct observation {
	struct observe_options options;
	struct attachment *attachment;
	struct collector *collector;
	struct native_cache *natives;
	struct window window;
	struct tracker *tracker;
	struct listener listeners[LS_MAX_LISTENERS];
	pid_t listener_pids[LS_MAX_LISTENERS];	/* who listens; 0: several processes */
	size_t listener_count;
	struct observed **items;	/* owned */
	size_t count, capacity;
	uint64_t start_ns, start_realtime_ns, tick_ns;
	uint64_t lost;		/* events, as far as was noticed */
	uint64_t request_ns;	/* when something was last sent or received */
	uint64_t entries_until_ns;	/* sys_enter stays attached until then, 0: it is not */
	struct frame frames[LS_MAX_FRAMES];
	bool reported;
	bool unlisted;		/* some that ended are not in `items` any more, which was said */
	uint64_t unlisted_busy_ns;	/* of their loops */
};

struct observed *observed_find(struct observation *observation, pid_t pid);
void observed_note(struct observed *observed, const char *text);

/*
 * Opens the interpreter of an observed process and hands it to the probes; as
 * observation_add().
 */
int observed_open(struct observation *observation, struct observed *observed, char *message,
		  size_t size);

/* Looks for loops and modules again; registers what is new. Returns how many loops there are. */
int observed_refresh(struct observation *observation, struct observed *observed);

/* The process ended or executed something else: keeps what is reported of it. */
void observed_end(struct observation *observation, struct observed *observed, const char *note);

/* Copies of a supervisor that became something else, and helpers: nobody asked for them. */
bool observed_is_helper(const struct observed *observed);

void observed_free(struct observed *observed);

/* What has ended long enough ago is let go of, but for what is reported of it. */
void observed_release(struct observation *observation, uint64_t now);

/* Of those that ended the first one makes room, when there are too many; false: none has. */
bool observed_make_room(struct observation *observation);

/* The slot of the loop that a thread runs now, NULL: none. */
const volatile struct loop_slot *loop_slot_of(const struct observation *observation,
					      const struct observed_loop *loop);

/* True when it is sure that the thread runs another loop now, or none; that may be for a moment. */
bool loop_is_left(const struct observation *observation, const struct observed *observed,
		  const struct observed_loop *loop);

/* What is known of a thread that runs loops, or NULL. */
struct observed_loop *loop_of_thread(struct observed *observed, pid_t tid);

/* Registers the loops of the target that are new, also in place of earlier ones of a thread. */
void loops_take(struct observation *observation, struct observed *observed);

/* A thread that is not known to run a loop, or another one than is known, left an epoll wait. */
void loops_seen(struct observation *observation, struct observed *observed,
		const struct event_header *event);

/* A loop ended: its totals are kept, its slot is free for another one. */
void loop_leave(struct observation *observation, struct observed *observed,
		struct observed_loop *loop);

/* Frees the slots of all loops that ended. */
void loops_leave(struct observation *observation, uint64_t now);

/* Intervals, and loops in place of another whose end was not noticed. */
void loops_tick(struct observation *observation, struct observed *observed, uint64_t now);

/* Numbers of all loops that a thread has run since the attach. */
void loop_totals(const struct observation *observation, const struct observed_loop *loop,
		 struct loop_slot *ret_totals);

/* Tells the probes on which ports a process listens, once it does. */
void observed_listen(struct observation *observation, struct observed *observed);

/* Every 100 ms: stalls that go on, intervals, new modules. */
void observation_tick(struct observation *observation, uint64_t now);

/*
 * Looks at what the open requests wait for, when there are any that last; as often
 * as that costs little.
 */
void snapshots_tick(struct observation *observation, uint64_t now);

/* Notes what a loop is in the middle of, as it would be reported if it ended now. */
void loop_look(struct observation *observation, struct observed *observed,
	       struct observed_loop *loop);

/* Says that the step a loop is in goes on. */
void loop_alert(struct observation *observation, struct observed *observed,
		struct observed_loop *loop);

/* An activity came: was it open when its loop was looked at, it is not any more. */
void loop_open_ended(struct observed *observed, const struct activity *activity);

/* Adds what was open when the loop was looked at last, and has not ended since. */
void loop_add_open(struct observation *observation, struct observed *observed,
		   struct observed_loop *loop);

/* Tells of an activity, and adds it to the window. */
void observation_take(struct observation *observation, const struct activity *activity);

#endif
