// SPDX-License-Identifier: Apache-2.0
/* Messages of name servers, right and wrong ones, and which address has which name. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "attribute/names.h"
#include "base/units.h"

#define PID 7
#define SOCKET 0x51
#define A "\0\1\0\1"
#define AAAA "\0\34\0\1"
#define QUERY "\1\0\0\1\0\0\0\0\0\0"
#define ANSWERS(count) "\201\200\0\1\0" count "\0\0\0\0"
#define DB "\2db\4test\0"
#define CACHE "\5cache\4test\0"
#define HERE "\300\14"
#define TTL "\0\0\0\74"
#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1

static const struct name_address ten = { { [10] = 0xff, 0xff, 10, 0, 0, 5 } };
static const struct name_address nine = { { [10] = 0xff, 0xff, 9, 0, 0, 5 } };

static void test_query(void **state)
{
	struct name_message message;

	(void)state;
	assert_int_equal(name_query_parse(BYTES("\0\1" QUERY "\2DB\4Test\0" A), &message), 0);
	assert_int_equal(message.id, 1);
	assert_int_equal(message.type, NAME_TYPE_A);
	assert_string_equal(message.name, "db.test");
	/* one for mail, an answer, two questions, no name, an odd name */
	assert_int_equal(name_query_parse(BYTES("\0\1" QUERY DB "\0\17\0\1"), &message), -EBADMSG);
	assert_int_equal(name_query_parse(BYTES("\0\1" ANSWERS("\0") DB A), &message), -EBADMSG);
	assert_int_equal(name_query_parse(BYTES("\0\1\1\0\0\2\0\0\0\0\0\0" DB A DB A), &message),
			 -EBADMSG);
	assert_int_equal(name_query_parse(BYTES("\0\1" QUERY "\0" A), &message), -EBADMSG);
	assert_int_equal(name_query_parse(BYTES("\0\1" QUERY "\3d\nb\0" A), &message), -EBADMSG);
}

static void test_query_that_is_cut(void **state)
{
	static const char whole[] = "\0\1" QUERY DB A;
	struct name_message message;

	(void)state;
	for (size_t size = 0; size < sizeof(whole) - 1; size++) {
		uint8_t *exact = malloc(size ? size : 1);

		assert_non_null(exact);
		memcpy(exact, whole, size);
		assert_int_equal(name_query_parse(exact, size, &message), -EBADMSG);
		free(exact);
	}
}

static void test_answer(void **state)
{
	struct name_message message;

	(void)state;
	/* its name leads to another one, and that to two addresses; a third one is nobody's */
	assert_int_equal(name_answer_parse(
				 BYTES("\0\2" ANSWERS("\4") DB A
				       HERE "\0\5\0\1" TTL "\0\7\4real\300\17"
				       "\300\45" A TTL "\0\4\12\0\0\5"
				       "\300\45" A TTL "\0\4\11\0\0\5"
				       "\5other\0" A TTL "\0\4\10\0\0\5"), &message), 0);
	assert_string_equal(message.name, "db.test");
	assert_int_equal(message.count, 2);
	assert_memory_equal(&message.addresses[0], &ten, sizeof(ten));
	assert_memory_equal(&message.addresses[1], &nine, sizeof(nine));
	/* of the other kind, too short, and of another class */
	assert_int_equal(name_answer_parse(
				 BYTES("\0\2" ANSWERS("\3") DB AAAA
				       HERE A TTL "\0\4\12\0\0\5"
				       HERE AAAA TTL "\0\4\12\0\0\5"
				       HERE "\0\34\0\3" TTL "\0\20aaaaaaaaaaaaaaaa"), &message), 0);
	assert_int_equal(message.count, 0);
	/* no such name; cut off by the server */
	assert_int_equal(name_answer_parse(BYTES("\0\2\201\203\0\1\0\0\0\0\0\0" DB A), &message),
			 -EBADMSG);
	assert_int_equal(name_answer_parse(BYTES("\0\2\203\200\0\1\0\0\0\0\0\0" DB A), &message),
			 -EBADMSG);
}

static void test_hostile_pointers(void **state)
{
	struct name_message message;
	uint8_t bytes[512] = "\0\2" ANSWERS("\1");

	(void)state;
	/* to itself, forwards, into the header */
	assert_int_equal(name_answer_parse(BYTES("\0\2" ANSWERS("\1") "\300\14" A), &message),
			 -EBADMSG);
	assert_int_equal(name_answer_parse(BYTES("\0\2" ANSWERS("\1") "\300\16\1a\0" A), &message),
			 -EBADMSG);
	assert_int_equal(name_answer_parse(BYTES("\0\2" ANSWERS("\1") "\300\0" A), &message),
			 -EBADMSG);
	/* more jumps than a name has labels */
	memcpy(bytes + 12, "\1a\0" A, 7);
	for (size_t i = 0; i < 100; i++) {
		bytes[19 + 2 * i] = 0xc0;
		bytes[20 + 2 * i] = (uint8_t)(i ? 19 + 2 * (i - 1) : 12);
	}
	assert_int_equal(name_answer_parse(bytes, sizeof(bytes), &message), 0);
	assert_int_equal(message.count, 0);
	/* longer than a name may be */
	memset(bytes + 12, 'a', 400);
	for (size_t at = 12; at < 400; at += 64)
		bytes[at] = 63;
	assert_int_equal(name_answer_parse(bytes, sizeof(bytes), &message), -EBADMSG);
}

#define ASK(id, name) names_asked(table, SOCKET, BYTES("\0" id QUERY name A))
#define TOLD(id, name, address, now) \
	names_answered(table, PID, SOCKET, \
		       BYTES("\0" id ANSWERS("\1") name A HERE A TTL "\0\4" address "\0\0\5"), now)

static void test_names(void **state)
{
	struct name_table *table = name_table_new();

	(void)state;
	assert_non_null(table);
	assert_null(names_of(table, PID, &ten, 1));
	ASK("\1", DB);
	TOLD("\1", DB, "\12", 5);
	assert_string_equal(names_of(table, PID, &ten, 6), "db.test");
	/* another address, another process */
	assert_null(names_of(table, PID, &nine, 6));
	assert_null(names_of(table, PID + 1, &ten, 6));
	name_table_free(table);
}

static void test_answers_to_nothing(void **state)
{
	struct name_table *table = name_table_new();

	(void)state;
	assert_non_null(table);
	TOLD("\1", DB, "\12", 5);
	ASK("\1", DB);
	/* another number, another name, another socket */
	TOLD("\2", DB, "\12", 5);
	TOLD("\1", CACHE, "\12", 5);
	names_answered(table, PID, SOCKET + 1,
		       BYTES("\0\1" ANSWERS("\1") DB A HERE A TTL "\0\4\12\0\0\5"), 5);
	assert_null(names_of(table, PID, &ten, 6));
	TOLD("\1", DB, "\12", 5);
	assert_string_equal(names_of(table, PID, &ten, 6), "db.test");
	/* it was answered already */
	TOLD("\1", DB, "\11", 6);
	assert_null(names_of(table, PID, &nine, 7));
	name_table_free(table);
}

static void test_two_names_of_an_address(void **state)
{
	struct name_table *table = name_table_new();
	uint64_t later = 100 * NS_PER_S;

	(void)state;
	assert_non_null(table);
	ASK("\1", DB);
	TOLD("\1", DB, "\12", 5);
	ASK("\2", CACHE);
	TOLD("\2", CACHE, "\12", 6);
	assert_null(names_of(table, PID, &ten, 7));
	ASK("\3", CACHE);
	TOLD("\3", CACHE, "\12", later);
	assert_string_equal(names_of(table, PID, &ten, later), "cache.test");
	/* what was missed may have been another one */
	names_gap(table);
	assert_null(names_of(table, PID, &ten, later));
	assert_string_equal(names_of(table, PID, &ten, 2 * later), "cache.test");
	name_table_free(table);
}

static void test_more_names_than_fit(void **state)
{
	struct name_table *table = name_table_new();
	uint8_t query[] = "\0\1" QUERY DB A;
	uint8_t answer[] = "\0\1" ANSWERS("\1") DB A HERE A TTL "\0\4\12\0\0\5";

	(void)state;
	assert_non_null(table);
	for (unsigned i = 0; i < 1025; i++) {
		answer[sizeof(answer) - 2] = (uint8_t)i;
		answer[sizeof(answer) - 3] = (uint8_t)(i >> 8);
		names_asked(table, SOCKET, query, sizeof(query) - 1);
		names_answered(table, PID, SOCKET, answer, sizeof(answer) - 1, i + 1);
		assert_int_equal(names_dropped(table), i > 1023);
	}
	/* one is missing: it may have been the other name of any address */
	assert_null(names_of(table, PID, &ten, 2000));
	assert_string_equal(names_of(table, PID, &ten, 100 * NS_PER_S), "db.test");
	name_table_free(table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_query),
		cmocka_unit_test(test_query_that_is_cut),
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_hostile_pointers),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_answers_to_nothing),
		cmocka_unit_test(test_two_names_of_an_address),
		cmocka_unit_test(test_more_names_than_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
