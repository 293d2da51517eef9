// SPDX-License-Identifier: GPL-2.0
#include "probe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fields.h"

const char *const check_type_names[__CHECK_TYPES] = {
	[CHECK_TCP] = "tcp", [CHECK_HTTP] = "http", [CHECK_HTTPS] = "https", [CHECK_ICMP] = "icmp", [CHECK_COMMAND] = "command",
};
const char *const check_state_names[3] = { "unknown", "up", "down" };

static int parse_initial(json_t *json, const char *where, struct probe_conf *conf, struct err *e)
{
	json_t *v = json_object_get(json, "initial");
	unsigned int i;

	if (!v)
		return 0;
	for (i = 0; i < 3; i++)
		if (!strcmp(json_string_value(v) ?: "", check_state_names[i])) {
			conf->initial = i;
			return 0;
		}
	return err_set(e, -EINVAL, "%s: \"initial\" is unknown, up or down", where);
}

static int parse_numbers(json_t *json, unsigned int port, const char *where, struct probe_conf *conf, struct err *e)
{
	if (field_uint(json, "port", 1, 65535, port, where, &conf->port, e) ||
	    field_uint(json, "expect", 100, 599, 200, where, &conf->expect, e) ||
	    field_uint(json, "interval_ms", 10, 3600000, 500, where, &conf->interval_ms, e) ||
	    field_uint(json, "timeout_ms", 1, 3600000, 300, where, &conf->timeout_ms, e) ||
	    field_uint(json, "rise", 1, 100, 2, where, &conf->rise, e))
		return -EINVAL;
	return field_uint(json, "fall", 1, 100, 2, where, &conf->fall, e);
}

static int parse_texts(json_t *json, const char *where, struct probe_conf *conf, struct err *e)
{
	snprintf(conf->path, sizeof(conf->path), "/");
	if (field_text(json, "path", where, conf->path, sizeof(conf->path), e) ||
	    field_text(json, "body", where, conf->body, sizeof(conf->body), e) ||
	    field_text(json, "host", where, conf->host, sizeof(conf->host), e) ||
	    field_text(json, "command", where, conf->command, sizeof(conf->command), e))
		return -EINVAL;
	if (conf->path[0] != '/' || strpbrk(conf->path, " \r\n\t") || strpbrk(conf->host, " \r\n\t"))
		return err_set(e, -EINVAL, "%s: the \"path\" of a check begins with /; path and host have no blanks", where);
	return 0;
}

int probe_command_name(const char *name, const char *where, struct err *e)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";

	if (!name[0] || name[0] == '.' || name[0] == '-' || strlen(name) >= PROBE_COMMAND || name[strspn(name, letters)])
		return err_set(e, -EINVAL, "%s: the \"command\" of a check is the name of a file in the host's folder of checks: up to %u letters, digits, \"-\", \"_\" and \".\", no path and no arguments",
			       where, PROBE_COMMAND - 1);
	return 0;
}

int probe_parse(json_t *json, unsigned int port, const char *where, struct probe_conf *conf, struct err *e)
{
	static const char *const members[] = { "rule", "type", "port", "path", "expect", "body", "host", "command",
					       "initial", "interval_ms", "timeout_ms", "rise", "fall", NULL };
	const char *type = json_string_value(json_object_get(json, "type"));
	unsigned int i;

	if (!json_is_object(json))
		return err_set(e, -EINVAL, "%s: a check is an object", where);
	if (fields_known(json, members, where, e))
		return -EINVAL;
	for (i = 0; i < __CHECK_TYPES && (!type || strcmp(type, check_type_names[i])); i++)
		;
	if (i == __CHECK_TYPES)
		return err_set(e, -EINVAL, "%s: the \"type\" of a check is tcp, http, https, icmp or command, not \"%.32s\"", where,
			       type ?: "");
	memset(conf, 0, sizeof(*conf));
	conf->type = i;
	if (parse_numbers(json, port, where, conf, e) || parse_texts(json, where, conf, e) || parse_initial(json, where, conf, e))
		return -EINVAL;
	if (conf->type != CHECK_ICMP && conf->type != CHECK_COMMAND && !conf->port)
		return err_set(e, -EINVAL, "%s: a %s check needs a \"port\"", where, type);
	if (conf->type == CHECK_COMMAND && !conf->command[0])
		return err_set(e, -EINVAL, "%s: a command check needs a \"command\"", where);
	return conf->command[0] ? probe_command_name(conf->command, where, e) : 0;
}
