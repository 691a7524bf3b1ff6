/* SPDX-License-Identifier: Apache-2.0 */
/* Names of system calls. */
#ifndef LS_SYSCALLS_H
#define LS_SYSCALLS_H

#include <stdint.h>

/* Name of an x86-64 system call (arch/x86/entry/syscalls/syscall_64.tbl); NULL when unknown. */
const char *syscall_name(int32_t number);

#endif
