// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/intern.h"
#include "unit/code_image.h"

/* Two instructions on the first line, two on the next one, one without a line. */
static const uint8_t two_lines[] = { 0x80 | 10 << 3 | 1, 0, 0, 0x80 | 11 << 3 | 1, 0, 0,
				     0x80 | 15 << 3 };

struct fixture {
	struct image image;
	struct mem *mem;
	struct code_cache *cache;
	uint64_t code, file, name, qualname, table;
};

static void open_cache(struct fixture *f, const struct code_options *options)
{
	code_cache_free(f->cache);
	f->cache = code_cache_new(&f->image.py, options);
	assert_non_null(f->cache);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	image_init(&f->image, 0x030c01f0);
	f->mem = mem_open_image(&f->image.range, 1);
	assert_non_null(f->mem);
	f->image.py.mem = f->mem;
	f->file = image_text(&f->image, "/srv/app/main.py");
	f->name = image_text(&f->image, "read");
	f->qualname = image_text(&f->image, "Outer.read");
	f->table = image_bytes(&f->image, two_lines, sizeof(two_lines));
	f->code = image_take(&f->image, 256);
	image_code(&f->image, f->code, f->file, f->name, f->qualname, f->table, 40);
	open_cache(f, NULL);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	code_cache_free(f->cache);
	mem_free(f->mem);
	free(f);
	return 0;
}

static void test_names(void **state)
{
	struct fixture *f = *state;
	uint32_t check = image_check(&f->image, f->code);
	const struct code_info *info = code_cache_get(f->cache, f->code, check);

	assert_ptr_equal(info->file, intern("/srv/app/main.py"));
	assert_ptr_equal(info->function, intern("read"));
	assert_ptr_equal(info->qualname, intern("Outer.read"));
	assert_int_equal(info->first_line, 40);
	assert_int_equal(info->flags, 3);
	assert_int_equal(info->check, check);
	assert_int_equal(info->line_table_size, sizeof(two_lines));
	assert_int_equal(info->origin, CODE_APPLICATION);
	assert_false(info->stale);
	assert_ptr_equal(code_cache_get(f->cache, f->code, check), info);
	/* Without a check word it is read again, and found to be the same. */
	assert_ptr_equal(code_cache_get(f->cache, f->code, 0), info);
	assert_string_equal(code_cache_get(f->cache, 0, 0)->file, "");
}

/* What the fast path does not take: long, wide, near to the end of the memory. */
static void test_unusual_texts(void **state)
{
	struct fixture *f = *state;
	const struct py_layout *at = &f->image.layout;
	static const uint16_t wide[] = { 'n', 0xef, 0x540d };
	char path[1201];
	uint8_t table[2000];
	uint64_t name, end;
	const struct code_info *info;

	memset(path, 'p', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	name = image_take(&f->image, 128);
	image_put(&f->image, name + at->ob_type, f->image.type_str, 8);
	image_put(&f->image, name + at->unicode_length, 3, 8);
	image_put(&f->image, name + at->unicode_state, 2u << 2 | 1u << 5, 4);
	memcpy(image_at(&f->image, name + at->unicode_compact), wide, sizeof(wide));
	for (size_t i = 0; i < sizeof(table); i++)
		table[i] = i % 2 ? 2 : 0x80 | 13 << 3;	/* each one a line further */
	image_code(&f->image, f->code, image_text(&f->image, path), name, 0,
		   image_bytes(&f->image, table, sizeof(table)), 7);
	end = IMAGE_BASE + IMAGE_BYTES - 64;
	f->image.next = end;
	image_put(&f->image, f->code + at->code_qualname, image_text(&f->image, "short"), 8);
	info = code_cache_get(f->cache, f->code, image_check(&f->image, f->code));
	assert_string_equal(info->file, path);
	assert_string_equal(info->function, "n\xc3\xaf\xe5\x90\x8d");
	assert_string_equal(info->qualname, "short");
	assert_int_equal(line_of_instruction(info->line_table, info->line_table_size, 7, 999, 12),
			 1007);
}

static void test_reuse(void **state)
{
	struct fixture *f = *state;
	uint32_t first = image_check(&f->image, f->code), second;
	const struct code_info *old = code_cache_get(f->cache, f->code, first);
	const struct code_info *info;

	image_code(&f->image, f->code, f->file, f->qualname, f->qualname, f->table, 99);
	second = image_check(&f->image, f->code);
	assert_int_not_equal(first, second);
	info = code_cache_get(f->cache, f->code, second);
	assert_string_equal(info->function, "Outer.read");
	assert_int_equal(info->first_line, 99);
	/* Frames of the first one are still known; of one that was never read, nothing is. */
	assert_ptr_equal(code_cache_get(f->cache, f->code, first), old);
	assert_string_equal(old->function, "read");
	info = code_cache_get(f->cache, f->code, second ^ 2);
	assert_true(info->stale);
	assert_string_equal(info->file, "");
	assert_string_equal(info->qualname, "");
	assert_int_equal(info->origin, CODE_FROZEN);
}

/* Another module's code where the one before was: all but its file is the same. */
static void test_reuse_of_another_file(void **state)
{
	struct fixture *f = *state;
	uint32_t first = image_check(&f->image, f->code), second;

	assert_string_not_equal(code_cache_get(f->cache, f->code, first)->file, "/elsewhere.py");
	image_put(&f->image, f->code + f->image.layout.code_filename,
		  image_text(&f->image, "/elsewhere.py"), 8);
	second = image_check(&f->image, f->code);
	assert_int_not_equal(first, second);
	assert_string_equal(code_cache_get(f->cache, f->code, second)->file, "/elsewhere.py");
}

/* What the allocator makes of a freed object still looks like one, but for its references. */
static void test_freed(void **state)
{
	static const uint64_t alive[] = { 1, 1000000, 0xffffffff, 0x00010000c0000000 };
	static const uint64_t freed[] = { 0, 0x7f31a2b3c4d0, 0x55d9e8f01230 };
	struct fixture *f = *state;
	const struct code_info *info;

	for (size_t i = 0; i < sizeof(freed) / sizeof(freed[0]); i++) {
		image_code(&f->image, f->code, f->file, f->qualname, f->qualname, f->table,
			   200 + (uint32_t)i);
		image_put(&f->image, f->code, freed[i], 8);
		info = code_cache_get(f->cache, f->code, image_check(&f->image, f->code));
		assert_true(info->stale);
		assert_string_equal(info->file, "");
	}
	for (size_t i = 0; i < sizeof(alive) / sizeof(alive[0]); i++) {
		image_code(&f->image, f->code, f->file, f->qualname, f->qualname, f->table,
			   300 + (uint32_t)i);
		image_put(&f->image, f->code, alive[i], 8);
		info = code_cache_get(f->cache, f->code, image_check(&f->image, f->code));
		assert_false(info->stale);
		assert_int_equal(info->first_line, 300 + i);
	}
}

static void test_stale_is_forgotten(void **state)
{
	struct fixture *f = *state;
	const struct timespec pause = { 1, 50000000 };
	uint32_t check;

	image_put(&f->image, f->code + f->image.layout.code_firstlineno, 41, 4);
	check = image_check(&f->image, f->code);
	image_put(&f->image, f->code + f->image.layout.code_firstlineno, 40, 4);
	assert_true(code_cache_get(f->cache, f->code, check)->stale);
	image_put(&f->image, f->code + f->image.layout.code_firstlineno, 41, 4);
	assert_true(code_cache_get(f->cache, f->code, check)->stale);
	nanosleep(&pause, NULL);
	assert_int_equal(code_cache_get(f->cache, f->code, check)->first_line, 41);
}

#define WHERE(unit, owner) ((uint32_t)(unit) | (uint32_t)(owner) << FRAME_OFFSET_BITS)

static void test_frames(void **state)
{
	struct fixture *f = *state;
	uint32_t check = image_check(&f->image, f->code), other;
	uint64_t code = image_take(&f->image, 256), none = image_take(&f->image, 256);
	struct frame frames[8];

	image_code(&f->image, code, f->file, f->qualname, f->qualname, f->table, 70);
	other = image_check(&f->image, code);
	image_code(&f->image, none, f->file, f->name, f->name, f->table, 1);
	image_put(&f->image, none + f->image.layout.ob_type, f->image.type_str, 8);

	const struct frame_record records[] = {
		{ code, other, WHERE(2, 0) },
		{ f->code, check, WHERE(0, 0) },	/* has not reached its first line */
		{ f->code, check, WHERE(FRAME_NOT_STARTED, 0) },
		{ f->code, check, WHERE(FRAME_NOT_STARTED, 1) },	/* a coroutine: shown */
		{ f->code, check, WHERE(1, 0) },
		{ f->code, check, WHERE(3, 3) },	/* between C and Python */
		{ none, image_check(&f->image, none), WHERE(3, 0) },	/* no code object */
		{ code, other ^ 4, WHERE(3, 0) },	/* freed meanwhile */
		{ 0x1000, 5, WHERE(3, 1) },	/* unmapped */
		{ f->code, 0, WHERE(4, 2) },	/* an instruction without a line */
	};

	assert_int_equal(code_cache_resolve(f->cache, records, 10, frames, 8), 6);
	assert_int_equal(frames[0].line, 71);
	assert_string_equal(frames[0].code->function, "Outer.read");
	assert_int_equal(frames[1].line, 40);
	assert_int_equal(frames[1].owner, 1);
	assert_int_equal(frames[2].line, 40);
	assert_ptr_equal(frames[2].code, frames[1].code);
	assert_true(frames[3].code->stale);
	assert_int_equal(frames[3].line, 0);
	assert_false(frames[4].code->stale);
	assert_string_equal(frames[4].code->file, "");
	assert_ptr_equal(frames[5].code, frames[1].code);
	assert_int_equal(frames[5].line, 0);
	assert_int_equal(code_cache_resolve(f->cache, records, 10, frames, 2), 2);
}

static enum code_origin origin(struct fixture *f, const struct code_options *options,
			       const char *file)
{
	uint64_t kept = f->image.next;
	enum code_origin result;

	open_cache(f, options);
	image_put(&f->image, f->code + f->image.layout.code_filename,
		  image_text(&f->image, file), 8);
	result = code_cache_get(f->cache, f->code, 0)->origin;
	f->image.next = kept;
	return result;
}

static void test_origin(void **state)
{
	struct fixture *f = *state;
	const char *const app[] = { "/usr/lib/python3.12/mine/", "/opt/site-packages/us", NULL };
	const char *const library[] = { "/srv/vendor", "/usr/lib/python3.12/mine/not", NULL };
	const struct code_options plain = { .stdlib_path = "/usr/lib/python3.12" };
	const struct code_options paths = { "/usr/lib/python3.12", app, library };

	assert_int_equal(origin(f, &plain, "/srv/app/main.py"), CODE_APPLICATION);
	assert_int_equal(origin(f, &plain, "main.py"), CODE_APPLICATION);
	assert_int_equal(origin(f, &plain, "<string>"), CODE_FROZEN);
	assert_int_equal(origin(f, &plain, ""), CODE_FROZEN);
	assert_int_equal(origin(f, &plain, "/usr/lib/python3.12/json/decoder.py"), CODE_STDLIB);
	assert_int_equal(origin(f, &plain, "/usr/lib/python3.123/x.py"), CODE_APPLICATION);
	assert_int_equal(origin(f, &plain, "/usr/lib/python3.12/site-packages/x.py"), CODE_LIBRARY);
	assert_int_equal(origin(f, &plain, "/usr/lib/python3/dist-packages/x.py"), CODE_LIBRARY);
	assert_int_equal(origin(f, &plain, "/srv/my-site-packages/x.py"), CODE_APPLICATION);
	assert_int_equal(origin(f, &plain, "/srv/site-packages.py"), CODE_APPLICATION);
	assert_int_equal(origin(f, NULL, "/usr/lib/python3.12/json/decoder.py"), CODE_APPLICATION);
	assert_int_equal(origin(f, &paths, "/usr/lib/python3.12/mine/a.py"), CODE_APPLICATION);
	assert_int_equal(origin(f, &paths, "/usr/lib/python3.12/mine/not/a.py"), CODE_LIBRARY);
	assert_int_equal(origin(f, &paths, "/opt/site-packages/us/a.py"), CODE_APPLICATION);
	assert_int_equal(origin(f, &paths, "/opt/site-packages/use/a.py"), CODE_LIBRARY);
	assert_int_equal(origin(f, &paths, "/srv/vendor/a.py"), CODE_LIBRARY);
}

/* More code objects than are kept: all pointers stay valid, the rest is one and the same. */
static void test_bound(void **state)
{
	struct fixture *f = *state;
	const struct code_info *kept, *info = NULL, *last = NULL;
	size_t known = 0;
	uint32_t check = image_check(&f->image, f->code);

	kept = code_cache_get(f->cache, f->code, check);
	for (uint32_t line = 1000; line < 1000 + 70000; line++) {
		image_put(&f->image, f->code + f->image.layout.code_firstlineno, line, 4);
		last = info;
		info = code_cache_get(f->cache, f->code, image_check(&f->image, f->code));
		known += info->first_line == line;
	}
	/* Two of them may have the same check word, if hardly ever. */
	assert_in_range(known, 65000, 65535);
	assert_ptr_equal(info, last);
	assert_false(info->stale);
	assert_string_equal(info->file, "");
	assert_ptr_equal(code_cache_get(f->cache, f->code, check), kept);
	assert_string_equal(kept->function, "read");
}

static void test_impossible_layout(void **state)
{
	struct fixture *f = *state;

	f->image.layout.code_qualname = 60000;
	open_cache(f, NULL);
	assert_string_equal(code_cache_get(f->cache, f->code, 0)->file, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unusual_texts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reuse, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reuse_of_another_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_freed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stale_is_forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(test_frames, setup, teardown),
		cmocka_unit_test_setup_teardown(test_origin, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bound, setup, teardown),
		cmocka_unit_test_setup_teardown(test_impossible_layout, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
