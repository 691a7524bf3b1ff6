// SPDX-License-Identifier: Apache-2.0
/* SQL without its literals. */
#include "attribute/shape.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "attribute/shape_internal.h"

struct sql {
	const uint8_t *at, *end;
	struct shape_text *out;
	enum sql_dialect dialect;
	bool whole;
	bool space;	/* white space or a comment was skipped */
	bool stop;
};

static char last_byte(const struct shape_text *out)
{
	return out->length ? out->text[out->length - 1] : '\0';
}

static int peek(const struct sql *sql, size_t ahead)
{
	return (size_t)(sql->end - sql->at) > ahead ? sql->at[ahead] : -1;
}

/* One token, with one space where there was any, and one after each comma. */
static void emit(struct sql *sql, const uint8_t *text, size_t length)
{
	char last = last_byte(sql->out);

	if (last == ',' || (sql->space && last && last != '(' && !strchr(",);", text[0])))
		shape_add(sql->out, " ", 1);
	sql->space = false;
	shape_append(sql->out, text, length);
	sql->stop |= sql->out->full;
}

static bool word_byte(int byte)
{
	return byte >= 0x80 || byte == '_' || byte == '$' || isalnum(byte);
}

static bool word_is(const uint8_t *word, size_t length, const char *text)
{
	return strlen(text) == length && !strncasecmp((const char *)word, text, length);
}

static void skip_space(struct sql *sql)
{
	while (sql->at < sql->end && isspace(*sql->at))
		sql->at++;
}

/* "::timestamp(3) without time zone[]" behind a literal */
static void skip_cast(struct sql *sql)
{
	static const char *const more[] = { "without", "with", "time",
					    "zone", "varying", "precision" };
	const uint8_t *from;
	bool goes_on = true;

	while (peek(sql, 0) == ':' && peek(sql, 1) == ':') {
		for (sql->at += 2, skip_space(sql); goes_on;) {
			while (word_byte(peek(sql, 0)) ||
			       peek(sql, 0) == '.' || peek(sql, 0) == '"')
				sql->at++;
			if (peek(sql, 0) == '(') {
				while (sql->at < sql->end && *sql->at != ')')
					sql->at++;
				sql->at += sql->at < sql->end;
			}
			while (peek(sql, 0) == '[' || peek(sql, 0) == ']')
				sql->at++;
			from = sql->at;
			skip_space(sql);
			goes_on = false;
			for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
				size_t length = strlen(more[i]);

				if ((size_t)(sql->end - sql->at) >= length &&
				    word_is(sql->at, length, more[i]) &&
				    !word_byte(peek(sql, length)))
					goes_on = true;
			}
			if (!goes_on)
				sql->at = from;
		}
		goes_on = true;
	}
}

/* A literal: "?", or nothing right behind another one and a comma. */
static void literal(struct sql *sql)
{
	static const uint8_t mark[] = "?";
	struct shape_text *out = sql->out;
	size_t sign = out->length && strchr("+-", out->text[out->length - 1]) ? 1 : 0;
	size_t before = out->length - sign;

	while (before && out->text[before - 1] == ' ')
		before--;
	if (sign && (!before || strchr("(,=<>*/", out->text[before - 1]))) {
		sql->space = before < out->length - sign;
		shape_take_back(out, out->length - before);
	}
	if (shape_ends(out, "?,")) {
		shape_take_back(out, 1);
		sql->space = false;
	} else {
		emit(sql, mark, 1);
	}
	skip_cast(sql);
}

/* Whether what follows a quote could be SQL; the rest of a word cannot. */
static bool sql_may_follow(const struct sql *sql)
{
	static const char *const words[] = {
		"and", "as", "asc", "between", "collate", "desc", "div", "else", "end", "escape",
		"for", "from", "group", "having", "in", "into", "is", "like", "limit", "lock",
		"member", "mod", "not", "on", "or", "order", "regexp", "rlike", "separator",
		"sounds", "then", "union", "using", "when", "where", "xor",
	};
	size_t length = 0;

	while (word_byte(peek(sql, length)))
		length++;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (word_is(sql->at, length, words[i]))
			return true;
	return !length;
}

/*
 * Moves behind the quote that ends the string.  Whether a backslash protects a
 * quote depends on settings of the server that nobody sees here: where it may not,
 * the shape ends.
 */
static bool skip_string(struct sql *sql, uint8_t quote, bool escapes)
{
	size_t slashes = 0;

	while (sql->at < sql->end) {
		uint8_t byte = *sql->at++;

		if (byte == '\\') {
			slashes++;
			continue;
		}
		if (byte == quote && slashes % 2 && !escapes) {
			if (sql->dialect != SQL_MYSQL || sql_may_follow(sql))
				return false;
		} else if (byte == quote && !(slashes % 2)) {
			if (peek(sql, 0) != quote)
				return true;
			sql->at++;
		}
		slashes = 0;
	}
	return false;
}

static void string(struct sql *sql, uint8_t quote, bool escapes)
{
	bool ended;

	sql->at++;
	ended = skip_string(sql, quote, escapes);
	if (!ended)
		sql->at = sql->end;
	literal(sql);
	if (!ended) {
		shape_cut(sql->out);
		sql->stop = true;
	}
}

/* A name in quotes stays as it is. */
static void quoted_name(struct sql *sql, uint8_t quote)
{
	const uint8_t *from = sql->at++;

	for (; sql->at < sql->end; sql->at++) {
		if (*sql->at != quote)
			continue;
		if (peek(sql, 1) != quote)
			break;
		sql->at++;
	}
	if (sql->at < sql->end)
		sql->at++;
	emit(sql, from, (size_t)(sql->at - from));
}

/* $1, $$text$$, $tag$text$tag$ */
static void dollar(struct sql *sql)
{
	const uint8_t *tag = sql->at++, *found;
	size_t length;

	if (isdigit(peek(sql, 0))) {
		while (isdigit(peek(sql, 0)))
			sql->at++;
		literal(sql);
		return;
	}
	if (sql->dialect != SQL_POSTGRES) {
		emit(sql, tag, 1);
		return;
	}
	while (word_byte(peek(sql, 0)) && *sql->at != '$')
		sql->at++;
	if (sql->at < sql->end && *sql->at != '$') {
		emit(sql, tag, 1);
		sql->at = tag + 1;
		return;
	}
	sql->at += sql->at < sql->end;
	length = (size_t)(sql->at - tag);
	found = length > 1 ? memmem(sql->at, (size_t)(sql->end - sql->at), tag, length) : NULL;
	sql->at = found ? found + length : sql->end;
	literal(sql);
	if (!found) {
		shape_cut(sql->out);
		sql->stop = true;
	}
}

static void number(struct sql *sql)
{
	for (; sql->at < sql->end; sql->at++) {
		bool sign = (*sql->at == '+' || *sql->at == '-') && (sql->at[-1] | 0x20) == 'e' &&
			    isdigit(peek(sql, 1));

		if (!word_byte(*sql->at) && *sql->at != '.' && !sign)
			break;
	}
	literal(sql);
}

static void word(struct sql *sql)
{
	const uint8_t *from = sql->at;
	bool value = last_byte(sql->out) && strchr("(,=", last_byte(sql->out));
	size_t length;

	while (sql->at < sql->end && word_byte(*sql->at))
		sql->at++;
	length = (size_t)(sql->at - from);
	if (sql->at == sql->end && !sql->whole) {
		sql->stop = true;
		return;
	}
	if (length == 1 && (*from | 0x20) == 'u' && peek(sql, 0) == '&' && peek(sql, 1) == '\'')
		sql->at++;
	if (peek(sql, 0) == '\'' && (length == 1 || sql->at > from + length)) {
		string(sql, '\'', (*from | 0x20) == 'e');
		return;
	}
	if (value && (word_is(from, length, "null") || word_is(from, length, "true") ||
		      word_is(from, length, "false")))
		literal(sql);
	else
		emit(sql, from, length);
}

/* To the end of a comment; those that MySQL executes are read like the rest. */
static void block_comment(struct sql *sql)
{
	size_t depth = 0;
	size_t mark = peek(sql, 2) == 'M' ? 3 : 2;

	if (sql->dialect == SQL_MYSQL && peek(sql, mark) == '!') {
		sql->at += mark + 1;
		while (isdigit(peek(sql, 0)))
			sql->at++;
		return;
	}
	do {
		if (peek(sql, 0) == '/' && peek(sql, 1) == '*' &&
		    (!depth || sql->dialect == SQL_POSTGRES)) {
			depth++;
			sql->at += 2;
		} else if (peek(sql, 0) == '*' && peek(sql, 1) == '/') {
			depth--;
			sql->at += 2;
		} else {
			sql->at++;
		}
	} while (depth && sql->at < sql->end);
}

static bool line_comment(const struct sql *sql)
{
	if (sql->dialect == SQL_MYSQL)
		return *sql->at == '#' || (*sql->at == '-' && peek(sql, 1) == '-' &&
					   (peek(sql, 2) < 0 || isspace(peek(sql, 2))));
	return *sql->at == '-' && peek(sql, 1) == '-';
}

/* White space and comments; true when there were any. */
static bool blank(struct sql *sql)
{
	if (isspace(*sql->at)) {
		skip_space(sql);
	} else if (line_comment(sql)) {
		while (sql->at < sql->end && *sql->at != '\n')
			sql->at++;
	} else if (*sql->at == '/' && peek(sql, 1) == '*') {
		block_comment(sql);
	} else if (sql->dialect == SQL_MYSQL && *sql->at == '*' && peek(sql, 1) == '/') {
		sql->at += 2;
	} else {
		return false;
	}
	sql->space = true;
	return true;
}

static void token(struct sql *sql)
{
	uint8_t byte = *sql->at;
	char last = last_byte(sql->out);

	if (byte == '\'' || (byte == '"' && sql->dialect == SQL_MYSQL)) {
		string(sql, byte, false);
	} else if (byte == '"' || (byte == '`' && sql->dialect == SQL_MYSQL)) {
		quoted_name(sql, byte);
	} else if (byte == '$') {
		dollar(sql);
	} else if (isdigit(byte) || (byte == '.' && isdigit(peek(sql, 1)) &&
				     !word_byte((uint8_t)last) && !strchr("\"`]", last))) {
		number(sql);
	} else if (word_byte(byte)) {
		word(sql);
	} else if (byte == '?') {
		sql->at++;
		literal(sql);
	} else {
		emit(sql, sql->at++, 1);
		if (byte == ')' && shape_ends(sql->out, "(?), (?)"))
			shape_take_back(sql->out, 5);
	}
}

void shape_sql(struct shape_text *ret_shape, const uint8_t *text, size_t length, bool whole,
	       enum sql_dialect dialect)
{
	const uint8_t *end = length ? memchr(text, '\0', length) : NULL;
	struct sql sql = { .at = text, .out = ret_shape, .dialect = dialect };

	*ret_shape = (struct shape_text){ .length = 0 };
	if (!length)
		return;
	sql.end = end ? end : text + length;
	sql.whole = whole || end;
	while (sql.at < sql.end && !sql.stop)
		if (!blank(&sql))
			token(&sql);
	if (!sql.whole)
		shape_cut(ret_shape);
	while (!ret_shape->full && last_byte(ret_shape) && strchr("; ", last_byte(ret_shape)))
		shape_take_back(ret_shape, 1);
}

static bool starts_with(const char *text, size_t length, const char *start, bool whole_word)
{
	size_t size = strlen(start);

	return length >= size && !strncasecmp(text, start, size) &&
	       (!whole_word || length == size || !word_byte((uint8_t)text[size]));
}

/* One statement. */
static bool internal(const char *text, size_t length)
{
	static const char *const control[] = {
		"begin", "start", "commit", "rollback", "end", "abort", "savepoint", "release",
		"set", "show", "reset", "discard", "deallocate", "unlisten", "close",
	};
	/* what asyncpg, SQLAlchemy and MySQL's clients ask of a new connection */
	static const char *const questions[] = {
		"select pg_advisory_unlock_all()", "select pg_catalog.version()",
		"select current_schema()", "select version()", "select @@",
		"with recursive typeinfo_tree(",
	};

	for (size_t i = 0; i < sizeof(control) / sizeof(control[0]); i++)
		if (starts_with(text, length, control[i], true))
			return true;
	for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++)
		if (starts_with(text, length, questions[i], false))
			return true;
	return !length;
}

bool shape_sql_internal(const char *shape)
{
	while (shape) {
		const char *end = strchrnul(shape, ';');

		while (*shape == ' ')
			shape++;
		if (!internal(shape, shape < end ? (size_t)(end - shape) : 0))
			return false;
		shape = *end ? end + 1 : NULL;
	}
	return true;
}
