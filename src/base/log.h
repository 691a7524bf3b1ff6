/* SPDX-License-Identifier: Apache-2.0 */
/* Messages to the user, all on stderr. */
#ifndef LS_LOG_H
#define LS_LOG_H

enum log_level { LOG_ERROR = 0, LOG_WARN = 1, LOG_INFO = 2, LOG_DEBUG = 3 };

/* What is printed; LOG_WARN unless -q (LOG_ERROR), -v (LOG_INFO) or -vv (LOG_DEBUG). */
extern enum log_level log_level;

/* Prints one line "loopscope: ...". */
void log_print(enum log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * Prints one error line and returns `error` (0 or -errno), so that message and
 * value cannot part.  The text of errno is not appended: format has %s for it.
 */
int log_error(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_warn(...) log_print(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_print(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_print(LOG_DEBUG, __VA_ARGS__)

#endif
