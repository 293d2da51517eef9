// SPDX-License-Identifier: GPL-2.0
/* duetctl probe: does each DIP of a VIP answer each mux that carries it, now? */
#include "duetctl.h"

#include <stdio.h>
#include <string.h>

#include "out.h"

static bool answers(json_t *row)
{
	const char *said = text_of(row, "answered");

	return !strcmp(said, "syn-ack") || !strcmp(said, "echo");
}

/* wrong - is the answer other than the state of the DIP says? What operators and damping keep out may answer or not. */
static bool wrong(json_t *row)
{
	const char *state = text_of(row, "state");

	return answers(row) ? !strcmp(state, "down") : !strcmp(state, "up") || !strcmp(state, "unknown");
}

static void print_rows(json_t *rows)
{
	struct table *t = table_new("MUX", "RULE", "DIP", "STATE", "PROBE", "ANSWER", ">MS", "", NULL);
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row) {
		table_cell(t, "%s", text_of(row, "mux"));
		table_cell(t, "%lld", number_of(row, "rule") + 1);
		table_cell(t, "%s", text_of(row, "dip"));
		table_cell(t, "%s", text_of(row, "state"));
		if (json_object_get(row, "port"))
			table_cell(t, "%s/%lld", text_of(row, "proto"), number_of(row, "port"));
		else
			table_cell(t, "%s", text_of(row, "proto"));
		table_cell(t, "%s", text_of(row, "answered"));
		if (number_of(row, "ms"))
			table_cell(t, "%lld", number_of(row, "ms"));
		else
			table_cell(t, "-");
		table_cell(t, "%s", wrong(row) ? "not as its state" : "");
	}
	table_print(t);
}

CTL_COMMAND(show_probe)
{
	char path[512], format[520];
	json_t *answer, *list, *o;
	unsigned int bad = 0;
	size_t i;
	int ret;

	ctl_path(path, sizeof(path), "/v1/vips/%s/probe", args[0]);
	if (n > 1) {
		snprintf(format, sizeof(format), "%s?mux=%%s", path);
		ctl_path(path, sizeof(path), format, args[1]);
	}
	ret = ctl_call(c, "POST", path, NULL, &answer);
	if (ret)
		return ret;
	list = json_object_get(answer, "probes");
	json_array_foreach(list, i, o)
		bad += wrong(o);
	if (c->json)
		out_json(json_incref(answer));
	else
		print_rows(list);
	if (!c->json)
		json_array_foreach(json_object_get(answer, "left-out"), i, o)
			printf("not asked: %s %s: %s\n", *text_of(o, "mux") ? "mux" : *text_of(o, "rule") ? "rule" : "DIPs",
			       *text_of(o, "mux") ? text_of(o, "mux") : *text_of(o, "rule") ? text_of(o, "rule") : text_of(o, "dips"),
			       text_of(o, "why"));
	bad += !json_array_size(list);
	json_decref(answer);
	return bad ? CTL_REFUSED : CTL_OK;
}
