// SPDX-License-Identifier: Apache-2.0
#include "export/exporter.h"

#include <string.h>

#include "export/formats.h"

const struct exporter exporters[] = {
	{ "text", ".txt", "the report to read, worst finding first", text_write },
	{ "json", ".json", "the report for programs", json_write },
	{ "folded", ".folded", "blocking time in us as folded stacks", folded_write },
	{ "svg", ".svg", "flamegraph of the blocking time", svg_write },
};

const unsigned exporter_count = sizeof(exporters) / sizeof(exporters[0]);

const struct exporter *exporter_by_name(const char *name)
{
	for (unsigned i = 0; i < exporter_count; i++)
		if (!strcmp(exporters[i].name, name))
			return &exporters[i];
	return NULL;
}

const struct exporter *exporter_for_path(const char *path)
{
	size_t length = strlen(path);

	for (unsigned i = 0; i < exporter_count; i++) {
		size_t suffix = strlen(exporters[i].suffix);

		if (length > suffix && !strcmp(path + length - suffix, exporters[i].suffix))
			return &exporters[i];
	}
	return NULL;
}
