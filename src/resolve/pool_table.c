// SPDX-License-Identifier: Apache-2.0
/* The libraries: from top to bottom, for what is inside of another one comes after it. */
#include "resolve/pool_table.h"

#define ASYNCIO "/asyncio/"
#define ANYIO "/anyio/"
#define THREADING "/threading.py"
#define STDLIB_QUEUE "/queue.py"

#define INT(path) { COUNT_INT, 1, path, NULL }
#define LESS_INT(path) { COUNT_INT, -1, path, NULL }
#define LIMIT(path) { COUNT_LIMIT, 1, path, NULL }
#define CAPACITY(path) { COUNT_CAPACITY, 1, path, NULL }
#define LENGTH(path) { COUNT_LENGTH, 1, path, NULL }
#define LENGTHS(path) { COUNT_LENGTHS, 1, path, NULL }
#define LONGEST(path) { COUNT_LONGEST, 1, path, NULL }
#define LESS_LENGTH(path) { COUNT_LENGTH, -1, path, NULL }
#define ONE { COUNT_ONE, 1, NULL, NULL }
#define PRESENT(path) { COUNT_PRESENT, 1, path, NULL }
#define SET(path, attribute) { COUNT_SET, 1, path, attribute }
#define UNSET(path, attribute) { COUNT_UNSET, 1, path, attribute }

#define LIMITER(name) \
	{ \
		.kind = "anyio", .class = POOL_THREADS, .means_full = true, \
		.file = "anyio/_backends/_asyncio.py", .qualname = name, \
		.beneath = { ASYNCIO, ANYIO }, \
		.counts[0].size = { LIMIT("_total_tokens") }, \
		.counts[0].in_use = { LENGTH("_borrowers") }, \
		.counts[0].waiting = { LENGTH("_wait_queue") }, \
	}

/* aiopg was written after it */
#define AIOMYSQL(name) \
	{ \
		.kind = name, .class = POOL_DATABASE, .means_full = true, \
		.file = name "/pool.py", .qualname = "Pool._acquire", .beneath = { ASYNCIO }, \
		.counts[0].size = { CAPACITY("_free") }, \
		.counts[0].in_use = { LENGTH("_used") }, \
		.counts[0].waiting = { LENGTH("_cond._waiters") }, \
	}

/* it may wait for a connection that is being opened, too */
#define PSYCOPG(name, class_, between, in_thread) \
	{ \
		.kind = "psycopg", .class = POOL_DATABASE, .thread = in_thread, \
		.file = "psycopg_pool/" name, .qualname = class_ ".getconn", \
		.beneath = { between, "/psycopg_pool/" }, \
		.counts[0].size = { LIMIT("_max_size") }, \
		.counts[0].in_use = { INT("_nconns"), LESS_LENGTH("_pool") }, \
		.counts[0].waiting = { LENGTH("_waiting") }, \
	}

/* the same here; motor has the one of threads */
#define PYMONGO(name, between, in_thread) \
	{ \
		.kind = "pymongo", .class = POOL_DATABASE, .thread = in_thread, \
		.file = "pymongo/" name, .qualname = "Pool._get_conn", \
		.beneath = { between, "/pymongo/lock.py", "/pymongo/_asyncio_lock.py" }, \
		.counts[0].size = { LIMIT("max_pool_size") }, \
		.counts[0].in_use = { INT("requests") }, \
		.counts[0].waiting = { LENGTH("size_cond._waiters") }, \
	}

/* Of threads: a queue that is filled before it is used. */
#define FILLED_QUEUE(size_) \
	.counts[0].size = { LIMIT(size_) }, \
	.counts[0].in_use = { INT(size_), LESS_LENGTH("pool.queue") }, \
	.counts[0].waiting = { LENGTH("pool.not_empty._waiters") }

/* This one raises when it is empty. */
#define PLAIN_REDIS(file_, in_thread, ...) \
	{ \
		.kind = "redis", .class = POOL_DATABASE, .use = true, .thread = in_thread, \
		.file = file_, .qualname = "Redis.execute_command", \
		.reach = REACH_CLIENT, .path = "connection_pool", .type = "ConnectionPool", \
		.beneath = { "/redis/", __VA_ARGS__ }, \
		.counts[0].size = { LIMIT("max_connections") }, \
		.counts[0].in_use = { LENGTH("_in_use_connections") }, \
	}

/* Only those that have a bound know how many there are. */
#define SEMAPHORE(name, path, bound) \
	{ \
		.kind = name, .class = POOL_LIMITER, .means_full = true, \
		.file = path, .qualname = "Semaphore.acquire", \
		.counts[0].size = { LIMIT(bound) }, \
		.counts[0].in_use = { INT(bound), LESS_INT("_value") }, \
		.counts[0].waiting = { LENGTH("_waiters") }, \
	}

/* A condition's own lock is one as well; to wait for being notified is to wait by design. */
#define LOCK(name, path, taken) \
	{ \
		.kind = name, .class = POOL_LOCK, .means_full = true, \
		.file = path, .qualname = "Lock.acquire", .beneath = { ASYNCIO, ANYIO }, \
		.counts[0].size = { ONE }, \
		.counts[0].in_use = { taken }, \
		.counts[0].waiting = { LENGTH("_waiters") }, \
	}

const struct pool_signature pool_table[] = {
	LIMITER("CapacityLimiter.acquire_on_behalf_of"),
	LIMITER("CapacityLimiter.acquire"),
	{
		.kind = "asyncpg", .class = POOL_DATABASE, .means_full = true,
		.file = "asyncpg/pool.py", .qualname = "Pool._acquire",
		.beneath = { ASYNCIO, "/asyncpg/pool.py", "/asyncpg/compat.py" },
		.counts[0].size = { LIMIT("_maxsize") },
		.counts[0].in_use = { SET("_holders", "_in_use") },
		.counts[0].waiting = { LENGTH("_queue._getters") },
	},
	PSYCOPG("pool_async.py", "AsyncConnectionPool", ASYNCIO, false),
	PSYCOPG("pool.py", "ConnectionPool", THREADING, true),
	{
		.kind = "sqlalchemy", .class = POOL_DATABASE, .means_full = true,
		.file = "/sqlalchemy/util/", .qualname = "greenlet_spawn", .reach = REACH_ENGINE,
		.beneath = { ASYNCIO, "/sqlalchemy/util/compat.py", "/sqlalchemy/util/queue.py" },
		.counts[0].size = { LIMIT("_pool.maxsize"), LIMIT("_max_overflow") },
		.counts[0].in_use = { INT("_pool.maxsize"), LESS_LENGTH("_pool._queue._queue"),
				      INT("_overflow") },
		.counts[0].waiting = { LENGTH("_pool._queue._getters") },
	},
	{
		.kind = "sqlalchemy", .class = POOL_DATABASE, .means_full = true, .thread = true,
		.file = "sqlalchemy/pool/impl.py", .qualname = "QueuePool._do_get",
		.beneath = { THREADING, "/sqlalchemy/util/queue.py" },
		.counts[0].size = { LIMIT("_pool.maxsize"), LIMIT("_max_overflow") },
		.counts[0].in_use = { INT("_pool.maxsize"), LESS_LENGTH("_pool.queue"),
				      INT("_overflow") },
		.counts[0].waiting = { LENGTH("_pool.not_empty._waiters") },
	},
	AIOMYSQL("aiomysql"),
	AIOMYSQL("aiopg"),
	PYMONGO("asynchronous/pool.py", ASYNCIO, false),
	PYMONGO("synchronous/pool.py", THREADING, true),
	PYMONGO("pool.py", THREADING, true),
	{
		/* the second one is 4.x */
		.kind = "redis", .class = POOL_DATABASE, .means_full = true,
		.file = "redis/asyncio/connection.py",
		.qualname = "BlockingConnectionPool.get_connection",
		.beneath = { ASYNCIO, "/async_timeout/" },
		.counts[0].size = { LIMIT("max_connections") },
		.counts[0].in_use = { LENGTH("_in_use_connections") },
		.counts[0].waiting = { LENGTH("_condition._waiters") },
		.counts[1].size = { LIMIT("max_connections") },
		.counts[1].in_use = { INT("max_connections"), LESS_LENGTH("pool._queue") },
		.counts[1].waiting = { LENGTH("pool._getters") },
	},
	{
		.kind = "redis", .class = POOL_DATABASE, .means_full = true, .thread = true,
		.file = "redis/connection.py", .qualname = "BlockingConnectionPool.get_connection",
		.beneath = { THREADING, STDLIB_QUEUE }, FILLED_QUEUE("max_connections"),
	},
	PLAIN_REDIS("redis/asyncio/client.py", false, ASYNCIO, "/async_timeout/"),
	PLAIN_REDIS("redis/client.py", true, "/ssl.py"),
	{
		/* several may be given one that is being opened; the second is before 1.0 */
		.kind = "httpx", .class = POOL_HTTP, .means_full = true,
		.file = "httpcore/_async/connection_pool.py",
		.qualname = "AsyncConnectionPool.handle_async_request",
		.beneath = { ASYNCIO, ANYIO, "/httpcore/_synchronization.py",
			     "/httpcore/_async/connection_pool.py",
			     "/httpcore/_async/connection.py" },
		.counts[0].size = { LIMIT("_max_connections") },
		.counts[0].in_use = { LENGTH("_connections") },
		.counts[0].waiting = { UNSET("_requests", "connection") },
		.counts[1].size = { LIMIT("_max_connections") },
		.counts[1].in_use = { LENGTH("_pool") },
		.counts[1].waiting = { UNSET("_requests", "connection") },
	},
	{
		.kind = "httpx", .class = POOL_HTTP, .means_full = true, .thread = true,
		.file = "httpcore/_sync/connection_pool.py",
		.qualname = "ConnectionPool.handle_request",
		.beneath = { THREADING, "/httpcore/_synchronization.py",
			     "/httpcore/_sync/connection_pool.py",
			     "/httpcore/_sync/connection.py" },
		.counts[0].size = { LIMIT("_max_connections") },
		.counts[0].in_use = { LENGTH("_connections") },
		.counts[0].waiting = { UNSET("_requests", "connection") },
		.counts[1].size = { LIMIT("_max_connections") },
		.counts[1].in_use = { LENGTH("_pool") },
		.counts[1].waiting = { UNSET("_requests", "connection") },
	},
	{
		.kind = "aiohttp", .class = POOL_HTTP, .means_full = true,
		.file = "aiohttp/connector.py",
		.qualname = "BaseConnector._wait_for_available_connection",
		.beneath = { ASYNCIO },
		.counts[0].size = { LIMIT("_limit") },
		.counts[0].in_use = { LENGTH("_acquired") },
		.counts[0].waiting = { LENGTHS("_waiters") },
		.counts[0].key_size = LIMIT("_limit_per_host"),
		.counts[0].key_in_use = LONGEST("_acquired_per_host"),
	},
	{
		/* requests has this one */
		.kind = "urllib3", .class = POOL_HTTP, .means_full = true, .thread = true,
		.file = "urllib3/connectionpool.py", .qualname = "HTTPConnectionPool._get_conn",
		.beneath = { THREADING, STDLIB_QUEUE }, FILLED_QUEUE("pool.maxsize"),
	},
	SEMAPHORE("semaphore", "asyncio/locks.py", "_bound_value"),
	SEMAPHORE("anyio.Semaphore", "anyio/_backends/_asyncio.py", "_max_value"),
	/* before 4.5 */
	SEMAPHORE("anyio.Semaphore", "anyio/_core/_synchronization.py", "_max_value"),
	{
		.kind = "queue.put", .class = POOL_LIMITER, .means_full = true, .bounded = true,
		.file = "asyncio/queues.py", .qualname = "Queue.put",
		.counts[0].size = { LIMIT("_maxsize") },
		.counts[0].in_use = { LENGTH("_queue") },
		.counts[0].waiting = { LENGTH("_putters") },
	},
	{
		/* what is in it is what there is to take */
		.kind = "queue.get", .class = POOL_LIMITER, .means_full = true, .bounded = true,
		.file = "asyncio/queues.py", .qualname = "Queue.get",
		.counts[0].size = { LIMIT("_maxsize") },
		.counts[0].in_use = { INT("_maxsize"), LESS_LENGTH("_queue") },
		.counts[0].waiting = { LENGTH("_getters") },
	},
	LOCK("asyncio.Lock", "asyncio/locks.py", INT("_locked")),
	LOCK("anyio.Lock", "anyio/_backends/_asyncio.py", PRESENT("_owner_task")),
	/* before 4.5 */
	LOCK("anyio.Lock", "anyio/_core/_synchronization.py", PRESENT("_owner_task")),
	{
		.kind = "executor", .class = POOL_EXECUTOR, .means_full = true,
		.file = "", .qualname = "", .reach = REACH_NONE,
	},
};

const size_t pool_table_size = sizeof(pool_table) / sizeof(pool_table[0]) - 1;

const struct pool_signature *const executor_signature =
	&pool_table[sizeof(pool_table) / sizeof(pool_table[0]) - 1];
