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

/* One socket that listens; non-zero ends the walk. */
typedef int (*each_listener)(void *context, unsigned port, uint64_t inode);

/* Walks the sockets that listen in the namespace that `path` shows. */
static int walk_listeners(const char *path, each_listener each, void *context)
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
		    state == TCP_STATE_LISTEN && inode)
			error = each(context, local, inode);
	}
	return error;
}

/* `process` is a process id or "self".  A kernel without IPv6 has no tcp6. */
static int walk_namespace(const char *process, each_listener each, void *context)
{
	char path[PROC_PATH_MAX];
	int error;

	snprintf(path, sizeof(path), "/proc/%s/net/tcp", process);
	error = walk_listeners(path, each, context);
	if (error && error != -ESRCH)
		return error;
	snprintf(path, sizeof(path), "/proc/%s/net/tcp6", process);
	error = walk_listeners(path, each, context);
	return error == -ESRCH ? 0 : error;
}

struct port_sockets {
	unsigned port;
	struct numbers *sockets;
};

static int add_if_port(void *context, unsigned port, uint64_t inode)
{
	const struct port_sockets *wanted = context;

	return port == wanted->port ? numbers_add(wanted->sockets, inode) : 0;
}

/* Adds the sockets that listen on `port` in the namespace of a process. */
static int add_namespace(const char *process, unsigned port, struct numbers *sockets)
{
	struct port_sockets wanted = { port, sockets };

	return walk_namespace(process, add_if_port, &wanted);
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

/* The sockets that a process has open; what of them can be read. */
static void own_sockets(pid_t pid, struct numbers *ret_sockets)
{
	struct process_ids fds = { 0 };
	char path[PROC_PATH_MAX];

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	/* A partial list is better than none: files come and go. */
	(void)proc_numbers(path, &fds);
	for (size_t i = 0; i < fds.count; i++) {
		uint64_t inode;

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fds.items[i]);
		inode = link_inode(path, "socket");
		if (inode && !vec_grow(ret_sockets, MAX_NUMBERS))
			ret_sockets->items[ret_sockets->count++] = inode;
	}
	process_ids_free(&fds);
}

static bool has_socket(pid_t pid, const struct numbers *sockets)
{
	struct numbers own = { 0 };
	bool found = false;

	own_sockets(pid, &own);
	for (size_t i = 0; !found && i < own.count; i++)
		found = numbers_have(sockets, own.items[i]);
	free(own.items);
	return found;
}

struct port_list {
	const struct numbers *own;
	struct listener *items;
	size_t count, size;
	uint32_t net;
};

static int list_port(void *context, unsigned port, uint64_t inode)
{
	struct port_list *list = context;

	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].port == port)
			return 0;
	if (list->count < list->size && numbers_have(list->own, inode))
		list->items[list->count++] = (struct listener){
			.net = list->net, .port = port, .loop = -1 };
	return 0;
}

int process_listeners(pid_t pid, struct listener *ret_listeners, size_t size)
{
	struct numbers own = { 0 };
	struct port_list list = { .own = &own, .items = ret_listeners, .size = size };
	char path[PROC_PATH_MAX], process[16];
	int error;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	list.net = (uint32_t)link_inode(path, "net");
	own_sockets(pid, &own);
	snprintf(process, sizeof(process), "%d", pid);
	error = own.count ? walk_namespace(process, list_port, &list) : 0;
	free(own.items);
	return error ? error : (int)list.count;
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
