// SPDX-License-Identifier: Apache-2.0
/* Every program of the probes is taken by this kernel, within its budget. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "events.h"
#include "target_config.h"

#include "loopscope.skel.h"

#define LOG_BYTES 65536
#define LOG_STATISTICS 4	/* linux/bpf_verifier.h: BPF_LOG_STATS */

/*
 * Instructions that the verifier may look at: about half as many again as it
 * did when the row was written, for kernels and compilers differ.  A kernel
 * gives up at a million.
 */
static const struct budget {
	const char *program;
	unsigned long instructions;
} budgets[] = {
	{ "sys_exit", 112000 },
	{ "sys_enter", 250 },
	{ "sched_switch", 46000 },
	{ "cpu_clock", 42000 },
	{ "process_fork", 150 },
	{ "process_exec", 140 },
	{ "process_exit", 190 },
	{ "tcp_segment", 8000 },
	{ "tcp_state", 9000 },
};

#define BUDGETS (sizeof(budgets) / sizeof(budgets[0]))

static char logs[BUDGETS][LOG_BYTES];

static const struct budget *budget_of(const struct bpf_program *program)
{
	for (size_t i = 0; i < BUDGETS; i++)
		if (!strcmp(budgets[i].program, bpf_program__name(program)))
			return &budgets[i];
	return NULL;
}

static int silent(enum libbpf_print_level level, const char *format, va_list arguments)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, arguments) : 0;
}

static void test_programs_load_within_their_budget(void **state)
{
	struct loopscope_bpf *skeleton;
	struct bpf_program *program;
	size_t programs = 0, above = 0;

	(void)state;
	libbpf_set_print(silent);
	skeleton = loopscope_bpf__open();
	assert_non_null(skeleton);
	bpf_object__for_each_program(program, skeleton->obj) {
		const struct budget *budget = budget_of(program);

		if (!budget)
			fail_msg("%s has no budget", bpf_program__name(program));
		programs++;
		bpf_program__set_log_level(program, LOG_STATISTICS);
		bpf_program__set_log_buf(program, logs[budget - budgets], LOG_BYTES);
	}
	assert_int_equal(programs, BUDGETS);
	assert_int_equal(loopscope_bpf__load(skeleton), 0);
	printf("%-16s %12s %12s\n", "program", "verified", "budget");
	for (size_t i = 0; i < BUDGETS; i++) {
		const char *line = strstr(logs[i], "processed ");
		unsigned long instructions = line ? strtoul(line + 10, NULL, 10) : 0;

		printf("%-16s %12lu %12lu\n", budgets[i].program, instructions,
		       budgets[i].instructions);
		assert_true(instructions > 0);
		above += instructions > budgets[i].instructions;
	}
	loopscope_bpf__destroy(skeleton);
	assert_int_equal(above, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_programs_load_within_their_budget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
