/* SPDX-License-Identifier: Apache-2.0 */
/* Durations, numbers and times as text. */
#ifndef LS_UNITS_H
#define LS_UNITS_H

#include <stddef.h>
#include <stdint.h>

#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull

/*
 * "10", "0.5" (seconds), "500ms", "30s", "5m", "2h" -> nanoseconds.
 * Returns 0 or -EINVAL (nonsense, negative, not finite, beyond a year).
 */
int parse_duration(const char *text, uint64_t *ret_ns);

/* A plain decimal number, 0 <= value <= max; 0 or -EINVAL. */
int parse_number(const char *text, double max, double *ret_value);

/* A whole number min..max; 0 or -EINVAL. */
int parse_integer(const char *text, long min, long max, long *ret_value);

/* "812 us", "12.3 ms", "1.24 s", "3 min 20 s". Returns buffer. */
char *format_duration(uint64_t ns, char *buffer, size_t size);

/* RFC 3339 in UTC with milliseconds from CLOCK_REALTIME ns. Returns buffer (>= 32 bytes). */
char *format_time(uint64_t realtime_ns, char *buffer, size_t size);

/* Clocks in ns. */
uint64_t monotonic_ns(void);
uint64_t realtime_ns(void);
uint64_t thread_cpu_ns(void);	/* of the thread that asks */

#endif
