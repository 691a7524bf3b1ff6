// SPDX-License-Identifier: Apache-2.0
#include "export/json_builder.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "detect/finding.h"
#include "export/clean.h"

cJSON *put(struct builder *builder, cJSON *parent, const char *key, cJSON *item)
{
	cJSON_bool added;

	if (key)
		added = cJSON_AddItemToObjectCS(parent, key, item);
	else
		added = cJSON_AddItemToArray(parent, item);
	if (added)
		return item;
	cJSON_Delete(item);
	builder->error = -ENOMEM;
	return NULL;
}

cJSON *put_object(struct builder *builder, cJSON *parent, const char *key)
{
	return put(builder, parent, key, cJSON_CreateObject());
}

cJSON *put_array(struct builder *builder, cJSON *parent, const char *key)
{
	return put(builder, parent, key, cJSON_CreateArray());
}

void put_null(struct builder *builder, cJSON *parent, const char *key)
{
	put(builder, parent, key, cJSON_CreateNull());
}

void put_bool(struct builder *builder, cJSON *parent, const char *key, bool value)
{
	put(builder, parent, key, cJSON_CreateBool(value));
}

void put_text(struct builder *builder, cJSON *parent, const char *key, const char *text)
{
	_cleanup_free_ char *clean = clean_text(text, CLEAN_UTF8);

	if (text)
		put(builder, parent, key, clean ? cJSON_CreateString(clean) : NULL);
	else
		put_null(builder, parent, key);
}

void put_number(struct builder *builder, cJSON *parent, const char *key, uint64_t value)
{
	char digits[24];

	/* A number of cJSON is a double, and printed with an exponent when it is large. */
	snprintf(digits, sizeof(digits), "%" PRIu64, value);
	put(builder, parent, key, cJSON_CreateRaw(digits));
}

void put_count(struct builder *builder, cJSON *parent, const char *key, uint64_t value)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%" PRIu64, value);
	/* The key is copied, which put() does not do. */
	if (!cJSON_AddRawToObject(parent, key, digits))
		builder->error = -ENOMEM;
}

void put_decimal(struct builder *builder, cJSON *parent, const char *key, uint64_t value,
		 unsigned places)
{
	char digits[48];
	uint64_t unit = 1;
	int length;

	for (unsigned i = 0; i < places; i++)
		unit *= 10;
	for (; places && value % 10 == 0; places--, value /= 10)
		unit /= 10;
	length = snprintf(digits, sizeof(digits), "%" PRIu64, value / unit);
	if (places)
		snprintf(digits + length, sizeof(digits) - (size_t)length, ".%0*" PRIu64,
			 (int)places, value % unit);
	put(builder, parent, key, cJSON_CreateRaw(digits));
}

void put_ms(struct builder *builder, cJSON *parent, const char *key, uint64_t ns)
{
	put_decimal(builder, parent, key, ns / 1000 + (ns % 1000 >= 500), 3);
}

void put_double(struct builder *builder, cJSON *parent, const char *key, double value,
		unsigned places)
{
	double scaled = value;

	for (unsigned i = 0; i < places; i++)
		scaled *= 10;
	if (value >= 0 && scaled < 1e18)
		put_decimal(builder, parent, key, (uint64_t)(scaled + 0.5), places);
	else
		put_null(builder, parent, key);
}

void put_time(struct builder *builder, cJSON *parent, const char *key, uint64_t ns)
{
	char time[48];

	if (ns)
		put_text(builder, parent, key, format_time(ns, time, sizeof(time)));
	else
		put_null(builder, parent, key);
}

/* {dist}; of nothing only the count is known. */
static cJSON *put_dist(struct builder *builder, cJSON *parent, const char *key,
		       const struct summary *summary, bool times)
{
	const struct {
		const char *key;
		uint64_t value;
	} fields[] = {
		{ "min", summary->min }, { "p50", summary->p50 }, { "p90", summary->p90 },
		{ "p99", summary->p99 }, { "max", summary->max },
	};
	cJSON *object = put_object(builder, parent, key);

	put_number(builder, object, "count", summary->count);
	if (!summary->count)
		put_null(builder, object, "mean");
	else if (times)
		put_ms(builder, object, "mean", summary->mean);
	else
		put_double(builder, object, "mean",
			   (double)summary->total / (double)summary->count, 3);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (!summary->count)
			put_null(builder, object, fields[i].key);
		else if (times)
			put_ms(builder, object, fields[i].key, fields[i].value);
		else
			put_number(builder, object, fields[i].key, fields[i].value);
	}
	return object;
}

cJSON *put_summary(struct builder *builder, cJSON *parent, const char *key,
		   const struct summary *summary)
{
	return put_dist(builder, parent, key, summary, true);
}

void put_numbers(struct builder *builder, cJSON *parent, const char *key,
		 const struct summary *summary)
{
	if (summary->count)
		put_dist(builder, parent, key, summary, false);
	else
		put_null(builder, parent, key);
}

void put_location(struct builder *builder, cJSON *parent, const char *key,
		  const struct place *location, unsigned fields)
{
	cJSON *object;

	if (!location->file && key) {
		put_null(builder, parent, key);
		return;
	}
	object = put_object(builder, parent, key);
	put_text(builder, object, "file", location->file);
	if (fields & LOCATION_FUNCTION)
		put_text(builder, object, "function", location->function);
	if (fields & LOCATION_QUALNAME)
		put_text(builder, object, "qualname", location->qualname);
	if (location->line)
		put_number(builder, object, "line", location->line);
	else
		put_null(builder, object, "line");
}

void put_delay(struct builder *builder, cJSON *parent, uint64_t max_ns, uint64_t total_ns)
{
	cJSON *object = put_object(builder, parent, "delay_ms");

	put_ms(builder, object, "max", max_ns);
	put_ms(builder, object, "total", total_ns);
}
