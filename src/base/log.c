// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define LOG_LINE_MAX 2048

enum log_level log_level = LOG_WARN;

/* One write per line, so that lines of several threads do not mix. */
static void log_line(const char *format, va_list args)
{
	char line[LOG_LINE_MAX];

	if (vsnprintf(line, sizeof(line), format, args) < 0)
		return;
	/* names of a target may hold line breaks and what steers a terminal */
	for (char *at = line; *at; at++)
		if (iscntrl((unsigned char)*at))
			*at = '?';
	fprintf(stderr, "loopscope: %s\n", line);
}

void log_print(enum log_level level, const char *format, ...)
{
	int saved = errno;
	va_list args;

	if (level > log_level)
		return;
	va_start(args, format);
	log_line(format, args);
	va_end(args);
	errno = saved;
}

int log_error(int error, const char *format, ...)
{
	int saved = errno;
	va_list args;

	va_start(args, format);
	log_line(format, args);
	va_end(args);
	errno = saved;
	return error;
}
