/* SPDX-License-Identifier: Apache-2.0 */
/* Detectors: pure functions from a window and thresholds to findings. */
#ifndef LS_DETECT_H
#define LS_DETECT_H

#include "aggregate/window.h"
#include "detect/finding.h"

/* Every threshold with its reason. */
struct thresholds {
	/* from here on a user notices a hiccup in an otherwise healthy service, and the
	 * steps of such services were never seen to last as long */
	uint64_t stall_ns;
	/* waits of a loop above this share of its busy time are found however short they
	 * are: a thread that burns CPU costs each step one switch interval of 5 ms */
	double wait_share;
	/* an interval with less work than this says nothing about shares */
	uint64_t interval_busy_ns;
	/* one step that long, or such steps for this share of a second, saturate a loop */
	uint64_t saturated_step_ns;
	double saturated_share;
	/* critical: blocked for longer at once, or for this share of the window */
	uint64_t critical_ns;
	double critical_share;
	/* a peer's reply that takes that long is felt by whoever waits for the request;
	 * healthy databases, caches and services of a data centre answer in a few ms */
	uint64_t slow_dependency_ns;
	/* a pool that is empty for a moment does its work, it spreads load; whoever has to
	 * wait that long waits for a holder, and the request is that much slower */
	uint64_t pool_wait_ns;
	/* two that meet at a lock are what it is for (and whoever fills a cache holds it
	 * once); a convoy goes on */
	uint64_t convoy_waits;
	/* a handful of statements is what a request needs; from here on one place asks for
	 * what one statement could have brought */
	uint64_t repeated_calls;
	/* a `Depends` callable is slow when it takes that share of a request, in percent, and
	 * as long as a slow peer would: it is where the request's time goes */
	unsigned slow_share;
	/* FastAPI executes a callable once per request unless it is told not to */
	unsigned repeated_executions;
};

struct thresholds thresholds_default(uint64_t stall_ns);

struct detect_input {
	const struct window *window;
	const struct thresholds *thresholds;
	uint64_t start_ns, end_ns;	/* of the window, CLOCK_MONOTONIC */
	int64_t realtime_offset_ns;	/* CLOCK_REALTIME - CLOCK_MONOTONIC */
	uint64_t lost;			/* events lost: counts are lower bounds then */
};

struct findings {
	struct finding *items;
	size_t count, capacity;
};

struct detector {
	enum finding_kind kind;
	/* Appends what it finds.  0 or -ENOMEM. */
	int (*run)(const struct detect_input *input, struct findings *findings);
};

extern const struct detector detectors[];
extern const unsigned detector_count;

/* Runs all detectors; worst first.  0 or -ENOMEM. */
int detect_all(const struct detect_input *input, struct findings *findings);
void findings_free(struct findings *findings);

/* --- for detectors --- */

/* A new zeroed finding at the end of the list, NULL when out of memory. */
struct finding *findings_add(struct findings *findings, enum finding_kind kind);

/* Fills id, severity and evidence once everything else is there. */
void finding_finish(const struct detect_input *input, struct finding *finding);

/*
 * Findings of a class of groups: occurrences are the cells of `threshold_ns`
 * and more.
 */
int find_in_groups(const struct detect_input *input, struct findings *findings,
		   enum finding_kind kind, enum window_class class, uint64_t threshold_ns);

/* Culprit, names and stacks of a group. 0 or -ENOMEM. */
int finding_from_group(struct finding *finding, const struct group *group);

/* The routes that waited for the culprit of group `index`. 0 or -ENOMEM. */
int finding_victims(struct finding *finding, const struct group *group, int32_t index);

/* Was this moment within a second whose waits took more than their share? */
bool in_waiting_interval(const struct detect_input *input, pid_t tid, uint64_t time_ns, bool gil);

/* Was the finding made of what this place waited for in this pool? */
bool finding_is_of_site(const struct finding *finding, const struct pool_row *row,
			const struct pool_site *site);

int process_add(struct finding *finding, pid_t pid);

int find_gil_contention(const struct detect_input *input, struct findings *findings);
int find_cpu_starvation(const struct detect_input *input, struct findings *findings);
int find_slow_dependency(const struct detect_input *input, struct findings *findings);
int find_slow_di_dependency(const struct detect_input *input, struct findings *findings);
int find_repeated_callable(const struct detect_input *input, struct findings *findings);
int find_n_plus_one(const struct detect_input *input, struct findings *findings);
int find_threadpool_exhaustion(const struct detect_input *input, struct findings *findings);
int find_executor_exhaustion(const struct detect_input *input, struct findings *findings);
int find_db_pool_exhaustion(const struct detect_input *input, struct findings *findings);
int find_http_pool_exhaustion(const struct detect_input *input, struct findings *findings);
int find_lock_convoy(const struct detect_input *input, struct findings *findings);
int find_loop_saturated(const struct detect_input *input, struct findings *findings);

/* What to do about a finding; static text. */
const char *advice_for(const struct finding *finding);

#endif
