// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/version.h"
#include "cli/options.h"

static void usage(FILE *out)
{
	fprintf(out, "Usage: loopscope COMMAND [OPTIONS]\n\n");
	for (size_t i = 0; i < command_count; i++)
		fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
	fprintf(out, "\n`loopscope COMMAND --help` lists the options of a command.\n");
}

int main(int argc, char **argv)
{
	struct options options;
	int status;

	if (argc < 2) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		usage(stdout);
		return EXIT_DONE;
	}
	if (!strcmp(argv[1], "--version")) {
		puts("loopscope " LOOPSCOPE_VERSION);
		return EXIT_DONE;
	}
	for (size_t i = 0; i < command_count; i++) {
		if (strcmp(argv[1], commands[i].name))
			continue;
		status = options_parse(&commands[i], argc - 1, argv + 1, &options);
		return status >= 0 ? status : commands[i].run(&options);
	}
	log_error(0, "no such command: %s; `loopscope --help` lists them", argv[1]);
	return EXIT_USAGE;
}
