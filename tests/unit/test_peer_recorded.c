// SPDX-License-Identifier: Apache-2.0
/* Calls of real client libraries, as their system calls were recorded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/peer_talk.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* token, wait in receives, commands, shape; the client thinks 100 before each send */
static const char asyncpg_calls[] =
	"1 wait 1: 1 internal -\n"
	"2 wait 3: 1 internal -\n"
	"5 wait 1: 1 create table if not exists item (id int primary key, name text, data json)\n"
	"6 wait 1: 1 truncate item\n"
	"7 wait 2: 7 insert into item (id, name) values (?)\n"
	"9 wait 2: 1 select id, name from item where id = ?\n"
	"11 wait 1: 1 select id, name from item where id = ?\n"
	"12 wait 2: 1 select id, name from item where id < ?\n"
	"14 wait 1: 1 internal BEGIN\n"
	"15 wait 2: 1 select name from item where id = ?\n"
	"17 wait 1: 1 internal COMMIT\n"
	"18 wait 2: 1 error select ?/(id-id) from item where name = ?\n"
	"20 wait 2: 1 error selec ?\n"
	"22 wait 1: 1 internal BEGIN\n"
	"23 wait 2: 1 select id from item where name <> ?\n"
	"25 wait 1: 1 select id from item where name <> ?\n"
	"26 wait 1: 1 select id from item where name <> ?\n"
	"27 wait 1: 1 select id from item where name <> ?\n"
	"28 wait 1: 1 select id from item where name <> ?\n"
	"29 wait 1: 1 internal -\n"
	"30 wait 1: 1 internal COMMIT\n"
	"31 wait 1: 1 internal SELECT \"id\", \"name\" FROM \"item\" LIMIT ?\n"
	"32 wait 2: 1 COPY \"item\"(\"id\", \"name\") FROM STDIN (FORMAT binary)\n"
	"35 wait 1: 1 COPY (select * from item where name=?) TO STDOUT\n"
	"36 wait 2: 1 LISTEN \"chan\"\n"
	"38 wait 1: 1 notify chan, ?\n"
	"39 wait 1: 1 internal SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL\n"
	"40 wait 1: 1 select id, name from item where id = ?\n"
	"41 wait 1: 1 internal SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL\n";

static const char psycopg_calls[] =
	"1 wait 1: 1 internal BEGIN\n"
	"2 wait 1: 1 select count(*) from item\n"
	"3 wait 1: 1 select * from item where id = ? and name = ?\n"
	"4 wait 1: 1 select name from item where id = ?\n"
	"5 wait 2: 1 select name from item where id = ?\n"
	"7 wait 1: 1 internal COMMIT\n"
	"8 wait 1: 1 internal BEGIN\n"
	"10 wait 1: 3 select ? where ?=?; ...\n"
	"14 wait 101: 3 insert into item (id, name) values (?)\n"
	"20 wait 1: 1 error select nope from item where name = ?\n"
	"21 wait 1: 1 internal ROLLBACK\n"
	"22 wait 1: 1 internal DEALLOCATE ALL\n"
	"23 wait 1: 1 internal BEGIN\n"
	"24 wait 1: 1 DECLARE \"cur\" CURSOR FOR select * from item\n"
	"25 wait 1: 1 internal -\n"
	"26 wait 1: 1 FETCH FORWARD ? FROM \"cur\"\n"
	"27 wait 1: 1 FETCH FORWARD ? FROM \"cur\"\n"
	"28 wait 1: 1 internal CLOSE \"cur\"\n"
	"29 wait 2: 1 copy item (id, name) from stdin\n"
	"31 wait 1: 1 internal ROLLBACK\n";

static const char sqlalchemy_calls[] =
	"1 wait 2: 1 SELECT item.id, item.name FROM item WHERE item.id = ?\n"
	"3 wait 2: 1 SELECT item.id, item.name FROM item WHERE item.id IN (?)\n"
	"5 wait 2: 1 SELECT item.id, item.name FROM item WHERE item.id IN (?)\n"
	"7 wait 1: 1 internal ROLLBACK\n"
	"8 wait 1: 1 internal BEGIN\n"
	"9 wait 2: 1 internal -\n"
	"11 wait 1: 1 internal ROLLBACK\n";

static const char redis_py_calls[] =
	"1 wait 1: 1 internal HELLO\n"
	"2 wait 1: 1 error internal CLIENT MAINT_NOTIFICATIONS\n"
	"3 wait 1: 1 error internal CLIENT SETINFO\n"
	"4 wait 1: 1 error internal CLIENT SETINFO\n"
	"5 wait 1: 1 SET\n"
	"6 wait 1: 1 GET\n"
	"7 wait 1: 1 SET\n"
	"10 wait 1: 1 GET\n"
	"11 wait 1: 6 pipeline(GET, SET)\n"
	"12 wait 1: 2 pipeline(MULTI, GET, INCRBY, EXEC)\n"
	"13 wait 1: 28 pipeline(SET, ...)\n"
	"16 wait 1: 1 error LPUSH\n"
	"17 wait 1: 1 MGET\n"
	"18 wait 1: 1 HGETALL\n"
	"19 wait 1: 1 CONFIG GET\n";

static const char redis_asyncio_calls[] =
	"1 wait 1: 1 internal HELLO\n"
	"2 wait 1: 1 error internal CLIENT MAINT_NOTIFICATIONS\n"
	"3 wait 101: 1 error internal CLIENT SETINFO\n"
	"4 wait 1: 1 internal CLIENT SETINFO\n"
	"5 wait 1: 1 SET\n"
	"6 wait 1: 1 GET\n"
	"7 wait 1: 1 GET\n"
	"8 wait 1: 1 PUBLISH\n";

static const char redis_pubsub_calls[] =
	"1 wait 1: 1 internal HELLO\n"
	"2 wait 1: 1 error internal CLIENT MAINT_NOTIFICATIONS\n"
	"3 wait 101: 1 error internal CLIENT SETINFO\n"
	"4 wait 1: 1 internal CLIENT SETINFO\n"
	"5 wait 1: 1 GET\n"
	"6 wait 1: 3 pipeline(GET, SET)\n"
	"7 wait 1: 1 unpaired SUBSCRIBE\n";

static const char httpx_calls[] =
	"1 wait 1: 1 GET /items/{id}\n"
	"2 wait 1: 1 GET /items/{id}/cards/{id}\n"
	"3 wait 1: 1 POST /items\n"
	"5 wait 1: 1 POST /upload\n"
	"7 wait 1: 1 POST /upload\n"
	"9 wait 1: 1 error GET /fail\n"
	"10 wait 1: 1 GET /big\n"
	"11 wait 1: 1 POST /upload\n";

static const char aiohttp_calls[] =
	"1 wait 1: 1 GET /items/{id}\n"
	"2 wait 1: 1 POST /items\n"
	"3 wait 1: 1 POST /items\n";

static const char requests_calls[] =
	"1 wait 1: 1 GET /items/{id}\n"
	"2 wait 1: 1 POST /items\n";

static const char pymysql_calls[] =
	"1 wait 1: 1 internal -\n"
	"2 wait 1: 1 internal SET NAMES utf8mb4\n"
	"3 wait 1: 1 internal SET AUTOCOMMIT = ?\n"
	"4 wait 1: 1 select id, name from item where id = ? and name = ?\n"
	"5 wait 1: 1 select id from many where id in (?)\n"
	"6 wait 1: 1 error select nope from item where name = ?\n"
	"7 wait 1: 1 insert into item (id, name) values (?)\n"
	"8 wait 1: 1 internal COMMIT\n"
	"9 wait 1: 1 internal -\n";

static const char aiomysql_calls[] =
	"1 wait 1: 1 internal -\n"
	"2 wait 1: 1 select id from item where name = ?\n";

static const char pymongo_calls[] =
	"1 wait 1: 1 internal ismaster\n"
	"2 wait 1: 1 find item\n"
	"3 wait 1: 1 insert item\n"
	"4 wait 1: 1 find big\n"
	"5 wait 1: 1 getMore item\n"
	"6 wait 1: 1 error aggregate item\n"
	"7 no reply: 1 insert item\n"
	"8 no reply: 1 failed internal ping\n";

#define RECORDED(name, protocol) \
	{ #name, name##_bytes, COUNT(name##_bytes), name##_calls, protocol }
static const struct {
	const char *name;
	const struct piece *pieces;
	size_t count;
	const char *calls;
	enum protocol protocol;
} recorded[] = {
	RECORDED(asyncpg, PROTOCOL_POSTGRES),
	RECORDED(psycopg, PROTOCOL_POSTGRES),
	RECORDED(sqlalchemy, PROTOCOL_POSTGRES),
	RECORDED(redis_py, PROTOCOL_REDIS),
	RECORDED(redis_asyncio, PROTOCOL_REDIS),
	RECORDED(redis_pubsub, PROTOCOL_REDIS),
	RECORDED(httpx, PROTOCOL_HTTP1),
	RECORDED(aiohttp, PROTOCOL_HTTP1),
	RECORDED(requests, PROTOCOL_HTTP1),
	RECORDED(pymysql, PROTOCOL_MYSQL),
	RECORDED(aiomysql, PROTOCOL_MYSQL),
	RECORDED(pymongo, PROTOCOL_MONGODB),
};

static void replay(size_t index, size_t from, size_t head_limit, struct talk *talk)
{
	*talk = (struct talk){ .peer = peer_new(0) };
	assert_non_null(talk->peer);
	talk_recorded(talk, recorded[index].pieces + from, recorded[index].count - from,
		      head_limit);
	peer_closed(talk->peer, talk->now, PEER_CLOSED, talk_call, talk);
}

static void test_recorded(void **state)
{
	struct talk talk;

	(void)state;
	for (size_t i = 0; i < COUNT(recorded); i++) {
		replay(i, 0, 512, &talk);
		assert_string_equal(talk.calls, recorded[i].calls);
		assert_int_equal(peer_protocol(talk.peer), recorded[i].protocol);
		assert_int_equal(peer_dropped(talk.peer), 0);
		peer_free(talk.peer);
	}
}

/* From any point on: the protocol is found, and what is paired is paired right. */
static void test_joined_late(void **state)
{
	struct talk talk;

	(void)state;
	for (size_t i = 0; i < COUNT(recorded); i++)
		for (size_t from = 1; from + 2 < recorded[i].count; from++) {
			const char *line;
			unsigned long long token, wait;
			unsigned int commands;
			char rest[32];

			replay(i, from, 512, &talk);
			assert_null(strstr(talk.calls, "secret"));
			assert_null(strstr(talk.calls, "private"));
			for (line = talk.calls; *line; line = strchr(line, '\n') + 1) {
				if (sscanf(line, "%llu wait %llu: %u %31s", &token, &wait,
					   &commands, rest) != 4 || strstr(rest, "unpaired"))
					continue;
				assert_true(wait <= 2 * TALK_THINKS);
			}
			peer_free(talk.peer);
		}
}

/* Less of each message than the probes keep: never more than is known, never a value. */
static void test_short_heads(void **state)
{
	struct talk talk;

	(void)state;
	for (size_t i = 0; i < COUNT(recorded); i++)
		for (size_t limit = 0; limit < 200; limit++) {
			replay(i, 0, limit, &talk);
			assert_null(strstr(talk.calls, "secret"));
			assert_null(strstr(talk.calls, "private"));
			assert_true(talk.count <= recorded[i].count);
			peer_free(talk.peer);
		}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recorded),
		cmocka_unit_test(test_joined_late),
		cmocka_unit_test(test_short_heads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
