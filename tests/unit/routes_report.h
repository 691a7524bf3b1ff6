/* SPDX-License-Identifier: Apache-2.0 */
/* A report with everything about requests in it: victims, peers, callables, hostile names. */
#ifndef LS_TEST_ROUTES_REPORT_H
#define LS_TEST_ROUTES_REPORT_H

#include "attribute/stacks.h"
#include "detect/finding.h"
#include "golden.h"

#define START 1767323045678000000ull	/* 2026-01-02T03:04:05.678Z */
#define SUMMARY(count, mean, min, p50, p90, p99, max) { \
	(count), MS((double)(count) * (mean)), MS(mean), MS(min), MS(p50), MS(p90), MS(p99), \
	MS(max) }
/* Neither UTF-8, nor fit for a terminal, a table or XML. */
#define HOSTILE "/caf\xe9/\x1b[31m\n\t{x}</script>\xe2\x80\xae%s%n\"'"

enum { REPORT, ITEMS, ORDERS, TASK };	/* findings */

static struct victim report_victims[] = {
	{ "/health", "GET", 12, MS(210), MS(1902.5) },
	{ "/items/{item_id}", "GET", 1, MS(3.25), MS(3.25) },
	{ HOSTILE, NULL, 1000, MS(1), MS(2) },
};

static struct finding findings[] = {
	[REPORT] = {
		.id = "00c0ffee12345678", .kind = FINDING_blocking_call,
		.severity = SEVERITY_CRITICAL, .route = "/report", .method = "POST",
		.culprit = { "/srv/app/report.py", "build", "build_report", 42 },
		.syscall = "clock_nanosleep", .blocks_loop = true, .count = 9, .requests = 9,
		.calls = 9, .duration = SUMMARY(9, 210, 209, 210, 211, 212, 212),
		.loop_lag = SUMMARY(9, 210, 209, 210, 211, 212, 212),
		.first_ns = START, .last_ns = START + MS(9000),
		.victims = report_victims, .victim_count = COUNT(report_victims),
		.advice = "Await asyncio.sleep().",
	},
	[ITEMS] = {
		.id = "1111111111111111", .kind = FINDING_slow_dependency,
		.severity = SEVERITY_WARNING, .route = "/items/{item_id}", .method = "GET",
		.culprit = { "/srv/app/items.py", "load", "Items.load", 17 },
		.peer = "10.0.0.5:5432",
		.statement = "SELECT i.id, i.name, i.price, s.amount FROM items i JOIN stock s ON "
			     "s.item = i.id WHERE i.id = ? AND s.place = ? ORDER BY s.amount",
		.count = 40, .requests = 40, .calls = 40,
		.duration = SUMMARY(40, 120, 101, 118, 140, 160, 161), .first_ns = START,
		.last_ns = START + MS(9000), .evidence = EVIDENCE_EXACT,
	},
	[ORDERS] = {
		.id = "2222222222222222", .kind = FINDING_n_plus_one,
		.severity = SEVERITY_WARNING, .route = "/orders", .method = "GET",
		.culprit = { "/srv/app/orders.py", "lines", "lines", 88 },
		.peer = "unix:/run/redis.sock", .statement = "HGETALL", .count = 30,
		.requests = 30, .calls = 1510, .calls_per_request = 50,
		.per_request = { 30, 1510, 50, 40, 50, 60, 70, 71 },
		.duration = SUMMARY(30, 30, 25, 30, 35, 40, 41),
		.advice = "Ask for all of them at once (MGET, a pipeline).",
	},
	[TASK] = {
		.id = "3333333333333333", .kind = FINDING_cpu_stall,
		.severity = SEVERITY_WARNING, .owner_task = "refresher",
		.culprit = { "/srv/app/cache.py", "refresh", "refresh", 5 }, .blocks_loop = true,
		.count = 1, .samples = 5, .duration = SUMMARY(1, 50, 50, 50, 50, 50, 50),
		.evidence = EVIDENCE_SAMPLED,
	},
};

static struct status_count health_statuses[] = { { 0, 1 }, { 200, 9990 }, { 503, 10 } };
static struct cause_summary health_causes[] = { { REPORT, 12, MS(210), MS(1902.5) } };

static struct slow_summary health_slowest[] = {
	{ .start_ns = START + MS(1000), .latency_ns = MS(212), .status = 200,
	  .parts = { [PART_loop_cpu] = MS(1), [PART_behind_others] = MS(211) },
	  .causes = { { REPORT, 1, MS(208), MS(208) }, { TASK, 1, MS(1.5), MS(1.5) } },
	  .cause_count = 2 },
	{ .start_ns = START + MS(2000), .latency_ns = MS(200),
	  .parts = { [PART_loop_cpu] = MS(2.5), [PART_behind_others] = MS(197.5) },
	  .causes = { { REPORT, 1, MS(191.6), MS(191.6) } }, .cause_count = 1 },
};

static struct slow_summary orders_slowest[] = {
	{ .start_ns = START + MS(1000), .latency_ns = MS(60), .status = 200,
	  .parts = { [PART_loop_cpu] = MS(9), [PART_behind_others] = MS(51) },
	  .causes = { { TASK, 1, MS(48), MS(48) } }, .cause_count = 1 },
};

static struct stack items_stack = {
	.count = 3, .site = 1,
	.frames = { { "/srv/.venv/site-packages/asyncpg/connection.py", "fetch",
		      "Connection.fetch", 690 },
		    { "/srv/app/items.py", "load", "Items.load", 17 },
		    { "/srv/app/items.py", "item", "item", 30 } },
};
static struct stack hostile_stack = {
	.truncated = true, .count = 1, .frames = { { HOSTILE, HOSTILE, HOSTILE, 0 } },
};
static struct await_summary items_awaits[] = {
	{ PART_dependency_wait, 400, MS(48140), &items_stack },
	{ PART_thread_queue, 200, MS(8960), NULL },
	{ PART_other_wait, 1, MS(0.5), NULL },
};
static struct await_summary orders_awaits[] = {
	{ PART_dependency_wait, 30, MS(1000), &hostile_stack },
};

static struct route_summary routes[] = {
	{ .route = "/health", .method = "GET", .requests = 10001, .errors = 10, .aborted = 1,
	  .ongoing = 2, .statuses = health_statuses, .status_count = COUNT(health_statuses),
	  .latency = SUMMARY(10001, 0.5, 0.31, 0.42, 0.9, 212, 212.345678),
	  .first_byte = SUMMARY(10000, 0.5, 0.3, 0.4, 0.8, 211, 212),
	  .parts = { [PART_loop_cpu] = MS(3000), [PART_behind_others] = MS(2000.5) },
	  .loop_share = 0.1234567, .slowest = health_slowest, .slowest_count = 2,
	  .causes = health_causes, .cause_count = 1 },
	{ .route = "/report", .method = "POST", .requests = 9, .from_read = 9,
	  .latency = SUMMARY(9, 231, 220, 230, 240, 244, 1244),
	  .parts = { [PART_loop_cpu] = MS(10), [PART_loop_blocked] = MS(1900),
		     [PART_client_wait] = MS(169) }, .loop_share = 0.8 },
	{ .route = "/items/{item_id}", .method = "GET", .requests = 400,
	  .latency = SUMMARY(400, 145, 101, 130, 150, 170, 180),
	  .parts = { [PART_loop_cpu] = MS(900), [PART_dependency_wait] = MS(48140),
		     [PART_thread_queue] = MS(8960) }, .loop_share = 0.04,
	  .awaits = items_awaits, .await_count = COUNT(items_awaits) },
	{ .route = "/orders", .method = "GET", .requests = 30,
	  .latency = SUMMARY(30, 40, 35, 40, 45, 60, 60),
	  .parts = { [PART_loop_cpu] = MS(100), [PART_dependency_wait] = MS(1000),
		     [PART_behind_others] = MS(100) }, .loop_share = 0.004,
	  .awaits = orders_awaits, .await_count = COUNT(orders_awaits),
	  .slowest = orders_slowest, .slowest_count = 1 },
	{ .route = "/thumbs/<name>/of/a/folder/with/a/rather/long/path/{size}", .method = "GET",
	  .folded = true, .requests = 77, .latency = SUMMARY(77, 30, 25, 30, 35, 40, 41),
	  .parts = { [PART_thread_run] = MS(2079), [PART_thread_queue] = MS(231) },
	  .loop_share = 0 },
	{ .route = "<unmatched>", .requests = 3, .errors = 3,
	  .latency = SUMMARY(3, 0.2, 0.1, 0.2, 0.3, 0.3, 0.3),
	  .parts = { [PART_loop_cpu] = MS(0.1), [PART_gil_wait] = MS(0.1),
		     [PART_cpu_wait] = MS(0.1), [PART_timer_wait] = MS(0.1),
		     [PART_client_wait] = MS(0.1), [PART_other_wait] = MS(0.1) },
	  .loop_share = -1 },
	{ .route = HOSTILE, .method = "GET", .ongoing = 1, .loop_share = -1 },
};

static struct websocket_summary websockets[] = {
	{ "/chat/{room}", 12, 2, 40000, 41234, SUMMARY(10, 60000, 10, 61000, 90000, 99000, 99000) },
	{ HOSTILE, 1, 1, 0, 0, { 0 } },
};

static struct dependency_summary dependencies[] = {
	{ .peer = "10.0.0.5:5432", .peer_name = "db.internal", .protocol = "postgres",
	  .route = "/items/{item_id}", .method = "GET",
	  .call_site = { "/srv/app/items.py", "load", "Items.load", 17 }, .calls = 401,
	  .errors = 1, .calls_per_request = 1.0025,
	  .latency = SUMMARY(400, 120, 101, 118, 140, 160, 161), .bytes_sent = 40100,
	  .bytes_received = UINT64_MAX, .unanswered = 1,
	  .statements = { "SELECT * FROM items WHERE id = ?", "BEGIN" } },
	{ .peer = "unix:/run/redis.sock", .protocol = "redis", .route = "/orders",
	  .method = "GET", .call_site = { "/srv/app/orders.py", "lines", "lines", 88 },
	  .calls = 1510, .calls_per_request = 50.33333,
	  .latency = SUMMARY(1510, 0.6, 0.2, 0.5, 0.9, 1.2, 9.996),
	  .statements = { "HGETALL" } },
	{ .peer = "[fd00::12]:9092", .protocol = "kafka", .calls = 12, .calls_per_request = -1,
	  .failures = 1, .refused = 4, .latency = SUMMARY(12, 3, 1, 3, 4, 99.96, 99.96),
	  .unpaired = true },
	{ .protocol = "unknown", .route = HOSTILE, .method = "GET", .route_folded = true,
	  .call_site = { HOSTILE, NULL, NULL, 0 }, .calls_per_request = 0,
	  .statements = { HOSTILE, "b", "c", "d" } },
};

static struct callable_summary injected[] = {
	{ "app.deps.get_user", "/items/{item_id}", "GET", 400, 1,
	  SUMMARY(400, 12, 9, 12, 15, 20, 21), SUMMARY(400, 1, 0.9, 1, 1.5, 2, 2.1), false },
	{ "app.deps.get_session", "/orders", "GET", 0, -1, { 0 }, { 0 }, true },
};

static struct callable_summary middleware[] = {
	{ "app.middleware.Timing", "/health", "GET", 10001, 1,
	  SUMMARY(10001, 0.1, 0.05, 0.1, 0.2, 0.3, 4), { 0 }, true },
	{ HOSTILE, NULL, NULL, 1, -1, SUMMARY(1, 1, 1, 1, 1, 1, 1), { 0 }, false },
};

static struct loop_summary loops[] = {
	{ 4242, 1204, 0.8342, SUMMARY(1204, 6.9, 0.004, 1.5, 30, 210, 240) },
};

static struct target_summary targets[] = {
	{ .pid = 4242, .cmdline = "python -m uvicorn app:app", .python = "3.13.0",
	  .server = "uvicorn 0.54.0", .loop_kind = "uvloop", .loops = loops, .loop_count = 1 },
};

static struct loss_item losses[] = { { "ring_full", "the ring buffer was full", 0 } };

static const struct report full = {
	.start_ns = START, .end_ns = START + MS(10000), .kernel = "6.12.0", .arch = "x86_64",
	.targets = targets, .target_count = COUNT(targets),
	.findings = findings, .finding_count = COUNT(findings),
	.routes = routes, .route_count = COUNT(routes),
	.websockets = websockets, .websocket_count = COUNT(websockets),
	.dependencies = dependencies, .dependency_count = COUNT(dependencies),
	.injected = injected, .injected_count = COUNT(injected),
	.middleware = middleware, .middleware_count = COUNT(middleware),
	.produced = 1204, .received = 1204, .losses = losses, .loss_count = COUNT(losses),
	.bpf_cpu_s = -1,
};

#endif
