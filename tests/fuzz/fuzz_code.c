// SPDX-License-Identifier: Apache-2.0
/* Code objects in hostile memory: the input is what differs from an image that is right. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "unit/code_image.h"

#define CODES 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fill(struct image *image, uint64_t *codes)
{
	static const uint8_t table[] = { 0x80 | 13 << 3 | 1, 2, 0x80 | 14 << 3, 3, 1, 2, 3,
					 0x80 | 11 << 3, 0, 0 };
	uint64_t file = image_text(image, "/srv/site-packages/a.py");
	uint64_t name = image_text(image, "name");
	uint64_t lines = image_bytes(image, table, sizeof(table));

	for (size_t i = 0; i < CODES; i++) {
		codes[i] = image_take(image, 256);
		image_code(image, codes[i], file, name, name, lines, 10 * (uint32_t)i);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct frame_record records[2 * CODES];
	struct frame frames[2 * CODES];
	static struct image image;
	struct code_cache *cache;
	uint64_t codes[CODES];
	struct mem *mem;

	if (size < 2)
		return 0;
	image_init(&image, (0x030bu + data[0] % 4) << 16 | 0xf0);
	fill(&image, codes);
	for (size_t i = 2; i < size && i < IMAGE_BYTES; i++)
		image.bytes[i] ^= data[i];
	mem = mem_open_image(&image.range, 1);
	image.py.mem = mem;
	cache = mem ? code_cache_new(&image.py, NULL) : NULL;
	if (!cache) {
		mem_free(mem);
		return 0;
	}
	/* Half of them as events of the damaged memory, half as the kernel could not read. */
	for (size_t i = 0; i < 2 * CODES; i++) {
		records[i].code = codes[i % CODES];
		records[i].check = i < CODES ? image_check(&image, codes[i]) : 0;
		records[i].where = data[1] | (uint32_t)(i & 1) << FRAME_OFFSET_BITS;
	}
	code_cache_resolve(cache, records, 2 * CODES, frames, 2 * CODES);
	code_cache_free(cache);
	mem_free(mem);
	return 0;
}
