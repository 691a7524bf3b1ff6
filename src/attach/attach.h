/* SPDX-License-Identifier: Apache-2.0 */
/* Loading, configuring and attaching the probes. */
#ifndef LS_ATTACH_H
#define LS_ATTACH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "counters.h"
#include "events.h"
#include "target_config.h"

struct attach_options {
	uint64_t slow_call_ns;
	uint64_t step_ns;	/* a step is recorded from here on */
	uint64_t sample_after_ns;
	uint64_t urgent_ns;	/* user space is woken up for calls as long as that */
	unsigned rate_hz;	/* clock samples a second and CPU */
	unsigned ring_bytes;	/* power of two, 0: as built */
	unsigned drop_per_mille;
};

struct attachment;	/* opaque */

/*
 * Opens, loads and attaches all probes; none of them does anything until a
 * process is added.  0; -EPERM privileges missing; -EOPNOTSUPP the kernel does
 * not suffice; other -errno.  `message` (>= 256 bytes) says why and the way out.
 */
int attach_open(const struct attach_options *options, struct attachment **ret_attachment,
		char *message, size_t size);

/* Detaches and unloads everything; NULL is legal. */
void attach_free(struct attachment *attachment);

/*
 * Observes a process from now on.  Returns its slot, or -ENOSPC beyond
 * LS_MAX_PROCESSES, -errno.
 */
int attach_add_process(struct attachment *attachment, const struct process_config *config);

/* Replaces the configuration of a process (modules were imported). */
int attach_update_process(struct attachment *attachment, int process,
			  const struct process_config *config);
void attach_remove_process(struct attachment *attachment, int process);

/* Reports fork, exec and exit of a process and what it forks. */
int attach_follow(struct attachment *attachment, pid_t pid);

/* A loop thread as it is registered. */
struct attach_loop {
	pid_t tid, tgid;
	int process;
	int epoll_fd;
	uint64_t tstate, loop;
	uint64_t seq;	/* number of its first step: above those of earlier loops of the thread */
};

/*
 * Observes a loop thread.  Returns its slot, or -ENOSPC beyond LS_MAX_LOOPS,
 * -EEXIST, -errno.
 */
int attach_add_loop(struct attachment *attachment, const struct attach_loop *loop);

/* Its thread ends with its process: a step that is open is counted up to now. */
void attach_remove_loop(struct attachment *attachment, int slot);

/* Makes room for another loop: the numbers in the slot are not needed any more. */
void attach_free_loop(struct attachment *attachment, int slot);

/* True when a loop of this thread would be refused, as one was before. */
bool attach_refuses(const struct attachment *attachment, pid_t tid);

/*
 * Says that the loop of a slot was already in a step, and in system call
 * `number` (-1: in none) when it was registered.  0: so it is, or it has ended that step
 * since; -EAGAIN: it is in a call of which that was not known, or in none any more.
 */
int attach_loop_since_before(struct attachment *attachment, int slot, int number,
			     const uint64_t args[4]);

/* A code object that leads to a request. */
int attach_set_role(struct attachment *attachment, pid_t tgid, uint64_t code,
		    const struct code_role *role);

/* Forgets it: its process has ended. */
void attach_clear_role(struct attachment *attachment, pid_t tgid, uint64_t code);

/* Says on which ports observed processes listen; at most LS_MAX_LISTENERS of them are taken. */
void attach_set_listeners(struct attachment *attachment, const struct listener *listeners,
			  size_t count);

/* The mapped slots, LS_MAX_LOOPS of them; borrowed until attach_free(). */
const volatile struct loop_slot *attach_loops(const struct attachment *attachment);

/* Exact entries of system calls as well, for as long as a target makes calls that keep the CPU. */
int attach_entries(struct attachment *attachment, bool on);

/* The next request wakes up whoever waits for events: what it waits for is to be looked at. */
void attach_wake_on_request(struct attachment *attachment);

/* No event is produced from now on; those on their way arrive within microseconds. */
void attach_mute(struct attachment *attachment);

/* Sums of all counters over the CPUs. */
int attach_counters(const struct attachment *attachment, uint64_t ret_counters[COUNTER_COUNT]);

/* Sum of the counters of lost events; for every tick. */
uint64_t attach_lost(const struct attachment *attachment);

/* Descriptor of the ring buffer map; borrowed. */
int attach_ring_fd(const struct attachment *attachment);

/* One line for each probe that could not be had, and what is lost without it; NULL at the end. */
const char *attach_missing(const struct attachment *attachment, size_t index);

/* Are bytes seen when they arrive in a socket? */
bool attach_sees_arrivals(const struct attachment *attachment);

/* Seconds spent in the probes when the kernel counts it, else negative. */
double attach_kernel_seconds(const struct attachment *attachment);

#endif
