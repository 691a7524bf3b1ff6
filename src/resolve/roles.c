// SPDX-License-Identifier: Apache-2.0
#include "resolve/roles.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "discover/target.h"

#define STEPS 5

/*
 * One code object: function `function` ("Class.method") of `module`, or the
 * function `nested` ("outer.inner") defined inside of it.  The steps lead from its frame (or,
 * for a callback, from the function, method or partial) to a scope, task or future:
 *   "local NAME"        a local variable, through its cell
 *   "attr NAME CLASS"   an instance attribute, CLASS = module:Class
 *   "closure NAME"      a variable captured by the function
 *   "first LIST"        the first item of a list; LIST says of what
 *   "captured NAME FUNCTION"   the same of FUNCTION = module:outer.inner
 *   "subject NAME"      no step: the local that LS_ROLE_WORK, LS_ROLE_SEND are about
 */
struct role_row {
	const char *module, *function, *nested;
	uint8_t end, flags;
	const char *steps[STEPS];
};

#define SELF_SCOPE(class) { "local self", "attr scope " class }
#define SEND_SCOPE(class) { "subject message", "local self", "attr scope " class }
#define CYCLE(module) \
	{ module, "RequestResponseCycle.run_asgi", NULL, LS_END_SCOPE, LS_ROLE_ROOT, \
	  SELF_SCOPE(module ":RequestResponseCycle") }, \
	{ module, "RequestResponseCycle.send", NULL, LS_END_SCOPE, LS_ROLE_SEND, \
	  SEND_SCOPE(module ":RequestResponseCycle") }
#define SOCKET(module, class) \
	{ module, class ".run_asgi", NULL, LS_END_SCOPE, LS_ROLE_ROOT, \
	  SELF_SCOPE(module ":" class) }
#define LOCAL_SCOPE(module, function, nested, flags) \
	{ module, function, nested, LS_END_SCOPE, flags, { "local scope" } }
#define ANYIO "anyio._backends._asyncio"

static const struct role_row rows[] = {
	CYCLE("uvicorn.protocols.http.h11_impl"),
	CYCLE("uvicorn.protocols.http.httptools_impl"),
	CYCLE("uvicorn.protocols.http.zttp_impl"),
	SOCKET("uvicorn.protocols.websockets.websockets_impl", "WebSocketProtocol"),
	SOCKET("uvicorn.protocols.websockets.websockets_sansio_impl", "WebSocketsSansIOProtocol"),
	SOCKET("uvicorn.protocols.websockets.wsproto_impl", "WSProtocol"),
	LOCAL_SCOPE("uvicorn.lifespan.on", "LifespanOn.main", NULL, LS_ROLE_ROOT),
	LOCAL_SCOPE("hypercorn.asyncio.task_group", "_handle", NULL, LS_ROLE_ROOT),
	LOCAL_SCOPE("hypercorn.app_wrappers", "ASGIWrapper.__call__", NULL, 0),
	LOCAL_SCOPE("gunicorn.asgi.protocol", "ASGIProtocol._handle_http_request", NULL, 0),
	LOCAL_SCOPE("fastapi.applications", "FastAPI.__call__", NULL, 0),
	LOCAL_SCOPE("starlette.applications", "Starlette.__call__", NULL, 0),
	LOCAL_SCOPE("starlette.middleware.base", "BaseHTTPMiddleware.__call__", NULL, 0),
	LOCAL_SCOPE("starlette.middleware.base", "BaseHTTPMiddleware.__call__", "call_next.coro",
		    0),
	LOCAL_SCOPE("starlette.middleware.errors", "ServerErrorMiddleware.__call__", NULL, 0),
	LOCAL_SCOPE("starlette.middleware.exceptions", "ExceptionMiddleware.__call__", NULL, 0),
	LOCAL_SCOPE("starlette.routing", "Router.__call__", NULL, 0),
	LOCAL_SCOPE("starlette.routing", "Router.app", NULL, 0),
	LOCAL_SCOPE("starlette.routing", "request_response", "app", 0),
	LOCAL_SCOPE("starlette.routing", "websocket_session", "app", 0),
	LOCAL_SCOPE("fastapi.routing", "request_response", "app", 0),
	LOCAL_SCOPE("fastapi.routing", "websocket_session", "app", 0),
	LOCAL_SCOPE("fastapi.routing", "APIRouter.app", NULL, 0),
	{ "uvicorn.server", "Server.run", NULL, LS_END_SERVER, 0, { "local self" } },
	{ ANYIO, "WorkerThread.run", NULL, LS_END_TASK, LS_ROLE_WORK,
	  { "subject func", "local cancel_scope", "attr _host_task " ANYIO ":CancelScope" } },
	{ ANYIO, "WorkerThread.run", NULL, LS_END_FUTURE, LS_ROLE_WORK,
	  { "subject func", "local future" } },
	/* run_in_executor(), to_thread(): the callback that tells the future of the loop */
	{ "concurrent.futures.thread", "_WorkItem.run", NULL, LS_END_FUTURE, LS_ROLE_WORK,
	  { "local self", "attr future concurrent.futures.thread:_WorkItem",
	    "attr _done_callbacks concurrent.futures._base:Future", "first callbacks",
	    "captured destination asyncio.futures:_chain_future._call_set_state" } },
	/* what a thread runs for a context manager is the generator it was made from */
	{ "contextlib", "_GeneratorContextManager.__enter__", NULL, LS_END_GENERATOR, 0,
	  { "attr gen contextlib:_GeneratorContextManager" } },
	{ "contextlib", "_GeneratorContextManager.__exit__", NULL, LS_END_GENERATOR, 0,
	  { "attr gen contextlib:_GeneratorContextManager" } },
	/* writes the body in a task of its own, for the one that waits for the response */
	{ "aiohttp.client_reqrep", "ClientRequest.write_bytes", NULL, LS_END_FUTURE, 0,
	  { "local conn", "attr _protocol aiohttp.connector:Connection",
	    "attr _waiter aiohttp.client_proto:ResponseHandler" } },
	/* callbacks of child tasks, 3.13 and older; later ones know who awaits them */
	{ "asyncio.tasks", "gather", "_done_callback", LS_END_FUTURE, 0, { "closure outer" } },
	{ "asyncio.tasks", "shield", "_inner_done_callback", LS_END_FUTURE, 0,
	  { "closure outer" } },
	{ "asyncio.tasks", "_wait", "_on_completion", LS_END_FUTURE, 0, { "closure waiter" } },
	{ "asyncio.tasks", "_release_waiter", NULL, LS_END_FUTURE, 0, { NULL } },
	{ "asyncio.taskgroups", "TaskGroup._on_task_done", NULL, LS_END_TASK, 0,
	  { "attr _parent_task asyncio.taskgroups:TaskGroup" } },
	{ ANYIO, "TaskGroup._spawn", "task_done", LS_END_TASK, 0,
	  { "closure self", "attr cancel_scope " ANYIO ":TaskGroup",
	    "attr _host_task " ANYIO ":CancelScope" } },
};

static const struct {
	const char *name;
	uint32_t id;
} keys[] = {
#define X(id, text) { text, LS_KEY_##id },
	LS_KEYS(X)
#undef X
};

static uint32_t key_id(const char *name)
{
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (!strcmp(keys[i].name, name))
			return keys[i].id;
	return LS_KEY_NONE;
}

/* Of the classes and functions that steps name, beside those of the rows. */
static const char *const step_modules[] = {
	"concurrent.futures._base", "asyncio.futures", "aiohttp.connector", "aiohttp.client_proto",
};

#define MODULES (sizeof(rows) / sizeof(rows[0]) + sizeof(step_modules) / sizeof(step_modules[0]))

/* The modules of all rows, found in one walk over sys.modules. */
struct lookup {
	const struct target *target;
	const char *names[MODULES];
	uint64_t modules[MODULES];	/* 0: not imported */
	size_t count;
};

static int note_module(void *context, uint64_t key, uint64_t value)
{
	struct lookup *lookup = context;
	char name[96];

	if (py_string(&lookup->target->py, key, name, sizeof(name)) < 0)
		return 0;
	for (size_t i = 0; i < lookup->count; i++)
		if (!strcmp(lookup->names[i], name))
			lookup->modules[i] = value;
	return 0;
}

static int lookup_modules(const struct target *target, struct lookup *lookup)
{
	uint64_t modules;
	int error;

	*lookup = (struct lookup){ .target = target };
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (!lookup->count ||
		    strcmp(lookup->names[lookup->count - 1], rows[i].module))
			lookup->names[lookup->count++] = rows[i].module;
	for (size_t i = 0; i < sizeof(step_modules) / sizeof(step_modules[0]); i++)
		lookup->names[lookup->count++] = step_modules[i];
	error = mem_read_u64(target->mem, target->interp + target->layout.interp_modules,
			     &modules);
	return error ? error : py_dict_walk(&target->py, modules, note_module, lookup);
}

/* "Class.method" of a module -> the object. */
static int find_object(const struct lookup *lookup, const char *module_name, const char *path,
		       uint64_t *ret_object)
{
	const struct target *target = lookup->target;
	uint64_t module = 0, object;
	char text[128], *rest = NULL, *name;
	int error;

	snprintf(text, sizeof(text), "%s", path);
	for (size_t i = 0; i < lookup->count && !module; i++)
		if (!strcmp(lookup->names[i], module_name))
			module = lookup->modules[i];
	if (!module)
		return -ENOENT;
	name = strtok_r(text, ".", &rest);
	error = py_module_attribute(&target->py, module, name, &object);
	while (!error && (name = strtok_r(NULL, ".", &rest)))
		error = py_type_attribute(&target->py, object, name, &object);
	if (!error)
		*ret_object = object;
	return error;
}

/* Code of a function of a module, or of one defined inside of it. */
static int find_code(const struct lookup *lookup, const char *module, const char *path,
		     const char *nested, uint64_t *ret_code)
{
	const struct target *target = lookup->target;
	uint64_t function, code;
	char text[128], *rest = NULL;
	int error = find_object(lookup, module, path, &function);

	if (!error)
		error = py_callable_code(&target->py, function, &code);
	if (error)
		return error;
	snprintf(text, sizeof(text), "%s", nested ? nested : "");
	for (char *name = strtok_r(text, ".", &rest); name; name = strtok_r(NULL, ".", &rest)) {
		error = py_code_nested(&target->py, code, name, &code);
		if (error)
			return error;
	}
	*ret_code = code;
	return 0;
}

static int add_op(struct code_role *role, uint8_t op, uint32_t arg, uint32_t arg2)
{
	if (role->nops >= LS_MAX_OPS || arg > 0xffff)
		return -E2BIG;
	role->ops[role->nops++] = (struct follow_op){ .op = op, .arg = (uint16_t)arg,
						      .arg2 = arg2 };
	return 0;
}

#define KIND_FREE 0x80 /* CPython Include/internal/pycore_code.h: CO_FAST_FREE */

/* Position of a captured variable among the closure cells. */
static int closure_index(const struct target *target, uint64_t code, const char *name,
			 uint32_t *ret_index)
{
	const struct py_layout *layout = &target->layout;
	uint8_t kinds[256];
	uint64_t object;
	uint32_t local, free_before = 0;
	ssize_t size;
	int error = py_code_local(&target->py, code, name, &local);

	if (error)
		return error;
	error = mem_read_u64(target->mem, code + layout->code_localspluskinds, &object);
	if (error)
		return error;
	size = py_bytes(&target->py, object, kinds, sizeof(kinds));
	if (size < 0)
		return (int)size;
	if ((ssize_t)local >= size || local >= sizeof(kinds) || !(kinds[local] & KIND_FREE))
		return -ENOENT;
	for (uint32_t i = 0; i < local; i++)
		free_before += !!(kinds[i] & KIND_FREE);
	*ret_index = free_before;
	return 0;
}

static int compile_attribute(const struct lookup *lookup, const char *name,
			     const char *class_path, struct code_role *role)
{
	char text[160], *class_name;
	uint64_t type;
	uint32_t at;
	int error;

	snprintf(text, sizeof(text), "%s", class_path);
	class_name = strchr(text, ':');
	if (!class_name)
		return -EINVAL;
	*class_name++ = '\0';
	error = find_object(lookup, text, class_name, &type);
	if (error)
		return error;
	if (!py_type_slot_offset(&lookup->target->py, type, name, &at))
		return add_op(role, LS_OP_FIELD, at, 0);
	/* without an instance the index is not known: its dictionary still is asked */
	error = py_type_shared_index(&lookup->target->py, type, name, &at);
	if (error == -ENOENT)
		return add_op(role, LS_OP_ATTR, LS_ABSENT, key_id(name)) ?: -EAGAIN;
	return error ? error : add_op(role, LS_OP_ATTR, at, key_id(name));
}

/* `path` is "module:outer.inner". */
static int compile_captured(const struct lookup *lookup, const char *name, const char *path,
			    struct code_role *role)
{
	char module[128], *function, *nested;
	uint64_t code;
	uint32_t at;
	int error;

	snprintf(module, sizeof(module), "%s", path);
	function = strchr(module, ':');
	nested = function ? strchr(function, '.') : NULL;
	if (!nested)
		return -EINVAL;
	*function++ = *nested++ = '\0';
	error = find_code(lookup, module, function, nested, &code);
	if (!error)
		error = closure_index(lookup->target, code, name, &at);
	return error ? error : add_op(role, LS_OP_CLOSURE, at, 0);
}

/* CO_FAST_CELL, CO_FAST_FREE: Include/internal/pycore_code.h */
#define KIND_CELL 0xc0

/* Local variables that inner functions use live in cells; each step costs in every event. */
static bool may_be_cell(const struct target *target, uint64_t code, uint32_t at)
{
	uint8_t kinds[256];
	uint64_t object;
	ssize_t size;

	if (mem_read_u64(target->mem, code + target->layout.code_localspluskinds, &object))
		return true;
	size = py_bytes(&target->py, object, kinds, sizeof(kinds));
	return size <= (ssize_t)at || at >= sizeof(kinds) || kinds[at] & KIND_CELL;
}

static int compile_step(const struct lookup *lookup, uint64_t code, const char *step,
			struct code_role *role)
{
	char verb[16], name[48], class_path[128] = "";
	uint32_t at;
	int error;

	if (sscanf(step, "%15s %47s %127s", verb, name, class_path) < 2)
		return -EINVAL;
	if (!strcmp(verb, "attr"))
		return compile_attribute(lookup, name, class_path, role);
	if (!strcmp(verb, "first"))
		return add_op(role, LS_OP_FIELD, lookup->target->layout.list_items, 0) ?:
		       add_op(role, LS_OP_FIELD, 0, 0);
	if (!strcmp(verb, "captured"))
		return compile_captured(lookup, name, class_path, role);
	if (!strcmp(verb, "closure")) {
		error = closure_index(lookup->target, code, name, &at);
		return error ? error : add_op(role, LS_OP_CLOSURE, at, 0);
	}
	error = py_code_local(&lookup->target->py, code, name, &at);
	if (!error && !strcmp(verb, "subject")) {
		role->subject = (uint8_t)at;
		return at > UINT8_MAX ? -ERANGE : 0;
	}
	if (!error)
		error = add_op(role, LS_OP_LOCAL, at, 0);
	return error || !may_be_cell(lookup->target, code, at) ? error
							       : add_op(role, LS_OP_CELL, 0, 0);
}

/* 0, -EAGAIN: usable, but to be compiled again later, -errno. */
static int compile_row(const struct lookup *lookup, const struct role_row *row, uint64_t *ret_code,
		       struct code_role *role)
{
	int error = find_code(lookup, row->module, row->function, row->nested, ret_code);
	int again = 0;

	if (error)
		return error;
	*role = (struct code_role){ .end = row->end, .flags = row->flags };
	for (int i = 0; i < STEPS && row->steps[i]; i++) {
		error = compile_step(lookup, *ret_code, row->steps[i], role);
		if (error == -EAGAIN)
			again = error;
		else if (error)
			return error;
	}
	return again;
}

uint64_t roles_module_count(const struct target *target)
{
	uint64_t modules, count = 0;

	if (mem_read_u64(target->mem, target->interp + target->layout.interp_modules, &modules) ||
	    mem_read_u64(target->mem, modules + target->layout.dict_used, &count))
		return 0;
	return count;
}

int roles_scan(const struct target *target, role_each each, void *context,
	       struct role_scan *ret_scan)
{
	struct role_scan scan = { .modules = roles_module_count(target) };
	uint64_t done[sizeof(rows) / sizeof(rows[0])];
	struct lookup lookup;

	if (!scan.modules || lookup_modules(target, &lookup))
		return -EAGAIN;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct code_role role;
		uint64_t code = 0;
		int error = compile_row(&lookup, &rows[i], &code, &role);
		bool earlier = false;

		if (error && error != -EAGAIN)
			continue;
		for (unsigned k = 0; k < scan.found; k++)
			earlier |= done[k] == code; /* rows of one function: the first that fits */
		if (earlier)
			continue;
		scan.waiting += error == -EAGAIN;
		done[scan.found++] = code;
		error = each(context, code, &role);
		if (error)
			return error;
	}
	*ret_scan = scan;
	return 0;
}
