/* SPDX-License-Identifier: GPL-2.0 */
/* Output of the command line tools: JSON as it is, or columns that line up. */
#ifndef DUET_CLI_OUT_H
#define DUET_CLI_OUT_H

#include <jansson.h>

/* out_json - print and release */
void out_json(json_t *json);

struct table;

/* table_new - columns by their headings, ended by NULL; a heading that starts
 * with '>' (not printed) makes a column of numbers, aligned right
 */
struct table *table_new(const char *heading, ...) __attribute__((sentinel));
/* table_of - the same of n headings */
struct table *table_of(const char *const *headings, unsigned int n);
/* table_cell - the next cell, row by row */
void table_cell(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* table_print - print and release */
void table_print(struct table *t);

/* What comes from outside may have control characters in it, which a terminal would obey. */
/* out_shown - text with such escaped (lib/text.h); text is malloc'd, and freed or returned */
char *out_shown(char *text);
/* out_safe - the same of all strings in there, in place; returns json */
json_t *out_safe(json_t *json);

#endif
