// SPDX-License-Identifier: GPL-2.0
/* duetctl's lists: what the columns of each are, and rows from the controller's objects. */
#include "duetctl.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "out.h"

#define COLUMNS 12

const char *text_of(json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

long long number_of(json_t *object, const char *key)
{
	json_t *v = json_object_get(object, key);

	return json_is_number(v) ? (long long)json_number_value(v) : 0;
}

const char *joined(json_t *list)
{
	static char buf[512];
	size_t i, n = 0;
	json_t *item;

	buf[0] = 0;
	json_array_foreach(list, i, item)
		if (n < sizeof(buf))
			n += snprintf(buf + n, sizeof(buf) - n, "%s%s", i ? " " : "", json_string_value(item));
	return buf[0] ? buf : "-";
}

void clock_text(long long ms, char *buf, size_t size)
{
	time_t t = ms / 1000;
	struct tm tm;
	size_t n;

	localtime_r(&t, &tm);
	n = strftime(buf, size, "%F %T", &tm);
	snprintf(buf + n, size - n, ".%03d", (int)(ms % 1000));
}

/* member - "used.tunnels" of an object; borrowed, NULL: it has none */
static json_t *member(json_t *object, const char *path)
{
	size_t len = strcspn(path, ".");

	if (!path[len])
		return json_object_get(object, path);
	return member(json_object_getn(object, path, len), path + len + 1);
}

static void cell(struct table *t, const struct ctl_column *c, json_t *row)
{
	json_t *v = member(row, c->path);
	char when[48];

	switch (c->kind) {
	case COLUMN_NUMBER:
	case COLUMN_LIMIT:
		if (json_is_number(v) && (c->kind == COLUMN_NUMBER || json_number_value(v) > 0))
			table_cell(t, "%lld", (long long)json_number_value(v));
		else
			table_cell(t, "-");
		return;
	case COLUMN_TENTHS:
	case COLUMN_SHARE:
		if (json_is_number(v))
			table_cell(t, "%.*f", c->kind == COLUMN_SHARE ? 3 : 1, json_number_value(v));
		else
			table_cell(t, "-");
		return;
	case COLUMN_CLOCK:
		if (json_is_number(v))
			clock_text((long long)json_number_value(v), when, sizeof(when));
		table_cell(t, "%s", json_is_number(v) ? when : "-");
		return;
	case COLUMN_COUNT:
		table_cell(t, "%zu", json_is_array(v) ? json_array_size(v) : json_object_size(v));
		return;
	case COLUMN_YES:
		table_cell(t, "%s", json_is_true(v) ? "yes" : "no");
		return;
	case COLUMN_TEXT:
		table_cell(t, "%s", json_is_string(v) ? json_string_value(v) : json_is_array(v) ? joined(v) : "");
		return;
	}
}

void print_list(json_t *list, const struct ctl_column *columns)
{
	const char *headings[COLUMNS];
	unsigned int n, k;
	struct table *t;
	json_t *row;
	size_t i;

	for (n = 0; n < COLUMNS && columns[n].heading; n++)
		headings[n] = columns[n].heading;
	t = table_of(headings, n);
	json_array_foreach(list, i, row)
		for (k = 0; k < n; k++)
			cell(t, &columns[k], row);
	table_print(t);
}

int show_list(const struct ctl *c, const char *path, const char *key, unsigned int most, const struct ctl_column *columns)
{
	json_t *answer;
	int ret = ctl_get_list(c, path, key, most, &answer);

	if (ret)
		return ctl_end(ret);
	print_list(json_object_get(answer, key), columns);
	json_decref(answer);
	return CTL_OK;
}

/* got - the answer, if ret is CTL_OK: printed now if that is as JSON */
static int got(const struct ctl *c, int ret, json_t **answer)
{
	if (ret || !c->json)
		return ret;
	out_json(*answer);
	return -1;
}

int ctl_get(const struct ctl *c, const char *path, json_t **answer)
{
	int ret = ctl_call(c, "GET", path, NULL, answer);

	return got(c, ret, answer);
}

int ctl_get_list(const struct ctl *c, const char *path, const char *key, unsigned int most, json_t **answer)
{
	int ret = ctl_list(c, path, key, most, answer);

	return got(c, ret, answer);
}

int ctl_end(int ret)
{
	return ret > 0 ? ret : CTL_OK;
}
