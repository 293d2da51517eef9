// SPDX-License-Identifier: GPL-2.0
/* The host's own configuration: read whole, or refused with a sentence that names file, key and value. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"

#define CONF(section, key, type, member, ...) \
	{ section, key, type, offsetof(struct conf, member), __VA_ARGS__ }

static const struct conf_key conf_keys[] = {
	CONF("agent", "name", CONF_STR, name, .required = true),
	HTTP_CONF_KEYS("agent", struct conf, http),
	AUTH_CONF_KEYS("agent", struct conf, lists),
	CONF("agent", "controller", CONF_STR, controller_text, .required = true),
	CONF("agent", "state_dir", CONF_STR, state_dir, .required = false),
	CONF("agent", "user", CONF_STR, user, .required = false),
	CONF("host", "interface", CONF_STR, interface, .required = true),
	CONF("host", "address", CONF_ADDR, address, .required = true),
	CONF("host", "pin", CONF_STR, pin, .required = false),
	CONF("host", "attach", CONF_STR, attach_text, .fallback = "auto"),
	CONF("host", "mtu", CONF_UINT, mtu, .max = 65535, .fallback = "0"),
	CONF("host", "meter", CONF_BOOL, meter, .fallback = "yes"),
	CONF("host", "manage_sysctl", CONF_BOOL, manage_sysctl, .fallback = "no"),
	CONF("host", "mux-prefixes", CONF_STR, mux_prefixes_text, .required = false),
	CONF("host", "client-prefixes", CONF_STR, client_prefixes_text, .required = false),
	CONF("host", "vip-prefixes", CONF_STR, vip_prefixes_text, .required = false),
	CONF("checks", "command-dir", CONF_STR, check_dir, .required = false),
	CONF("checks", "user", CONF_STR, check_user, .fallback = "nobody"),
};
#define CONF_KEYS (sizeof(conf_keys) / sizeof(*conf_keys))

/* read_prefixes - a list, with blanks or commas between; key: its name, in [host] */
static int read_prefixes(const char *key, const char *text, struct prefix list[HOST_PREFIXES], unsigned int *n, struct err *e)
{
	char one[ADDR_STRLEN + 4];
	size_t len;

	for (*n = 0; text && *(text += strspn(text, " ,\t")); text += len) {
		len = strcspn(text, " ,\t");
		if (*n == HOST_PREFIXES)
			return err_set(e, -E2BIG, "[host] %s: more than %u prefixes", key, HOST_PREFIXES);
		snprintf(one, sizeof(one), "%.*s", (int)len, text);
		if (len >= sizeof(one) || prefix_parse(one, &list[(*n)++]))
			return err_set(e, -EINVAL, "[host] %s: \"%.*s\" is no prefix such as 192.0.2.0/24 with no host bits", key, (int)len, text);
	}
	return text && !*n ? err_set(e, -EINVAL, "[host] %s: the list is empty", key) : 0;
}

/* check_controller - the last URL of the list */
static int check_controller(const struct conf *conf, struct err *e)
{
	const char *url = conf->controllers[conf->n_controllers - 1], *rest = strstr(url, ":/");
	unsigned int i;

	if (!http_url_is(url) || strpbrk(rest + 2, ";|\"'<>@?#") || strstr(rest + 2, ":/"))
		return err_set(e, -EINVAL, "\"%s\" must be https://ADDRESS:PORT (or http://, or unix:/PATH.sock); several have blanks or commas between",
			       url);
	if (http_url_is_tls(url) && !conf->http.tls.ca)
		return err_set(e, -EINVAL, "https:// needs tls-cert, tls-key and tls-ca: no other CA is trusted");
	for (i = 0; i + 1 < conf->n_controllers; i++)
		if (!strcmp(conf->controllers[i], url))
			return err_set(e, -EINVAL, "\"%s\" is given twice", url);
	return 0;
}

/* read_controllers - a list, with blanks or commas between */
static int read_controllers(struct conf *conf, struct err *e)
{
	const char *text = conf->controller_text;
	size_t len;
	char *url;
	int ret;

	for (conf->n_controllers = 0; *(text += strspn(text, " ,\t")); text += len) {
		len = strcspn(text, " ,\t");
		if (conf->n_controllers == HOST_CONTROLLERS)
			return err_set(e, -E2BIG, "more than %u controllers", HOST_CONTROLLERS);
		url = conf->controllers[conf->n_controllers];
		if (len >= sizeof(conf->controllers[0]))
			return err_set(e, -EINVAL, "a URL is longer than %zu characters", sizeof(conf->controllers[0]) - 1);
		snprintf(url, sizeof(conf->controllers[0]), "%.*s", (int)len, text);
		while (*url && url[strlen(url) - 1] == '/')
			url[strlen(url) - 1] = 0;
		conf->n_controllers++;
		ret = check_controller(conf, e);
		if (ret)
			return ret;
	}
	return conf->n_controllers ? 0 : err_set(e, -EINVAL, "the list is empty");
}

int config_read(const char *file, struct conf *conf, struct err *e)
{
	int ret = conf_read(file, conf_keys, CONF_KEYS, conf, e);
	struct command_policy policy;
	struct err why;

	if (ret)
		return ret;
	ret = http_conf_check(&conf->http, &why);
	if (!ret)
		ret = auth_of_agent(&conf->lists, &conf->http, &conf->auth, &why);
	if (ret) {
		err_set(e, ret, "%s: [agent] %s", file, why.text);
		goto err_free;
	}
	ret = read_controllers(conf, &why);
	if (ret) {
		err_set(e, ret, "%s: [agent] controller = %s: %s", file, conf->controller_text, why.text);
		goto err_free;
	}
	if (!conf->name[0] || strchr(conf->name, '/')) {
		ret = err_set(e, -EINVAL, "%s: [agent] name = %s: must be a name without /", file, conf->name);
		goto err_free;
	}
	if (!strcmp(conf->attach_text, "xdp")) {
		conf->attach = ATTACH_XDP;
	} else if (!strcmp(conf->attach_text, "tc")) {
		conf->attach = ATTACH_TC;
	} else if (strcmp(conf->attach_text, "auto")) {
		ret = err_set(e, -EINVAL, "%s: [host] attach = %s: must be auto, xdp or tc", file, conf->attach_text);
		goto err_free;
	}
	ret = read_prefixes("mux-prefixes", conf->mux_prefixes_text, conf->mux_prefixes, &conf->n_mux_prefixes, &why);
	if (!ret)
		ret = read_prefixes("client-prefixes", conf->client_prefixes_text, conf->client_prefixes, &conf->n_client_prefixes, &why);
	if (!ret)
		ret = read_prefixes("vip-prefixes", conf->vip_prefixes_text, conf->vip_prefixes, &conf->n_vip_prefixes, &why);
	if (!ret)
		ret = confine_user(conf, &why);
	if (ret) {
		err_set(e, ret, "%s: %s", file, why.text);
		goto err_free;
	}
	if (conf->check_dir && conf->check_dir[0] != '/') {
		ret = err_set(e, -EINVAL, "%s: [checks] command-dir = %s: must be an absolute path", file, conf->check_dir);
		goto err_free;
	}
	ret = conf->check_dir ? commands_policy(conf, &policy, &why) : 0;
	if (ret) {
		err_set(e, ret, "%s: %s", file, why.text);
		goto err_free;
	}
	if (conf->pin && conf->pin[0] != '/') {
		ret = err_set(e, -EINVAL, "%s: [host] pin = %s: must be an absolute path", file, conf->pin);
		goto err_free;
	}
	if (!conf->pin && asprintf(&conf->pin, "/sys/fs/bpf/duet-host/%s", conf->name) < 0) {
		conf->pin = NULL;
		ret = err_set(e, -ENOMEM, "no memory");
		goto err_free;
	}
	return 0;

err_free:
	config_free(conf);
	return ret;
}

void config_free(struct conf *conf)
{
	auth_free(&conf->auth);
	conf_free(conf_keys, CONF_KEYS, conf);
}
