// SPDX-License-Identifier: Apache-2.0
#include "base/intern.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define INTERN_FIRST 1024	/* buckets; always a power of two */

struct entry {
	struct entry *next;
	uint64_t hash;
	size_t length;
	char text[];
};

static pthread_mutex_t intern_lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry **buckets;
static size_t bucket_count;
static size_t entry_count;
static size_t passing_count;	/* of them that intern_passing() added */
static uint64_t others;

/* Interned text is printed: a control byte of a target must not reach the terminal. */
static char clean(char byte)
{
	unsigned char value = (unsigned char)byte;

	return value < 0x20 || value == 0x7f ? '?' : byte;
}

/* FNV-1a over the cleaned text. */
static uint64_t hash_of(const char *text, size_t length)
{
	uint64_t hash = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ (unsigned char)clean(text[i])) * 0x100000001b3ull;
	return hash ^ hash >> 32;
}

static bool same(const struct entry *entry, uint64_t hash, const char *text, size_t length)
{
	if (entry->hash != hash || entry->length != length)
		return false;
	for (size_t i = 0; i < length; i++)
		if (entry->text[i] != clean(text[i]))
			return false;
	return true;
}

/* Doubles the table; a table that cannot grow only gets slower. */
static void grow(void)
{
	size_t wanted = bucket_count ? bucket_count * 2 : INTERN_FIRST;
	struct entry **grown = calloc(wanted, sizeof(struct entry *));

	if (!grown)
		return;
	for (size_t i = 0; i < bucket_count; i++) {
		struct entry *entry = buckets[i], *next;

		for (; entry; entry = next) {
			struct entry **bucket = &grown[entry->hash & (wanted - 1)];

			next = entry->next;
			entry->next = *bucket;
			*bucket = entry;
		}
	}
	free(buckets);
	buckets = grown;
	bucket_count = wanted;
}

static const char *find(const char *text, size_t length, uint64_t hash)
{
	const struct entry *entry = bucket_count ? buckets[hash & (bucket_count - 1)] : NULL;

	while (entry && !same(entry, hash, text, length))
		entry = entry->next;
	return entry ? entry->text : NULL;
}

static const char *find_or_add(const char *text, size_t length)
{
	uint64_t hash = hash_of(text, length);
	const char *found = find(text, length, hash);
	struct entry *entry, **bucket;

	if (found)
		return found;
	if (entry_count >= bucket_count)
		grow();
	if (!bucket_count || length > SIZE_MAX - sizeof(*entry) - 1)
		return NULL;
	bucket = &buckets[hash & (bucket_count - 1)];
	entry = malloc(sizeof(*entry) + length + 1);
	if (!entry)
		return NULL;
	entry->hash = hash;
	entry->length = length;
	for (size_t i = 0; i < length; i++)
		entry->text[i] = clean(text[i]);
	entry->text[length] = '\0';
	entry->next = *bucket;
	*bucket = entry;
	entry_count++;
	return entry->text;
}

const char *intern_bytes(const char *text, size_t length)
{
	const char *found;

	if (!text)
		return NULL;
	pthread_mutex_lock(&intern_lock);
	found = find_or_add(text, length);
	pthread_mutex_unlock(&intern_lock);
	return found;
}

const char *intern(const char *text)
{
	return text ? intern_bytes(text, strlen(text)) : NULL;
}

const char *intern_passing(const char *text)
{
	size_t length = text ? strlen(text) : 0, before;
	const char *found;

	if (!text)
		return NULL;
	pthread_mutex_lock(&intern_lock);
	found = find(text, length, hash_of(text, length));
	if (!found && passing_count < INTERN_PASSING_MAX) {
		before = entry_count;
		found = find_or_add(text, length);
		passing_count += entry_count - before;
	} else if (!found) {
		others++;
		found = find_or_add(INTERN_OTHER, strlen(INTERN_OTHER));
	}
	pthread_mutex_unlock(&intern_lock);
	return found;
}

uint64_t intern_others(void)
{
	uint64_t count;

	pthread_mutex_lock(&intern_lock);
	count = others;
	pthread_mutex_unlock(&intern_lock);
	return count;
}
