// SPDX-License-Identifier: Apache-2.0
/* Names of addresses in this very process. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1	/* dlsym() of RTLD_DEFAULT */
#endif

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include <cmocka.h>
#include <elf.h>
#include <zlib.h>

#include "base/intern.h"
#include "discover/target.h"
#include "resolve/native.h"

struct fixture {
	struct target target;
	struct native_cache *cache;
};

/* A function to be found by its name; never called. */
__attribute__((noinline, used)) int _PyEval_of_this_test(int value);
int _PyEval_of_this_test(int value)
{
	return value * 3;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->target.pid = getpid();
	f->cache = native_cache_new();
	assert_non_null(f->cache);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	native_cache_free(f->cache);
	mappings_free(&f->target.mappings);
	free(f);
	return 0;
}

static uint64_t address_of(const char *symbol)
{
	void *address = dlsym(RTLD_DEFAULT, symbol);

	assert_non_null(address);
	return (uint64_t)(uintptr_t)address;
}

static void test_library(void **state)
{
	struct fixture *f = *state;
	const char *name;

	assert_string_equal(zlibVersion(), ZLIB_VERSION);
	/* The mappings are read for the first of them. */
	assert_int_equal(f->target.mappings.count, 0);
	name = native_name(f->cache, &f->target, address_of("deflate") + 3);
	assert_string_equal(name, "libz.so.1:deflate");
	assert_ptr_equal(name, intern("libz.so.1:deflate"));
	assert_true(f->target.mappings.count > 0);
	name = native_name(f->cache, &f->target, address_of("getppid"));
	assert_string_equal(name, "libc.so.6:getppid");
}

static void test_interpreter(void **state)
{
	struct fixture *f = *state;
	uint64_t evaluation = (uint64_t)(uintptr_t)_PyEval_of_this_test;
	uint64_t other = (uint64_t)(uintptr_t)test_library;
	const struct mapping *mapping;

	assert_string_equal(native_name(f->cache, &f->target, evaluation),
			    "test_native:_PyEval_of_this_test");
	mapping = mappings_find(&f->target.mappings, evaluation);
	assert_non_null(mapping);
	f->target.interpreter = intern(mapping->path);
	assert_null(native_name(f->cache, &f->target, evaluation));
	assert_string_equal(native_name(f->cache, &f->target, other), "python:test_library");
}

static void test_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t vdso = getauxval(AT_SYSINFO_EHDR);
	int local = 0;

	assert_null(native_name(f->cache, &f->target, (uint64_t)(uintptr_t)&local));
	assert_null(native_name(f->cache, &f->target, (uint64_t)(uintptr_t)f));
	assert_null(native_name(f->cache, &f->target, 0));
	assert_null(native_name(f->cache, &f->target, UINT64_MAX));
	if (vdso)
		assert_null(native_name(f->cache, &f->target, vdso + 0x100));
	/* Looked for in vain once, the mappings are not read for each further address. */
	mappings_free(&f->target.mappings);
	memset(&f->target.mappings, 0, sizeof(f->target.mappings));
	assert_null(native_name(f->cache, &f->target, address_of("deflate")));
	assert_int_equal(f->target.mappings.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_library, setup, teardown),
		cmocka_unit_test_setup_teardown(test_interpreter, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
