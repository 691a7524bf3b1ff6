/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Outputs compared byte for byte with the files of tests/golden (run from the top
 * of the tree; LOOPSCOPE_UPDATE_GOLDEN=1 writes these files instead).
 */
#ifndef LS_TEST_GOLDEN_H
#define LS_TEST_GOLDEN_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "export/exporter.h"

#define GOLDEN "tests/golden/"
#define MS(value) ((uint64_t)((value) * 1000000.0 + 0.5))
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static inline char *render(const char *format, const struct report *report,
			   const struct export_options *options, size_t *ret_size)
{
	const struct exporter *exporter = exporter_by_name(format);
	char *bytes = NULL;
	FILE *out;

	assert_non_null(exporter);
	out = open_memstream(&bytes, ret_size);
	assert_non_null(out);
	assert_int_equal(exporter->write(report, options, out), 0);
	assert_int_equal(fclose(out), 0);
	return bytes;
}

/* The bytes are tests/golden/NAME. */
static inline void compare_golden(const char *name, const char *bytes, size_t size)
{
	char path[256], *wanted;
	size_t wanted_size;
	FILE *file;

	snprintf(path, sizeof(path), GOLDEN "%s", name);
	if (getenv("LOOPSCOPE_UPDATE_GOLDEN")) {
		file = fopen(path, "w");
		assert_non_null(file);
		assert_int_equal(fwrite(bytes, 1, size, file), size);
		assert_int_equal(fclose(file), 0);
		return;
	}
	file = fopen(path, "r");
	if (!file)
		fail_msg("%s: %s", path, strerror(errno));
	wanted = calloc(1, size + 2);
	assert_non_null(wanted);
	wanted_size = fread(wanted, 1, size + 1, file);
	fclose(file);
	if (wanted_size != size || memcmp(wanted, bytes, size))
		fail_msg("%s differs; got:\n%s", path, bytes);
	free(wanted);
}

/* What an exporter makes of a report is tests/golden/export/NAME. */
static inline void golden(const char *name, const char *format, const struct report *report,
			  const struct export_options *options)
{
	char path[128];
	size_t size;
	char *bytes = render(format, report, options, &size);

	snprintf(path, sizeof(path), "export/%s", name);
	compare_golden(path, bytes, size);
	free(bytes);
}

#endif
