// SPDX-License-Identifier: Apache-2.0
#include "attribute/names.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/intern.h"
#include "base/units.h"

#define ASKED_MAX 256		/* questions without an answer */
#define KNOWN_MAX 1024		/* addresses with a name */
#define SHOWN_MAX 4096		/* names that are ever handed out: they stay in memory */

/* Clients keep what they looked up: with another name for it since then, it may be either. */
#define KEPT_NS (60 * NS_PER_S)

struct asked {
	uint64_t connection;	/* 0: free */
	uint16_t id, type;
	char name[NAME_BYTES];
};

struct known {
	pid_t pid;		/* 0: free */
	struct name_address address;
	uint64_t time_ns;	/* of the last answer */
	const char *shown;	/* interned, NULL: not asked for yet */
	char name[NAME_BYTES];
};

struct name_table {
	struct asked asked[ASKED_MAX];
	struct known known[KNOWN_MAX];
	size_t next_asked, shown_count;
	uint64_t vague_until_ns;	/* until then something is missing that would matter */
	bool gap;		/* something was missed; nobody knows when */
	uint64_t dropped;
};

struct name_table *name_table_new(void)
{
	return calloc(1, sizeof(struct name_table));
}

void name_table_free(struct name_table *table)
{
	free(table);
}

uint64_t names_dropped(const struct name_table *table)
{
	return table->dropped;
}

void names_asked(struct name_table *table, uint64_t connection, const uint8_t *bytes, size_t size)
{
	struct name_message query;
	struct asked *to;

	if (name_query_parse(bytes, size, &query))
		return;
	to = &table->asked[table->next_asked++ % ASKED_MAX];
	*to = (struct asked){ .connection = connection, .id = query.id, .type = query.type };
	memcpy(to->name, query.name, NAME_BYTES);
}

/* The question of an answer, which is answered with it; false: nobody asked. */
static bool was_asked(struct name_table *table, uint64_t connection,
		      const struct name_message *answer)
{
	for (size_t i = 0; i < ASKED_MAX; i++) {
		struct asked *it = &table->asked[i];

		if (it->connection != connection || it->id != answer->id ||
		    it->type != answer->type || strcmp(it->name, answer->name))
			continue;
		it->connection = 0;
		return true;
	}
	return false;
}

static struct known *find(struct name_table *table, pid_t pid, const struct name_address *address,
			  const char *name)
{
	for (size_t i = 0; i < KNOWN_MAX; i++) {
		struct known *it = &table->known[i];

		if (it->pid == pid && !memcmp(&it->address, address, sizeof(*address)) &&
		    !strcmp(it->name, name))
			return it;
	}
	return NULL;
}

/* A free place, else that of the oldest, which will be missed for a while. */
static struct known *place_for(struct name_table *table)
{
	struct known *oldest = &table->known[0];

	for (size_t i = 0; i < KNOWN_MAX && oldest->pid; i++)
		if (!table->known[i].pid || table->known[i].time_ns < oldest->time_ns)
			oldest = &table->known[i];
	if (oldest->pid) {
		table->dropped++;
		if (oldest->time_ns + KEPT_NS > table->vague_until_ns)
			table->vague_until_ns = oldest->time_ns + KEPT_NS;
	}
	return oldest;
}

static void see_gap(struct name_table *table, uint64_t now_ns)
{
	if (table->gap)
		table->vague_until_ns = now_ns + KEPT_NS;
	table->gap = false;
}

void names_answered(struct name_table *table, pid_t pid, uint64_t connection,
		    const uint8_t *bytes, size_t size, uint64_t now_ns)
{
	struct name_message answer;

	see_gap(table, now_ns);
	if (name_answer_parse(bytes, size, &answer) || !was_asked(table, connection, &answer))
		return;
	for (size_t i = 0; i < answer.count; i++) {
		struct known *it = find(table, pid, &answer.addresses[i], answer.name);

		if (!it) {
			it = place_for(table);
			*it = (struct known){ .pid = pid, .address = answer.addresses[i] };
			memcpy(it->name, answer.name, NAME_BYTES);
		}
		it->time_ns = now_ns;
	}
}

void names_gap(struct name_table *table)
{
	table->gap = true;
}

const char *names_of(struct name_table *table, pid_t pid, const struct name_address *address,
		     uint64_t now_ns)
{
	struct known *last = NULL;

	see_gap(table, now_ns);
	if (now_ns < table->vague_until_ns)
		return NULL;
	for (size_t i = 0; i < KNOWN_MAX; i++) {
		struct known *it = &table->known[i];

		if (it->pid != pid || memcmp(&it->address, address, sizeof(*address)))
			continue;
		if (last && (it->time_ns > last->time_ns ? it->time_ns - last->time_ns
							 : last->time_ns - it->time_ns) < KEPT_NS)
			return NULL;
		if (!last || it->time_ns > last->time_ns)
			last = it;
	}
	if (last && !last->shown) {
		if (table->shown_count == SHOWN_MAX) {
			table->dropped++;
			return NULL;
		}
		table->shown_count++;
		last->shown = intern(last->name);
	}
	return last ? last->shown : NULL;
}
