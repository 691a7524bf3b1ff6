// SPDX-License-Identifier: Apache-2.0
#include "resolve/dependants.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/intern.h"
#include "base/mem.h"
#include "base/vec.h"
#include "discover/py_object.h"
#include "target_config.h"

#define MAX_DEPTH 24		/* dependencies of dependencies */
#define MAX_VISITS 4096		/* the tree may be a graph that doubles at each level */

struct walk {
	const struct py_reader *py;
	struct dependants *found;
	unsigned visits;
};

/* "module.qualname" of a function, class or, with its type, a callable object. */
static const char *name_of(const struct py_reader *py, uint64_t callable)
{
	char module[128] = "", name[160] = "", text[304];
	uint64_t value, type;

	if (py_type(py, callable, &type))
		return NULL;
	if (py_is(py, callable, "function")) {
		if (!mem_read_u64(py->mem, callable + py->layout->function_qualname, &value))
			(void)!py_string(py, value, name, sizeof(name));
		if (!mem_read_u64(py->mem, callable + py->layout->function_module, &value))
			(void)!py_string(py, value, module, sizeof(module));
	} else if (py_is(py, callable, "type") || py_is(py, callable, "ABCMeta")) {
		py_type_name(py, callable, name, sizeof(name));
		if (!py_type_attribute(py, callable, "__module__", &value))
			(void)!py_string(py, value, module, sizeof(module));
	} else if (!py_path(py, callable, "func", &value) && value != callable) {
		return name_of(py, value);	/* a partial */
	} else if (!py_attribute(py, callable, "__func__", &value)) {
		return name_of(py, value);
	} else {
		py_type_name(py, type, name, sizeof(name));
		if (!py_type_attribute(py, type, "__module__", &value))
			(void)!py_string(py, value, module, sizeof(module));
	}
	if (!name[0])
		return NULL;
	snprintf(text, sizeof(text), "%s%s%s", module, module[0] ? "." : "", name);
	return intern(text);
}

/* The code that runs when it is called. */
static uint64_t code_of(const struct py_reader *py, uint64_t callable)
{
	uint64_t code, method, type;

	if (!py_callable_code(py, callable, &code))
		return code;
	if (py_is(py, callable, "type"))
		return !py_type_attribute(py, callable, "__init__", &method) &&
				       !py_callable_code(py, method, &code)
			       ? code
			       : 0;
	return !py_type(py, callable, &type) &&
			       !py_type_attribute(py, type, "__call__", &method) &&
			       !py_callable_code(py, method, &code)
		       ? code
		       : 0;
}

static struct dependant *find(struct dependants *found, uint64_t callable)
{
	for (size_t i = 0; i < found->count; i++)
		if (found->items[i].callable == callable)
			return &found->items[i];
	return NULL;
}

static void add_counts(uint8_t *counts, const uint8_t *more)
{
	for (size_t i = 0; i < DEPENDANTS_MAX; i++)
		counts[i] = more[i] > UINT8_MAX - counts[i] ? UINT8_MAX : counts[i] + more[i];
}

/*
 * One `Depends`: FastAPI solves what it depends on, then takes it from its cache or calls
 * it.  `below` is what was executed for it, `counts` gets that and its own execution.
 */
static int execute(struct walk *walk, uint64_t dependant, const uint8_t *below, uint8_t *counts)
{
	struct dependant *known;
	int64_t use_cache = 1;
	uint64_t call, value;
	const char *name;
	int error;

	if (py_attribute(walk->py, dependant, "call", &call))
		return 0;
	if (!py_attribute(walk->py, dependant, "use_cache", &value))
		(void)!py_long(walk->py, value, &use_cache);
	known = find(walk->found, call);
	if (known) {
		known->executions += !use_cache;
		add_counts(known->below, below);
		counts[known - walk->found->items] += !use_cache;
		return 0;
	}
	name = name_of(walk->py, call);
	if (!name)
		return 0;
	error = vec_grow(walk->found, DEPENDANTS_MAX);
	if (error)
		return error == -E2BIG ? 0 : error;
	known = &walk->found->items[walk->found->count++];
	*known = (struct dependant){ .name = name, .code = code_of(walk->py, call),
				     .callable = call, .executions = 1 };
	add_counts(known->below, below);
	counts[known - walk->found->items]++;
	return 0;
}

/* `counts`: by index, how often others were executed for this one. */
static int solve(struct walk *walk, uint64_t dependant, unsigned depth, uint8_t *counts)
{
	uint64_t list, item;
	ssize_t count;

	if (depth > MAX_DEPTH || py_attribute(walk->py, dependant, "dependencies", &list))
		return 0;
	count = py_sequence_size(walk->py, list);
	for (ssize_t i = 0; i < count; i++) {
		uint8_t below[DEPENDANTS_MAX] = { 0 };
		int error;

		if (walk->visits++ >= MAX_VISITS ||
		    py_sequence_item(walk->py, list, (size_t)i, &item))
			return 0;
		error = solve(walk, item, depth + 1, below) ?:
			execute(walk, item, below, counts);
		if (error)
			return error;
		add_counts(counts, below);
	}
	return 0;
}

int dependants_read(const struct py_reader *py, uint64_t route, struct dependants *ret_dependants)
{
	struct dependants found = { 0 };
	struct walk walk = { .py = py, .found = &found };
	uint8_t counts[DEPENDANTS_MAX] = { 0 };
	uint64_t dependant, call;
	int error;

	if (py_attribute(py, route, "dependant", &dependant) ||
	    py_attribute(py, dependant, "call", &call))
		return -ENOENT;
	error = solve(&walk, dependant, 0, counts);
	if (error) {
		dependants_free(&found);
		return error;
	}
	*ret_dependants = found;
	return 0;
}

void dependants_free(struct dependants *dependants)
{
	free(dependants->items);
	memset(dependants, 0, sizeof(*dependants));
}
