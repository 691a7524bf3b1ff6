/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces of a JSON document: objects, numbers, times and places of the report. */
#ifndef LS_JSON_BUILDER_H
#define LS_JSON_BUILDER_H

#include <stdbool.h>
#include <stdint.h>

#include <cjson/cJSON.h>

struct place;
struct summary;

/*
 * The first failure is kept; everything after it is harmless.  All put_...() add to
 * an object under `key`, a string that stays, or with NULL to an array; `parent` may
 * be NULL after a failure.
 */
struct builder {
	int error;
};

/* Takes `item`, which may be NULL, and returns it while it is part of `parent`. */
cJSON *put(struct builder *builder, cJSON *parent, const char *key, cJSON *item);
cJSON *put_object(struct builder *builder, cJSON *parent, const char *key);
cJSON *put_array(struct builder *builder, cJSON *parent, const char *key);
void put_null(struct builder *builder, cJSON *parent, const char *key);
void put_bool(struct builder *builder, cJSON *parent, const char *key, bool value);

/* Text of a target, made valid UTF-8; NULL becomes null. */
void put_text(struct builder *builder, cJSON *parent, const char *key, const char *text);

void put_number(struct builder *builder, cJSON *parent, const char *key, uint64_t value);

/* The same with a key that need not stay. */
void put_count(struct builder *builder, cJSON *parent, const char *key, uint64_t value);

/* `value` / 10^`places`, without trailing zeros and whatever the locale. */
void put_decimal(struct builder *builder, cJSON *parent, const char *key, uint64_t value,
		 unsigned places);

/* Milliseconds to the microsecond. */
void put_ms(struct builder *builder, cJSON *parent, const char *key, uint64_t ns);

/* A share or seconds; negative and not finite: not known. */
void put_double(struct builder *builder, cJSON *parent, const char *key, double value,
		unsigned places);

/* A moment of CLOCK_REALTIME; 0: not known. */
void put_time(struct builder *builder, cJSON *parent, const char *key, uint64_t ns);

/* {dist} of times in ms; of nothing only the count is known. */
cJSON *put_summary(struct builder *builder, cJSON *parent, const char *key,
		   const struct summary *summary);

/* {dist} of plain numbers; null when there are none. */
void put_numbers(struct builder *builder, cJSON *parent, const char *key,
		 const struct summary *summary);

/* "delay_ms" of requests that waited. */
void put_delay(struct builder *builder, cJSON *parent, uint64_t max_ns, uint64_t total_ns);

#define LOCATION_FUNCTION 1u
#define LOCATION_QUALNAME 2u
#define LOCATION_ALL (LOCATION_FUNCTION | LOCATION_QUALNAME)

/* File, line and what `fields` asks for; without a file null, except in an array. */
void put_location(struct builder *builder, cJSON *parent, const char *key,
		  const struct place *location, unsigned fields);

#endif
