// SPDX-License-Identifier: Apache-2.0
#include "base/units.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS_PER_US 1000ull
#define MAX_DURATION_S (365.0 * 86400)

static const struct {
	const char *name;
	double seconds;
} duration_units[] = {
	{ "", 1 }, { "us", 1e-6 }, { "ms", 1e-3 }, { "s", 1 }, { "m", 60 }, { "h", 3600 },
};

/*
 * The digits at the start of `text`; NULL when there are none.  strtod() alone
 * would take "inf", "0x10", " 1" and "1e9", and its point follows the locale.
 */
static const char *parse_decimal(const char *text, double *ret_value)
{
	double value = 0, scale = 1;
	const char *at = text;
	size_t digits = 0;

	for (; *at >= '0' && *at <= '9'; at++, digits++)
		value = value * 10 + (*at - '0');
	if (*at == '.') {
		for (at++; *at >= '0' && *at <= '9'; at++, digits++) {
			value = value * 10 + (*at - '0');
			scale *= 10;
		}
	}
	if (!digits || !isfinite(value) || !isfinite(scale))
		return NULL;
	*ret_value = value / scale;
	return at;
}

int parse_duration(const char *text, uint64_t *ret_ns)
{
	const char *unit;
	double value;

	unit = text ? parse_decimal(text, &value) : NULL;
	if (!unit)
		return -EINVAL;
	for (size_t i = 0; i < sizeof(duration_units) / sizeof(duration_units[0]); i++) {
		double seconds = value * duration_units[i].seconds;

		if (strcmp(unit, duration_units[i].name))
			continue;
		if (seconds > MAX_DURATION_S)
			return -EINVAL;
		*ret_ns = (uint64_t)(seconds * NS_PER_S + 0.5);
		return 0;
	}
	return -EINVAL;
}

int parse_number(const char *text, double max, double *ret_value)
{
	const char *end;
	double value;

	end = text ? parse_decimal(text, &value) : NULL;
	if (!end || *end || value > max)
		return -EINVAL;
	*ret_value = value;
	return 0;
}

int parse_integer(const char *text, long min, long max, long *ret_value)
{
	const char *digits;
	char *end;
	long value;

	if (!text)
		return -EINVAL;
	digits = *text == '-' ? text + 1 : text;
	if (*digits < '0' || *digits > '9')
		return -EINVAL;
	errno = 0;
	value = strtol(text, &end, 10);
	if (errno || *end || value < min || value > max)
		return -EINVAL;
	*ret_value = value;
	return 0;
}

char *format_duration(uint64_t ns, char *buffer, size_t size)
{
	uint64_t us = ns / NS_PER_US + (ns % NS_PER_US >= NS_PER_US / 2);
	uint64_t seconds = (us + 500000) / 1000000;

	/* Borders lie where rounding would print "1000 us", "1000 ms" or "60.00 s". */
	if (us < 1000)
		snprintf(buffer, size, "%llu us", (unsigned long long)us);
	else if (us < 99950)
		snprintf(buffer, size, "%.1f ms", us / 1e3);
	else if (us < 999500)
		snprintf(buffer, size, "%.0f ms", us / 1e3);
	else if (us < 9995000)
		snprintf(buffer, size, "%.2f s", us / 1e6);
	else if (us < 59950000)
		snprintf(buffer, size, "%.1f s", us / 1e6);
	else if (seconds < 3600)
		snprintf(buffer, size, "%llu min %llu s", (unsigned long long)seconds / 60,
			 (unsigned long long)seconds % 60);
	else
		snprintf(buffer, size, "%llu h %llu min", (unsigned long long)seconds / 3600,
			 (unsigned long long)seconds % 3600 / 60);
	return buffer;
}

char *format_time(uint64_t realtime_ns, char *buffer, size_t size)
{
	time_t seconds = realtime_ns / NS_PER_S;
	unsigned ms = realtime_ns % NS_PER_S / NS_PER_MS;
	struct tm tm;
	size_t length;

	if (!size)
		return buffer;
	buffer[0] = '\0';
	if (!gmtime_r(&seconds, &tm))
		return buffer;
	length = strftime(buffer, size, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buffer + length, size - length, ".%03uZ", ms);
	return buffer;
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	if (clock_gettime(clock, &now))
		return 0;
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t realtime_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

uint64_t thread_cpu_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}
