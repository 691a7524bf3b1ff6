// SPDX-License-Identifier: Apache-2.0
/* Which pool a task waits for, and its numbers, over hand-made memory in every layout. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define ARENA (16u << 20)
#include "task_image.h"

#include "resolve/pools.h"

#define CODES 8

/* ---- objects ----------------------------------------------------------------- */

/* An instance with attributes in a dictionary of its own. */
static uint64_t thing(const struct item *items, size_t count)
{
	uint64_t at = new_instance_dict("none", 0);

	put64(at - 24, dict_of(items, count, 1));
	return at;
}

#define THING(...) \
	thing((const struct item[]){ __VA_ARGS__ }, \
	      sizeof((const struct item[]){ __VA_ARGS__ }) / sizeof(struct item))

static uint64_t number(uint32_t value)
{
	return integer(false, value ? 1 : 0, value, 0, 0);
}

static uint64_t list_of(const uint64_t *items, size_t count)
{
	uint64_t at = object_of(t_list, 0, 64), data = get(8 * count + 8);

	for (size_t i = 0; i < count; i++)
		put64(data + 8 * i, items[i]);
	put64(at + layout.var_size, count);
	put64(at + layout.list_items, data);
	return at;
}

static uint64_t deque_of(uint64_t count, uint64_t capacity)
{
	uint64_t at = object_of(type("collections.deque", 0, 0), 0, 96);

	put64(at + layout.var_size, count);
	put64(at + 64, capacity);
	return at;
}

static uint64_t dict_with(uint64_t count)
{
	uint64_t at = dict_of(NULL, 0, 1);

	put64(at + layout.dict_used, count);
	return at;
}

static uint64_t set_with(const uint64_t *items, size_t count)
{
	uint64_t at = new_set(64), table = read64(at + layout.set_table);

	for (size_t i = 0; i < count; i++) {
		put64(table + 16 * (i + 3), items[i]);
		put64(table + 16 * (i + 3) + 8, i + 1);
	}
	return at;
}

static uint64_t none(void)
{
	return object_of(type("NoneType", 0, 0), 0, 32);
}

/* ---- which pool --------------------------------------------------------------- */

/* A chain of frames, leaf first; a file NULL ends it. */
struct chain {
	const char *file, *qualname;
};

static struct code_info codes[CODES];
static struct frame frames[CODES];
static uint32_t at_frame[CODES];

static struct pool_frames chain_of(const struct chain *chain)
{
	struct pool_frames of = { .items = frames, .at = at_frame };

	for (; chain[of.count].file; of.count++) {
		const char *dot = strrchr(chain[of.count].qualname, '.');

		codes[of.count] = (struct code_info){
			.file = chain[of.count].file, .qualname = chain[of.count].qualname,
			.function = dot ? dot + 1 : chain[of.count].qualname,
			.origin = strstr(chain[of.count].file, "/srv/") ? CODE_APPLICATION
									: CODE_LIBRARY,
		};
		frames[of.count] = (struct frame){ .code = &codes[of.count], .line = 1 };
		at_frame[of.count] = (uint32_t)of.count;
	}
	return of;
}

#define PLACES "/p/site-packages"
#define QUEUE { "/usr/lib/python3.12/asyncio/queues.py", "Queue.get" }
#define EVENT { "/usr/lib/python3.12/asyncio/locks.py", "Event.wait" }
#define CONDITION { "/usr/lib/python3.12/asyncio/locks.py", "Condition.wait" }
#define WAIT_FOR { "/usr/lib/python3.12/asyncio/tasks.py", "wait_for" }
#define LIMITER_FRAME { PLACES "/anyio/_backends/_asyncio.py", \
			"CapacityLimiter.acquire_on_behalf_of" }
#define LOCK { "/usr/lib/python3.12/asyncio/locks.py", "Lock.acquire" }
#define ENTER { "/usr/lib/python3.12/asyncio/locks.py", "_ContextManagerMixin.__aenter__" }
#define ACQUIRE { PLACES "/asyncpg/pool.py", "Pool._acquire" }
#define APP { "/srv/app.py", "handler" }

static void test_match(void **state)
{
	static const struct {
		const char *kind;	/* NULL: waits for no pool */
		size_t frame;
		struct chain chain[CODES];
	} rows[] = {
		{ "anyio", 1, { EVENT, LIMITER_FRAME, APP } },
		{ "asyncpg", 2,
		  { QUEUE, { PLACES "/asyncpg/pool.py", "Pool._acquire.<locals>._acquire_impl" },
		    ACQUIRE, APP } },
		/* it has its place in the pool and opens the connection */
		{ NULL, 0, { { PLACES "/asyncpg/connect_utils.py", "_connect" },
			     { PLACES "/asyncpg/pool.py", "Pool._get_new_connection" }, ACQUIRE,
			     APP } },
		{ NULL, 0, { { "/srv/pool.py", "set_up" }, ACQUIRE, APP } },
		/* a folder may have any name */
		{ NULL, 0, { { "/srv/asyncpg/pool.py", "set_up" }, ACQUIRE, APP } },
		{ "psycopg", 3,
		  { CONDITION, WAIT_FOR,
		    { PLACES "/psycopg_pool/pool_async.py", "WaitingClient.wait" },
		    { PLACES "/psycopg_pool/pool_async.py", "AsyncConnectionPool.getconn" },
		    APP } },
		{ "sqlalchemy", 2,
		  { QUEUE, WAIT_FOR,
		    { PLACES "/sqlalchemy/util/_concurrency_py3k.py", "greenlet_spawn" }, APP } },
		{ "sqlalchemy", 1,
		  { WAIT_FOR, { PLACES "/sqlalchemy/util/concurrency.py", "greenlet_spawn" },
		    APP } },
		/* a query */
		{ NULL, 0, { { PLACES "/asyncpg/connection.py", "Connection._execute" },
			     { PLACES "/sqlalchemy/util/concurrency.py", "greenlet_spawn" },
			     APP } },
		{ "aiomysql", 1, { CONDITION, { PLACES "/aiomysql/pool.py", "Pool._acquire" } } },
		{ "redis", 1,
		  { CONDITION, { PLACES "/redis/asyncio/connection.py",
				 "BlockingConnectionPool.get_connection" } } },
		{ "httpx", 3,
		  { EVENT, { PLACES "/httpcore/_synchronization.py", "AsyncEvent.wait" },
		    { PLACES "/httpcore/_async/connection_pool.py",
		      "AsyncPoolRequest.wait_for_connection" },
		    { PLACES "/httpcore/_async/connection_pool.py",
		      "AsyncConnectionPool.handle_async_request" }, APP } },
		{ NULL, 0, { { PLACES "/httpcore/_async/http11.py", "AsyncHTTP11.receive" },
			     { PLACES "/httpcore/_async/connection_pool.py",
			       "AsyncConnectionPool.handle_async_request" } } },
		{ "aiohttp", 0,
		  { { PLACES "/aiohttp/connector.py",
		      "BaseConnector._wait_for_available_connection" }, APP } },
		{ "aiohttp", 1,
		  { WAIT_FOR, { PLACES "/aiohttp/connector.py",
				"BaseConnector._wait_for_available_connection" } } },
		{ "pymongo", 3,
		  { { PLACES "/pymongo/_asyncio_lock.py", "Condition.wait" }, WAIT_FOR,
		    { PLACES "/pymongo/lock.py", "_async_cond_wait" },
		    { PLACES "/pymongo/asynchronous/pool.py", "Pool._get_conn" }, APP } },
		{ "semaphore", 0,
		  { { "/usr/lib/python3.12/asyncio/locks.py", "Semaphore.acquire" }, APP } },
		{ "queue.get", 0, { QUEUE, APP } },
		{ "queue.put", 0,
		  { { "/usr/lib/python3.12/asyncio/queues.py", "Queue.put" }, APP } },
		{ NULL, 0, { { "/usr/lib/python3.12/asyncio/tasks.py", "sleep" }, APP } },
		{ "asyncio.Lock", 0, { LOCK, ENTER, APP } },
		{ "asyncio.Lock", 0, { LOCK, CONDITION, APP } },
		/* to be notified, a library's own lock, a pool's */
		{ NULL, 0, { CONDITION, APP } },
		{ NULL, 0, { LOCK, ENTER, { PLACES "/httpcore/_async/http2.py", "read" }, APP } },
		{ NULL, 0, { LOCK } },
		{ "aiomysql", 2, { LOCK, CONDITION,
				   { PLACES "/aiomysql/pool.py", "Pool._acquire" }, APP } },
		{ "anyio.Lock", 0,
		  { { PLACES "/anyio/_backends/_asyncio.py", "Lock.acquire" },
		    { PLACES "/anyio/_core/_synchronization.py", "Lock.__aenter__" }, APP } },
		{ "anyio.Lock", 1,
		  { EVENT, { PLACES "/anyio/_core/_synchronization.py", "Lock.acquire" }, APP } },
	};
	const struct task_info task = { .state = TASK_PENDING, .end = TASK_END_FUTURE };
	struct task_info ready = task;
	size_t frame;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pool_frames of = chain_of(rows[i].chain);
		const struct pool_signature *signature = pool_match(&task, &of, &frame);

		if (!rows[i].kind) {
			assert_null(signature);
			continue;
		}
		assert_non_null(signature);
		assert_string_equal(pool_kind(signature), rows[i].kind);
		assert_int_equal(frame, rows[i].frame);
		ready.end = TASK_END_NONE;
		assert_null(pool_match(&ready, &of, &frame));
	}
}

#define THREAD_WAIT { "/usr/lib/python3.12/threading.py", "Condition.wait" }

static void test_match_thread(void **state)
{
	static const struct {
		const char *kind;	/* NULL: waits for no pool */
		size_t frame;
		struct chain chain[CODES];
	} rows[] = {
		{ "sqlalchemy", 2,
		  { THREAD_WAIT, { PLACES "/sqlalchemy/util/queue.py", "Queue.get" },
		    { PLACES "/sqlalchemy/pool/impl.py", "QueuePool._do_get" },
		    { PLACES "/sqlalchemy/pool/base.py", "_ConnectionRecord.checkout" }, APP } },
		{ "psycopg", 3,
		  { THREAD_WAIT, { PLACES "/psycopg_pool/pool.py", "WaitingClient.wait" },
		    { PLACES "/psycopg_pool/pool.py", "ConnectionPool._getconn_unchecked" },
		    { PLACES "/psycopg_pool/pool.py", "ConnectionPool.getconn" }, APP } },
		{ "redis", 2,
		  { THREAD_WAIT, { "/usr/lib/python3.12/queue.py", "Queue.get" },
		    { PLACES "/redis/connection.py", "BlockingConnectionPool.get_connection" },
		    APP } },
		{ "httpx", 4,
		  { THREAD_WAIT, { "/usr/lib/python3.12/threading.py", "Event.wait" },
		    { PLACES "/httpcore/_synchronization.py", "Event.wait" },
		    { PLACES "/httpcore/_sync/connection_pool.py",
		      "PoolRequest.wait_for_connection" },
		    { PLACES "/httpcore/_sync/connection_pool.py",
		      "ConnectionPool.handle_request" }, APP } },
		{ "urllib3", 2,
		  { THREAD_WAIT, { "/usr/lib/python3.12/queue.py", "Queue.get" },
		    { PLACES "/urllib3/connectionpool.py", "HTTPConnectionPool._get_conn" },
		    APP } },
		{ "pymongo", 2,
		  { THREAD_WAIT, { PLACES "/pymongo/lock.py", "_cond_wait" },
		    { PLACES "/pymongo/synchronous/pool.py", "Pool._get_conn" }, APP } },
		/* it opens one, or does not wait */
		{ NULL, 0,
		  { { PLACES "/psycopg/connection.py", "Connection.connect" },
		    { PLACES "/sqlalchemy/pool/impl.py", "QueuePool._do_get" }, APP } },
		{ NULL, 0, { { PLACES "/sqlalchemy/pool/impl.py", "QueuePool._do_get" }, APP } },
		/* idle, and waiting for something of its own */
		{ NULL, 0,
		  { THREAD_WAIT, { "/usr/lib/python3.12/queue.py", "Queue.get" },
		    { PLACES "/anyio/_backends/_asyncio.py", "WorkerThread.run" } } },
		{ NULL, 0,
		  { THREAD_WAIT, APP, { PLACES "/redis/connection.py",
					"BlockingConnectionPool.get_connection" } } },
	};
	const struct task_info task = { .state = TASK_PENDING, .end = TASK_END_FUTURE };
	size_t frame;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pool_frames of = chain_of(rows[i].chain);
		const struct pool_signature *signature = pool_match_thread(&of, &frame);

		/* those of threads are none of tasks */
		assert_null(pool_match(&task, &of, &(size_t){ 0 }));
		if (!rows[i].kind) {
			assert_null(signature);
			continue;
		}
		assert_non_null(signature);
		assert_true(pool_of_threads(signature));
		assert_string_equal(pool_kind(signature), rows[i].kind);
		assert_int_equal(frame, rows[i].frame);
	}
}

/* A connection of a pool that raises when it is empty. */
static void test_match_use(void **state)
{
	static const struct chain command[] = {
		{ "/usr/lib/python3.12/asyncio/streams.py", "StreamReader.read" },
		{ PLACES "/redis/_parsers/hiredis.py", "_AsyncHiredisParser.read_from_socket" },
		{ PLACES "/redis/asyncio/connection.py", "AbstractConnection.read_response" },
		{ PLACES "/redis/asyncio/client.py", "Redis.execute_command" }, APP, { 0 } };
	const struct task_info task = { .state = TASK_PENDING, .end = TASK_END_FUTURE };
	struct pool_frames of = chain_of(command);
	const struct pool_signature *signature;
	size_t frame;

	(void)state;
	signature = pool_match_use(&of, &frame);
	assert_non_null(signature);
	assert_int_equal(frame, 3);
	assert_false(pool_wait_means_full(signature));
	assert_null(pool_match(&task, &of, &frame));
	assert_null(pool_match_thread_use(&of, &frame));
}

static void test_match_thread_use(void **state)
{
	static const struct chain command[] = {
		{ "/usr/lib/python3.12/ssl.py", "SSLSocket.recv_into" },
		{ PLACES "/redis/_parsers/socket.py", "SocketBuffer._read_from_socket" },
		{ PLACES "/redis/connection.py", "AbstractConnection.read_response" },
		{ PLACES "/redis/client.py", "Redis.execute_command" }, APP, { 0 } };
	struct pool_frames of = chain_of(command);
	const struct pool_signature *signature;
	size_t frame;

	(void)state;
	signature = pool_match_thread_use(&of, &frame);
	assert_non_null(signature);
	assert_int_equal(frame, 3);
	assert_true(pool_of_threads(signature));
	assert_false(pool_wait_means_full(signature));
	for (size_t i = 0; i < 4; i++)
		assert_true(pool_thread_may_match(of.items[i].code));
	assert_false(pool_thread_may_match(of.items[4].code));
	assert_false(pool_thread_may_match(NULL));
	assert_null(pool_match_thread(&of, &frame));
	assert_null(pool_match_use(&of, &frame));
}

/* ---- numbers ------------------------------------------------------------------ */

static const struct pool_signature *signature_of(const struct chain *chain)
{
	const struct task_info task = { .state = TASK_PENDING, .end = TASK_END_FUTURE };
	struct pool_frames of = chain_of(chain);
	const struct pool_signature *signature;
	size_t frame;

	signature = pool_match(&task, &of, &frame);
	assert_non_null(signature);
	return signature;
}

static void assert_numbers(const struct chain *chain, uint64_t object, int64_t size,
			   int64_t in_use, int64_t waiting)
{
	struct pool_numbers numbers = pool_read(&py, signature_of(chain), object);

	assert_int_equal(numbers.size, size);
	assert_int_equal(numbers.in_use, in_use);
	assert_int_equal(numbers.waiting, waiting);
}

static void check_numbers(void)
{
	static const struct chain limiter[] = { EVENT, LIMITER_FRAME, { 0 } };
	static const struct chain asyncpg[] = { QUEUE, ACQUIRE, { 0 } };
	static const struct chain alchemy[] = {
		QUEUE, { PLACES "/sqlalchemy/util/concurrency.py", "greenlet_spawn" }, { 0 } };
	static const struct chain mysql[] = {
		CONDITION, { PLACES "/aiomysql/pool.py", "Pool._acquire" }, { 0 } };
	static const struct chain lock[] = { LOCK, ENTER, APP, { 0 } };
	static const struct chain anyio[] = {
		{ PLACES "/anyio/_backends/_asyncio.py", "Lock.acquire" }, APP, { 0 } };
	static const struct chain httpx[] = {
		EVENT, { PLACES "/httpcore/_async/connection_pool.py",
			 "AsyncConnectionPool.handle_async_request" }, { 0 } };
	uint64_t tasks_of[] = { number(1), number(2), number(3) }, holders[3], requests[3], queue;

	start();
	assert_numbers(limiter,
		       THING({ "_total_tokens", number(40) },
			     { "_borrowers", set_with(tasks_of, 3) },
			     { "_wait_queue", dict_with(7) }), 40, 3, 7);
	/* math.inf, and what is no set */
	assert_numbers(limiter,
		       THING({ "_total_tokens", string("inf") },
			     { "_borrowers", number(3) }, { "_wait_queue", dict_with(7) }),
		       -1, -1, 7);
	assert_numbers(limiter, THING({ "tokens", number(40) }), -1, -1, -1);
	assert_numbers(limiter, UNMAPPED, -1, -1, -1);
	assert_numbers(limiter, 0, -1, -1, -1);

	for (unsigned i = 0; i < 3; i++)
		holders[i] = THING({ "_in_use", i ? number(1) : none() });
	assert_numbers(asyncpg,
		       THING({ "_maxsize", number(3) }, { "_holders", list_of(holders, 3) },
			     { "_queue", THING({ "_getters", deque_of(5, 0) }) }), 3, 2, 5);

	queue = THING({ "_queue", deque_of(1, 0) }, { "_getters", deque_of(2, 0) });
	queue = THING({ "maxsize", number(4) }, { "_queue", queue });
	assert_numbers(alchemy,
		       THING({ "_pool", queue }, { "_max_overflow", number(2) },
			     { "_overflow", integer(true, 1, 1, 0, 0) }), 6, 2, 2);
	/* without a limit */
	assert_numbers(alchemy,
		       THING({ "_pool", queue }, { "_max_overflow", integer(true, 1, 1, 0, 0) },
			     { "_overflow", number(0) }), -1, 3, 2);

	assert_numbers(mysql,
		       THING({ "_free", deque_of(0, 8) }, { "_used", set_with(tasks_of, 2) },
			     { "_cond", THING({ "_waiters", deque_of(4, 0) }) }), 8, 2, 4);

	assert_numbers(lock, THING({ "_locked", number(1) }, { "_waiters", deque_of(4, 0) }),
		       1, 1, 4);
	assert_numbers(lock, THING({ "_locked", number(0) }, { "_waiters", none() }), 1, 0, 0);
	assert_numbers(lock, THING({ "locked", number(1) }), 1, -1, -1);
	assert_numbers(anyio,
		       THING({ "_owner_task", number(5) }, { "_waiters", deque_of(2, 0) }),
		       1, 1, 2);
	assert_numbers(anyio, THING({ "_owner_task", none() }, { "_waiters", deque_of(0, 0) }),
		       1, 0, 0);

	for (unsigned i = 0; i < 3; i++)
		requests[i] = THING({ "connection", i ? none() : number(1) });
	assert_numbers(httpx,
		       THING({ "_max_connections", number(2) },
			     { "_connections", list_of(tasks_of, 2) },
			     { "_requests", list_of(requests, 3) }), 2, 2, 2);
	assert_numbers(httpx,
		       THING({ "_max_connections", number(2) }, { "_pool", list_of(tasks_of, 1) },
			     { "_requests", list_of(requests, 3) }), 2, 1, 2);
}

/* asyncio's own: only a BoundedSemaphore knows its size, not every queue is bounded. */
static void check_limiters(void)
{
	static const struct chain semaphore[] = {
		{ "/usr/lib/python3.12/asyncio/locks.py", "Semaphore.acquire" }, { 0 } };
	static const struct chain getter[] = { QUEUE, { 0 } };
	static const struct chain putter[] = {
		{ "/usr/lib/python3.12/asyncio/queues.py", "Queue.put" }, { 0 } };

	start();
	assert_numbers(semaphore,
		       THING({ "_bound_value", number(4) }, { "_value", number(1) },
			     { "_waiters", deque_of(3, 0) }), 4, 3, 3);
	assert_numbers(semaphore, THING({ "_value", number(0) }, { "_waiters", deque_of(3, 0) }),
		       -1, -1, 3);
	assert_numbers(semaphore, THING({ "_bound_value", number(4) }, { "_value", number(4) },
					{ "_waiters", none() }), 4, 0, 0);
	assert_numbers(getter,
		       THING({ "_maxsize", number(5) }, { "_queue", deque_of(1, 0) },
			     { "_getters", deque_of(2, 0) }), 5, 4, 2);
	assert_numbers(putter,
		       THING({ "_maxsize", number(5) }, { "_queue", deque_of(5, 0) },
			     { "_putters", deque_of(2, 0) }), 5, 5, 2);
	assert_numbers(putter,
		       THING({ "_maxsize", number(0) }, { "_queue", deque_of(5, 0) },
			     { "_putters", deque_of(2, 0) }), -1, 5, 2);
}

static void each_pools(void (*check)(void))
{
	for (unsigned i = 0; i < py_layout_count; i++) {
		build_tasks(&py_layouts[i]);
		check();
	}
	task_watch_free(watch);
	watch = NULL;
}

static void test_numbers(void **state)
{
	(void)state;
	each_pools(check_numbers);
}

static void test_limiters(void **state)
{
	(void)state;
	each_pools(check_limiters);
}

/* The limit of one host counts where it is reached before that of all. */
static void check_hosts(void)
{
	static const struct chain aiohttp[] = {
		EVENT, { PLACES "/aiohttp/connector.py",
			 "BaseConnector._wait_for_available_connection" }, { 0 } };
	const struct item waiters[] = { { "a", dict_with(2) }, { "b", dict_with(1) } };
	uint64_t used_by[] = { number(1), number(2), number(3) };
	const struct item hosts[] = { { "a", set_with(used_by, 2) },
				      { "b", set_with(used_by, 1) } };

	start();
	assert_numbers(aiohttp,
		       THING({ "_limit", number(100) }, { "_acquired", set_with(used_by, 3) },
			     { "_waiters", dict_of(waiters, 2, 1) },
			     { "_limit_per_host", number(2) },
			     { "_acquired_per_host", dict_of(hosts, 2, 1) }), 2, 2, 3);
	assert_numbers(aiohttp,
		       THING({ "_limit", number(3) }, { "_acquired", set_with(used_by, 3) },
			     { "_waiters", dict_of(waiters, 2, 1) },
			     { "_limit_per_host", number(0) },
			     { "_acquired_per_host", dict_of(hosts, 2, 1) }), 3, 3, 3);
	/* no limit at all */
	assert_numbers(aiohttp,
		       THING({ "_limit", number(0) }, { "_acquired", set_with(used_by, 3) },
			     { "_waiters", dict_of(waiters, 2, 1) }), -1, 3, 3);
}

static void test_hosts(void **state)
{
	(void)state;
	each_pools(check_hosts);
}

/* ---- from the frame to the pool ------------------------------------------------ */

static const struct task_info *first_task(void)
{
	assert_int_equal(task_watch_snapshot(watch, NULL, &snapshot), 0);
	assert_int_equal(snapshot->count, 1);
	return &snapshot->tasks[0];
}

static uint64_t coroutine_of(uint64_t task, unsigned depth)
{
	uint64_t at = read64(task + layout.task_coro);

	for (; depth; depth--)
		at = read64(coroutine_frame(at) + layout.frame_locals + 16) & ~3ull;
	return at;
}

static void check_reach(void)
{
	static const struct chain chain[] = { EVENT, LIMITER_FRAME, APP, { 0 } };
	struct pool_frames of = chain_of(chain);
	struct pool_wait_seen seen = { 0 };
	const struct task_info *info;
	uint64_t task, limiter, inner, frame, object;

	start();
	task = waiting_task("one", 3);
	inner = coroutine_of(task, 1);
	frame = coroutine_frame(inner);
	limiter = THING({ "name", string("mine") });
	put_local(frame, 0, limiter);
	info = first_task();
	seen.signature = pool_match(info, &of, &seen.frame);
	assert_non_null(seen.signature);
	assert_int_equal(pool_reach(watch, &target, &config, info, &of, &seen), 0);
	assert_int_equal(seen.object, limiter);
	assert_int_equal(seen.call, inner);
	assert_string_equal(pool_name(watch, &target, info, &of, &seen), "mine");
	/* captured by an inner function */
	put_local(frame, 0, new_cell(limiter));
	assert_int_equal(task_frame_local(watch, info, 1, 0, &object), 0);
	assert_int_equal(object, limiter);
	put_local(frame, 1, 0);
	assert_int_equal(task_frame_local(watch, info, 1, 1, &object), -ENOENT);
	assert_int_equal(task_frame_local(watch, info, 9, 0, &object), -ENOENT);
	/* it has gone on since the snapshot */
	put64(frame + layout.frame_instr, read64(frame + layout.frame_instr) + 4);
	assert_int_equal(task_frame_local(watch, info, 1, 0, &object), -EAGAIN);
	assert_int_equal(pool_reach(watch, &target, &config, info, &of, &seen), -EAGAIN);
	assert_int_equal(seen.object, 0);
}

static void test_reach(void **state)
{
	(void)state;
	each_pools(check_reach);
}

/* SQLAlchemy: by the method that the greenlet runs, checked by the queue that is awaited. */
static void check_engine(void)
{
	static const struct chain chain[] = {
		QUEUE, { PLACES "/sqlalchemy/util/concurrency.py", "greenlet_spawn" }, APP, { 0 } };
	struct pool_frames of = chain_of(chain);
	struct pool_wait_seen seen = { 0 };
	uint64_t task, queue, pool, session, spawn;
	const struct task_info *info;

	start();
	task = waiting_task("one", 3);
	queue = THING({ "_queue", deque_of(0, 0) }, { "_getters", deque_of(1, 0) });
	pool = THING({ "_pool", THING({ "_queue", queue }) });
	session = THING({ "bind", THING({ "pool", pool }) });
	spawn = coroutine_frame(coroutine_of(task, 1));
	put_local(spawn, 0, new_method(new_function(code_at_line(5), 0), session));
	put_local(coroutine_frame(coroutine_of(task, 2)), 0, queue);
	info = first_task();
	seen.signature = pool_match(info, &of, &seen.frame);
	assert_non_null(seen.signature);
	assert_int_equal(pool_reach(watch, &target, &config, info, &of, &seen), 0);
	assert_int_equal(seen.object, pool);
	/* another pool's queue: the session has several engines */
	put_local(coroutine_frame(coroutine_of(task, 2)), 0, THING({ "_queue", number(1) }));
	assert_int_equal(pool_reach(watch, &target, &config, info, &of, &seen), 0);
	assert_int_equal(seen.object, 0);
	put_local(spawn, 0, number(1));
	assert_int_equal(pool_reach(watch, &target, &config, info, &of, &seen), 0);
	assert_int_equal(seen.object, 0);
}

static void test_engine(void **state)
{
	(void)state;
	each_pools(check_engine);
}

/* What `async with` entered is on the stack, which begins after the only local. */
static void check_inside(void)
{
	uint64_t lock, other, condition, task, frame, names = string("ms"), manager;
	bool object = layout.frame_stackpointer != LS_ABSENT;
	const struct task_info *info;

	start();
	task = waiting_task("one", 3);
	frame = coroutine_frame(coroutine_of(task, 1));
	put64((read64(frame + layout.frame_code) & ~3ull) + layout.code_localsplusnames,
	      tuple(&names, 1));
	lock = THING({ "_locked", number(1) });
	other = THING({ "_locked", number(1) });
	info = first_task();
	put_local(frame, 1, 0);
	assert_false(task_is_inside(watch, info, lock));
	manager = object ? lock : new_method(new_function(code_at_line(5), 0), lock);
	put_local(frame, 1, manager);
	assert_true(task_is_inside(watch, info, lock));
	assert_false(task_is_inside(watch, info, other));
	/* a local variable says nothing, nor does what is left above the top */
	put_local(frame, 0, manager);
	put_local(frame, 1, 0);
	assert_false(task_is_inside(watch, info, lock));
	put_local(frame, 0, 0);
	put_local(frame, 3, manager);
	assert_false(task_is_inside(watch, info, lock));
	condition = new_instance_dict("_lock", lock);
	put_local(frame, 1,
		  object ? condition : new_method(new_function(code_at_line(5), 0), condition));
	/* what is no condition may keep one */
	assert_false(task_is_inside(watch, info, lock));
	put64(read64(condition + layout.ob_type) + layout.type_name, text("Condition"));
	assert_true(task_is_inside(watch, info, lock));
	assert_false(task_is_inside(watch, info, other));
	put_local(frame, 1, UNMAPPED);
	assert_false(task_is_inside(watch, info, lock));
}

static void test_inside(void **state)
{
	(void)state;
	each_pools(check_inside);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_match),
		cmocka_unit_test(test_match_thread),
		cmocka_unit_test(test_match_use), cmocka_unit_test(test_match_thread_use),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_limiters),
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_reach),
		cmocka_unit_test(test_engine),
		cmocka_unit_test(test_inside),
	};

	return cmocka_run_group_tests(tests, image_set_up, image_tear_down);
}
