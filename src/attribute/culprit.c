// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "attribute/attribute.h"

enum hand_over {
	HAND_NONE,
	HAND_ROUTER,	/* router, endpoint runner, dependency solver */
	HAND_TASK,	/* a task, callback or the loop starts here */
	HAND_THREAD,	/* a thread or its work item starts here */
};

/* Frames where the framework was given control. File suffix and qualified name. */
static const struct {
	const char *file, *qualname;
	enum hand_over kind;
} hand_overs[] = {
	{ "fastapi/routing.py", "run_endpoint_function", HAND_ROUTER },
	{ "fastapi/routing.py", "get_request_handler.<locals>.app", HAND_ROUTER },
	{ "fastapi/routing.py", "get_websocket_app.<locals>.app", HAND_ROUTER },
	{ "fastapi/routing.py", "request_response.<locals>.app", HAND_ROUTER },
	{ "fastapi/routing.py", "request_response.<locals>.app.<locals>.app", HAND_ROUTER },
	{ "fastapi/routing.py", "websocket_session.<locals>.app", HAND_ROUTER },
	{ "fastapi/routing.py", "websocket_session.<locals>.app.<locals>.app", HAND_ROUTER },
	{ "fastapi/routing.py", "APIRoute.handle", HAND_ROUTER },
	{ "fastapi/routing.py", "APIRouter.app", HAND_ROUTER },
	{ "fastapi/routing.py", "APIRouter.handle", HAND_ROUTER },
	{ "fastapi/dependencies/utils.py", "solve_dependencies", HAND_ROUTER },
	{ "starlette/routing.py", "request_response.<locals>.app", HAND_ROUTER },
	{ "starlette/routing.py", "request_response.<locals>.app.<locals>.app", HAND_ROUTER },
	{ "starlette/routing.py", "websocket_session.<locals>.app", HAND_ROUTER },
	{ "starlette/routing.py", "websocket_session.<locals>.app.<locals>.app", HAND_ROUTER },
	{ "starlette/routing.py", "Route.handle", HAND_ROUTER },
	{ "starlette/routing.py", "WebSocketRoute.handle", HAND_ROUTER },
	{ "starlette/routing.py", "Mount.handle", HAND_ROUTER },
	{ "starlette/routing.py", "Router.app", HAND_ROUTER },
	{ "starlette/routing.py", "Router.__call__", HAND_ROUTER },
	{ "starlette/endpoints.py", "HTTPEndpoint.dispatch", HAND_ROUTER },
	{ "fastapi/telemetry/_api.py", "_run_sync_endpoint", HAND_ROUTER },
	{ "uvicorn/protocols/http/h11_impl.py", "RequestResponseCycle.run_asgi", HAND_TASK },
	{ "uvicorn/protocols/http/httptools_impl.py", "RequestResponseCycle.run_asgi", HAND_TASK },
	{ "uvicorn/server.py", "Server.run", HAND_TASK },
	{ "asyncio/events.py", "Handle._run", HAND_TASK },
	{ "asyncio/base_events.py", "BaseEventLoop._run_once", HAND_TASK },
	{ "asyncio/base_events.py", "BaseEventLoop.run_forever", HAND_TASK },
	{ "asyncio/base_events.py", "BaseEventLoop.run_until_complete", HAND_TASK },
	{ "asyncio/runners.py", "Runner.run", HAND_TASK },
	{ "asyncio/runners.py", "run", HAND_TASK },
	{ "anyio/_backends/_asyncio.py", "WorkerThread.run", HAND_THREAD },
	{ "concurrent/futures/thread.py", "_WorkItem.run", HAND_THREAD },
	{ "threading.py", "Thread.run", HAND_THREAD },
	{ "threading.py", "Thread._bootstrap_inner", HAND_THREAD },
};

static bool has_suffix(const char *text, const char *suffix)
{
	size_t length = strlen(text), tail = strlen(suffix);

	return length >= tail && !strcmp(text + length - tail, suffix) &&
	       (length == tail || text[length - tail - 1] == '/');
}

static enum hand_over hand_over_of(const struct code_info *code)
{
	if (code->origin == CODE_APPLICATION)
		return HAND_NONE;
	for (size_t i = 0; i < sizeof(hand_overs) / sizeof(hand_overs[0]); i++)
		if (!strcmp(code->qualname, hand_overs[i].qualname) &&
		    has_suffix(code->file, hand_overs[i].file))
			return hand_overs[i].kind;
	return HAND_NONE;
}

struct place place_of(const struct frame *frame)
{
	return (struct place){ frame->code->file, frame->code->function, frame->code->qualname,
			       frame->line };
}

size_t next_application_frame(const struct activity *activity, size_t from)
{
	while (from < activity->frame_count &&
	       (activity->frames[from].code->origin != CODE_APPLICATION ||
		!activity->frames[from].code->file[0]))
		from++;
	return from;
}

/* The application frame that gave the framework control, within the same task or thread. */
static size_t handing_frame(const struct activity *activity, size_t from)
{
	for (size_t i = from; i < activity->frame_count; i++) {
		enum hand_over kind = hand_over_of(activity->frames[i].code);

		if (kind == HAND_TASK || kind == HAND_THREAD)
			break;
		if (activity->frames[i].code->origin == CODE_APPLICATION)
			return i;
	}
	return activity->frame_count;
}

static struct place endpoint_place(const struct code_info *endpoint)
{
	return (struct place){ endpoint->file, endpoint->function, endpoint->qualname,
			       endpoint->first_line };
}

void culprit_find(struct activity *activity, const struct code_info *endpoint)
{
	enum hand_over kind = HAND_NONE;
	size_t i, application;

	activity->culprit = (struct place){ 0 };
	activity->library = (struct place){ 0 };
	for (i = 0; i < activity->frame_count && kind == HAND_NONE; i++)
		kind = hand_over_of(activity->frames[i].code);
	activity->hand_over = kind == HAND_NONE ? activity->frame_count : i - 1;
	application = next_application_frame(activity, 0);
	if (application > 0 && activity->frame_count && activity->frames[0].code->file[0])
		activity->library = place_of(&activity->frames[0]);
	if (application < activity->hand_over) {
		activity->culprit = place_of(&activity->frames[application]);
		return;
	}
	if (endpoint && (kind == HAND_ROUTER || kind == HAND_NONE)) {
		activity->culprit = endpoint_place(endpoint);
		return;
	}
	application = handing_frame(activity, kind == HAND_TASK || kind == HAND_THREAD
						      ? activity->frame_count
						      : activity->hand_over);
	if (application < activity->frame_count)
		activity->culprit = place_of(&activity->frames[application]);
	else if (endpoint && activity->kind == ACTIVITY_MESSAGE)
		/* a library's own task or thread, that works for the request */
		activity->culprit = endpoint_place(endpoint);
}
