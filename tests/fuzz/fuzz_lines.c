// SPDX-License-Identifier: Apache-2.0
/* Line tables of a target: version, unit and first line, then the table. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "resolve/code.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t unit, first_line;

	if (size < 9)
		return 0;
	memcpy(&unit, data + 1, sizeof(unit));
	memcpy(&first_line, data + 5, sizeof(first_line));
	line_of_instruction(data + 9, size - 9, first_line, unit, 8 + data[0] % 8);
	line_of_instruction(data + 9, size - 9, first_line, unit % 4096, 8 + data[0] % 8);
	return 0;
}
