// SPDX-License-Identifier: Apache-2.0
/* Routes, peers, callables and victims in the outputs, over reports made by hand. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <cjson/cJSON.h>

#include "base/units.h"
#include "detect/finding.h"
#include "export/clean.h"
#include "export/exporter.h"
#include "export/select.h"
#include "export/text_cause.h"
#include "golden.h"
#include "routes_report.h"

/* No findings: routes and one peer alone. */
static struct report calm(void)
{
	struct report report = full;

	report.finding_count = report.websocket_count = report.injected_count = 0;
	report.middleware_count = 0;
	report.dependency_count = 1;
	report.routes = &routes[2];
	report.route_count = 1;
	return report;
}

static void text(void **state)
{
	struct report report = calm();

	(void)state;
	golden("routes.txt", "text", &full, &(struct export_options){ 0 });
	golden("routes-narrow.txt", "text", &full, &(struct export_options){ .width = 60 });
	golden("routes-all.txt", "text", &full,
	       &(struct export_options){ .all = true, .width = 140 });
	golden("routes-color.txt", "text", &full,
	       &(struct export_options){ .color = true, .width = 80 });
	golden("routes-calm.txt", "text", &report, &(struct export_options){ 0 });
	golden("routes-glob.txt", "text", &full,
	       &(struct export_options){ .route_glob = "POST *" });
	golden("routes-peers.txt", "text", &full,
	       &(struct export_options){ .route_glob = "GET /[io]*", .sort = "p90" });
	golden("routes-none.txt", "text", &full,
	       &(struct export_options){ .route_glob = "/nothing" });
}

static void json(void **state)
{
	struct report empty = { .bpf_cpu_s = -1 };

	(void)state;
	golden("routes.json", "json", &full, &(struct export_options){ 0 });
	golden("routes-glob.json", "json", &full,
	       &(struct export_options){ .route_glob = "POST *", .sort = "requests" });
	empty.losses = losses;
	empty.loss_count = COUNT(losses);
	golden("routes-empty.json", "json", &empty, &(struct export_options){ 0 });
}

/* As long as the report is, and as wide: lines stay inside of the page, and cells on lines. */
static void lines_fit(const char *bytes, unsigned width, unsigned most)
{
	unsigned lines = 0;

	for (const char *at = bytes; *at; lines++) {
		size_t length = strcspn(at, "\n");
		char line[1024];

		assert_in_range(length, 0, sizeof(line) - 1);
		snprintf(line, sizeof(line), "%.*s", (int)length, at);
		if (clean_width(line) > width)
			fail_msg("%zu columns: %s", clean_width(line), line);
		assert_true(!length || line[length - 1] != ' ');
		at += length + (at[length] == '\n');
	}
	assert_in_range(lines, 1, most);
}

static void text_fits_a_page(void **state)
{
	static const unsigned widths[] = { 80, 100, 132, 240 };
	struct route_summary *many_routes = calloc(3000, sizeof(*many_routes));
	struct dependency_summary *many_peers = calloc(3000, sizeof(*many_peers));
	struct callable_summary *many = calloc(3000, sizeof(*many));
	struct finding copies[40];
	struct report report = full;
	size_t size;

	(void)state;
	assert_true(many_routes && many_peers && many);
	for (size_t i = 0; i < 3000; i++) {
		many_routes[i] = routes[i % COUNT(routes)];
		many_peers[i] = dependencies[i % COUNT(dependencies)];
		many[i] = injected[i % COUNT(injected)];
	}
	for (size_t i = 0; i < COUNT(copies); i++)
		copies[i] = findings[i % COUNT(findings)];
	report.routes = many_routes;
	report.dependencies = many_peers;
	report.injected = report.middleware = many;
	report.findings = copies;
	report.route_count = report.dependency_count = report.injected_count = 3000;
	report.middleware_count = 3000;
	report.finding_count = COUNT(copies);
	for (size_t i = 0; i < COUNT(widths); i++) {
		struct export_options options = { .width = widths[i] };
		char *bytes = render("text", &report, &options, &size);

		lines_fit(bytes, widths[i], 60);
		assert_non_null(strstr(bytes, "... and 2,996 more, see -v or --json\n"));
		free(bytes);
		options.all = true;
		bytes = render("text", &report, &options, &size);
		assert_null(strstr(bytes, "more, see"));
		lines_fit(bytes, widths[i], 100000);
		free(bytes);
	}
	free(many_routes);
	free(many_peers);
	free(many);
}

/* What is left out of tables that are empty. */
static void empty_tables(void **state)
{
	static const char *const titles[] = {
		"\nroute ", "\npeer ", "\ninjected ", "\nmiddleware ", "\nwebsocket ",
		"\nvictims\n",
	};
	struct report report = full;
	size_t size;
	char *bytes = render("text", &report, &(struct export_options){ 0 }, &size);

	(void)state;
	for (size_t i = 0; i < COUNT(titles); i++)
		assert_non_null(strstr(bytes, titles[i]));
	free(bytes);
	report.route_count = report.dependency_count = report.injected_count = 0;
	report.middleware_count = report.websocket_count = 0;
	bytes = render("text", &report, &(struct export_options){ 0 }, &size);
	for (size_t i = 0; i < COUNT(titles); i++)
		assert_null(strstr(bytes, titles[i]));
	free(bytes);
}

static void order(void **state)
{
	static const struct {
		const char *column;
		unsigned first, second, last;
	} cases[] = {
		{ NULL, 2, 0, 6 }, { "total", 2, 0, 6 }, { "requests", 0, 2, 6 },
		{ "errors", 0, 5, 6 }, { "p50", 1, 2, 6 }, { "p90", 1, 2, 6 },
		{ "p99", 1, 0, 6 }, { "max", 1, 0, 6 }, { "loop", 1, 0, 6 },
	};
	struct selection selection;
	const char *names = sort_columns();

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct export_options options = { .sort = cases[i].column };

		assert_int_equal(selection_make(&full, &options, &selection), 0);
		assert_int_equal(selection.route_count, COUNT(routes));
		assert_ptr_equal(selection.routes[0], &routes[cases[i].first]);
		assert_ptr_equal(selection.routes[1], &routes[cases[i].second]);
		assert_ptr_equal(selection.routes[COUNT(routes) - 1], &routes[cases[i].last]);
		selection_free(&selection);
		if (!cases[i].column)
			continue;
		assert_true(sort_column_known(cases[i].column));
		assert_non_null(strstr(names, cases[i].column));
	}
	assert_string_equal(names, "total, requests, errors, p50, p90, p99, max, loop");
	assert_false(sort_column_known("worst"));
	assert_false(sort_column_known(""));
}

static void globs(void **state)
{
	static const struct {
		const char *glob;
		size_t findings, routes, websockets, dependencies, injected, middleware;
	} cases[] = {
		{ NULL, 4, 7, 2, 4, 2, 2 }, { "*", 3, 7, 2, 3, 2, 1 },
		{ "/items/*", 1, 1, 0, 1, 1, 0 }, { "GET /items/{item_id}", 1, 1, 0, 1, 1, 0 },
		{ "POST *", 1, 1, 0, 0, 0, 0 }, { "GET *", 2, 5, 0, 3, 2, 1 },
		{ "WS *", 0, 0, 2, 0, 0, 0 }, { "/chat/*", 0, 0, 1, 0, 0, 0 },
		{ "<unmatched>", 0, 1, 0, 0, 0, 0 }, { " <unmatched>", 0, 0, 0, 0, 0, 0 },
		{ "/ITEMS/*", 0, 0, 0, 0, 0, 0 }, { "", 0, 0, 0, 0, 0, 0 },
	};
	struct selection selection;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct export_options options = { .route_glob = cases[i].glob };

		assert_int_equal(selection_make(&full, &options, &selection), 0);
		assert_int_equal(selection.findings ? selection.finding_count : 99,
				 cases[i].findings);
		assert_int_equal(selection.route_count, cases[i].routes);
		assert_int_equal(selection.websocket_count, cases[i].websockets);
		assert_int_equal(selection.dependency_count, cases[i].dependencies);
		assert_int_equal(selection.injected_count, cases[i].injected);
		assert_int_equal(selection.middleware_count, cases[i].middleware);
		selection_free(&selection);
	}
}

/* Rows longer than any buffer are compared whole. */
static void glob_of_a_long_route(void **state)
{
	static char name[4000];
	struct route_summary route = { .route = name, .method = "GET", .loop_share = -1 };
	struct report report = { .routes = &route, .route_count = 1, .bpf_cpu_s = -1 };
	struct export_options options = { .route_glob = "GET /*/end" };
	struct selection selection;

	(void)state;
	memset(name, 'x', sizeof(name) - 1);
	name[0] = '/';
	memcpy(name + sizeof(name) - 5, "/end", 4);
	assert_int_equal(selection_make(&report, &options, &selection), 0);
	assert_int_equal(selection.route_count, 1);
	selection_free(&selection);
	options.route_glob = "GET /*/En";
	assert_int_equal(selection_make(&report, &options, &selection), 0);
	assert_int_equal(selection.route_count, 0);
	selection_free(&selection);
}

static void worst_causes(void **state)
{
	static const char *const wanted[] = {
		"97 % behind POST /report", "blocks the loop 91 %", "dependency 10.0.0.5:5432 83 %",
		"80 % behind task refresher", "thread 90 %", "-", "-",
	};
	struct slow_summary slow;
	struct route_summary route;
	struct route_cause cause;
	char *words;

	(void)state;
	for (size_t i = 0; i < COUNT(routes); i++) {
		cause = route_cause_of(&full, &routes[i]);
		words = route_cause_text(&cause);
		assert_string_equal(words, wanted[i]);
		free(words);
	}

	/* Nobody is blamed for less than half of it, nor one that is not in the report. */
	route = routes[0];
	for (unsigned known = 0; known < 2; known++) {
		slow = health_slowest[0];
		slow.causes[0].finding = known ? REPORT : COUNT(findings);
		slow.causes[0].total_ns = known ? MS(100) : MS(211);
		route.slowest = &slow;
		route.slowest_count = 1;
		cause = route_cause_of(&full, &route);
		words = route_cause_text(&cause);
		assert_string_equal(words, "100 % behind others");
		free(words);
	}

	/* Half of the time of slow ones is not most of it. */
	slow.parts[PART_behind_others] = MS(106);
	cause = route_cause_of(&full, &route);
	assert_int_equal(cause.part, PART_loop_cpu);
	assert_int_equal(cause.percent, 60);

	/* Where all of them are behind others, the finding that delayed most of it. */
	route.parts[PART_behind_others] = MS(3500);
	cause = route_cause_of(&full, &route);
	assert_ptr_equal(cause.finding, &findings[REPORT]);
	assert_int_equal(cause.percent, 54);

	/* Neither a peer nor a name. */
	memset(route.parts, 0, sizeof(route.parts));
	route.parts[PART_dependency_wait] = 1;
	route.route = "/elsewhere";
	cause = route_cause_of(&full, &route);
	words = route_cause_text(&cause);
	assert_string_equal(words, "dependency 100 %");
	free(words);
}

static const cJSON *at(const cJSON *root, const char *array, int index, const char *field)
{
	const cJSON *item = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(root, array),
					       index);

	item = cJSON_GetObjectItemCaseSensitive(item, field);
	if (!item)
		fail_msg("%s[%d].%s is not there", array, index, field);
	return item;
}

static void json_of_what_is_not_known(void **state)
{
	size_t size;
	char *bytes = render("json", &full, &(struct export_options){ 0 }, &size);
	cJSON *root = cJSON_Parse(bytes);
	const cJSON *item;

	(void)state;
	assert_non_null(root);
	/* routes come with most time first: 2, 0, ... */
	assert_true(cJSON_IsNull(at(root, "routes", 6, "loop_share")));
	item = at(root, "routes", 6, "latency_ms");
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(item, "p50")));
	assert_true(cJSON_IsNull(at(root, "routes", 5, "method")));
	item = cJSON_GetArrayItem(at(root, "routes", 1, "slowest"), 1);
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(item, "status")));
	item = at(root, "routes", 1, "status");
	assert_int_equal(cJSON_GetArraySize(item), 2);
	assert_int_equal(cJSON_GetObjectItem(item, "503")->valueint, 10);
	assert_true(cJSON_IsNull(at(root, "dependencies", 2, "calls_per_request")));
	assert_true(cJSON_IsNull(at(root, "dependencies", 2, "call_site")));
	assert_true(cJSON_IsNull(at(root, "dependencies", 2, "route")));
	assert_true(cJSON_IsNull(at(root, "dependencies", 2, "peer_name")));
	assert_true(cJSON_IsNull(at(root, "dependencies", 3, "peer")));
	assert_true(cJSON_IsNumber(at(root, "dependencies", 3, "calls_per_request")));
	assert_int_equal(cJSON_GetArraySize(at(root, "dependencies", 3, "statements")), 4);
	assert_true(cJSON_IsNull(at(root, "injected", 1, "calls_per_request")));
	assert_true(cJSON_IsNull(at(root, "findings", 0, "calls_per_request")));
	assert_true(cJSON_IsNull(at(root, "findings", 0, "calls_per_request_dist")));
	assert_true(cJSON_IsNull(at(root, "findings", 0, "statement")));
	assert_int_equal(at(root, "findings", 2, "calls_per_request")->valueint, 50);
	item = at(root, "findings", 2, "calls_per_request_dist");
	assert_int_equal(cJSON_GetObjectItem(item, "max")->valueint, 71);
	assert_true(cJSON_GetObjectItem(item, "mean")->valuedouble == 50.333);
	cJSON_Delete(root);
	free(bytes);
}

static void json_parts_and_matrix(void **state)
{
	size_t size;
	char *bytes = render("json", &full, &(struct export_options){ 0 }, &size);
	cJSON *root = cJSON_Parse(bytes);
	const cJSON *item;

	(void)state;
	assert_non_null(root);
	item = at(root, "routes", 0, "time_ms");
	assert_int_equal(cJSON_GetArraySize(item), PART_COUNT);
	for (unsigned part = 0; part < PART_COUNT; part++) {
		assert_non_null(strstr(report_schema, time_part_name(part)));
		assert_true(cJSON_GetObjectItem(item, time_part_name(part))->valuedouble ==
			    (double)routes[2].parts[part] / NS_PER_MS);
	}
	item = cJSON_GetArrayItem(at(root, "routes", 1, "slowest"), 0);
	item = cJSON_GetObjectItem(item, "delayed_by");
	assert_int_equal(cJSON_GetArraySize(item), 2);
	item = cJSON_GetArrayItem(item, 1);
	assert_string_equal(cJSON_GetObjectItem(item, "finding")->valuestring, findings[TASK].id);
	assert_true(cJSON_GetObjectItem(item, "ms")->valuedouble == 1.5);

	item = cJSON_GetObjectItem(root, "matrix");
	assert_int_equal(cJSON_GetArraySize(item), COUNT(report_victims));
	assert_string_equal(at(root, "matrix", 0, "finding")->valuestring, findings[REPORT].id);
	item = at(root, "matrix", 0, "victim");
	assert_string_equal(cJSON_GetObjectItem(item, "route")->valuestring, "/health");
	assert_int_equal(at(root, "matrix", 0, "requests")->valueint, 12);
	item = at(root, "matrix", 0, "delay_ms");
	assert_true(cJSON_GetObjectItem(item, "total")->valuedouble == 1902.5);
	cJSON_Delete(root);
	free(bytes);
}

/* A cause that is no finding of the report is left out. */
static void json_of_a_wrong_cause(void **state)
{
	struct slow_summary slow = health_slowest[0];
	struct route_summary route = routes[0];
	struct report report = full;
	const cJSON *item;
	size_t size;
	cJSON *root;
	char *bytes;

	(void)state;
	slow.causes[0].finding = COUNT(findings);
	route.slowest = &slow;
	route.slowest_count = 1;
	report.routes = &route;
	report.route_count = 1;
	bytes = render("json", &report, &(struct export_options){ 0 }, &size);
	root = cJSON_Parse(bytes);
	assert_non_null(root);
	item = cJSON_GetArrayItem(at(root, "routes", 0, "slowest"), 0);
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(item, "delayed_by")), 1);
	cJSON_Delete(root);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text),
		cmocka_unit_test(json),
		cmocka_unit_test(text_fits_a_page),
		cmocka_unit_test(empty_tables),
		cmocka_unit_test(order),
		cmocka_unit_test(globs),
		cmocka_unit_test(glob_of_a_long_route),
		cmocka_unit_test(worst_causes),
		cmocka_unit_test(json_of_what_is_not_known),
		cmocka_unit_test(json_parts_and_matrix),
		cmocka_unit_test(json_of_a_wrong_cause),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
