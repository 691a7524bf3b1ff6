/* SPDX-License-Identifier: Apache-2.0 */
/* The functions behind the table of exporters; one file per format. */
#ifndef LS_FORMATS_H
#define LS_FORMATS_H

#include <stdio.h>

struct export_options;
struct report;

int text_write(const struct report *report, const struct export_options *options, FILE *out);
int json_write(const struct report *report, const struct export_options *options, FILE *out);
int folded_write(const struct report *report, const struct export_options *options, FILE *out);
int svg_write(const struct report *report, const struct export_options *options, FILE *out);

#endif
