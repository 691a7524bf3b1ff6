// SPDX-License-Identifier: Apache-2.0
/* syscalls SECONDS: prints the nanoseconds that one cheap system call takes. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BATCH 10000

/* CPU time, so that a neighbour on this CPU does not count. */
static uint64_t cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int main(int argc, char **argv)
{
	uint64_t length = (uint64_t)(1e9 * (argc > 1 ? atof(argv[1]) : 1));
	uint64_t start = cpu_ns(), now = start, calls = 0;

	while (now - start < length) {
		for (int i = 0; i < BATCH; i++)
			syscall(SYS_getppid);
		calls += BATCH;
		now = cpu_ns();
	}
	printf("%.2f\n", (double)(now - start) / (double)calls);
	return 0;
}
