// SPDX-License-Identifier: Apache-2.0
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "discover/elf_image.h"

#define ROUNDS 400
#define FLIPS 8

/* A file of ours to look at: this program. */
__attribute__((noinline)) int elf_test_function(int value);

int elf_test_function(int value)
{
	__asm__ volatile("" : "+r"(value));
	return value * 3;
}

static uint64_t own_symbol(struct elf_image *image, uint64_t *ret_size)
{
	uint64_t value = 0;

	assert_int_equal(elf_image_symbol(image, "elf_test_function", &value, ret_size), 0);
	return value;
}

static void test_own(void **state)
{
	struct elf_image *image = NULL;
	uint64_t value, size = 0, address, length, other = 7;
	const char *name;

	(void)state;
	assert_int_equal(elf_image_open(open("/proc/self/exe", O_RDONLY), &image), 0);
	value = own_symbol(image, &size);
	assert_true(size > 0);
	assert_true(elf_test_function(1) == 3);
	/* The program may be moved as a whole, by pages. */
	assert_int_equal(((uintptr_t)&elf_test_function - value) % 4096, 0);
	name = elf_image_function_at(image, value + size - 1);
	assert_non_null(name);
	assert_string_equal(name, "elf_test_function");
	assert_null(elf_image_function_at(image, 0));
	assert_null(elf_image_function_at(image, UINT64_MAX));
	assert_int_equal(elf_image_section(image, ".text", &address, &length), 0);
	assert_true(value >= address && value + size <= address + length);
	assert_int_equal(elf_image_section(image, ".nothing", &other, &other), -ENOENT);
	assert_int_equal(elf_image_symbol(image, "no_such_symbol", &other, &other), -ENOENT);
	assert_int_equal(elf_image_address_of_offset(image, UINT64_MAX, &other), -ENOENT);
	assert_int_equal(other, 7);
	assert_int_equal(elf_image_address_of_offset(image, 0, &other), 0);
	elf_image_free(image);
	elf_image_free(NULL);
}

static int file_of(const void *bytes, size_t length)
{
	int fd = memfd_create("elf", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, length), length);
	return fd;
}

static void test_refused(void **state)
{
	struct elf_image *image = NULL;
	Elf64_Ehdr header = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, 1 } };
	int closed = file_of("", 0);

	(void)state;
	assert_int_equal(elf_image_open(-1, &image), -EIO);
	assert_int_equal(elf_image_open(closed, &image), -ENOEXEC);
	assert_int_equal(fcntl(closed, F_GETFD), -1);
	assert_int_equal(elf_image_open(file_of("#!/bin/sh\n", 10), &image), -ENOEXEC);
	assert_int_equal(elf_image_open(file_of(&header, sizeof(header)), &image), -ENOEXEC);
	header.e_ident[EI_CLASS] = ELFCLASS64;
	header.e_shoff = 64;	/* sections, but their number is said elsewhere */
	assert_int_equal(elf_image_open(file_of(&header, sizeof(header)), &image), -ENOEXEC);
	assert_null(image);
}

static void use(int fd)
{
	struct elf_image *image;
	uint64_t value, size;

	if (elf_image_open(fd, &image))
		return;
	(void)elf_image_symbol(image, "elf_test_function", &value, &size);
	(void)elf_image_symbol(image, "no_such_symbol", &value, &size);
	(void)elf_image_section(image, ".PyRuntime", &value, &size);
	(void)elf_image_address_of_offset(image, 4096, &value);
	for (uint64_t address = 0; address < 1 << 16; address += 512)
		(void)elf_image_function_at(image, address);
	elf_image_free(image);
}

/* Damage in the header, the section headers and anywhere must not crash us. */
static void test_damaged(void **state)
{
	struct elf_image *image;
	int fd = open("/proc/self/exe", O_RDONLY);
	off_t length = lseek(fd, 0, SEEK_END);
	unsigned char *bytes = malloc(length), *copy = malloc(length);
	Elf64_Ehdr header;

	(void)state;
	assert_true(length > (off_t)sizeof(header) && bytes && copy);
	assert_int_equal(pread(fd, bytes, length, 0), length);
	assert_int_equal(elf_image_open(fd, &image), 0);
	elf_image_free(image);
	memcpy(&header, bytes, sizeof(header));
	srandom(1);
	for (int round = 0; round < ROUNDS; round++) {
		size_t from = 0, span = length;

		memcpy(copy, bytes, length);
		if (round % 4 == 1)
			span = sizeof(header);
		if (round % 4 >= 2) {
			from = header.e_shoff;
			span = length - from;
		}
		for (int flip = 0; flip < FLIPS; flip++)
			copy[from + random() % span] = random();
		use(file_of(copy, length));
		use(file_of(bytes, random() % length));
	}
	free(copy);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
