// SPDX-License-Identifier: GPL-2.0
/*
 * Configuration files: libinih reads, a table says what may be there. A file
 * is taken whole or refused with the first thing wrong in it.
 */
#include "conf.h"

#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void err_say(struct err *e, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return;
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
}

struct reader {
	const struct conf_key *keys;
	size_t n;
	void *out;
	struct err refusal;
	bool *seen;
	int error;
};

/* listen_parse - one of each kind at most; both may be there */
static int listen_parse(const char *value, struct conf_listen *out)
{
	struct conf_listen l = {};
	char *copy = strdup(value), *at = copy, *word;
	int ret = copy ? 0 : -ENOMEM;

	while (!ret && (word = strsep(&at, " \t"))) {
		size_t len = strlen(word);

		if (!len)
			continue;
		if (!strncmp(word, "unix:/", 6)) {
			if (l.path[0] || len - 5 >= sizeof(l.path) || strcmp(word + len - 5, ".sock"))
				ret = -EINVAL;
			else
				strcpy(l.path, word + 5);
		} else {
			ret = l.port ? -EINVAL : addr_port_parse(word, &l.addr, &l.port);
		}
	}
	if (!ret && !l.port && !l.path[0])
		ret = -EINVAL;
	if (!ret)
		*out = l;
	free(copy);
	return ret;
}

/* set - value into the caller's struct; returns 0, -EINVAL or -ENOMEM */
static int set(const struct conf_key *k, const char *value, void *out)
{
	void *p = (char *)out + k->offset;
	unsigned long n;
	char *end;

	switch (k->type) {
	case CONF_STR:
		free(*(char **)p);
		*(char **)p = strdup(value);
		return *(char **)p ? 0 : -ENOMEM;
	case CONF_UINT:
		errno = 0;
		n = strtoul(value, &end, 0);
		if (errno || end == value || *end || value[0] == '-' ||
		    n < k->min || n > (k->max ? k->max : UINT32_MAX))
			return -EINVAL;
		*(unsigned int *)p = n;
		return 0;
	case CONF_BOOL:
		if (!strcmp(value, "yes") || !strcmp(value, "true"))
			*(bool *)p = true;
		else if (!strcmp(value, "no") || !strcmp(value, "false"))
			*(bool *)p = false;
		else
			return -EINVAL;
		return 0;
	case CONF_ADDR:
		return addr_parse(value, p);
	case CONF_PREFIX:
		return prefix_parse(value, p);
	case CONF_ADDR_PORT:
		return listen_parse(value, p);
	}
	return -EINVAL;
}

static const char *wants(const struct conf_key *k, char *buf, size_t size)
{
	switch (k->type) {
	case CONF_UINT:
		snprintf(buf, size, "a number from %u to %u", k->min,
			 k->max ? k->max : UINT32_MAX);
		return buf;
	case CONF_BOOL:
		return "yes or no";
	case CONF_ADDR:
		return "an IPv4 or IPv6 address";
	case CONF_PREFIX:
		return "a prefix such as 203.0.113.0/24 with no host bits";
	case CONF_ADDR_PORT:
		return "ADDRESS:PORT, unix:/PATH.sock or both";
	default:
		return "text";
	}
}

/* The line is not known here: inih returns it in the end, for the first refusal. */
static int refuse(struct reader *r, int error, const char *why,
		  const char *section, const char *key, const char *value)
{
	r->error = err_set(&r->refusal, error, "[%s] %s = %s: %s", section, key,
			   value, why);
	return 0;
}

static int handle(void *user, const char *section, const char *name,
		  const char *value)
{
	struct reader *r = user;
	char buf[96], why[128];
	size_t i;
	int ret;

	if (r->error)
		return 0;
	for (i = 0; i < r->n; i++)
		if (!strcmp(r->keys[i].section, section) &&
		    !strcmp(r->keys[i].key, name))
			break;
	if (i == r->n)
		return refuse(r, -EINVAL, "no such key", section, name, value);
	if (r->seen[i])
		return refuse(r, -EINVAL, "given twice", section, name, value);
	r->seen[i] = true;
	ret = set(&r->keys[i], value, r->out);
	if (ret == -ENOMEM)
		return refuse(r, ret, "out of memory", section, name, value);
	if (ret) {
		snprintf(why, sizeof(why), "must be %s",
			 wants(&r->keys[i], buf, sizeof(buf)));
		return refuse(r, -EINVAL, why, section, name, value);
	}
	return 1;
}

int conf_read(const char *file, const struct conf_key *keys, size_t n,
	      void *out, struct err *e)
{
	struct reader r = { .keys = keys, .n = n, .out = out };
	size_t i;
	int ret;

	r.seen = calloc(n, sizeof(*r.seen));
	if (!r.seen)
		return err_set(e, -ENOMEM, "%s: out of memory", file);

	ret = ini_parse(file, handle, &r);
	if (r.error) {
		ret = err_set(e, r.error, "%s:%d: %s", file, ret, r.refusal.text);
		goto err_free;
	}
	if (ret == -1) {
		ret = err_set(e, -errno, "%s: %s", file, strerror(errno));
		goto err_free;
	}
	if (ret) {
		ret = err_set(e, -EINVAL, "%s:%d: neither [section] nor key = value",
			      file, ret);
		goto err_free;
	}
	for (i = 0; i < n; i++) {
		if (r.seen[i])
			continue;
		if (keys[i].required) {
			ret = err_set(e, -EINVAL, "%s: [%s] %s is missing", file,
				      keys[i].section, keys[i].key);
			goto err_free;
		}
		if (keys[i].fallback && set(&keys[i], keys[i].fallback, out)) {
			ret = err_set(e, -ENOMEM, "%s: out of memory", file);
			goto err_free;
		}
	}
	free(r.seen);
	return 0;

err_free:
	conf_free(keys, n, out);
	free(r.seen);
	return ret;
}

void conf_free(const struct conf_key *keys, size_t n, void *out)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (keys[i].type == CONF_STR) {
			char **p = (char **)((char *)out + keys[i].offset);

			free(*p);
			*p = NULL;
		}
	}
}
