/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong, where, how much, and how it is known: what detect hands to export. */
#ifndef LS_FINDING_H
#define LS_FINDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "aggregate/distribution.h"
#include "aggregate/slow_log.h"
#include "attribute/activity.h"
#include "attribute/timeline.h"

/* kind, what the text report calls it */
#define FINDING_KINDS(X) \
	X(blocking_call, "blocking call on the event loop") \
	X(cpu_stall, "CPU work on the event loop") \
	X(gc_pause, "garbage collection on the event loop") \
	X(gil_contention, "event loop waits for the GIL") \
	X(lock_wait, "event loop waits for a thread lock") \
	X(log_backpressure, "event loop waits for its log pipe") \
	X(page_fault, "event loop waits for pages from disk") \
	X(cpu_starvation, "event loop has no CPU") \
	X(loop_saturated, "event loop is full of small callbacks") \
	X(threadpool_exhaustion, "every worker thread is taken") \
	X(executor_exhaustion, "every thread of an executor is taken") \
	X(db_pool_exhaustion, "every database connection is taken") \
	X(http_pool_exhaustion, "every HTTP connection is taken") \
	X(slow_dependency, "slow peer") \
	X(slow_di_dependency, "slow Depends callable") \
	X(n_plus_one, "same call many times in one request")

enum finding_kind {
#define X(kind, text) FINDING_##kind,
	FINDING_KINDS(X)
#undef X
	FINDING_KIND_COUNT
};

#define VERDICTS(X) \
	X(loop_blocked) X(pool_exhausted) X(slow_dependency) X(cpu_starved) X(healthy)

enum verdict_kind {
#define X(kind) VERDICT_##kind,
	VERDICTS(X)
#undef X
};

enum severity { SEVERITY_WARNING, SEVERITY_CRITICAL };

enum evidence {
	EVIDENCE_EXACT,		/* from events */
	EVIDENCE_SAMPLED,	/* from `samples` clock samples, or calls that stand for others */
	EVIDENCE_INCOMPLETE,	/* events were lost: counts and totals are lower bounds */
};

struct stack_summary {
	uint64_t count;		/* events or samples with this stack */
	uint64_t total_ns;
	struct place *frames;	/* owned, leaf first */
	size_t frame_count;
	bool truncated;
};

struct process_share {
	pid_t pid;
	uint64_t count;
};

struct victim {	/* a route that waited */
	const char *route, *method;
	uint64_t requests, max_ns, total_ns;
};

struct holder_summary {
	const char *route, *method;	/* interned; NULL: belongs to no request */
	struct place place;		/* file NULL: not known */
	uint64_t count;			/* times seen */
	uint64_t since_ns;		/* longest time seen; 0: not known */
};

#define POOL_SHOWN_HOLDERS 8

/* Threads or connections that are shared. */
struct pool_summary {
	pid_t pid;
	const char *kind, *name;	/* name interned or NULL */
	int64_t size, in_use, in_use_max, waiters_max;	/* negative: not known */
	struct summary wait;		/* of all waits; in a finding of its own */
	struct holder_summary holders[POOL_SHOWN_HOLDERS];	/* seen most first */
	size_t holder_count;
};

struct finding {
	char id[17];		/* hex hash of kind, route, method, culprit file and qualname */
	enum finding_kind kind;
	enum severity severity;
	const char *route, *method;	/* interned; NULL: belongs to no request */
	bool route_folded;
	struct place culprit;	/* file NULL: none known */
	const char *owner_task, *owner_thread;	/* interned or NULL */
	struct place library;	/* file NULL: none */
	const char *native_frame;	/* interned "library:symbol" or NULL */
	const char *syscall;		/* interned name or NULL */
	const char *detail;		/* interned: file path, rival process, ...; NULL */
	const char *peer;		/* interned "host:port" or "unix:PATH"; NULL */
	bool blocks_loop;
	uint64_t count, requests, calls, samples;
	uint64_t given_up;		/* of `count`: the target waited no longer, lower bounds */
	struct summary duration, loop_lag;
	uint64_t first_ns, last_ns;	/* CLOCK_REALTIME */
	bool ongoing, since_before;
	struct process_share *processes;	/* owned */
	size_t process_count;
	struct victim *victims;		/* owned */
	size_t victim_count;
	int32_t group;			/* of the window it was made of, -1: none */
	uint64_t calls_per_request;	/* median; 0: not about calls */
	struct summary per_request;	/* calls of a request; numbers, no times */
	struct pool_summary *pool;	/* owned; NULL: not about a pool */
	const char *statement;		/* interned shape of what was asked of the peer; NULL */
	enum evidence evidence;
	struct stack_summary *stacks;	/* owned, most time first */
	size_t stack_count;
	const char *advice;		/* static */
};

/* One event loop in the report. */
struct loop_summary {
	pid_t tid;
	uint64_t steps;
	double busy_ratio;
	struct summary step;
};

struct target_summary {
	pid_t pid;
	uint64_t start_ns;		/* CLOCK_REALTIME */
	const char *cmdline, *python, *server, *loop_kind;	/* interned; NULL: not known */
	const char **notes;		/* owned array of interned strings */
	size_t note_count;
	struct loop_summary *loops;	/* owned */
	size_t loop_count;
};

/* Requests that a finding delayed. */
struct cause_summary {
	size_t finding;		/* index into report.findings */
	uint64_t requests, max_ns, total_ns;
};

/* A request that is shown whole. */
struct slow_summary {
	uint64_t start_ns;	/* CLOCK_REALTIME */
	uint64_t latency_ns;
	unsigned status;	/* 0: no response */
	uint64_t parts[PART_COUNT];
	struct cause_summary causes[4];	/* most first; `requests` is 1 */
	size_t cause_count;
};

struct status_count {
	unsigned code;
	uint64_t count;
};

/* Where the requests of one route went. */
/* Time that requests of a route waited for one thing in one place. */
struct await_summary {
	enum time_part part;
	uint64_t requests, ns;
	const struct stack *stack;	/* NULL: not known */
};

struct route_summary {
	const char *route, *method;	/* interned; method NULL: several */
	bool folded;
	uint64_t requests, errors, aborted;
	uint64_t ongoing;		/* had not ended when the window did; in no other number */
	uint64_t from_read;		/* of `latency`: from when they were read, not arrived */
	struct status_count *statuses;	/* owned, by code */
	size_t status_count;
	struct summary latency, first_byte;
	uint64_t parts[PART_COUNT];	/* sums over the requests of `latency` */
	struct await_summary *awaits;	/* owned, most time first */
	size_t await_count;
	double loop_share;		/* of the busy time of all loops; negative: not known */
	struct slow_summary *slowest;	/* owned, slowest first */
	size_t slowest_count;
	struct cause_summary *causes;	/* owned, most time first */
	size_t cause_count;
};

struct websocket_summary {
	const char *route;
	uint64_t sessions, ongoing, messages_in, messages_out;
	struct summary duration;	/* of the sessions that have ended */
};

/* Calls from one place to one peer. */
struct dependency_summary {
	const char *peer, *peer_name;	/* interned; NULL: not known */
	const char *protocol;		/* static */
	const char *route, *method;	/* NULL: of no request */
	bool route_folded;
	struct place call_site;	/* file NULL: not known */
	uint64_t calls, errors, failures, refused, unanswered, given_up;
	double calls_per_request;	/* negative: of no request */
	struct summary latency;
	uint64_t bytes_sent, bytes_received;
	bool unpaired;	/* replies cannot be told apart: lengths are the connection's */
	const char *statements[4];	/* interned shapes, most frequent first; NULL at the end */
};

/* A `Depends` callable or a middleware class, within one route. */
struct callable_summary {
	const char *name;		/* interned "app.deps.get_user" */
	const char *route, *method;
	uint64_t calls;
	double calls_per_request;	/* negative: not known */
	struct summary time, own;	/* own: without what it depends on */
	bool sampled;			/* lengths are from snapshots */
};

struct loss_item {
	const char *name, *text;	/* static: of LOSS_COUNTERS */
	uint64_t count;
};

/* What it was, for a time: made of the findings, so that it cannot contradict them. */
struct verdict {
	enum verdict_kind kind;
	uint64_t start_ns, end_ns;	/* CLOCK_REALTIME */
	int32_t finding;	/* index into report.findings; -1: healthy */
	uint64_t requests;	/* that ended in it */
	uint64_t slow, longest_ns;	/* those of them that lost time to it; their latency */
	uint64_t lost_ns;	/* by all requests, to whatever it was */
	uint64_t named_ns;	/* of it, to what the verdict names */
	enum slow_loss loss;	/* what they lost it to; healthy: what no finding explains */
};

/* Everything an exporter gets. */
struct report {
	uint64_t start_ns, end_ns;	/* CLOCK_REALTIME */
	const char *kernel, *arch;
	struct target_summary *targets;	/* owned */
	size_t target_count;
	struct finding *findings;	/* owned, worst first */
	size_t finding_count;
	struct route_summary *routes;	/* owned, as --sort says */
	size_t route_count;
	struct websocket_summary *websockets;	/* owned */
	size_t websocket_count;
	struct dependency_summary *dependencies;	/* owned, most time first */
	size_t dependency_count;
	struct callable_summary *injected, *middleware;	/* owned, most time first */
	size_t injected_count, middleware_count;
	struct pool_summary *pools;	/* owned, most waited for first */
	size_t pool_count;
	struct verdict *verdicts;	/* owned, in order; none: nothing can be said */
	size_t verdict_count;
	uint64_t produced, received;
	struct loss_item *losses;	/* owned, all of them, zero ones too */
	size_t loss_count;
	struct loss_item *notes;	/* owned: NOTE_COUNTERS */
	size_t note_count;
	double self_cpu_s, bpf_cpu_s;	/* bpf: negative when not measured */
	uint64_t self_rss_bytes;
};

const char *finding_kind_name(enum finding_kind kind);
const char *finding_text(const struct finding *finding);	/* what the text report calls it */
const char *verdict_kind_name(enum verdict_kind kind);
void finding_free(struct finding *finding);	/* what it owns, not itself */
void report_free(struct report *report);	/* what it owns, not itself */

#endif
