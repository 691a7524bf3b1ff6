// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/units.h"
#include "detect/finding.h"
#include "export/exporter.h"
#include "export/select.h"

#define MAX_OPTIONS 40

static int bad(const char *name, const char *value, const char *wanted)
{
	log_error(0, "--%s %s: %s", name, value, wanted);
	return EXIT_USAGE;
}

static int set_ms(const char *name, const char *value, double min, uint64_t *to)
{
	double ms;

	if (parse_number(value, 3600e3, &ms) || ms < min)
		return bad(name, value, "wants milliseconds, a number up to an hour");
	*to = (uint64_t)(ms * NS_PER_MS);
	return -1;
}

static int set_integer(const char *name, const char *value, long min, long max, unsigned *to)
{
	char text[80];
	long number;

	snprintf(text, sizeof(text), "wants a whole number from %ld to %ld", min, max);
	if (parse_integer(value, min, max, &number))
		return bad(name, value, text);
	*to = (unsigned)number;
	return -1;
}

static int add_output(struct options *options, char *value)
{
	char *colon = strrchr(value, ':');
	const struct exporter *exporter = colon ? exporter_by_name(colon + 1) : NULL;

	if (options->output_count >= MAX_LIST)
		return bad("output", value, "too many outputs");
	if (exporter)
		*colon = '\0';
	else
		exporter = exporter_for_path(value);
	if (!exporter)
		return bad("output", value, "unknown format; use a suffix of `loopscope attach "
					    "--help` or PATH:FORMAT");
	options->outputs[options->output_count++] = (struct output){ value, exporter };
	return -1;
}

static int add_fail_on(struct options *options, char *value)
{
	struct fail_on *entry = &options->fail_on[options->fail_on_count];
	char kind[32];
	const char *colon = strchr(value, ':');
	int error = -1;

	if (options->fail_on_count >= MAX_LIST)
		return bad("fail-on", value, "too many of them");
	snprintf(kind, sizeof(kind), "%.*s", colon ? (int)(colon - value) : 31, value);
	entry->kind = -1;
	for (int i = 0; i < FINDING_KIND_COUNT; i++)
		if (!strcmp(kind, finding_kind_name(i)))
			entry->kind = i;
	if (entry->kind < 0)
		return bad("fail-on", value, "no such kind of finding");
	entry->ns = 0;
	if (colon)
		error = set_ms("fail-on", colon + 1, 0, &entry->ns);
	options->fail_on_count++;
	return error;
}

static int set_sort(struct options *options, const char *value)
{
	if (!sort_column_known(value)) {
		log_error(0, "--sort %s: no such column; there are %s", value, sort_columns());
		return EXIT_USAGE;
	}
	options->sort = value;
	return -1;
}

static int add_path(const char *name, const char *value, const char **list, size_t *count)
{
	if (*count >= MAX_LIST)
		return bad(name, value, "too many paths");
	list[(*count)++] = value;
	return -1;
}

static int set_option(struct options *options, const struct option_row *row, char *value)
{
	unsigned number;
	int status;

	switch (row->id) {
	case OPTION_PID:
		status = set_integer(row->name, value, 1, INT_MAX, &number);
		if (status < 0)
			options->pid = (pid_t)number;
		return status;
	case OPTION_PORT:
		return set_integer(row->name, value, 1, 65535, &options->port);
	case OPTION_DURATION:
		if (parse_duration(value, &options->duration_ns) || !options->duration_ns)
			return bad(row->name, value, "wants a time like 30, 30s, 500ms or 5m");
		return -1;
	case OPTION_RATE:
		return set_integer(row->name, value, 1, 997, &options->rate_hz);
	case OPTION_STALL:
		return set_ms(row->name, value, 0.001, &options->stall_ns);
	case OPTION_SLOW_CALL:
		return set_ms(row->name, value, 0, &options->slow_call_ns);
	case OPTION_OUTPUT:
		return add_output(options, value);
	case OPTION_JSON:
		value = (char *)"json";
		/* fallthrough */
	case OPTION_FORMAT:
		options->format = exporter_by_name(value);
		return options->format ? -1 : bad(row->name, value, "no such format");
	case OPTION_FORCE:
		options->force = true;
		return -1;
	case OPTION_FOLLOW:
		options->follow = true;
		return -1;
	case OPTION_ROUTE:
		options->route = value;
		return -1;
	case OPTION_SORT:
		return set_sort(options, value);
	case OPTION_APP_PATH:
		return add_path(row->name, value, options->app_paths, &options->app_path_count);
	case OPTION_LIBRARY_PATH:
		return add_path(row->name, value, options->library_paths,
				&options->library_path_count);
	case OPTION_FAIL_ON:
		return add_fail_on(options, value);
	case OPTION_RING:
		status = set_integer(row->name, value, 4, 1 << 20, &number);
		if (status < 0 && number & (number - 1))
			return bad(row->name, value, "wants a power of two");
		options->ring_bytes = number << 10;
		return status;
	case OPTION_DROP:
		return set_integer(row->name, value, 0, 1000, &options->drop_per_mille);
	case OPTION_QUIET:
		log_level = LOG_ERROR;
		return -1;
	case OPTION_VERBOSE:
		log_level = log_level < LOG_INFO ? LOG_INFO : LOG_DEBUG;
		return -1;
	default:
		return EXIT_USAGE;
	}
}

void command_help(const struct command *command)
{
	printf("Usage: loopscope %s %s\n\n%s\n\n", command->name, command->arguments,
	       command->summary);
	for (const struct option_row *row = command->options; row->id != OPTION_NONE; row++) {
		char left[48], letter[8] = "    ";

		if (!row->help)
			continue;
		if (row->letter)
			snprintf(letter, sizeof(letter), "-%c, ", row->letter);
		snprintf(left, sizeof(left), "%s--%s%s%s", letter, row->name,
			 row->argument ? " " : "", row->argument ? row->argument : "");
		printf("  %-30s %s\n", left, row->help);
	}
	if (command->more)
		printf("\n%s", command->more);
}

static size_t build_tables(const struct command *command, struct option *longs, char *shorts)
{
	size_t count = 0, used = 0;

	shorts[used++] = '+'; /* stop at the first word, as "--" does */
	shorts[used++] = ':';
	for (const struct option_row *row = command->options; row->id != OPTION_NONE; row++) {
		longs[count++] = (struct option){
			row->name, row->argument ? required_argument : no_argument, NULL,
			256 + (int)(row - command->options) };
		if (row->letter) {
			shorts[used++] = row->letter;
			if (row->argument)
				shorts[used++] = ':';
		}
	}
	longs[count] = (struct option){ 0 };
	shorts[used] = '\0';
	return count;
}

static const struct option_row *row_of(const struct command *command, int code)
{
	for (const struct option_row *row = command->options; row->id != OPTION_NONE; row++)
		if (code == 256 + (int)(row - command->options) ||
		    (row->letter && code == row->letter))
			return row;
	return NULL;
}

static void defaults(struct options *options)
{
	*options = (struct options){
		.rate_hz = 99,
		.stall_ns = 20 * NS_PER_MS,
		.slow_call_ns = UINT64_MAX,
	};
	options->format = exporter_by_name("text");
}

int options_parse(const struct command *command, int argc, char **argv, struct options *options)
{
	struct option longs[MAX_OPTIONS + 1];
	char shorts[2 * MAX_OPTIONS + 4];
	int code, status;

	defaults(options);
	build_tables(command, longs, shorts);
	opterr = 0;
	optind = 1;
	while ((code = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		const struct option_row *row = row_of(command, code);

		if (!row) {
			log_error(0, "%s %s; `loopscope %s --help` lists the options",
				  argv[optind - 1],
				  code == ':' ? "wants a value"
				  : optopt >= 256 ? "takes no value" : "is no option here",
				  command->name);
			return EXIT_USAGE;
		}
		if (row->id == OPTION_HELP) {
			command_help(command);
			return EXIT_DONE;
		}
		status = set_option(options, row, optarg);
		if (status >= 0)
			return status;
	}
	if (optind < argc) {
		if (strcmp(argv[optind - 1], "--")) {
			log_error(0, "%s: unexpected word; a command to start comes behind --",
				  argv[optind]);
			return EXIT_USAGE;
		}
		options->command = argv + optind;
	}
	if (options->slow_call_ns == UINT64_MAX)
		options->slow_call_ns = NS_PER_MS < options->stall_ns ? NS_PER_MS
								      : options->stall_ns;
	if (options->slow_call_ns > options->stall_ns) {
		log_error(0, "--slow-call must not be above --stall");
		return EXIT_USAGE;
	}
	return -1;
}
