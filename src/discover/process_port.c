// SPDX-License-Identifier: Apache-2.0
/* Who listens on a TCP port. */
#include "discover/process.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/vec.h"
#include "discover/process_proc.h"

#define TCP_STATE_LISTEN 0x0a
#define MAX_NUMBERS (1u << 20)	/* listening sockets, network namespaces */

/* Inode numbers: few, so a linear search will do. */
struct numbers {
	uint64_t *items;
	size_t count, capacity;
};

static bool numbers_have(const struct numbers *numbers, uint64_t number)
{
	for (size_t i = 0; i < numbers->count; i++)
		if (numbers->items[i] == number)
			return true;
	return false;
}

static int numbers_add(struct numbers *numbers, uint64_t number)
{
	int error;

	if (numbers_have(numbers, number))
		return 0;
	error = vec_grow(numbers, MAX_NUMBERS);
	if (!error)
		numbers->items[numbers->count++] = number;
	return error;
}

/* Adds the sockets that listen on `port` in the namespace that `path` shows. */
static int add_listeners(const char *path, unsigned port, struct numbers *sockets)
{
	_cleanup_free_ char *line = NULL;
	_cleanup_file_ FILE *file = fopen(path, "re");
	size_t size = 0;
	int error = 0;

	if (!file)
		return proc_error(errno);
	/* "sl: local:port remote:port state tx:rx tr:when retransmits uid timeout inode" */
	while (!error && getline(&line, &size, file) >= 0) {
		unsigned local, state;
		uint64_t inode;

		if (sscanf(line, "%*s %*[0-9A-Fa-f]:%x %*s %x %*s %*s %*s %*s %*s %" SCNu64,
			   &local, &state, &inode) == 3 &&
		    local == port && state == TCP_STATE_LISTEN && inode)
			error = numbers_add(sockets, inode);
	}
	return error;
}

/* `process` is a process id or "self".  A kernel without IPv6 has no tcp6. */
static int add_namespace(const char *process, unsigned port, struct numbers *sockets)
{
	char path[PROC_PATH_MAX];
	int error;

	snprintf(path, sizeof(path), "/proc/%s/net/tcp", process);
	error = add_listeners(path, port, sockets);
	if (error && error != -ESRCH)
		return error;
	snprintf(path, sizeof(path), "/proc/%s/net/tcp6", process);
	error = add_listeners(path, port, sockets);
	return error == -ESRCH ? 0 : error;
}

/* Inode number in a link like "net:[4026531840]" or "socket:[1234]"; 0 when it is none. */
static uint64_t link_inode(const char *path, const char *kind)
{
	char text[PROC_PATH_MAX];
	ssize_t length = readlink(path, text, sizeof(text) - 1);
	size_t prefix = strlen(kind);

	if (length < 0)
		return 0;
	text[length] = '\0';
	if (strncmp(text, kind, prefix) || strncmp(text + prefix, ":[", 2))
		return 0;
	return strtoull(text + prefix + 2, NULL, 10);
}

/* The same for every other network namespace that a process is in. */
static int add_other_namespaces(const struct process_ids *pids, unsigned port,
				struct numbers *sockets)
{
	struct numbers seen = { 0 };
	int error = numbers_add(&seen, link_inode("/proc/self/ns/net", "net"));

	for (size_t i = 0; !error && i < pids->count; i++) {
		char path[PROC_PATH_MAX], process[16];
		uint64_t space;

		snprintf(path, sizeof(path), "/proc/%d/ns/net", pids->items[i]);
		space = link_inode(path, "net");
		if (!space || numbers_have(&seen, space))
			continue;
		error = numbers_add(&seen, space);
		snprintf(process, sizeof(process), "%d", pids->items[i]);
		/* Unreadable or gone: another process may show the namespace. */
		if (!error && add_namespace(process, port, sockets))
			seen.count--;
	}
	free(seen.items);
	return error;
}

static bool has_socket(pid_t pid, const struct numbers *sockets)
{
	struct process_ids fds = { 0 };
	char path[PROC_PATH_MAX];
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	/* A partial list is better than none: files come and go. */
	(void)proc_numbers(path, &fds);
	for (size_t i = 0; !found && i < fds.count; i++) {
		uint64_t inode;

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fds.items[i]);
		inode = link_inode(path, "socket");
		found = inode && numbers_have(sockets, inode);
	}
	process_ids_free(&fds);
	return found;
}

/* The oldest process that has one of the sockets; 0 when none can be seen to. */
static pid_t oldest_holder(const struct process_ids *pids, const struct numbers *sockets)
{
	uint64_t oldest = UINT64_MAX;
	pid_t holder = 0;

	for (size_t i = 0; i < pids->count; i++) {
		uint64_t start;

		if (!has_socket(pids->items[i], sockets) ||
		    process_start_time(pids->items[i], &start))
			continue;
		/* Clock ticks are coarse; a parent mostly has the smaller id. */
		if (start < oldest || (start == oldest && pids->items[i] < holder)) {
			oldest = start;
			holder = pids->items[i];
		}
	}
	return holder;
}

int process_of_port(unsigned port, pid_t *ret_pid)
{
	struct numbers sockets = { 0 };
	struct process_ids pids = { 0 };
	pid_t holder = 0;
	int error = proc_numbers("/proc", &pids);

	if (!error)
		error = add_namespace("self", port, &sockets);
	if (!error && sockets.count)
		holder = oldest_holder(&pids, &sockets);
	/* Our own namespace comes first: two containers may use the same port. */
	if (!error && !holder) {
		error = add_other_namespaces(&pids, port, &sockets);
		if (!error && sockets.count)
			holder = oldest_holder(&pids, &sockets);
	}
	if (!error && !holder)
		error = sockets.count ? -EACCES : -ENOENT;
	free(sockets.items);
	process_ids_free(&pids);
	if (!error)
		*ret_pid = holder;
	return error;
}
