// SPDX-License-Identifier: Apache-2.0
#include "export/json_routes.h"

#include <stdio.h>

#include "attribute/stacks.h"
#include "detect/finding.h"
#include "export/select.h"

static void put_parts(struct builder *builder, cJSON *parent, const uint64_t parts[PART_COUNT])
{
	cJSON *object = put_object(builder, parent, "time_ms");

	for (unsigned part = 0; part < PART_COUNT; part++)
		put_ms(builder, object, time_part_name(part), parts[part]);
}

static void put_causes(struct builder *builder, cJSON *parent, const struct report *report,
		       const struct slow_summary *slow)
{
	cJSON *array = put_array(builder, parent, "delayed_by");

	for (size_t i = 0; i < slow->cause_count; i++) {
		const struct cause_summary *cause = &slow->causes[i];
		cJSON *object;

		if (cause->finding >= report->finding_count)
			continue;
		object = put_object(builder, array, NULL);
		put_text(builder, object, "finding", report->findings[cause->finding].id);
		put_ms(builder, object, "ms", cause->total_ns);
	}
}

static void put_awaits(struct builder *builder, cJSON *parent, const struct route_summary *route)
{
	cJSON *array = put_array(builder, parent, "awaits");

	for (size_t i = 0; i < route->await_count; i++) {
		const struct await_summary *await = &route->awaits[i];
		cJSON *object = put_object(builder, array, NULL), *frames;

		put_text(builder, object, "part", time_part_name(await->part));
		put_number(builder, object, "requests", await->requests);
		put_ms(builder, object, "time_ms", await->ns);
		put_location(builder, object, "await_site", stack_site(await->stack),
			     LOCATION_FUNCTION);
		put_bool(builder, object, "truncated", await->stack && await->stack->truncated);
		frames = put_array(builder, object, "frames");
		for (size_t k = 0; await->stack && k < await->stack->count; k++)
			put_location(builder, frames, NULL, &await->stack->frames[k],
				     LOCATION_ALL);
	}
}

static void put_slowest(struct builder *builder, cJSON *parent, const struct report *report,
			const struct route_summary *route)
{
	cJSON *array = put_array(builder, parent, "slowest");

	for (size_t i = 0; i < route->slowest_count; i++) {
		const struct slow_summary *slow = &route->slowest[i];
		cJSON *object = put_object(builder, array, NULL);

		put_time(builder, object, "start", slow->start_ns);
		put_ms(builder, object, "latency_ms", slow->latency_ns);
		if (slow->status)
			put_number(builder, object, "status", slow->status);
		else
			put_null(builder, object, "status");
		put_parts(builder, object, slow->parts);
		put_causes(builder, object, report, slow);
	}
}

static void put_route(struct builder *builder, cJSON *routes, const struct report *report,
		      const struct route_summary *route)
{
	cJSON *object = put_object(builder, routes, NULL), *status;
	char code[16];

	put_text(builder, object, "route", route->route);
	put_text(builder, object, "method", route->method);
	put_bool(builder, object, "folded", route->folded);
	put_number(builder, object, "requests", route->requests);
	put_number(builder, object, "errors", route->errors);
	put_number(builder, object, "aborted", route->aborted);
	put_number(builder, object, "ongoing", route->ongoing);
	put_number(builder, object, "from_read", route->from_read);
	status = put_object(builder, object, "status");
	for (size_t i = 0; i < route->status_count; i++) {
		/* Without a response there is none; `aborted` counts those. */
		if (!route->statuses[i].code)
			continue;
		snprintf(code, sizeof(code), "%03u", route->statuses[i].code);
		put_count(builder, status, code, route->statuses[i].count);
	}
	put_summary(builder, object, "latency_ms", &route->latency);
	put_summary(builder, object, "first_byte_ms", &route->first_byte);
	put_parts(builder, object, route->parts);
	put_awaits(builder, object, route);
	put_double(builder, object, "loop_share", route->loop_share, 4);
	put_slowest(builder, object, report, route);
}

static void put_websocket(struct builder *builder, cJSON *array,
			  const struct websocket_summary *websocket)
{
	cJSON *object = put_object(builder, array, NULL);

	put_text(builder, object, "route", websocket->route);
	put_number(builder, object, "sessions", websocket->sessions);
	put_number(builder, object, "ongoing", websocket->ongoing);
	put_number(builder, object, "messages_in", websocket->messages_in);
	put_number(builder, object, "messages_out", websocket->messages_out);
	put_summary(builder, object, "duration_ms", &websocket->duration);
}

static void put_dependency(struct builder *builder, cJSON *array,
			   const struct dependency_summary *dependency)
{
	cJSON *object = put_object(builder, array, NULL), *statements;
	size_t room = sizeof(dependency->statements) / sizeof(dependency->statements[0]);

	put_text(builder, object, "peer", dependency->peer);
	put_text(builder, object, "peer_name", dependency->peer_name);
	put_text(builder, object, "protocol", dependency->protocol);
	put_text(builder, object, "route", dependency->route);
	put_text(builder, object, "method", dependency->method);
	put_location(builder, object, "call_site", &dependency->call_site, LOCATION_FUNCTION);
	put_number(builder, object, "calls", dependency->calls);
	put_double(builder, object, "calls_per_request", dependency->calls_per_request, 3);
	put_summary(builder, object, "latency_ms", &dependency->latency);
	put_number(builder, object, "errors", dependency->errors);
	put_number(builder, object, "failures", dependency->failures);
	put_number(builder, object, "refused", dependency->refused);
	put_number(builder, object, "unanswered", dependency->unanswered);
	put_number(builder, object, "given_up", dependency->given_up);
	put_number(builder, object, "bytes_sent", dependency->bytes_sent);
	put_number(builder, object, "bytes_received", dependency->bytes_received);
	put_bool(builder, object, "unpaired", dependency->unpaired);
	statements = put_array(builder, object, "statements");
	for (size_t i = 0; i < room && dependency->statements[i]; i++)
		put_text(builder, statements, NULL, dependency->statements[i]);
}

static void put_callable(struct builder *builder, cJSON *array, const char *name_key,
			 const struct callable_summary *callable)
{
	cJSON *object = put_object(builder, array, NULL);

	put_text(builder, object, name_key, callable->name);
	put_text(builder, object, "route", callable->route);
	put_text(builder, object, "method", callable->method);
	put_number(builder, object, "calls", callable->calls);
	put_double(builder, object, "calls_per_request", callable->calls_per_request, 3);
	put_summary(builder, object, "time_ms", &callable->time);
	put_summary(builder, object, "own_ms", &callable->own);
	put_bool(builder, object, "sampled", callable->sampled);
}

void json_put_routes(struct builder *builder, cJSON *root, const struct report *report,
		     const struct selection *selection)
{
	cJSON *array = put_array(builder, root, "routes");

	for (size_t i = 0; i < selection->route_count; i++)
		put_route(builder, array, report, selection->routes[i]);
	array = put_array(builder, root, "websockets");
	for (size_t i = 0; i < selection->websocket_count; i++)
		put_websocket(builder, array, selection->websockets[i]);
	array = put_array(builder, root, "middleware");
	for (size_t i = 0; i < selection->middleware_count; i++)
		put_callable(builder, array, "class", selection->middleware[i]);
	array = put_array(builder, root, "dependencies");
	for (size_t i = 0; i < selection->dependency_count; i++)
		put_dependency(builder, array, selection->dependencies[i]);
	array = put_array(builder, root, "injected");
	for (size_t i = 0; i < selection->injected_count; i++)
		put_callable(builder, array, "callable", selection->injected[i]);
}
