// SPDX-License-Identifier: GPL-2.0
/*
 * Where the controller is and who we are to it. The keys are those of the
 * daemons (tls-cert, tls-key, tls-ca), and so is what is checked of them.
 */
#include "duetctl.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_DEFAULT "/etc/duet/duetctl.conf"
#define URL_DEFAULT  "http://127.0.0.1:8470"

#define KEY(k, m) { .section = "duetctl", .key = k, .type = CONF_STR, .offset = offsetof(struct ctl_conf, m) }

static const struct conf_key keys[] = {
	KEY("controller", url),	  KEY("tls-cert", cert),	 KEY("tls-key", key),
	KEY("tls-ca", ca),	  KEY("token-file", token_file), KEY("tls-crl", crl),
};
#define N_KEYS (sizeof(keys) / sizeof(*keys))

static const char *const variables[N_KEYS] = { "DUETCTL_URL", "DUETCTL_TLS_CERT", "DUETCTL_TLS_KEY", "DUETCTL_TLS_CA",
					       "DUETCTL_TOKEN_FILE", "DUETCTL_TLS_CRL" };

static struct ctl_conf conf;	/* what struct ctl's strings are of */
static char token[256];
static struct tls_conf files;
static struct tls *certificates;

static int failed(const char *sentence)
{
	fprintf(stderr, "duetctl: %s\n", sentence);
	return CTL_REFUSED;
}

/* read_file - what isn't there is not asked for, unless it was named */
static int read_file(struct err *e)
{
	const char *named = getenv("DUETCTL_CONF"), *file = named && *named ? named : FILE_DEFAULT;

	if (file != named && access(file, F_OK) && errno == ENOENT)
		return 0;
	return conf_read(file, keys, N_KEYS, &conf, e);
}

static int read_token(const char *file, struct err *e)
{
	FILE *f = fopen(file, "re");
	int n;

	if (!f)
		return err_set(e, -errno, "token-file %s: %s", file, strerror(errno));
	n = fscanf(f, "%255s", token);
	fclose(f);
	return n == 1 ? 0 : err_set(e, -EINVAL, "token-file %s: there is no token in it", file);
}

int ctl_conf(struct ctl *c, const struct ctl_conf *given)
{
	unsigned int i;
	struct err e;
	size_t len;

	if (read_file(&e))
		return failed(e.text);
	for (i = 0; i < N_KEYS; i++) {
		const char *option = *(char *const *)((const char *)given + keys[i].offset), *env = getenv(variables[i]);
		char **value = (char **)((char *)&conf + keys[i].offset);

		if (!option && env && *env)
			option = env;
		if (!option)
			continue;
		free(*value);
		*value = strdup(option);
	}
	if (!conf.url)
		conf.url = strdup(URL_DEFAULT);
	if (!conf.url)
		return failed("no memory");
	for (len = strlen(conf.url); len && conf.url[len - 1] == '/'; len--)
		conf.url[len - 1] = 0;
	if (!http_url_is(conf.url)) {
		fprintf(stderr, "duetctl: the controller's URL begins with http:// or https://, or is unix:/PATH.sock, not %s\n",
			conf.url);
		return CTL_USAGE;
	}
	c->url = conf.url;
	if (conf.token_file && read_token(conf.token_file, &e))
		return failed(e.text);
	if (http_url_is_tls(conf.url)) {
		files = (struct tls_conf){ .cert = conf.cert, .key = conf.key, .ca = conf.ca, .crl = conf.crl };
		if (!conf.cert && !conf.key && (!conf.ca || !*token))
			return failed("https needs --tls-ca, and --tls-cert with --tls-key or --token-file (or the same in " FILE_DEFAULT
				      "): the controller answers whom it knows by a certificate of its CA or a token");
		if (tls_open(&files, "tls-", &c->tls, &e))
			return failed(e.text);
		certificates = c->tls;
	}
	c->token = *token ? token : NULL;
	return CTL_OK;
}

void ctl_conf_end(void)
{
	tls_close(certificates);
	conf_free(keys, N_KEYS, &conf);
	explicit_bzero(token, sizeof(token));
}
