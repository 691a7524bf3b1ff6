// SPDX-License-Identifier: Apache-2.0
#include "export/json_pools.h"

#include "detect/finding.h"

static void put_known(struct builder *builder, cJSON *object, const char *key, int64_t value)
{
	if (value < 0)
		put_null(builder, object, key);
	else
		put_number(builder, object, key, (uint64_t)value);
}

static void put_holders(struct builder *builder, cJSON *parent, const struct pool_summary *pool)
{
	cJSON *array = put_array(builder, parent, "holders");

	for (size_t i = 0; i < pool->holder_count; i++) {
		const struct holder_summary *holder = &pool->holders[i];
		cJSON *object = put_object(builder, array, NULL);

		put_text(builder, object, "route", holder->route);
		put_text(builder, object, "method", holder->method);
		put_location(builder, object, "call_site", &holder->place, LOCATION_FUNCTION);
		if (holder->since_ns)
			put_ms(builder, object, "since_ms", holder->since_ns);
		else
			put_null(builder, object, "since_ms");
	}
}

static void put_head(struct builder *builder, cJSON *object, const struct pool_summary *pool)
{
	put_text(builder, object, "kind", pool->kind);
	put_text(builder, object, "name", pool->name);
	put_known(builder, object, "size", pool->size);
	put_known(builder, object, "in_use", pool->in_use);
}

void json_put_pools(struct builder *builder, cJSON *root, const struct report *report)
{
	cJSON *array = put_array(builder, root, "pools");

	for (size_t i = 0; i < report->pool_count; i++) {
		const struct pool_summary *pool = &report->pools[i];
		cJSON *object = put_object(builder, array, NULL);

		put_number(builder, object, "pid", (uint64_t)pool->pid);
		put_head(builder, object, pool);
		put_known(builder, object, "in_use_max", pool->in_use_max);
		put_known(builder, object, "waiters_max", pool->waiters_max);
		put_summary(builder, object, "wait_ms", &pool->wait);
		put_holders(builder, object, pool);
	}
}

void json_put_finding_pool(struct builder *builder, cJSON *object, const struct finding *finding)
{
	const struct pool_summary *pool = finding->pool;
	cJSON *to;

	if (!pool) {
		put_null(builder, object, "pool");
		return;
	}
	to = put_object(builder, object, "pool");
	put_head(builder, to, pool);
	put_known(builder, to, "waiters", pool->waiters_max);
	put_summary(builder, to, "wait_ms", &pool->wait);
	put_holders(builder, to, pool);
}
