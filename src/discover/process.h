/* SPDX-License-Identifier: Apache-2.0 */
/* What /proc says of a process.  All of it may be hostile or gone. */
#ifndef LS_PROCESS_H
#define LS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "target_config.h"

struct mapping {
	uint64_t start, end, offset;
	bool executable, writable, deleted;
	char *path;	/* owned; as the target knows it; "" when anonymous */
};

struct mappings {
	struct mapping *items;
	size_t count, capacity;
};

struct process_ids {
	pid_t *items;
	size_t count, capacity;
};

/* Where a thread was when /proc was read. */
struct thread_state {
	char state;		/* R S D T t Z X */
	int number;		/* system call, -1: running or unknown */
	uint64_t args[6];
	char comm[16];
};

/* 0, or -ESRCH, -EACCES, -ENOMEM, -E2BIG (beyond 65,536 mappings). */
int process_mappings(pid_t pid, struct mappings *ret_mappings);
void mappings_free(struct mappings *mappings);

/* The mapping that holds `address`, or NULL. */
const struct mapping *mappings_find(const struct mappings *mappings, uint64_t address);

/* Thread ids of a process; child processes of it (direct ones). */
int process_threads(pid_t pid, struct process_ids *ret_ids);
int process_children(pid_t pid, struct process_ids *ret_ids);
void process_ids_free(struct process_ids *ids);

/*
 * Start of the process in ns since boot, from /proc/PID/stat field 22 (clock
 * ticks: 10 ms grain); with the pid it is the identity of a process.
 */
int process_start_time(pid_t pid, uint64_t *ret_ns);

/* Command line with spaces between the words, interned; NULL when unreadable. */
const char *process_cmdline(pid_t pid);

/* What a thread has had of CPUs, and waited for one, in its life. */
struct thread_times {
	uint64_t cpu_ns, run_delay_ns;
};

/* Both 0 when this kernel does not say. */
struct thread_times process_thread_times(pid_t pid, pid_t tid);

/* 0 or -errno. */
int process_thread_state(pid_t pid, pid_t tid, struct thread_state *ret_state);

/*
 * Opens a file of the target as the target sees it, through
 * /proc/PID/map_files or /proc/PID/root, never following a symbolic link out of that
 * root, and only regular files.  Returns a descriptor or -errno.
 */
int process_open_file(pid_t pid, const char *path, const struct mapping *mapping);

/* The pid of whoever listens on TCP port `port` (the oldest one, its workers share it). */
int process_of_port(unsigned port, pid_t *ret_pid);

/*
 * The TCP ports that a process listens on, with its network namespace.  Returns
 * how many, at most `size`, or -errno.
 */
int process_listeners(pid_t pid, struct listener *ret_listeners, size_t size);

/* What descriptor `fd` of the process is: readlink text ("/path", "pipe:[1]", ...); 0 or -errno. */
int process_fd_name(pid_t pid, int fd, char *buffer, size_t size);

#endif
