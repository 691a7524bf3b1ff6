/* SPDX-License-Identifier: Apache-2.0 */
/* One observed process and its loops, inside cli. */
#ifndef LS_OBSERVED_H
#define LS_OBSERVED_H

#include "aggregate/window.h"
#include "attribute/attribute.h"
#include "cli/observe.h"
#include "collect/collect.h"
#include "discover/target.h"
#include "resolve/roles.h"
#include "resolve/walk.h"

#define OBSERVED_MAX (LS_MAX_PROCESSES * 4)	/* processes, ended ones included */
#define NOTES_MAX 16

struct observed_loop {
	pid_t tid;
	int slot;		/* of the attachment */
	struct event_call *seen;	/* owned: the last open call that was looked at, or NULL */
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
	struct code_options code_options;
	struct role_table roles;
	struct role_scan scan;
	uint64_t rescan_ns, rescan_wait_ns;	/* when to look again, and how long after that */
	int process;			/* slot of the attachment, -1: none */
	struct observed_loop loops[TARGET_MAX_LOOPS];
	size_t loop_count;
	bool ended, tried;		/* tried: no Python, not asked again before its next exec */
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
	struct observed **items;	/* owned */
	size_t count, capacity;
	uint64_t start_ns, start_realtime_ns, tick_ns;
	uint64_t entries_until_ns;	/* sys_enter stays attached until then, 0: it is not */
	struct frame frames[LS_MAX_FRAMES];
	bool reported;
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

/* Every 100 ms: stalls that go on, intervals, new modules. */
void observation_tick(struct observation *observation, uint64_t now);

/* Adds what is still open in a loop to the window (or says it, when `alert`). */
int loop_open_step(struct observation *observation, struct observed *observed,
		   struct observed_loop *loop, uint64_t now, bool alert);

#endif
