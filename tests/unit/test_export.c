// SPDX-License-Identifier: Apache-2.0
/* Every format over reports made by hand: findings, stacks, losses. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/units.h"
#include "detect/finding.h"
#include "export/clean.h"
#include "export/exporter.h"
#include "export/select.h"
#include "golden.h"

#define START 1767323045678000000ull	/* 2026-01-02T03:04:05.678Z */

static const struct place leaf[] = {
	{ "/usr/lib/python3.13/site-packages/requests/adapters.py", "send", "HTTPAdapter.send",
	  644 },
	{ "/srv/app/service/clients/payments.py", "charge", "Payments.charge", 42 },
	{ "/srv/app/service/routes/orders.py", "create_order",
	  "make_router.<locals>.create_order", 118 },
	{ "/usr/lib/python3.13/site-packages/fastapi/routing.py", "run_endpoint_function",
	  "run_endpoint_function", 212 },
};

static const struct place other[] = {
	{ "/srv/app/service/clients/payments.py", "refund;all", "Payments.refund;all", 77 },
	{ "/srv/app/service/routes/orders.py", "create_order",
	  "make_router.<locals>.create_order", 121 },
	{ "/usr/lib/python3.13/site-packages/fastapi/routing.py", "run_endpoint_function",
	  "run_endpoint_function", 212 },
};

#define BUILD { "/srv/app/service/<generated> & \"quoted\"/r\xc3\xa9port.py", "build", \
		"Builder[T<int>].build", 9 }
#define HOSTILE { "/srv/caf\xe9/\x1b[31mred.py", "f\xff", "", 0 }	/* Latin-1, and an escape */

static const struct place cpu[] = {
	BUILD,
	{ "/srv/app/service/routes/reports.py", "report", "report", 30 },
};

static struct stack_summary blocking_stacks[] = {
	{ 20, MS(2010), (struct place *)leaf, COUNT(leaf), false },
	{ 3, MS(301.5), (struct place *)other, COUNT(other), true },
};

static struct stack_summary cpu_stacks[] = {
	{ 31, 0, (struct place *)cpu, COUNT(cpu), false },
};

static struct process_share blocking_processes[] = { { 4242, 14 }, { 4243, 10 } };

static struct victim blocking_victims[] = {
	{ "/healthz", "GET", 12, MS(98.2), MS(611) },
	{ "/api/v1/items/{item_id}", "GET", 1, MS(3.25), MS(3.25) },
};

static struct finding findings[] = {
	{
		.id = "00c0ffee12345678", .kind = FINDING_blocking_call,
		.severity = SEVERITY_CRITICAL, .route = "/api/v1/orders/{order_id}/payment",
		.method = "POST",
		.culprit = { "/srv/app/service/clients/payments.py", "charge", "Payments.charge",
			     42 },
		.library = { "/usr/lib/python3.13/site-packages/requests/adapters.py", "send",
			     "HTTPAdapter.send", 644 },
		.syscall = "recvfrom", .peer = "10.0.0.5:443", .blocks_loop = true, .count = 24,
		.requests = 24, .calls = 48, .duration = { 24, MS(2412.345678), MS(100.514),
			      MS(80.1), MS(100.3), MS(101), MS(412.4996), MS(412.4996) },
		.loop_lag = { 24, MS(2500), MS(104), MS(81), MS(101), MS(130), MS(640),
			      MS(640) },
		.first_ns = START + MS(120), .last_ns = START + MS(9800),
		.processes = blocking_processes, .process_count = 2,
		.victims = blocking_victims, .victim_count = 2,
		.stacks = blocking_stacks, .stack_count = 2, .evidence = EVIDENCE_EXACT,
		.advice = "Use an async client (httpx.AsyncClient) and await it, or make the "
			  "endpoint a plain def so that it runs in a worker thread.",
	}, {
		.id = "0123456789abcdef", .kind = FINDING_cpu_stall,
		.severity = SEVERITY_CRITICAL, .route = "/reports/<kind>", .method = "GET",
		.culprit = BUILD,
		.native_frame = "libcrypt.so.1:crypt_r", .blocks_loop = true, .count = 1,
		.requests = 1, .samples = 31, .duration = { 1, MS(320), MS(320), MS(320), MS(320),
			      MS(320), MS(320), MS(320) },
		.loop_lag = { 1, MS(321), MS(321), MS(321), MS(321), MS(321), MS(321), MS(321) },
		.first_ns = START + MS(300), .last_ns = START + MS(300),
		.stacks = cpu_stacks, .stack_count = 1, .evidence = EVIDENCE_SAMPLED,
		.advice = "Move the computation into a process pool.",
	}, {
		.id = "1111111111111111", .kind = FINDING_lock_wait, .severity = SEVERITY_WARNING,
		.culprit = HOSTILE,
		.owner_task = "cache-refresh", .syscall = "futex", .blocks_loop = true,
		.count = 1, .calls = 1, .duration = { 1, MS(3200), MS(3200), MS(3200), MS(3200),
			      MS(3200), MS(3200), MS(3200) },
		.ongoing = true, .since_before = true, .evidence = EVIDENCE_EXACT,
	}, {
		.id = "2222222222222222", .kind = FINDING_gc_pause, .severity = SEVERITY_WARNING,
		.owner_thread = "MainThread", .blocks_loop = true, .count = 3, .samples = 12,
		.duration = { 3, MS(122), MS(40.666), MS(39), MS(41), MS(42), MS(42), MS(42) },
		.first_ns = START, .last_ns = START + MS(8000), .evidence = EVIDENCE_SAMPLED,
		.advice = "Freeze what lives long (gc.freeze()) after start-up.",
	}, {
		.id = "3333333333333333", .kind = FINDING_cpu_starvation,
		.severity = SEVERITY_WARNING, .detail = "stress-ng (pid 812) had the CPU",
		.blocks_loop = true, .count = 1204, .duration = { 1204, MS(5120), MS(4.252),
			      MS(1), MS(4.1), MS(6), MS(9), MS(31.000499) },
		.first_ns = START, .last_ns = START + MS(9999), .evidence = EVIDENCE_INCOMPLETE,
		.advice = "Give the service a CPU of its own or raise its share.",
	}, {
		.id = "4444444444444444", .kind = FINDING_gil_contention,
		.severity = SEVERITY_WARNING, .route = "/thumbs/{name}", .method = "GET",
		.route_folded = true,
		.culprit = { "/srv/app/service/thumbs.py", "shrink", "shrink", 12 },
		.blocks_loop = false, .count = 2, .requests = 1, .samples = 4,
		.duration = { 2, MS(50), MS(25), MS(21), MS(21), MS(29), MS(29), MS(29) },
		.ongoing = true, .evidence = EVIDENCE_SAMPLED,
	},
};

static struct loop_summary loops[] = {
	{ 4242, 1204, 0.8342, { 1204, MS(8342), MS(6.928), MS(0.004), MS(1.5), MS(30), MS(210),
				MS(640) } },
	{ 4299, 0, -1, { 0 } },
};

static const char *notes[] = { "pid 4243 was killed by signal 9 after 4.1 s" };

static struct target_summary targets[] = {
	{ .pid = 4242, .start_ns = START - MS(60000),
	  .cmdline = "python -m uvicorn app:app --loop uvloop",
	  .python = "3.13.0", .server = "uvicorn 0.54.0", .loop_kind = "uvloop",
	  .loops = loops, .loop_count = 2 },
	{ .pid = 4243, .notes = notes, .note_count = 1 },
};

static struct loss_item losses[] = {
	{ "ring_full", "the ring buffer was full: user space did not read fast enough", 12 },
	{ "dropped_on_purpose", "dropped by --drop-events, to test how losses are shown", 0 },
};

static struct loss_item counters[] = {
	{ "stack_walks", "Python stacks walked", 1234567 },
	{ "stack_truncated", "Python stacks with more frames than are kept", 0 },
};

static const struct report full = {
	.start_ns = START, .end_ns = START + MS(10000), .kernel = "6.12.0", .arch = "x86_64",
	.targets = targets, .target_count = COUNT(targets),
	.findings = findings, .finding_count = COUNT(findings),
	.produced = 1216, .received = 1204, .losses = losses, .loss_count = COUNT(losses),
	.notes = counters, .note_count = COUNT(counters),
	.self_cpu_s = 0.0421, .bpf_cpu_s = 0.01, .self_rss_bytes = 19 << 20,
};

static struct loop_summary calm_loops[] = {
	{ 4242, 120400, 0.12, { 120400, MS(3600), MS(0.03), MS(0.004), MS(0.025), MS(0.1), MS(1.2),
				MS(4.25) } },
};

static struct target_summary calm[] = {
	{ .pid = 4242, .start_ns = START - MS(60000), .cmdline = "python -m uvicorn app:app",
	  .python = "3.13.0", .server = "uvicorn 0.54.0", .loop_kind = "asyncio",
	  .loops = calm_loops, .loop_count = 1 },
};

static struct loss_item no_losses[] = {
	{ "ring_full", "the ring buffer was full: user space did not read fast enough", 0 },
	{ "dropped_on_purpose", "dropped by --drop-events, to test how losses are shown", 0 },
};

static const struct report healthy = {
	.start_ns = START, .end_ns = START + MS(30000), .kernel = "6.12.0", .arch = "x86_64",
	.targets = calm, .target_count = COUNT(calm),
	.produced = UINT64_MAX, .received = UINT64_MAX,
	.losses = no_losses, .loss_count = COUNT(no_losses),
	.self_cpu_s = 1e-7, .bpf_cpu_s = -1, .self_rss_bytes = 1,
};

/* One route after another, more than a screen holds. */
static void make_long(struct report *report, struct finding *copies, size_t count)
{
	for (size_t i = 0; i < count; i++)
		copies[i] = findings[i % COUNT(findings)];
	*report = full;
	report->findings = copies;
	report->finding_count = count;
}

static void text(void **state)
{
	struct finding copies[14];
	struct report report;

	(void)state;
	make_long(&report, copies, COUNT(copies));
	golden("text.txt", "text", &full, &(struct export_options){ .width = 80 });
	golden("text-long.txt", "text", &report, &(struct export_options){ .width = 120 });
	golden("text-all.txt", "text", &full, &(struct export_options){ .all = true });
	golden("text-color.txt", "text", &full, &(struct export_options){ .color = true });
	golden("text-healthy.txt", "text", &healthy, &(struct export_options){ 0 });
}

/* By default a screen, however much there is. */
static void text_fits_a_screen(void **state)
{
	static const unsigned widths[] = { 1, 80, 100, 120, 240 };
	struct finding copies[60];
	struct report report;
	size_t size;

	(void)state;
	for (size_t count = 1; count < COUNT(copies); count += 7) {
		make_long(&report, copies, count);
		for (size_t i = 0; i < COUNT(widths); i++) {
			const struct export_options options = { .width = widths[i] };
			char *bytes = render("text", &report, &options, &size);
			unsigned lines = 0;

			for (size_t at = 0; at < size; at++)
				lines += bytes[at] == '\n';
			assert_in_range(lines, 5, 44);
			free(bytes);
		}
	}
}

static void json(void **state)
{
	(void)state;
	golden("json.json", "json", &full, &(struct export_options){ 0 });
	golden("json-healthy.json", "json", &healthy, &(struct export_options){ 0 });
}

static void folded(void **state)
{
	size_t size;
	char *bytes;

	(void)state;
	golden("folded.folded", "folded", &full, &(struct export_options){ 0 });
	bytes = render("folded", &healthy, &(struct export_options){ 0 }, &size);
	assert_int_equal(size, 0);
	free(bytes);
}

static void svg(void **state)
{
	(void)state;
	golden("svg.svg", "svg", &full, &(struct export_options){ 0 });
	golden("svg-healthy.svg", "svg", &healthy, &(struct export_options){ 0 });
}

/* Beyond what is drawn the frames nearest the leaf are kept. */
static void deep_stack(void **state)
{
	static struct place frames[1000];
	struct stack_summary stack = { 1, MS(50), frames, COUNT(frames), false };
	struct finding finding = findings[2];
	struct report report = full;
	size_t size;
	char *bytes;

	(void)state;
	for (size_t i = 0; i < COUNT(frames); i++)
		frames[i] = (struct place){ "/srv/app/deep.py", "down", "down", 1000 - i };
	finding.stacks = &stack;
	finding.stack_count = 1;
	finding.duration.total = MS(50);
	report.findings = &finding;
	report.finding_count = 1;
	bytes = render("folded", &report, &(struct export_options){ 0 }, &size);
	assert_non_null(strstr(bytes, ";[truncated];"));
	assert_non_null(strstr(bytes, "down (/srv/app/deep.py:1000);[futex] 50000\n"));
	free(bytes);
	bytes = render("svg", &report, &(struct export_options){ 0 }, &size);
	assert_non_null(strstr(bytes, "deep.py:1000"));
	free(bytes);
}

/* What is folded adds up to what was blocked. */
static void folded_total(void **state)
{
	uint64_t sum = 0, wanted = 0;
	size_t size, lines = 0;
	char *bytes = render("folded", &full, &(struct export_options){ 0 }, &size), *line;

	(void)state;
	for (size_t i = 0; i < COUNT(findings); i++)
		if (findings[i].blocks_loop)
			wanted += findings[i].duration.total / 1000;
	for (line = strtok(bytes, "\n"); line; line = strtok(NULL, "\n"), lines++)
		sum += strtoull(strrchr(line, ' ') + 1, NULL, 10);
	assert_in_range(sum, wanted - lines - 1, wanted + lines + 1);
	free(bytes);
}

static void which_findings(void **state)
{
	struct export_options options = { .route_glob = "/thumbs/*" };
	struct selection selection;

	(void)state;
	assert_int_equal(selection_make(&full, &options, &selection), 0);
	assert_int_equal(selection.finding_count, 1);
	assert_ptr_equal(selection.findings[0], &findings[5]);
	selection_free(&selection);

	options.route_glob = "POST *";
	assert_int_equal(selection_make(&full, &options, &selection), 0);
	assert_int_equal(selection.finding_count, 1);
	assert_ptr_equal(selection.findings[0], &findings[0]);
	selection_free(&selection);

	/* The order is that of the routes; findings stay as they are, worst first. */
	options = (struct export_options){ .sort = "errors" };
	assert_int_equal(selection_make(&full, &options, &selection), 0);
	assert_int_equal(selection.finding_count, COUNT(findings));
	for (size_t i = 0; i < COUNT(findings); i++)
		assert_ptr_equal(selection.findings[i], &findings[i]);
	selection_free(&selection);

	options.sort = "nonsense";
	assert_int_equal(selection_make(&full, &options, &selection), -EINVAL);
	for (unsigned i = 0; i < exporter_count; i++)
		assert_int_equal(exporters[i].write(&full, &options, stderr), -EINVAL);
}

/* A full disk is an error in every format. */
static void stream_fails(void **state)
{
	const struct export_options options = { 0 };

	(void)state;
	for (unsigned i = 0; i < exporter_count; i++) {
		FILE *out = fopen("/dev/full", "w");

		assert_non_null(out);
		setvbuf(out, NULL, _IONBF, 0);
		assert_int_equal(exporters[i].write(&full, &options, out), -EIO);
		fclose(out);
	}
}

static void formats(void **state)
{
	(void)state;
	assert_string_equal(exporter_for_path("/tmp/a.json")->name, "json");
	assert_string_equal(exporter_for_path("flame.svg")->name, "svg");
	assert_null(exporter_for_path(".svg"));
	assert_null(exporter_for_path("report"));
	assert_null(exporter_by_name("pprof"));
	assert_non_null(strstr(report_schema, "loopscope.report/1"));
}

static void cleaning(void **state)
{
	static const struct {
		const char *text, *utf8, *print;
	} cases[] = {
		{ "", "", "" },
		{ "plain", "plain", "plain" },
		{ "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x8d",
		  "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x8d",
		  "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x8d" },
		{ "caf\xe9", "caf\xef\xbf\xbd", "caf\xef\xbf\xbd" },
		{ "cut \xe2\x82", "cut \xef\xbf\xbd\xef\xbf\xbd", "cut \xef\xbf\xbd\xef\xbf\xbd" },
		{ "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd", "\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
		  "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "a\x1b[2Jb", "a\x1b[2Jb", "a?[2Jb" },
		{ "\xc2\x9b" "1m", "\xc2\x9b" "1m", "?1m" },
		{ "\xe2\x80\xae", "\xe2\x80\xae", "?" },
		{ "\xef\xbf\xbf", "\xef\xbf\xbf", "?" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char *utf8 = clean_text(cases[i].text, CLEAN_UTF8);
		char *print = clean_text(cases[i].text, CLEAN_PRINT);

		assert_string_equal(utf8, cases[i].utf8);
		assert_string_equal(print, cases[i].print);
		free(utf8);
		free(print);
	}
	assert_null(clean_text(NULL, CLEAN_PRINT));
	assert_int_equal(clean_width("\xc3\xa9\xe2\x82\xac" "a"), 3);
	assert_int_equal(clean_prefix("\xc3\xa9\xe2\x82\xac" "a", 2), 5);
	assert_int_equal(clean_prefix("ab", 5), 2);
}

static void kinds_and_frees(void **state)
{
	struct report report = { 0 };
	struct finding finding = { 0 };

	(void)state;
	for (int kind = 0; kind < FINDING_KIND_COUNT; kind++) {
		const struct finding of = { .kind = (enum finding_kind)kind };

		assert_non_null(strstr(report_schema, finding_kind_name(kind)));
		assert_true(strlen(finding_text(&of)) > 0);
	}
	for (int kind = 0; kind <= VERDICT_healthy; kind++)
		assert_non_null(strstr(report_schema, verdict_kind_name(kind)));
	finding.stacks = calloc(2, sizeof(*finding.stacks));
	assert_non_null(finding.stacks);
	finding.stack_count = 2;
	finding.stacks[1].frames = calloc(3, sizeof(struct place));
	finding.processes = calloc(1, sizeof(*finding.processes));
	report.findings = malloc(sizeof(finding));
	assert_non_null(report.findings);
	report.findings[0] = finding;
	report.finding_count = 1;
	report.targets = calloc(1, sizeof(*report.targets));
	assert_non_null(report.targets);
	report.target_count = 1;
	report.targets[0].notes = calloc(1, sizeof(char *));
	report.losses = calloc(1, sizeof(*report.losses));
	report_free(&report);
	assert_null(report.findings);
	report_free(&report);
	report_free(NULL);
	finding_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text),
		cmocka_unit_test(text_fits_a_screen),
		cmocka_unit_test(json),
		cmocka_unit_test(folded),
		cmocka_unit_test(deep_stack),
		cmocka_unit_test(folded_total),
		cmocka_unit_test(svg),
		cmocka_unit_test(which_findings),
		cmocka_unit_test(stream_fails),
		cmocka_unit_test(formats),
		cmocka_unit_test(cleaning),
		cmocka_unit_test(kinds_and_frees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
