// SPDX-License-Identifier: Apache-2.0
#include "discover/py_layout.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/mem.h"
#include "discover/py_layout_tables.h"

#define COOKIE "xdebugpy"
#define DEBUG_VERSION 1		/* words of _Py_DebugOffsets */
#define DEBUG_FREE_THREADED 2
#define FIRST_WITH_DEBUG_OFFSETS 0x030d
#define FIRST_WITH_ASYNCIO_DEBUG 0x030e
#define TOLD_MAX_WORDS 128	/* of a self-description */
#define TOLD_MAX_STRUCT (16u << 20)	/* no struct of an interpreter is larger */

const struct py_layout *py_layout_find(uint32_t version_hex)
{
	unsigned level = version_hex >> 4 & 0xf;

	/* Layouts of alpha (0xa) and beta (0xb) releases are not settled. */
	if (level != 0xf && level != 0xc)
		return NULL;
	for (unsigned i = 0; i < py_layout_count; i++)
		if (py_layouts[i].version == version_hex >> 16)
			return &py_layouts[i];
	return NULL;
}

static const struct py_told_table *table_find(const struct py_told_table *tables,
					      unsigned count, uint32_t version)
{
	for (unsigned i = 0; i < count; i++)
		if (tables[i].version == version)
			return &tables[i];
	return NULL;
}

/* What one entry tells; 0 or -EPROTO when no field can be there. */
static int told_value(const uint64_t *words, const struct py_told *told, uint16_t *ret_value)
{
	uint64_t value = words[told->position / 8];
	uint64_t size = words[told->size / 8];
	uint64_t base = told->base ? words[told->base / 8] : 0;

	if (!size || size > TOLD_MAX_STRUCT || value > size || told->width > size - value)
		return -EPROTO;
	if (told->width && value % told->width)
		return -EPROTO;
	if (value < base)
		return -EPROTO;
	value = value - base + told->plus;
	if (value >= LS_ABSENT)
		return -EPROTO;
	*ret_value = value;
	return 0;
}

/* Replaces all fields of a description or none. */
static int told_apply(const uint64_t *words, const struct py_told_table *table,
		      struct py_layout *layout)
{
	struct py_layout changed = *layout;

	for (uint32_t i = 0; i < table->count; i++) {
		const struct py_told *told = &table->told[i];
		uint16_t value;
		int error = told_value(words, told, &value);

		if (error)
			return error;
		memcpy((char *)&changed + told->field, &value, sizeof(value));
	}
	*layout = changed;
	return 0;
}

static int told_read(const struct mem *mem, uint64_t address, const struct py_told_table *table,
		     uint64_t words[TOLD_MAX_WORDS])
{
	if (table->size > TOLD_MAX_WORDS * sizeof(uint64_t))
		return -E2BIG;
	return mem_read(mem, address, words, table->size);
}

int py_layout_from_runtime(const struct mem *mem, uint64_t runtime, uint32_t version_hex,
			   struct py_layout *layout)
{
	uint64_t words[TOLD_MAX_WORDS];
	const struct py_told_table *table;
	int error;

	if (version_hex >> 16 < FIRST_WITH_DEBUG_OFFSETS)
		return -ENOENT;
	table = table_find(py_debug_tables, py_debug_table_count, version_hex >> 16);
	if (!table || layout->version != version_hex >> 16)
		return -EPROTO;
	error = told_read(mem, runtime, table, words);
	if (error)
		return error;
	if (memcmp(words, COOKIE, sizeof(words[0])) || words[DEBUG_VERSION] != version_hex)
		return -EPROTO;
	if (words[DEBUG_FREE_THREADED])
		return words[DEBUG_FREE_THREADED] == 1 ? -EOPNOTSUPP : -EPROTO;
	return told_apply(words, table, layout);
}

int py_layout_from_asyncio(const struct mem *mem, uint64_t address, struct py_layout *layout)
{
	uint64_t words[TOLD_MAX_WORDS];
	const struct py_told_table *table;
	int error;

	if (layout->version < FIRST_WITH_ASYNCIO_DEBUG)
		return -ENOENT;
	table = table_find(py_asyncio_tables, py_asyncio_table_count, layout->version);
	if (!table)
		return -EPROTO;
	error = told_read(mem, address, table, words);
	if (error)
		return error;
	return told_apply(words, table, layout);
}
