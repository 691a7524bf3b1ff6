// SPDX-License-Identifier: Apache-2.0
/* What the modules and symbols of a target say: its server, its folders, what the probes need. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/intern.h"
#include "base/mem.h"
#include "discover/elf_image.h"
#include "discover/py_read.h"
#include "discover/target.h"
#include "discover/target_internal.h"

/*
 * Servers by a module that only a running one imports.  uvicorn comes last:
 * programs import it for its run() even when another server runs them.
 */
static const struct {
	const char *sign, *package;
} servers[] = {
	{ "granian.server", "granian" },
	{ "hypercorn.asyncio", "hypercorn" },
	{ "daphne.server", "daphne" },
	{ "uvicorn.server", "uvicorn" },
};

#define SUPERVISOR_SIGN "gunicorn.arbiter"
#define SUPERVISOR "gunicorn"

static bool imported(const struct target *target, const char *name)
{
	uint64_t module;

	return py_module(&target->py, target->interp, name, &module) == 0;
}

/* "uvicorn 0.54.0", or only the name when the package does not say its version. */
static void package_version(const struct target *target, const char *package, char *buffer,
			    size_t size)
{
	const struct py_reader *py = &target->py;
	uint64_t module, value;
	char version[32];

	if (py_module(py, target->interp, package, &module) == 0 &&
	    py_module_attribute(py, module, "__version__", &value) == 0 &&
	    py_string(py, value, version, sizeof(version)) > 0)
		snprintf(buffer, size, "%s %s", package, version);
	else
		snprintf(buffer, size, "%s", package);
}

static const char *find_server(const struct target *target)
{
	char server[64] = "", supervisor[64], both[160];
	size_t i;

	for (i = 0; i < sizeof(servers) / sizeof(servers[0]) && !server[0]; i++)
		if (imported(target, servers[i].sign))
			package_version(target, servers[i].package, server, sizeof(server));
	if (!imported(target, SUPERVISOR_SIGN))
		return server[0] ? intern(server) : NULL;
	package_version(target, SUPERVISOR, supervisor, sizeof(supervisor));
	if (!server[0])
		return intern(supervisor);
	snprintf(both, sizeof(both), "%s under %s", server, supervisor);
	return intern(both);
}

static const char *module_string(const struct target *target, const char *module_name,
				 const char *attribute)
{
	uint64_t module, value;

	if (py_module(&target->py, target->interp, module_name, &module) ||
	    py_module_attribute(&target->py, module, attribute, &value))
		return NULL;
	return py_string_intern(&target->py, value);
}

void target_find_server(struct target *target)
{
	const char *file, *slash;

	/*
	 * Modules that are being imported have no version yet; a supervisor's
	 * worker imports its server after the fork.
	 */
	if (!target->server || !target->loop_count ||
	    strncmp(target->server, SUPERVISOR, strlen(SUPERVISOR)) == 0)
		target->server = find_server(target);
	if (!target->prefix)
		target->prefix = module_string(target, "sys", "prefix");
	if (!target->stdlib_path) {
		file = module_string(target, "os", "__file__");
		slash = file ? strrchr(file, '/') : NULL;
		if (slash && slash != file)
			target->stdlib_path = intern_bytes(file, (size_t)(slash - file));
	}
}

static int find_gil(const struct target *target, uint64_t *ret_gil)
{
	const struct py_layout *at = &target->layout;

	if (at->interp_gil_ptr != LS_ABSENT)
		return read_pointer(&target->py, target->interp, at->interp_gil_ptr, ret_gil);
	if (at->runtime_gil == LS_ABSENT)
		return -EPROTO;
	*ret_gil = target->runtime + at->runtime_gil;
	return 0;
}

/* Types that the interpreter exports. */
static int exported_types(const struct target *target, struct process_config *config)
{
	const struct {
		const char *symbol;
		__u64 *address;
	} types[] = {
		{ "PyCoro_Type", &config->type_coroutine },
		{ "PyCell_Type", &config->type_cell },
		{ "PyUnicode_Type", &config->type_unicode },
		{ "PyLong_Type", &config->type_long },
		{ "PyDict_Type", &config->type_dict },
		{ "PyMethod_Type", &config->type_method },
		{ "PyFunction_Type", &config->type_function },
		{ "PyCFunction_Type", &config->type_cfunction },
		{ "PySet_Type", &config->type_set },
	};
	struct elf_image *image;
	uint64_t bias, address, size;
	int error;
	size_t i;

	error = target_open_interpreter(target, &image, &bias);
	if (error)
		return error;
	for (i = 0; i < sizeof(types) / sizeof(types[0]) && !error; i++) {
		error = elf_image_symbol(image, types[i].symbol, &address, &size);
		if (!error)
			*types[i].address = address + bias;
	}
	elf_image_free(image);
	return error;
}

/* A type that a module holds; 0 as long as the module is not imported. */
static uint64_t module_type(const struct target *target, const char *module_name,
			    const char *attribute)
{
	uint64_t module, type;

	if (py_module(&target->py, target->interp, module_name, &module) ||
	    py_module_attribute(&target->py, module, attribute, &type) ||
	    py_check_flags(&target->py, type, PY_TYPE_TYPE))
		return 0;
	return type;
}

/*
 * uvloop before 0.23 queues what is written, and writes it once the tasks of the
 * iteration have run.
 */
static bool writes_late(const struct target *target)
{
	const char *version = module_string(target, "uvloop", "__version__");
	unsigned major, minor;

	return version && sscanf(version, "%u.%u", &major, &minor) == 2 && !major && minor < 23;
}

int target_process_config(const struct target *target, struct process_config *ret_config)
{
	const struct py_layout *at = &target->layout;
	struct process_config config = {
		.start_time_ns = target->start_time_ns,
		.interp = target->interp,
		.tgid = (uint32_t)target->pid,
		.layout = *at,
		.late_writes = writes_late(target),
	};
	uint64_t gil, tasks;
	int error;

	error = find_gil(target, &gil);
	if (!error)
		error = exported_types(target, &config);
	if (error)
		return error;
	config.gil = gil;
	config.gc_collecting = target->interp + at->interp_gc + at->gc_collecting;
	config.type_partial = module_type(target, "_functools", "partial");
	config.type_task = module_type(target, "_asyncio", "Task");
	config.type_future = module_type(target, "_asyncio", "Future");
	if (at->version >= 0x030e) {
		if (at->tstate_running_task != LS_ABSENT)
			config.current_task = LS_TASK_TSTATE;
	} else if (target_current_tasks(target, &tasks) == 0) {
		config.current_tasks = tasks;
		config.current_task = LS_TASK_DICT;
	}
	*ret_config = config;
	return 0;
}
