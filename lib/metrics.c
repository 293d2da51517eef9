// SPDX-License-Identifier: GPL-2.0
/*
 * Prometheus' text format, built with open_memstream.
 */
#include "metrics.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct metrics {
	FILE *out;
	char *text;
	size_t len;
	const char *family;
};

struct metrics *metrics_new(void)
{
	struct metrics *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->out = open_memstream(&m->text, &m->len);
	if (!m->out) {
		free(m);
		return NULL;
	}
	return m;
}

void metrics_family(struct metrics *m, const char *name, const char *type,
		    const char *help)
{
	m->family = name;
	fprintf(m->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_label(FILE *out, const char *value)
{
	for (; *value; value++) {
		if (*value == '\n')
			fputs("\\n", out);
		else if (*value == '"' || *value == '\\')
			fprintf(out, "\\%c", *value);
		else
			fputc(*value, out);
	}
}

void metrics_add(struct metrics *m, double value, ...)
{
	const char *name, *separator = "{";
	va_list ap;

	fputs(m->family, m->out);
	va_start(ap, value);
	while ((name = va_arg(ap, const char *))) {
		fprintf(m->out, "%s%s=\"", separator, name);
		put_label(m->out, va_arg(ap, const char *));
		fputc('"', m->out);
		separator = ",";
	}
	va_end(ap);
	if (*separator == ',')
		fputc('}', m->out);
	/* 17 digits hold every double; counters below 2^53 print as integers */
	fprintf(m->out, " %.17g\n", value);
}

const char *metrics_text(struct metrics *m)
{
	fflush(m->out);
	return m->text;
}

void metrics_free(struct metrics *m)
{
	if (!m)
		return;
	fclose(m->out);
	free(m->text);
	free(m);
}
