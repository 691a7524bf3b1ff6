// SPDX-License-Identifier: Apache-2.0
/* Line tables of code objects, in the three forms that CPython has had. */
#include "resolve/code.h"

#include <limits.h>

/* How an entry of a location table (3.11+) says its line. */
enum {
	LOCATION_ONE_LINE = 10,	/* 10-12: 0-2 lines further */
	LOCATION_NO_COLUMNS = 13,
	LOCATION_LONG = 14,
	LOCATION_NONE = 15,
};

#define LINES_NONE (-128)	/* 3.10: this range has no line */

struct cursor {
	const uint8_t *at, *end;
};

/* A table that ends in the middle of a number reads as if zeros followed. */
static uint32_t read_varint(struct cursor *cursor)
{
	uint32_t value = 0;
	unsigned shift = 0;

	while (cursor->at < cursor->end) {
		uint8_t byte = *cursor->at++;

		if (shift < 32)
			value |= (uint32_t)(byte & 63) << shift;
		shift += 6;
		if (!(byte & 64))
			break;
	}
	return value;
}

static int64_t read_svarint(struct cursor *cursor)
{
	uint32_t value = read_varint(cursor);

	return value & 1 ? -(int64_t)(value >> 1) : (int64_t)(value >> 1);
}

static uint32_t as_line(int64_t line)
{
	return line > 0 && line <= INT_MAX ? (uint32_t)line : 0;
}

static uint32_t location_line(struct cursor cursor, uint32_t first_line, uint32_t unit)
{
	int64_t line = first_line;
	uint64_t end = 0;

	while (cursor.at < cursor.end) {
		uint8_t head = *cursor.at++;
		unsigned code = head >> 3 & 15;

		end += (head & 7) + 1;
		if (code == LOCATION_LONG || code == LOCATION_NO_COLUMNS)
			line += read_svarint(&cursor);
		else if (code >= LOCATION_ONE_LINE && code < LOCATION_NO_COLUMNS)
			line += code - LOCATION_ONE_LINE;
		if (unit < end)
			return code == LOCATION_NONE ? 0 : as_line(line);
		/* The columns, whose first bytes look like entries. */
		for (unsigned i = 0; code == LOCATION_LONG && i < 3; i++)
			read_varint(&cursor);
		if (code < LOCATION_NO_COLUMNS) {
			size_t skip = code < LOCATION_ONE_LINE ? 1 : 2;

			if (skip > (size_t)(cursor.end - cursor.at))
				return 0;
			cursor.at += skip;
		}
	}
	return 0;
}

/* 3.10: each pair is a range and what its line differs by from the one before. */
static uint32_t range_line(struct cursor cursor, uint32_t first_line, uint64_t address)
{
	int64_t line = first_line;
	uint64_t end = 0;

	for (; cursor.end - cursor.at >= 2; cursor.at += 2) {
		int delta = (int8_t)cursor.at[1];

		end += cursor.at[0];
		if (delta != LINES_NONE)
			line += delta;
		if (address < end)
			return delta == LINES_NONE ? 0 : as_line(line);
	}
	return 0;
}

/* 3.9 and older: each pair is a distance and what the line changes by at its end. */
static uint32_t lnotab_line(struct cursor cursor, uint32_t first_line, uint64_t address)
{
	int64_t line = first_line;
	uint64_t at = 0;

	for (; cursor.end - cursor.at >= 2; cursor.at += 2) {
		at += cursor.at[0];
		if (at > address)
			break;
		line += (int8_t)cursor.at[1];
	}
	return as_line(line);
}

uint32_t line_of_instruction(const uint8_t *table, size_t size, uint32_t first_line,
			     uint32_t unit, unsigned minor)
{
	struct cursor cursor = { table, table };

	if (!table)
		return 0;
	cursor.end += size;
	if (minor >= 11)
		return location_line(cursor, first_line, unit);
	if (minor == 10)
		return range_line(cursor, first_line, (uint64_t)unit * 2);
	return lnotab_line(cursor, first_line, (uint64_t)unit * 2);
}

uint32_t code_check_word(uint32_t first_line, uint32_t flags, uint64_t file, uint64_t name,
			 uint64_t line_table)
{
	uint32_t hash = first_line * 0x9e3779b1u ^ flags;

	hash = (hash << 13 | hash >> 19) ^ (uint32_t)(file >> 3) * 0x27d4eb2fu;
	hash = (hash << 13 | hash >> 19) ^ (uint32_t)(name >> 3) * 0x85ebca6bu;
	hash = (hash << 13 | hash >> 19) ^ (uint32_t)(line_table >> 3) * 0xc2b2ae35u;
	return hash | 1;
}
