// SPDX-License-Identifier: Apache-2.0
/* Options of the commands, and their help compared with tests/golden/cli. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/options.h"
#include "export/select.h"
#include "golden.h"

/* What is written to a descriptor meanwhile, at most `size` bytes of it. */
struct capture {
	int fd, saved;
	FILE *file;
};

static struct capture capture_begin(int fd)
{
	struct capture capture = { fd, dup(fd), tmpfile() };

	assert_true(capture.saved >= 0 && capture.file);
	fflush(NULL);
	assert_int_equal(dup2(fileno(capture.file), fd), fd);
	return capture;
}

static size_t capture_end(struct capture *capture, char *buffer, size_t size)
{
	size_t length;

	fflush(NULL);
	assert_int_equal(dup2(capture->saved, capture->fd), capture->fd);
	close(capture->saved);
	rewind(capture->file);
	length = fread(buffer, 1, size - 1, capture->file);
	buffer[length] = '\0';
	fclose(capture->file);
	return length;
}

static int parse(struct options *options, const char *option, const char *value)
{
	char *argv[] = { (char *)"attach", (char *)option, (char *)value, NULL };

	return options_parse(&commands[0], 3, argv, options);
}

static void help(void **state)
{
	(void)state;
	for (size_t i = 0; i < command_count; i++) {
		struct capture capture = capture_begin(STDOUT_FILENO);
		char bytes[16384], path[64];
		size_t size;

		command_help(&commands[i]);
		size = capture_end(&capture, bytes, sizeof(bytes));
		snprintf(path, sizeof(path), "cli/%s-help.txt", commands[i].name);
		compare_golden(path, bytes, size);
		for (const char *line = bytes; line && *line; line = strchr(line, '\n')) {
			line += *line == '\n';
			assert_in_range(strcspn(line, "\n"), 0, 100);
		}
	}
}

static void route_and_sort(void **state)
{
	static const char *const columns[] = {
		"total", "requests", "errors", "p50", "p90", "p99", "max", "loop",
	};
	struct options options;

	(void)state;
	assert_int_equal(parse(&options, "--route", "GET /items/*"), -1);
	assert_string_equal(options.route, "GET /items/*");
	assert_null(options.sort);
	for (size_t i = 0; i < COUNT(columns); i++) {
		assert_int_equal(parse(&options, "--sort", columns[i]), -1);
		assert_string_equal(options.sort, columns[i]);
		assert_null(options.route);
	}
}

/* Whoever asks for a column that is not there is told which are. */
static void wrong_column(void **state)
{
	static const char *const wrong[] = { "", "worst", "p95", "Total", "total,p99" };
	struct options options;

	(void)state;
	for (size_t i = 0; i < COUNT(wrong); i++) {
		struct capture capture = capture_begin(STDERR_FILENO);
		int status = parse(&options, "--sort", wrong[i]);
		char bytes[1024];

		capture_end(&capture, bytes, sizeof(bytes));
		assert_int_equal(status, EXIT_USAGE);
		assert_non_null(strstr(bytes, wrong[i]));
		assert_non_null(strstr(bytes, sort_columns()));
		assert_ptr_equal(strchr(bytes, '\n'), bytes + strlen(bytes) - 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(help),
		cmocka_unit_test(route_and_sort),
		cmocka_unit_test(wrong_column),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
