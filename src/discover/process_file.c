// SPDX-License-Identifier: Apache-2.0
/* Files of a target, opened without following it anywhere else. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1	/* O_PATH */
#endif

#include "discover/process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "discover/process_proc.h"

#define OPEN_TRIES 8	/* openat2() gives up when a directory is moved meanwhile */

/* The file behind a mapping, even when its name is gone; needs CAP_CHECKPOINT_RESTORE. */
static int open_mapped(pid_t pid, const struct mapping *mapping)
{
	char path[PROC_PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, pid,
		 mapping->start, mapping->end);
	fd = open(path, O_PATH | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Symbolic links, absolute ones and ".." too, stay below the target's root. */
static int open_in_root(pid_t pid, const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	char root_path[PROC_PATH_MAX];
	_cleanup_fd_ int root = -1;
	long fd = -1;

	snprintf(root_path, sizeof(root_path), "/proc/%d/root", pid);
	root = open(root_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return proc_error(errno);
	for (int try = 0; try < OPEN_TRIES; try++) {
		fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
		if (fd >= 0 || errno != EAGAIN)
			break;
	}
	return fd < 0 ? -errno : fd;
}

int process_open_file(pid_t pid, const char *path, const struct mapping *mapping)
{
	_cleanup_fd_ int place = -1;
	char self[PROC_PATH_MAX];
	struct stat status;
	int fd;

	if (mapping)
		place = open_mapped(pid, mapping);
	/* What has the name of a deleted file is another file. */
	if (place < 0 && mapping && mapping->deleted)
		return -ENOENT;
	if (place < 0)
		place = open_in_root(pid, path);
	if (place < 0)
		return place;
	/*
	 * Only now that it is known to be a regular file is it opened: opening a
	 * device has effects, opening a FIFO waits.
	 */
	if (fstat(place, &status))
		return -errno;
	if (!S_ISREG(status.st_mode))
		return -EINVAL;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", place);
	fd = open(self, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}
