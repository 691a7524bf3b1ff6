// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "attribute/shape.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *sql(const char *text, size_t length, bool whole, enum sql_dialect dialect)
{
	static struct shape_text shape;

	shape_sql(&shape, (const uint8_t *)text, length, whole, dialect);
	assert_int_equal(strlen(shape.text), shape.length);
	assert_true(shape.length <= SHAPE_BYTES);
	return shape.text;
}

static void test_sql(void **state)
{
	static const struct {
		const char *text, *shape;
	} cases[] = {
		{ "", "" },
		{ "  ;\n ", "" },
		{ "select 1;", "select ?" },
		{ "SELECT *\n\tFROM t  WHERE a = 'x''y' AND b=-1.5e-3",
		  "SELECT * FROM t WHERE a = ? AND b=?" },
		{ "select a-1, b - 2, .5, t.c5", "select a-?, b - ?, t.c5" },
		{ "id IN (1, 2,3 , 4)", "id IN (?)" },
		{ "id IN ($1::INTEGER, $2::INTEGER)", "id IN (?)" },
		{ "x = $1::timestamp(3) without time zone[] and y = '1'::int4", "x = ? and y = ?" },
		{ "x = $1::timestamp with time zone and w = 1", "x = ? and w = ?" },
		{ "insert into t (a, b) values (1, 'x'), (2, NULL), (3, true)",
		  "insert into t (a, b) values (?)" },
		{ "a is null and b is not true", "a is null and b is not true" },
		{ "select E'it\\'s', e'\\\\', B'01', X'ff', N'x', U&'\\0041', u", "select ?, u" },
		{ "select $$secret's$$, $a$ $$ b $a$, $1", "select ?" },
		{ "select /* secret /* ' */ ' */ a -- secret '\n, b", "select a, b" },
		{ "select \"a \"\" 'b'\" from \"T\"", "select \"a \"\" 'b'\" from \"T\"" },
		{ "a -> 'k' ->> 2, f(x,1)", "a -> ? ->> ?, f(x, ?)" },
		{ "a = '\\' or b = 'secret'", "a = ?..." },
		{ "select 'a\\\\', 'b'", "select ?" },
		{ "select 1abc, 0x1f, 1_000", "select ?" },
		{ "select a[1], b [ 2 ]", "select a[?], b [ ? ]" },
		{ "select caf\xc3\xa9, b\xff", "select caf\xc3\xa9, b?" },
		{ "begin; select 2", "begin; select ?" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_string_equal(sql(cases[i].text, strlen(cases[i].text), true, SQL_POSTGRES),
				    cases[i].shape);
}

static void test_mysql(void **state)
{
	static const struct {
		const char *text, *shape;
	} cases[] = {
		{ "select `a'b` from t where x = \"se'cret\" and y = 'O\\'Brien' # secret\n"
		  "limit 5, 10",
		  "select `a'b` from t where x = ? and y = ? limit ?" },
		{ "select 5--3, 4 -- secret", "select ?--?" },
		{ "/*!50000 select 'a*/secret' */ from t /* x */", "select ? from t" },
		{ "/*M! set x = 1 */", "set x = ?" },
		{ "a = 'C:\\' AND b = 'secret'", "a = ?..." },
		{ "a = 'C:\\'and b='secret'", "a = ?..." },
		{ "select $$, a$b", "select $$, a$b" },
		{ "values (1,'x'),(2,'y')", "values (?)" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_string_equal(sql(cases[i].text, strlen(cases[i].text), true, SQL_MYSQL),
				    cases[i].shape);
}

/* However a statement is cut, nothing of a literal is in its shape. */
static void test_cut(void **state)
{
	static const char *const texts[] = {
		"select a, 'secret secret' from t where b = E'sec\\'ret' and c = $$sec'ret$$ "
		"and d = $q$ secret $$ $q$ and /* secret ' /* secret */ */ "
		"e = U&'secret' -- secret\n"
		"and f in ('secret', 'sec''ret', 1234567) and g = 'sec\\' and h = 'secret'",
		"select \"n\", 'secret\\\\', \"secret\", `n`, /*! 'secret*/secret' */ "
		"'sec\\'ret' # secret\n",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++)
		for (size_t length = 0; length <= strlen(texts[i]); length++)
			for (int whole = 0; whole < 2; whole++) {
				const char *shape = sql(texts[i], length, whole,
							i ? SQL_MYSQL : SQL_POSTGRES);

				assert_null(strstr(shape, "sec"));
				assert_null(strstr(shape, "ret"));
				assert_null(strstr(shape, "123"));
				if (!whole && length)
					assert_string_equal(shape + strlen(shape) - 3, "...");
			}
	/* a word that goes on may be any word */
	assert_string_equal(sql("select ab", 9, false, SQL_POSTGRES), "select...");
	assert_string_equal(sql("x in (1, 2, 3", 13, false, SQL_POSTGRES), "x in (?...");
}

static void test_long(void **state)
{
	char text[4000];
	size_t used = 0;

	(void)state;
	while (used < sizeof(text) - 40)
		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 "\xc3\xa9t\xc3\xa9%zu, ", used);
	/* whole characters only */
	assert_in_range(strlen(sql(text, used, true, SQL_POSTGRES)), SHAPE_BYTES - 3, SHAPE_BYTES);
	assert_string_equal(sql(text, used, true, SQL_POSTGRES) + SHAPE_BYTES - 5, "...");
	/* many rows are one */
	used = (size_t)snprintf(text, sizeof(text), "insert into t values ");
	while (used < sizeof(text) - 40)
		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 "($1::int, 'x%zu', null), ", used);
	assert_string_equal(sql(text, used - 2, true, SQL_POSTGRES), "insert into t values (?)");
}

static void test_internal(void **state)
{
	static const char *const yes[] = {
		"", "BEGIN", "begin; ", "COMMIT", "ROLLBACK TO SAVEPOINT a", "SET x = ?", "show a",
		"START TRANSACTION ISOLATION LEVEL SERIALIZABLE",
		"SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL",
	};
	static const char *const no[] = {
		"SELECT ?", "BEGIN; SELECT ?", "beginning", "SELECT a; COMMIT", "settle",
		"update t set a = ?",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(yes); i++)
		assert_true(shape_sql_internal(yes[i]));
	for (size_t i = 0; i < COUNT(no); i++)
		assert_false(shape_sql_internal(no[i]));
}

static void test_http(void **state)
{
	static const struct {
		const char *target, *shape;
		bool whole;
	} cases[] = {
		{ "/", "GET /", true },
		{ "/users/17?token=secret", "GET /users/{id}", true },
		{ "/users/17/cards/5f0c11aa22bb#x", "GET /users/{id}/cards/{id}", true },
		{ "http://user:secret@host:80/a/b?c", "GET /a/b", true },
		{ "http://host", "GET", true },
		{ "/j@example.org/a%20b;s=secret/c", "GET /{id}/{id}", true },
		{ "/bot12345:AAEsecret/send", "GET /{id}/send", true },
		{ "/v1/files/aB3dE5fG7hI9jK1lM3nO", "GET /v1/files/{id}", true },
		{ "*", "GET", true },
		{ "/a/secr", "GET /a/...", false },
		{ "/a/b?se", "GET /a/b", false },
		{ "/\xff\xfe/x", "GET /{id}/x", true },
	};
	struct shape_text shape;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		shape_http(&shape, (const uint8_t *)"GET", 3, (const uint8_t *)cases[i].target,
			   strlen(cases[i].target), cases[i].whole);
		assert_string_equal(shape.text, cases[i].shape);
	}
}

static void test_set(void **state)
{
	struct shape_set *set = shape_set_new(2);
	struct shape_text shape = { .length = 0 };
	const char *first;

	(void)state;
	assert_non_null(set);
	assert_null(shape_intern(set, &shape));
	shape_add(&shape, "a", 1);
	first = shape_intern(set, &shape);
	assert_ptr_equal(first, shape_intern(set, &shape));
	shape_add(&shape, "b", 1);
	assert_string_equal(shape_intern(set, &shape), "ab");
	shape_add(&shape, "c", 1);
	assert_string_equal(shape_intern(set, &shape), SHAPE_OTHER);
	assert_int_equal(shape_set_dropped(set), 1);
	shape_set_free(set);
	shape_set_free(NULL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sql),	 cmocka_unit_test(test_mysql),
		cmocka_unit_test(test_cut),	 cmocka_unit_test(test_long),
		cmocka_unit_test(test_internal), cmocka_unit_test(test_http),
		cmocka_unit_test(test_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
