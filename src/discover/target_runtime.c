// SPDX-License-Identifier: Apache-2.0
/* Which file of a process is the interpreter, where its runtime is, which version it has. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/intern.h"
#include "base/mem.h"
#include "discover/py_layout.h"
#include "discover/target.h"
#include "discover/target_internal.h"

#define COOKIE "xdebugpy"	/* first bytes of _PyRuntime from 3.13 on */
#define VERSION_MAJOR 3		/* of every interpreter that has a _PyRuntime */

static void image_cleanup(struct elf_image **image)
{
	elf_image_free(*image);
}

#define _cleanup_image_ __attribute__((cleanup(image_cleanup)))

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* True for the mapping of the beginning of a file that is executed. */
static bool starts_file(const struct mappings *mappings, size_t index)
{
	const struct mapping *head = &mappings->items[index];
	size_t i;

	if (head->offset || head->path[0] != '/')
		return false;
	for (i = index; i < mappings->count && mappings->items[i].start - head->start < 1u << 30;
	     i++)
		if (mappings->items[i].executable &&
		    strcmp(mappings->items[i].path, head->path) == 0)
			return true;
	return false;
}

static int open_image(pid_t pid, const struct mapping *head, struct elf_image **ret_image,
		      uint64_t *ret_bias)
{
	struct elf_image *image;
	uint64_t address;
	int fd, error;

	fd = process_open_file(pid, head->path, head);
	if (fd < 0)
		return fd;
	error = elf_image_open(fd, &image);
	if (error)
		return error;
	error = elf_image_address_of_offset(image, head->offset, &address);
	if (error) {
		elf_image_free(image);
		return error;
	}
	*ret_image = image;
	*ret_bias = head->start - address;
	return 0;
}

int target_open_interpreter(const struct target *target, struct elf_image **ret_image,
			    uint64_t *ret_bias)
{
	const struct mappings *mappings = &target->mappings;
	size_t i;

	for (i = 0; i < mappings->count; i++)
		if (strcmp(mappings->items[i].path, target->interpreter) == 0 &&
		    starts_file(mappings, i))
			return open_image(target->pid, &mappings->items[i], ret_image, ret_bias);
	return -ENOENT;
}

/* "python3.9", "libpython3.9.so.1.0" */
static bool version_of_name(const char *path, unsigned *ret_major, unsigned *ret_minor)
{
	const char *name = base_name(path);

	if (strncmp(name, "lib", 3) == 0)
		name += 3;
	return sscanf(name, "python%3u.%3u", ret_major, ret_minor) == 2;
}

/* Interpreters before 3.11 do not say their version, but the size of their runtime does. */
static const char *old_version(uint64_t size, const char *path, char *buffer, size_t buffer_size)
{
	static const struct {
		uint64_t size;
		const char *version;
	} known[] = {
		{ 1520, "3.7" }, { 1464, "3.8" }, { 656, "3.9" }, { 672, "3.10" },
	};
	unsigned major, minor;
	size_t i;

	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (size == known[i].size)
			return known[i].version;
	if (!version_of_name(path, &major, &minor))
		return "of an unknown version";
	snprintf(buffer, buffer_size, "%u.%u", major, minor);
	return buffer;
}

static const char *supported_versions(char *buffer, size_t size)
{
	uint32_t first = py_layouts[0].version, last = py_layouts[py_layout_count - 1].version;

	snprintf(buffer, size, "%u.%u to %u.%u", first >> 8, first & 255, last >> 8, last & 255);
	return buffer;
}

static int refuse(const struct target *target, const char *version, char *message, size_t size)
{
	char supported[32];

	return target_fail(-EOPNOTSUPP, message, size, "pid %d runs CPython %s, which is not "
			   "supported (%s are)", target->pid, version,
			   supported_versions(supported, sizeof(supported)));
}

/* PY_VERSION_HEX of the interpreter; 0 when it does not say. */
static uint32_t read_version(const struct target *target, struct elf_image *image, uint64_t bias)
{
	uint64_t head[2], address, size;
	uint32_t version;

	if (mem_read(target->mem, target->runtime, head, sizeof(head)) == 0 &&
	    memcmp(head, COOKIE, 8) == 0)
		return (uint32_t)head[1];
	if (elf_image_symbol(image, "Py_Version", &address, &size) == 0 &&
	    mem_read_u32(target->mem, address + bias, &version) == 0)
		return version;
	return 0;
}

static int find_layout(struct target *target, struct elf_image *image, char *message, size_t size)
{
	const struct py_layout *row;
	char version[32], supported[32];
	uint64_t address, symbol_size;
	int error;

	target_version(target, version, sizeof(version));
	row = py_layout_find(target->version_hex);
	if (!row)
		return refuse(target, version, message, size);
	/* Only builds with Py_DEBUG have it; their objects and threads look different. */
	if (elf_image_symbol(image, "_Py_NegativeRefcount", &address, &symbol_size) == 0)
		return target_fail(-EOPNOTSUPP, message, size, "pid %d runs a debug build of "
				   "CPython %s, which is not supported (release builds are)",
				   target->pid, version);
	target->layout = *row;
	error = py_layout_from_runtime(target->mem, target->runtime, target->version_hex,
				       &target->layout);
	if (error == -EOPNOTSUPP)
		return target_fail(error, message, size, "pid %d runs a free-threaded build of "
				   "CPython %s, which is not supported (%s with the GIL are)",
				   target->pid, version,
				   supported_versions(supported, sizeof(supported)));
	if (error && error != -ENOENT)
		return target_fail(-EOPNOTSUPP, message, size, "pid %d runs CPython %s with a "
				   "layout that cannot be right (%s), which is not supported",
				   target->pid, version, strerror(-error));
	(void)target_find_asyncio(target);	/* tried again when a loop is looked for */
	return 0;
}

/* 0 when this file is the interpreter and supported; -ENOENT when it is none. */
static int try_file(struct target *target, const struct mapping *head, char *message, size_t size)
{
	_cleanup_image_ struct elf_image *image = NULL;
	uint64_t address, length, bias;
	char old[32];
	int error;

	error = open_image(target->pid, head, &image, &bias);
	if (error)
		return error == -ENOEXEC || error == -EOPNOTSUPP ? -ENOENT : error;
	/* One that only uses the symbol has it with the value 0. */
	if ((elf_image_symbol(image, "_PyRuntime", &address, &length) || !address) &&
	    elf_image_section(image, ".PyRuntime", &address, &length))
		return -ENOENT;
	target->interpreter = intern(head->path);
	if (!target->interpreter)
		return target_fail(-ENOMEM, message, size, "out of memory");
	target->shared_library = strstr(base_name(head->path), ".so") != NULL;
	target->runtime = address + bias;
	target->version_hex = read_version(target, image, bias);
	if (target->version_hex >> 24 != VERSION_MAJOR)
		return refuse(target, old_version(length, head->path, old, sizeof(old)), message,
			      size);
	return find_layout(target, image, message, size);
}

/* True when the process has executed another file since its mappings were read. */
static bool has_changed(const struct target *target)
{
	const struct mappings *before = &target->mappings;
	struct mappings now = {};
	bool changed;

	if (process_mappings(target->pid, &now))
		return false;
	changed = before->count != 0 && now.count != 0 &&
		  (before->items[0].start != now.items[0].start ||
		   strcmp(before->items[0].path, now.items[0].path) != 0);
	mappings_free(&now);
	return changed;
}

static int no_python(const struct target *target, char *message, size_t size)
{
	const struct mappings *mappings = &target->mappings;
	struct thread_state state = {};
	unsigned major, minor;
	bool starting = false, empty = true;
	const char *name;
	char version[16];
	size_t i;

	for (i = 0; i < mappings->count; i++) {
		name = base_name(mappings->items[i].path);
		if (strncmp(name, "libpypy", 7) == 0 || strncmp(name, "pypy", 4) == 0)
			return target_fail(-EOPNOTSUPP, message, size, "pid %d runs PyPy, which "
					   "is not supported (CPython is)", target->pid);
		if (mappings->items[i].path[0] == '/')
			empty = false;
		/* In an exec not even the whole file is mapped at once. */
		if (!version_of_name(name, &major, &minor))
			continue;
		/* Older ones have no runtime to be found. */
		if (major < 3 || (major == 3 && minor < 7)) {
			snprintf(version, sizeof(version), "%u.%u", major, minor);
			return refuse(target, version, message, size);
		}
		starting = true;
	}
	(void)process_thread_state(target->pid, target->pid, &state);
	/* Or no file is mapped yet; a kernel thread has nothing at all. */
	if ((empty && (mappings->count || strncmp(state.comm, "python", 6) == 0)) ||
	    has_changed(target))
		starting = true;
	if (starting)
		return target_fail(-EAGAIN, message, size, "pid %d is still being loaded; "
				   "try again in a moment", target->pid);
	return target_fail(-ENOEXEC, message, size, "pid %d (%.15s) is not a Python process; "
			   "give the pid of a Python server", target->pid,
			   state.comm[0] ? state.comm : "?");
}

int target_find_runtime(struct target *target, char *message, size_t size)
{
	const struct mappings *mappings = &target->mappings;
	const char *name, *unreadable = NULL;
	bool library;
	int pass, error, failed = 0;
	size_t i;

	/* The library first: an executable that uses it may name its symbols, too. */
	for (pass = 0; pass < 2; pass++) {
		for (i = 0; i < mappings->count; i++) {
			name = base_name(mappings->items[i].path);
			library = strncmp(name, "libpython", 9) == 0;
			if (pass == 0 ? !library : library || strstr(name, ".so"))
				continue;
			if (!starts_file(mappings, i))
				continue;
			error = try_file(target, &mappings->items[i], message, size);
			if (!error || (size && message[0]))
				return error;
			if (error != -ENOENT) {
				failed = error;
				unreadable = mappings->items[i].path;
			}
		}
	}
	if (failed == -EACCES || failed == -EPERM)
		return target_fail(-EACCES, message, size, "cannot open %s of pid %d: permission "
				   "denied; run as root or with CAP_SYS_PTRACE", unreadable,
				   target->pid);
	if (failed)
		return target_fail(failed, message, size, "cannot open %s of pid %d: %s; "
				   "is it still there?", unreadable, target->pid,
				   strerror(-failed));
	return no_python(target, message, size);
}

int target_find_asyncio(struct target *target)
{
	const struct mappings *mappings = &target->mappings;
	struct py_layout *layout = &target->layout;
	uint64_t address, length, bias;
	size_t i;
	int error;

	if (layout->version < 0x030e)
		return 0;
	for (i = 0; i < mappings->count; i++) {
		_cleanup_image_ struct elf_image *image = NULL;

		if (strncmp(base_name(mappings->items[i].path), "_asyncio", 8) != 0 &&
		    strcmp(mappings->items[i].path, target->interpreter) != 0)
			continue;
		if (!starts_file(mappings, i) ||
		    open_image(target->pid, &mappings->items[i], &image, &bias) ||
		    elf_image_section(image, ".AsyncioDebug", &address, &length))
			continue;
		error = py_layout_from_asyncio(target->mem, address + bias, layout);
		if (!error)
			return 0;
	}
	/* These moved within 3.14: without the module's own word they are not known. */
	layout->tstate_running_loop = LS_ABSENT;
	layout->tstate_running_task = LS_ABSENT;
	layout->tstate_tasks_head = LS_ABSENT;
	return -ENOENT;
}
