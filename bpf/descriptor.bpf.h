/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a system call was about: file, peer or path, read while it is still open. */
#ifndef LS_DESCRIPTOR_BPF_H
#define LS_DESCRIPTOR_BPF_H

#include "maps.bpf.h"

#define MAX_FD (1 << 20)

enum { ARGUMENT_NONE, ARGUMENT_FD0, ARGUMENT_PATH0, ARGUMENT_PATH1, ARGUMENT_POLL, ARGUMENT_SET };

/* arch/x86/entry/syscalls/syscall_64.tbl */
static __always_inline int argument_kind(__u32 number)
{
	switch (number) {
	case 0: case 1: case 3: case 5: case 8: case 9: case 16: case 17: case 18: case 19:
	case 20: case 32: case 40: case 42: case 43: case 44: case 45: case 46: case 47:
	case 72: case 73: case 74: case 75: case 77: case 217: case 232: case 275: case 277:
	case 281: case 285: case 288: case 295: case 296: case 299: case 306: case 307:
	case 326: case 327: case 328: case 426: case 441:
		return ARGUMENT_FD0;
	case 2: case 4: case 6: case 21: case 59: case 76: case 80: case 82: case 83: case 84:
	case 85: case 87: case 89: case 90: case 133:
		return ARGUMENT_PATH0;
	case 257: case 258: case 259: case 262: case 263: case 264: case 267: case 269:
	case 332: case 437: case 439:
		return ARGUMENT_PATH1;
	case 7: case 271:
		return ARGUMENT_POLL;
	case 23: case 270:
		return ARGUMENT_SET;
	}
	return ARGUMENT_NONE;
}

/* Path of the listener that a socket leads to or came from; `to` is LS_NAME_BYTES long. */
static __always_inline void unix_peer_name(char *to, struct sock *sk)
{
	struct unix_sock *own = (struct unix_sock *)sk;
	struct unix_sock *peer = (struct unix_sock *)BPF_CORE_READ(own, peer);
	struct unix_address *address = BPF_CORE_READ(peer, addr);

	if (!address)
		address = BPF_CORE_READ(own, addr);
	if (address)
		bpf_probe_read_kernel(to, LS_NAME_BYTES - 1, (const char *)&address->name[0] + 2);
}

static __always_inline void describe_socket(struct call_target *to, struct file *file)
{
	struct socket *socket = BPF_CORE_READ(file, private_data);
	struct sock *sk = BPF_CORE_READ(socket, sk);
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	to->type = FD_OTHER;
	if (family == AF_INET) {
		__u32 address = BPF_CORE_READ(sk, __sk_common.skc_daddr);

		to->type = FD_INET;
		__builtin_memcpy(to->address, &address, 4);
	} else if (family == AF_INET6) {
		to->type = FD_INET6;
		bpf_core_read(to->address, 16, &sk->__sk_common.skc_v6_daddr);
	} else if (family == AF_UNIX) {
		to->type = FD_UNIX;
		unix_peer_name(to->name, sk);
	}
	to->port = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
}

/* The open file behind a descriptor of the calling process, NULL: none. */
static __always_inline struct file *file_of(int fd)
{
	struct file **files, *file = NULL;
	unsigned int descriptors;

	if (fd < 0 || fd >= MAX_FD)
		return NULL;
	/* helper since 5.11, commit 3ca1032ab7ab: plain loads, a third of the price */
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf)) {
		struct fdtable *table = bpf_get_current_task_btf()->files->fdt;

		descriptors = table->max_fds;
		files = table->fd;
	} else {
		struct task_struct *task = (struct task_struct *)bpf_get_current_task();
		struct fdtable *table = BPF_CORE_READ(task, files, fdt);

		descriptors = BPF_CORE_READ(table, max_fds);
		files = BPF_CORE_READ(table, fd);
	}
	if ((__u32)fd < descriptors)
		bpf_probe_read_kernel(&file, sizeof(file), files + fd);
	return file;
}

static __always_inline void describe_fd(struct call_target *to, int fd)
{
	struct file *file;
	__u16 mode;

	to->fd = fd;
	file = file_of(fd);
	if (!file)
		return;
	mode = BPF_CORE_READ(file, f_inode, i_mode);
	if ((mode & S_IFMT) == S_IFSOCK) {
		describe_socket(to, file);
		return;
	}
	to->type = (mode & S_IFMT) == S_IFIFO ? FD_PIPE : (mode & S_IFMT) == S_IFREG ? FD_FILE
										     : FD_OTHER;
	bpf_probe_read_kernel_str(to->name, sizeof(to->name),
				  BPF_CORE_READ(file, f_path.dentry, d_name.name));
}

static __always_inline void describe_path(struct call_target *to, __u64 path)
{
	to->type = FD_PATH;
	bpf_probe_read_user_str(to->name, sizeof(to->name), (const void *)path);
}

#define SELECT_WORDS 4	/* of a select() set: descriptors up to 255 */

/* Number of the lowest bit that is set. */
static __always_inline int lowest_bit(__u64 word)
{
	int bit = 0;

	word &= -word;
	if (word & 0xffffffff00000000ull)
		bit += 32;
	if (word & 0xffff0000ffff0000ull)
		bit += 16;
	if (word & 0xff00ff00ff00ff00ull)
		bit += 8;
	if (word & 0xf0f0f0f0f0f0f0f0ull)
		bit += 4;
	if (word & 0xccccccccccccccccull)
		bit += 2;
	if (word & 0xaaaaaaaaaaaaaaaaull)
		bit += 1;
	return bit;
}

/* First descriptor of a select() set: mostly the only one. */
static __always_inline int first_of_set(__u64 set)
{
	__u64 words[SELECT_WORDS] = {};

	if (!set || bpf_probe_read_user(words, sizeof(words), (const void *)set))
		return -1;
	for (int i = 0; i < SELECT_WORDS; i++)
		if (words[i])
			return i * 64 + lowest_bit(words[i]);
	return -1;
}

static __always_inline void describe_call(struct call_target *to, __u32 number,
					  const __u64 *args)
{
	int fd = -1;

	to->fd = -1;
	switch (argument_kind(number)) {
	case ARGUMENT_FD0:
		fd = (int)args[0];
		break;
	case ARGUMENT_PATH0:
		describe_path(to, args[0]);
		return;
	case ARGUMENT_PATH1:
		describe_path(to, args[1]);
		return;
	case ARGUMENT_POLL:
		if (args[1])
			bpf_probe_read_user(&fd, sizeof(fd), (const void *)args[0]);
		break;
	case ARGUMENT_SET:
		fd = first_of_set(args[1]);
		if (fd < 0)
			fd = first_of_set(args[2]);
		break;
	}
	if (fd != -1)
		describe_fd(to, fd);
}

#endif
