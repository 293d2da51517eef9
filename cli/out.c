// SPDX-License-Identifier: GPL-2.0
/*
 * Output of the command line tools.
 */
#include "out.h"
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS 16

struct table {
	unsigned int columns, cells, room;
	int width[COLUMNS];
	char right[COLUMNS];
	char **cell;
};

static void out_of_memory(void)
{
	fputs("no memory\n", stderr);
	exit(1);
}

void out_json(json_t *json)
{
	if (!json)
		out_of_memory();
	json_dumpf(json, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(json);
}

static void add(struct table *t, char *text)
{
	unsigned int column = t->cells % t->columns;

	if (t->cells == t->room) {
		t->room = t->room ? 2 * t->room : 64;
		t->cell = realloc(t->cell, t->room * sizeof(*t->cell));
		if (!t->cell)
			out_of_memory();
	}
	t->cell[t->cells++] = text;
	if ((int)strlen(text) > t->width[column])
		t->width[column] = strlen(text);
}

struct table *table_of(const char *const *headings, unsigned int n)
{
	struct table *t = calloc(1, sizeof(*t));
	unsigned int i;

	if (!t)
		out_of_memory();
	t->columns = n < COLUMNS ? n : COLUMNS;
	for (i = 0; i < t->columns; i++) {
		t->right[i] = headings[i][0] == '>';
		add(t, strdup(headings[i] + t->right[i]));
	}
	return t;
}

struct table *table_new(const char *heading, ...)
{
	const char *headings[COLUMNS], *one;
	unsigned int n = 0;
	va_list ap;

	va_start(ap, heading);
	for (one = heading; one && n < COLUMNS; one = va_arg(ap, const char *))
		headings[n++] = one;
	va_end(ap);
	return table_of(headings, n);
}

char *out_shown(char *text)
{
	size_t size = 4 * strlen(text) + 1;
	char *shown;

	if (text_is_shown(text))
		return text;
	shown = malloc(size + 4);
	if (!shown)
		out_of_memory();
	text_shown(shown, size + 4, text);
	free(text);
	return shown;
}

json_t *out_safe(json_t *json)
{
	json_t *item;
	const char *key;
	void *next;
	size_t i;

	if (json_is_string(json) && !text_is_shown(json_string_value(json))) {
		char *text = strdup(json_string_value(json));

		if (!text)
			out_of_memory();
		text = out_shown(text);
		json_string_set(json, text);
		free(text);
	}
	json_array_foreach(json, i, item)
		out_safe(item);
	json_object_foreach_safe(json, next, key, item) {
		out_safe(item);
		if (!text_is_shown(key))	/* no key of ours, and nobody prints it by name */
			json_object_del(json, key);
	}
	return json;
}

void table_cell(struct table *t, const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		out_of_memory();
	va_end(ap);
	add(t, out_shown(text));
}

void table_print(struct table *t)
{
	unsigned int i, c;

	for (i = 0; i < t->cells; i++) {
		c = i % t->columns;
		if (t->right[c])
			printf("%*s", t->width[c], t->cell[i]);
		else if (c + 1 < t->columns)
			printf("%-*s", t->width[c], t->cell[i]);
		else
			fputs(t->cell[i], stdout);
		fputs(c + 1 < t->columns ? "  " : "\n", stdout);
		free(t->cell[i]);
	}
	free(t->cell);
	free(t);
}
