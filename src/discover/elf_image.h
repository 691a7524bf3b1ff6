/* SPDX-License-Identifier: Apache-2.0 */
/* ELF files that a target has mapped: symbols and sections. Foreign bytes. */
#ifndef LS_ELF_IMAGE_H
#define LS_ELF_IMAGE_H

#include <stdint.h>

struct elf_image;	/* opaque */

/* Opens an ELF file; takes the descriptor in any case.  0, -ENOEXEC (no ELF64), -ENOMEM, -EIO. */
int elf_image_open(int fd, struct elf_image **ret_image);
void elf_image_free(struct elf_image *image);

/* Value and size of a symbol of .symtab or .dynsym; 0 or -ENOENT. */
int elf_image_symbol(struct elf_image *image, const char *name, uint64_t *ret_value,
		     uint64_t *ret_size);

/* Address and size of a section; 0 or -ENOENT. */
int elf_image_section(struct elf_image *image, const char *name, uint64_t *ret_address,
		      uint64_t *ret_size);

/*
 * Name of the function that holds the file's virtual address `address`,
 * borrowed until elf_image_free(); NULL when no symbol covers it.
 */
const char *elf_image_function_at(struct elf_image *image, uint64_t address);

/* File offset -> virtual address of the first PT_LOAD that holds it; 0 or -ENOENT. */
int elf_image_address_of_offset(struct elf_image *image, uint64_t offset, uint64_t *ret_address);

#endif
