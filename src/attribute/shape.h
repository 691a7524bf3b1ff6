/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was asked of a peer, without what it was asked about: literals, keys,
 * values and query strings are gone before anything is kept.
 */
#ifndef LS_SHAPE_H
#define LS_SHAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHAPE_BYTES 200		/* of one shape */
#define SHAPE_OTHER "_other"	/* stands for those that a full set does not hold */

struct shape_text {
	char text[SHAPE_BYTES + 1];	/* terminated, UTF-8 */
	size_t length;
	bool full;	/* it was longer and ends in "..." */
};

enum sql_dialect {
	SQL_POSTGRES,
	SQL_MYSQL,	/* "strings", `names`, # comments, backslashes in strings */
};

/*
 * "SELECT * FROM t WHERE id IN (1, 2) AND name = 'x'" ->
 * "SELECT * FROM t WHERE id IN (?) AND name = ?".  Comments and casts of literals
 * go, white space and lists of literals and of rows are folded, names in quotes
 * stay.  !whole: the statement goes on beyond `length`.  A string whose end cannot
 * be told for sure ends the shape.
 */
void shape_sql(struct shape_text *ret_shape, const uint8_t *sql, size_t length, bool whole,
	       enum sql_dialect dialect);

/* Every statement in it controls the transaction or looks after the connection. */
bool shape_sql_internal(const char *shape);

/* "GET", "/users/17?q=x" -> "GET /users/{id}"; what looks like an id or a secret is one. */
void shape_http(struct shape_text *ret_shape, const uint8_t *method, size_t method_length,
		const uint8_t *target, size_t length, bool whole);

/* Adds ASCII text as far as it fits; ends in "..." when it does not. */
void shape_add(struct shape_text *shape, const char *text, size_t length);

/*
 * The shapes of one process: so many and no more, for foreign text must not fill
 * the memory.  Those beyond are SHAPE_OTHER, and counted.
 */
struct shape_set;	/* opaque */

#define SHAPES_MAX 4096
struct shape_set *shape_set_new(size_t limit);	/* NULL when out of memory */
void shape_set_free(struct shape_set *set);	/* NULL is legal */
uint64_t shape_set_dropped(const struct shape_set *set);

/* The interned copy; NULL for an empty shape or when out of memory. */
const char *shape_intern(struct shape_set *set, const struct shape_text *shape);

#endif
