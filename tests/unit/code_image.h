/* SPDX-License-Identifier: Apache-2.0 */
/* A memory image with code objects as an interpreter would lay them out. */
#ifndef LS_TEST_CODE_IMAGE_H
#define LS_TEST_CODE_IMAGE_H

#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "discover/py_layout.h"
#include "discover/py_object.h"
#include "resolve/code.h"

#define IMAGE_BASE 0x7f0000000000ull
#define IMAGE_BYTES 16384

struct image {
	struct py_layout layout;
	struct py_reader py;
	struct mem_range range;
	uint64_t next;		/* where the next object goes */
	uint64_t type_code, type_str, type_bytes;
	uint8_t bytes[IMAGE_BYTES];
};

static inline uint8_t *image_at(struct image *image, uint64_t address)
{
	return image->bytes + (address - IMAGE_BASE);
}

static inline void image_put(struct image *image, uint64_t address, uint64_t value, size_t size)
{
	memcpy(image_at(image, address), &value, size);
}

static inline uint64_t image_take(struct image *image, size_t size)
{
	uint64_t address = image->next;

	image->next += (size + 15) & ~(size_t)15;
	return address;
}

static inline uint64_t image_type(struct image *image, const char *name, uint32_t flags)
{
	uint64_t type = image_take(image, 512), text = image_take(image, 16);

	memcpy(image_at(image, text), name, strlen(name) + 1);
	image_put(image, type + image->layout.type_name, text, 8);
	image_put(image, type + image->layout.type_flags, flags, 4);
	return type;
}

/* A compact ASCII str. */
static inline uint64_t image_text(struct image *image, const char *text)
{
	const struct py_layout *at = &image->layout;
	uint64_t object = image_take(image, at->unicode_ascii + strlen(text) + 1);

	image_put(image, object + at->ob_type, image->type_str, 8);
	image_put(image, object + at->unicode_length, strlen(text), 8);
	image_put(image, object + at->unicode_state, 1u << 2 | 1u << 5 | 1u << 6, 4);
	memcpy(image_at(image, object + at->unicode_ascii), text, strlen(text) + 1);
	return object;
}

static inline uint64_t image_bytes(struct image *image, const void *bytes, size_t size)
{
	const struct py_layout *at = &image->layout;
	uint64_t object = image_take(image, at->bytes_data + size + 1);

	image_put(image, object + at->ob_type, image->type_bytes, 8);
	image_put(image, object + at->var_size, size, 8);
	memcpy(image_at(image, object + at->bytes_data), bytes, size);
	return object;
}

static inline void image_code(struct image *image, uint64_t code, uint64_t file, uint64_t name,
			      uint64_t qualname, uint64_t table, uint32_t first_line)
{
	const struct py_layout *at = &image->layout;

	image_put(image, code, 1, 8);	/* references */
	image_put(image, code + at->ob_type, image->type_code, 8);
	image_put(image, code + at->code_flags, 3, 4);
	image_put(image, code + at->code_firstlineno, first_line, 4);
	image_put(image, code + at->code_firsttraceable, 1, 4);
	image_put(image, code + at->code_filename, file, 8);
	image_put(image, code + at->code_name, name, 8);
	image_put(image, code + at->code_qualname, qualname, 8);
	image_put(image, code + at->code_linetable, table, 8);
}

static inline uint32_t image_check(const struct image *image, uint64_t code)
{
	const struct py_layout *at = &image->layout;
	const uint8_t *bytes = image->bytes + (code - IMAGE_BASE);
	uint32_t first_line, flags;
	uint64_t file, name, table;

	memcpy(&first_line, bytes + at->code_firstlineno, sizeof(first_line));
	memcpy(&flags, bytes + at->code_flags, sizeof(flags));
	memcpy(&file, bytes + at->code_filename, sizeof(file));
	memcpy(&name, bytes + at->code_name, sizeof(name));
	memcpy(&table, bytes + at->code_linetable, sizeof(table));
	return code_check_word(first_line, flags, file, name, table);
}

/* An empty image; the caller opens its memory. */
static inline void image_init(struct image *image, uint32_t version_hex)
{
	memset(image, 0, sizeof(*image));
	image->layout = *py_layout_find(version_hex);
	image->next = IMAGE_BASE;
	image->range = (struct mem_range){ IMAGE_BASE, image->bytes, IMAGE_BYTES };
	image->py.layout = &image->layout;
	image->type_code = image_type(image, "code", 0);
	image->type_str = image_type(image, "str", 1u << 28);
	image->type_bytes = image_type(image, "bytes", 1u << 27);
}

#endif
