// SPDX-License-Identifier: Apache-2.0
#include "discover/elf_image.h"

#include <errno.h>
#include <gelf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/vec.h"

/* Bounds on what a hostile file can make us read; the largest libpython is far below. */
#define ELF_MAX_TABLES 8
#define ELF_MAX_TABLE_BYTES (256u << 20)
#define ELF_MAX_FUNCTIONS (4u << 20)
#define ELF_MAX_NAME 4096
#define ELF_MAX_SEGMENTS 65536

struct function {
	uint64_t start, end;
	const char *name;	/* inside the file's string table */
};

struct functions {
	struct function *items;
	size_t count, capacity;
};

/* A symbol table; its bytes are read when it is first used. */
struct table {
	Elf_Scn *section;
	size_t strings_section;
	Elf_Data *data;
	size_t count;
	const char *strings;	/* ends with a zero byte */
	size_t strings_size;
	bool loaded;
};

struct elf_image {
	int fd;
	Elf *elf;
	struct table tables[ELF_MAX_TABLES];
	size_t table_count;
	struct functions functions;	/* sorted by start once indexed */
	bool indexed;
};

/*
 * The header as libelf must not be trusted with it: a section count in the
 * first section (0 here) is bounded by nothing but the file's size.
 */
static int check_header(int fd)
{
	Elf64_Ehdr header;
	ssize_t length = pread(fd, &header, sizeof(header), 0);

	if (length < 0)
		return -EIO;
	if ((size_t)length < sizeof(header) || memcmp(header.e_ident, ELFMAG, SELFMAG) ||
	    header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
	    (header.e_shoff && !header.e_shnum))
		return -ENOEXEC;
	return 0;
}

static void find_tables(struct elf_image *image, uint32_t type)
{
	Elf_Scn *section = NULL;

	while ((section = elf_nextscn(image->elf, section))) {
		GElf_Shdr header;

		if (image->table_count == ELF_MAX_TABLES)
			return;
		if (!gelf_getshdr(section, &header) || header.sh_type != type)
			continue;
		image->tables[image->table_count++] = (struct table){
			.section = section,
			.strings_section = header.sh_link,
		};
	}
}

int elf_image_open(int fd, struct elf_image **ret_image)
{
	_cleanup_fd_ int owned = fd;
	struct elf_image *image;
	int error;

	if (elf_version(EV_CURRENT) == EV_NONE)
		return -ENOEXEC;
	error = check_header(fd);
	if (error)
		return error;
	image = calloc(1, sizeof(*image));
	if (!image)
		return -ENOMEM;
	/*
	 * Not ELF_C_READ_MMAP: a target may truncate the file while we look at it,
	 * and a fault in the mapping would kill us.
	 */
	image->elf = elf_begin(fd, ELF_C_READ, NULL);
	if (!image->elf || elf_kind(image->elf) != ELF_K_ELF) {
		elf_end(image->elf);
		free(image);
		return -ENOEXEC;
	}
	/* The dynamic one is shorter, and exported names are what is mostly asked for. */
	find_tables(image, SHT_DYNSYM);
	find_tables(image, SHT_SYMTAB);
	image->fd = owned;
	owned = -1;
	*ret_image = image;
	return 0;
}

void elf_image_free(struct elf_image *image)
{
	if (!image)
		return;
	elf_end(image->elf);
	close(image->fd);
	free(image->functions.items);
	free(image);
}

/* The bytes of a section as they are in the file, NULL when there are none or too many. */
static Elf_Data *section_data(Elf_Scn *section)
{
	GElf_Shdr header;
	Elf_Data *data;

	if (!section || !gelf_getshdr(section, &header) ||
	    header.sh_size > ELF_MAX_TABLE_BYTES || header.sh_flags & SHF_COMPRESSED)
		return NULL;
	data = elf_getdata(section, NULL);
	return data && data->d_buf && data->d_size ? data : NULL;
}

static const char *section_strings(struct elf_image *image, size_t index, size_t *ret_size)
{
	Elf_Data *data = section_data(elf_getscn(image->elf, index));
	const char *strings = data ? data->d_buf : NULL;

	if (!strings || strings[data->d_size - 1])
		return NULL;
	*ret_size = data->d_size;
	return strings;
}

/* Reads a table once; what is damaged is a table of no symbols. */
static void table_load(struct elf_image *image, struct table *table)
{
	if (table->loaded)
		return;
	table->loaded = true;
	table->data = section_data(table->section);
	if (!table->data)
		return;
	table->strings = section_strings(image, table->strings_section, &table->strings_size);
	if (!table->strings)
		return;
	table->count = table->data->d_size / sizeof(Elf64_Sym);
	if (table->count > ELF_MAX_FUNCTIONS)
		table->count = ELF_MAX_FUNCTIONS;
}

/* Symbol `index` that is defined and has a name, which is returned; else NULL. */
static const char *table_symbol(const struct table *table, size_t index, GElf_Sym *symbol)
{
	if (!gelf_getsym(table->data, index, symbol) || symbol->st_shndx == SHN_UNDEF ||
	    !symbol->st_name || symbol->st_name >= table->strings_size)
		return NULL;
	return table->strings + symbol->st_name;
}

int elf_image_symbol(struct elf_image *image, const char *name, uint64_t *ret_value,
		     uint64_t *ret_size)
{
	for (size_t t = 0; t < image->table_count; t++) {
		struct table *table = &image->tables[t];

		table_load(image, table);
		for (size_t i = 0; i < table->count; i++) {
			GElf_Sym symbol;
			const char *found = table_symbol(table, i, &symbol);

			if (!found || strcmp(found, name))
				continue;
			*ret_value = symbol.st_value;
			*ret_size = symbol.st_size;
			return 0;
		}
	}
	return -ENOENT;
}

int elf_image_section(struct elf_image *image, const char *name, uint64_t *ret_address,
		      uint64_t *ret_size)
{
	Elf_Scn *section = NULL;
	const char *strings;
	size_t index, size;

	if (elf_getshdrstrndx(image->elf, &index))
		return -ENOENT;
	strings = section_strings(image, index, &size);
	if (!strings)
		return -ENOENT;
	while ((section = elf_nextscn(image->elf, section))) {
		GElf_Shdr header;

		if (!gelf_getshdr(section, &header) || header.sh_name >= size ||
		    strcmp(strings + header.sh_name, name))
			continue;
		*ret_address = header.sh_addr;
		*ret_size = header.sh_size;
		return 0;
	}
	return -ENOENT;
}

static void add_functions(struct elf_image *image, const struct table *table)
{
	struct functions *functions = &image->functions;

	for (size_t i = 0; i < table->count; i++) {
		struct function *function;
		GElf_Sym symbol;
		const char *name = table_symbol(table, i, &symbol);
		int type;

		if (!name)
			continue;
		type = GELF_ST_TYPE(symbol.st_info);
		if ((type != STT_FUNC && type != STT_GNU_IFUNC) ||
		    symbol.st_value + symbol.st_size < symbol.st_value)
			continue;
		/* With too many or no memory the index is short, not wrong. */
		if (vec_grow(functions, ELF_MAX_FUNCTIONS))
			return;
		function = &functions->items[functions->count++];
		function->start = symbol.st_value;
		function->end = symbol.st_value + symbol.st_size;
		function->name = name;
	}
}

static int compare_functions(const void *left, const void *right)
{
	const struct function *a = left, *b = right;

	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	if (a->end != b->end)
		return a->end < b->end ? -1 : 1;
	/* Aliases: always the same one of them. */
	return a->name < b->name ? -1 : a->name > b->name;
}

static void index_functions(struct elf_image *image)
{
	struct functions *functions = &image->functions;

	image->indexed = true;
	for (size_t t = 0; t < image->table_count; t++) {
		table_load(image, &image->tables[t]);
		add_functions(image, &image->tables[t]);
	}
	if (functions->count)
		qsort(functions->items, functions->count, sizeof(*functions->items),
		      compare_functions);
}

const char *elf_image_function_at(struct elf_image *image, uint64_t address)
{
	const struct functions *functions = &image->functions;
	const struct function *function;
	size_t low = 0, high;

	if (!image->indexed)
		index_functions(image);
	high = functions->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (functions->items[middle].start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low)
		return NULL;
	function = &functions->items[low - 1];
	/* Hand-written assembly has symbols of size 0: they cover their first byte. */
	if (address >= function->end && address != function->start)
		return NULL;
	return strnlen(function->name, ELF_MAX_NAME) < ELF_MAX_NAME ? function->name : NULL;
}

int elf_image_address_of_offset(struct elf_image *image, uint64_t offset, uint64_t *ret_address)
{
	size_t count;

	if (elf_getphdrnum(image->elf, &count))
		return -ENOENT;
	for (size_t i = 0; i < count && i < ELF_MAX_SEGMENTS; i++) {
		GElf_Phdr header;

		if (!gelf_getphdr(image->elf, i, &header))
			break;
		if (header.p_type != PT_LOAD || offset < header.p_offset ||
		    offset - header.p_offset >= header.p_filesz)
			continue;
		*ret_address = header.p_vaddr + (offset - header.p_offset);
		return 0;
	}
	return -ENOENT;
}
