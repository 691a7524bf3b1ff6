// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "discover/py_layout.h"
#include "discover/py_layout_tables.h"

#define RUNTIME 0x10000
#define WORDS 128

/* What an interpreter that agrees with our row would say of itself. */
static uint32_t describe(const struct py_told_table *table, const struct py_layout *layout,
			 uint64_t words[WORDS])
{
	memset(words, 0, WORDS * sizeof(words[0]));
	for (uint32_t i = 0; i < table->count; i++) {
		const struct py_told *told = &table->told[i];

		words[told->size / 8] = 60000;
		if (told->base)
			words[told->base / 8] = 4096;
	}
	for (uint32_t i = 0; i < table->count; i++) {
		const struct py_told *told = &table->told[i];
		uint16_t value;

		memcpy(&value, (const char *)layout + told->field, sizeof(value));
		words[told->position / 8] = value - told->plus + (told->base ? 4096 : 0);
	}
	return table->size;
}

static int read_runtime(const uint64_t *words, size_t size, uint32_t hex,
			struct py_layout *layout)
{
	struct mem_range range = { RUNTIME, words, size };
	struct mem *mem = mem_open_image(&range, 1);
	int error = py_layout_from_runtime(mem, RUNTIME, hex, layout);

	mem_free(mem);
	return error;
}

static void test_find(void **state)
{
	(void)state;
	assert_int_equal(py_layout_find(0x030b02f0)->version, 0x030b);
	assert_int_equal(py_layout_find(0x030c01f0)->version, 0x030c);
	assert_int_equal(py_layout_find(0x030d00c2)->version, 0x030d);
	assert_int_equal(py_layout_find(0x030e0af0)->version, 0x030e);
	assert_null(py_layout_find(0x030e00a7));	/* alpha */
	assert_null(py_layout_find(0x030e00b4));	/* beta */
	assert_null(py_layout_find(0x030600f0));
	assert_null(py_layout_find(0x036300f0));
	assert_null(py_layout_find(0x020b02f0));
	assert_null(py_layout_find(0));
	assert_null(py_layout_find(UINT32_MAX));
}

/* Rows, checked against what every version is known to have in common. */
static void test_rows(void **state)
{
	(void)state;
	for (unsigned i = 0; i < py_layout_count; i++) {
		const struct py_layout *layout = &py_layouts[i];

		assert_int_equal(layout->ob_type, 8);
		assert_int_equal(layout->var_size, 16);
		assert_int_equal(layout->property_fget, 16);
		assert_int_equal(layout->gil_size, 208);
		assert_int_equal(layout->gil_cond, 32);
		assert_true((layout->tstate_frame == LS_ABSENT) !=
			    (layout->tstate_cframe == LS_ABSENT));
		assert_true((layout->runtime_gil == LS_ABSENT) !=
			    (layout->interp_gil_ptr == LS_ABSENT));
		assert_int_equal(layout->instr_is_prev, layout->version <= 0x030c);
		assert_int_equal(layout->state_suspended, -1);
		assert_int_equal(layout->tstate_running_task == LS_ABSENT,
				 layout->version < 0x030e);
		assert_int_equal(layout->tuple_items, layout->version < 0x030e ? 24 : 32);
	}
}

static void test_from_runtime(void **state)
{
	uint64_t words[WORDS];

	(void)state;
	for (unsigned i = 0; i < py_debug_table_count; i++) {
		const struct py_told_table *table = &py_debug_tables[i];
		uint32_t hex = table->version << 16 | 0x00f0, size;
		struct py_layout layout = *py_layout_find(hex), changed = layout;

		size = describe(table, &layout, words);
		memcpy(words, "xdebugpy", 8);
		words[1] = hex;
		/* 3.13 tells nothing of the loop but the size of what it follows. */
		assert_int_equal(read_runtime(words, size, hex, &changed), 0);
		if (table->version == 0x030d)
			changed.tstate_running_loop = layout.tstate_running_loop;
		assert_memory_equal(&changed, &layout, sizeof(layout));
		/* It is believed where it differs. */
		for (uint32_t j = 0; j < table->count; j++)
			if (table->told[j].field == offsetof(struct py_layout, tstate_next))
				words[table->told[j].position / 8] = 256;
		assert_int_equal(read_runtime(words, size, hex, &changed), 0);
		assert_int_equal(changed.tstate_next, 256);
	}
}

static void test_from_runtime_refused(void **state)
{
	const struct py_told_table *table = &py_debug_tables[0];
	uint32_t hex = table->version << 16 | 0x00f0, size;
	const struct py_layout *row = py_layout_find(hex);
	struct py_layout layout = *row;
	uint64_t words[WORDS];

	(void)state;
	size = describe(table, row, words);
	words[1] = hex;
	assert_int_equal(read_runtime(words, size, hex, &layout), -EPROTO);	/* no cookie */
	memcpy(words, "xdebugpy", 8);
	assert_int_equal(read_runtime(words, size, hex + 0x100, &layout), -EPROTO);
	assert_int_equal(read_runtime(words, size - 8, hex, &layout), -EFAULT);
	words[2] = 1;
	assert_int_equal(read_runtime(words, size, hex, &layout), -EOPNOTSUPP);
	words[2] = 2;
	assert_int_equal(read_runtime(words, size, hex, &layout), -EPROTO);
	words[2] = 0;
	for (uint32_t i = 0; i < table->count; i++) {
		uint64_t *value = &words[table->told[i].position / 8], right = *value;

		*value = UINT64_MAX;
		assert_int_equal(read_runtime(words, size, hex, &layout), -EPROTO);
		*value = 0xfffffff8;
		assert_int_equal(read_runtime(words, size, hex, &layout), -EPROTO);
		*value = right;
		if (table->told[i].width < 4)
			continue;
		*value = right + 1;
		assert_int_equal(read_runtime(words, size, hex, &layout), -EPROTO);
		*value = right;
	}
	assert_int_equal(read_runtime(words, size, 0x030c01f0, &layout), -ENOENT);
	assert_memory_equal(&layout, row, sizeof(layout));
}

static void test_from_asyncio(void **state)
{
	const struct py_told_table *table = &py_asyncio_tables[0];
	struct py_layout layout = *py_layout_find(table->version << 16 | 0xf0), same = layout;
	uint64_t words[WORDS];
	struct mem_range range = { RUNTIME, words, describe(table, &layout, words) };
	struct mem *mem = mem_open_image(&range, 1);

	(void)state;
	assert_int_equal(table->version, 0x030e);
	assert_int_equal(range.length, 104);
	assert_int_equal(py_layout_from_asyncio(mem, RUNTIME, &same), 0);
	assert_memory_equal(&same, &layout, sizeof(layout));
	words[11] = 1024;	/* asyncio_running_task */
	assert_int_equal(py_layout_from_asyncio(mem, RUNTIME, &same), 0);
	assert_int_equal(same.tstate_running_task, 1024);
	words[11] = 60000;
	assert_int_equal(py_layout_from_asyncio(mem, RUNTIME, &same), -EPROTO);
	assert_int_equal(py_layout_from_asyncio(mem, RUNTIME + 8, &same), -EFAULT);
	same.version = 0x030d;
	assert_int_equal(py_layout_from_asyncio(mem, RUNTIME, &same), -ENOENT);
	assert_int_equal(same.tstate_running_task, 1024);
	mem_free(mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_from_runtime),
		cmocka_unit_test(test_from_runtime_refused),
		cmocka_unit_test(test_from_asyncio),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
