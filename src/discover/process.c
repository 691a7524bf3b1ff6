// SPDX-License-Identifier: Apache-2.0
#include "discover/process.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/intern.h"
#include "base/units.h"
#include "base/vec.h"
#include "discover/process_proc.h"

#define MAX_MAPPINGS 65536
#define MAX_IDS (4u << 20)	/* the kernel's own limit of process ids */
#define MAX_CMDLINE 4096
#define STAT_MAX 1024
#define STAT_PPID 4		/* fields as in proc(5), counted from 1 */
#define STAT_START_TIME 22

int proc_error(int error)
{
	if (error == ENOENT || error == ENOTDIR)
		return -ESRCH;
	return error == EPERM ? -EACCES : -error;
}

ssize_t proc_read(const char *path, char *buffer, size_t size)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t length = 0;

	if (fd < 0)
		return proc_error(errno);
	while (length < size - 1) {
		ssize_t part = read(fd, buffer + length, size - 1 - length);

		if (part < 0 && errno == EINTR)
			continue;
		if (part < 0)
			return proc_error(errno);
		if (!part)
			break;
		length += part;
	}
	buffer[length] = '\0';
	return length;
}

static int add_id(struct process_ids *ids, pid_t id)
{
	int error = vec_grow(ids, MAX_IDS);

	if (!error)
		ids->items[ids->count++] = id;
	return error;
}

int proc_numbers(const char *path, struct process_ids *ids)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	int error = 0;

	if (!directory)
		return proc_error(errno);
	while (!error && (entry = readdir(directory))) {
		long number;

		if (!parse_integer(entry->d_name, 0, INT32_MAX, &number))
			error = add_id(ids, number);
	}
	closedir(directory);
	return error;
}

void process_ids_free(struct process_ids *ids)
{
	free(ids->items);
	*ids = (struct process_ids){ 0 };
}

void mappings_free(struct mappings *mappings)
{
	for (size_t i = 0; i < mappings->count; i++)
		free(mappings->items[i].path);
	free(mappings->items);
	*mappings = (struct mappings){ 0 };
}

/* The kernel writes a line break in a path as "\012" and appends " (deleted)". */
static void clean_path(char *path, bool *ret_deleted)
{
	static const char deleted[] = " (deleted)";
	size_t length = strlen(path);
	char *from = path, *to = path;

	if (length && path[length - 1] == '\n')
		path[--length] = '\0';
	*ret_deleted = length >= sizeof(deleted) - 1 &&
		       !strcmp(path + length - (sizeof(deleted) - 1), deleted);
	if (*ret_deleted)
		path[length - (sizeof(deleted) - 1)] = '\0';
	while (*from) {
		if (!strncmp(from, "\\012", 4)) {
			*to++ = '\n';
			from += 4;
		} else {
			*to++ = *from++;
		}
	}
	*to = '\0';
}

/* "start-end rwxp offset dev inode   path"; takes nothing from a line it cannot read. */
static int parse_mapping(char *line, struct mappings *mappings)
{
	struct mapping mapping = { 0 };
	char permissions[5];
	int path_at = 0, error;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %*s %*s%n", &mapping.start,
		   &mapping.end, permissions, &mapping.offset, &path_at) != 4 || !path_at)
		return 0;
	if (mapping.end <= mapping.start || strlen(permissions) != 4)
		return 0;
	while (line[path_at] == ' ')
		path_at++;
	mapping.writable = permissions[1] == 'w';
	mapping.executable = permissions[2] == 'x';
	clean_path(line + path_at, &mapping.deleted);
	error = vec_grow(mappings, MAX_MAPPINGS);
	if (error)
		return error;
	mapping.path = strdup(line + path_at);
	if (!mapping.path)
		return -ENOMEM;
	mappings->items[mappings->count++] = mapping;
	return 0;
}

int process_mappings(pid_t pid, struct mappings *ret_mappings)
{
	struct mappings mappings = { 0 };
	_cleanup_free_ char *line = NULL;
	_cleanup_file_ FILE *file = NULL;
	char path[PROC_PATH_MAX];
	size_t size = 0;
	int error = 0;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	file = fopen(path, "re");
	if (!file)
		return proc_error(errno);
	errno = 0;
	while (!error && getline(&line, &size, file) >= 0)
		error = parse_mapping(line, &mappings);
	if (!error && !feof(file))
		error = errno ? proc_error(errno) : -EIO;
	if (error) {
		mappings_free(&mappings);
		return error;
	}
	*ret_mappings = mappings;
	return 0;
}

/* The kernel lists mappings in order of their addresses. */
const struct mapping *mappings_find(const struct mappings *mappings, uint64_t address)
{
	size_t low = 0, high = mappings->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct mapping *mapping = &mappings->items[middle];

		if (address < mapping->start)
			high = middle;
		else if (address >= mapping->end)
			low = middle + 1;
		else
			return mapping;
	}
	return NULL;
}

int process_threads(pid_t pid, struct process_ids *ret_ids)
{
	struct process_ids ids = { 0 };
	char path[PROC_PATH_MAX];
	int error;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	error = proc_numbers(path, &ids);
	if (!error && !ids.count)
		error = -ESRCH;
	if (error) {
		process_ids_free(&ids);
		return error;
	}
	*ret_ids = ids;
	return 0;
}

/*
 * Field `number` of a stat file.  The name of a process may hold anything, brackets
 * and blanks too: fields are counted from its last bracket on.
 */
static const char *stat_field(const char *text, int number)
{
	const char *at = strrchr(text, ')');

	if (!at)
		return NULL;
	for (int field = 2; field < number; field++) {
		at = strchr(at, ' ');
		if (!at)
			return NULL;
		at++;
	}
	return at;
}

static int stat_number(const char *path, int number, uint64_t *ret_value)
{
	char text[STAT_MAX];
	ssize_t length = proc_read(path, text, sizeof(text));
	const char *field;

	if (length < 0)
		return length;
	field = stat_field(text, number);
	if (!field || !isdigit((unsigned char)*field))
		return -EIO;
	*ret_value = strtoull(field, NULL, 10);
	return 0;
}

/* Children of one thread, as the kernel lists them. */
static int add_children(pid_t pid, pid_t tid, struct process_ids *ids)
{
	_cleanup_file_ FILE *file = NULL;
	char path[PROC_PATH_MAX];
	int error = 0, child;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, tid);
	file = fopen(path, "re");
	if (!file)
		return proc_error(errno);
	while (!error && fscanf(file, "%d", &child) == 1)
		error = add_id(ids, child);
	return error;
}

/* For kernels without /proc/PID/task/TID/children. */
static int scan_children(pid_t pid, struct process_ids *ids)
{
	struct process_ids all = { 0 };
	int error = proc_numbers("/proc", &all);

	for (size_t i = 0; !error && i < all.count; i++) {
		char path[PROC_PATH_MAX];
		uint64_t parent;

		snprintf(path, sizeof(path), "/proc/%d/stat", all.items[i]);
		if (!stat_number(path, STAT_PPID, &parent) && parent == (uint64_t)pid)
			error = add_id(ids, all.items[i]);
	}
	process_ids_free(&all);
	return error;
}

int process_children(pid_t pid, struct process_ids *ret_ids)
{
	struct process_ids threads, ids = { 0 };
	size_t listed = 0;
	int error = process_threads(pid, &threads);

	if (error)
		return error;
	for (size_t i = 0; !error && i < threads.count; i++) {
		error = add_children(pid, threads.items[i], &ids);
		if (error == -ESRCH)
			error = 0;	/* this thread has ended meanwhile */
		else
			listed++;
	}
	process_ids_free(&threads);
	if (!error && !listed)
		error = scan_children(pid, &ids);
	if (error) {
		process_ids_free(&ids);
		return error;
	}
	*ret_ids = ids;
	return 0;
}

int process_start_time(pid_t pid, uint64_t *ret_ns)
{
	long ticks = sysconf(_SC_CLK_TCK);
	char path[PROC_PATH_MAX];
	uint64_t start;
	int error;

	if (ticks <= 0)
		return -EINVAL;
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	error = stat_number(path, STAT_START_TIME, &start);
	if (!error)
		*ret_ns = start * (NS_PER_S / ticks);
	return error;
}

const char *process_cmdline(pid_t pid)
{
	char path[PROC_PATH_MAX], text[MAX_CMDLINE];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	length = proc_read(path, text, sizeof(text));
	while (length > 0 && (!text[length - 1] || text[length - 1] == ' '))
		length--;
	if (length <= 0)
		return NULL;
	for (ssize_t i = 0; i < length; i++)
		if (!text[i])
			text[i] = ' ';
	return intern_bytes(text, length);
}

/* "running", "-1 sp pc" or "number 0x.. (six times) sp pc". */
static void parse_syscall(const char *text, struct thread_state *state)
{
	int number;

	if (sscanf(text, "%d %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64
		   " %" SCNx64, &number, &state->args[0], &state->args[1], &state->args[2],
		   &state->args[3], &state->args[4], &state->args[5]) == 7 && number >= 0)
		state->number = number;
	else
		memset(state->args, 0, sizeof(state->args));
}

int process_thread_state(pid_t pid, pid_t tid, struct thread_state *ret_state)
{
	struct thread_state state = { .number = -1 };
	char path[PROC_PATH_MAX], text[STAT_MAX];
	const char *name, *field;
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, tid);
	length = proc_read(path, text, sizeof(text));
	if (length < 0)
		return length;
	name = strchr(text, '(');
	field = stat_field(text, 3);
	if (!name || !field)
		return -EIO;
	state.state = *field;
	name++;
	length = field - name - 2;
	if (length < 0)
		return -EIO;
	if ((size_t)length >= sizeof(state.comm))
		length = sizeof(state.comm) - 1;
	memcpy(state.comm, name, length);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, tid);
	if (proc_read(path, text, sizeof(text)) > 0)
		parse_syscall(text, &state);
	*ret_state = state;
	return 0;
}

int process_fd_name(pid_t pid, int fd, char *buffer, size_t size)
{
	char path[PROC_PATH_MAX];
	ssize_t length;

	if (!size)
		return -EINVAL;
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	length = readlink(path, buffer, size - 1);
	if (length < 0)
		return errno == ENOENT ? -ENOENT : proc_error(errno);
	buffer[length] = '\0';
	return 0;
}

struct thread_times process_thread_times(pid_t pid, pid_t tid)
{
	struct thread_times times = { 0 };
	_cleanup_file_ FILE *file = NULL;
	char path[PROC_PATH_MAX];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", pid, tid);
	file = fopen(path, "re");
	if (!file || fscanf(file, "%" SCNu64 " %" SCNu64, &times.cpu_ns, &times.run_delay_ns) != 2)
		return (struct thread_times){ 0 };
	return times;
}
