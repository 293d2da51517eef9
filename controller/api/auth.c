// SPDX-License-Identifier: GPL-2.0
/*
 * Who asks and what they may: by token (kept as a hash), by the name in the
 * client's certificate, or as another part of the controller. With auth = none,
 * which is for a controller on a closed network or a unix socket, everybody
 * may everything.
 */
#include <errno.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "../updater/priv.h"
#include "gate.h"

static const char *const names[] = {
	[RIGHT_NONE] = "none",	     [RIGHT_AGENT] = "agent", [RIGHT_READ] = "read",
	[RIGHT_OPERATE] = "operate", [RIGHT_ADMIN] = "admin", [RIGHT_PART] = "part",
};

const char *right_name(enum right right)
{
	return names[right];
}

int right_parse(const char *name, enum right *right)
{
	enum right r;

	for (r = RIGHT_AGENT; r <= RIGHT_ADMIN; r++)
		if (!strcmp(names[r], name)) {
			*right = r;
			return 0;
		}
	return -EINVAL;
}

void auth_hash(const char *token, char hex[65])
{
	unsigned char hash[32];
	unsigned int i;

	gnutls_hash_fast(GNUTLS_DIG_SHA256, token, strlen(token), hash);
	for (i = 0; i < sizeof(hash); i++)
		snprintf(hex + 2 * i, 3, "%02x", hash[i]);
}

/* auth_start - the secret that parts know each other by: one process needs none but its own */
int auth_start(struct controller *ctl, struct err *e)
{
	unsigned char random[24];
	unsigned int i;
	FILE *f;

	if (strcmp(ctl->conf.auth, "none") && strcmp(ctl->conf.auth, "required"))
		return err_set(e, -EINVAL, "[controller] auth = %s: must be none or required", ctl->conf.auth);
	if (ctl->conf.part_secret) {
		f = fopen(ctl->conf.part_secret, "re");
		if (!f || fscanf(f, "%127s", ctl->secret) != 1 || strlen(ctl->secret) < 16) {
			if (f)
				fclose(f);
			return err_set(e, -EINVAL, "[controller] part_secret = %s: %s", ctl->conf.part_secret,
				       f ? "its first word must have at least 16 characters" : strerror(errno));
		}
		fclose(f);
		return 0;
	}
	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return err_set(e, -errno, "no random numbers");
	for (i = 0; i < sizeof(random); i++)
		snprintf(ctl->secret + 2 * i, 3, "%02x", random[i]);
	return 0;
}

static const char *bearer(struct http_request *req)
{
	const char *text = http_header(req, "Authorization");

	return text && !strncasecmp(text, "Bearer ", 7) ? text + 7 : NULL;
}

/* same - in a time that does not depend on where they differ */
static bool same(const char *a, const char *b)
{
	size_t i, n = strlen(a);
	unsigned char diff = n != strlen(b);

	for (i = 0; !diff && i < n; i++)
		diff |= a[i] ^ b[i];
	return !diff;
}

static enum right by_token(struct controller *ctl, const char *token, char *who, size_t size)
{
	json_t *tokens = ctl->updater ? ctl->updater->tokens : NULL, *t;
	enum right right;
	const char *name;
	char hex[65];

	auth_hash(token, hex);
	json_object_foreach(tokens, name, t)
		if (same(get_str(t, "sha256", ""), hex) && !right_parse(get_str(t, "role", ""), &right)) {
			snprintf(who, size, "%s", name);
			return right;
		}
	return RIGHT_NONE;
}

/* listed - is the name in a list "alice, bob", or the list "*" */
static bool listed(const char *list, const char *name)
{
	size_t len = strlen(name), n;

	for (; list && *list; list += n) {
		list += strspn(list, ", ");
		n = strcspn(list, ", ");
		if ((n == 1 && *list == '*') || (n == len && !strncmp(list, name, n)))
			return true;
	}
	return false;
}

enum right auth_right(struct controller *ctl, struct http_request *req, char *who, size_t size)
{
	const char *token = bearer(req), *as;
	char text[ADDR_STRLEN];
	enum right right;
	const char *peer;

	peer = http_peer_name(req);
	snprintf(who, size, "%s", peer);
	if (http_is_local(req))
		return RIGHT_PART;
	if (token && same(token, ctl->secret)) {
		as = http_header(req, "X-Duet-As");	/* carried from a standby, which has looked already */
		if (!as)
			return RIGHT_PART;
		snprintf(who, size, "%s", strchr(as, ' ') ? strchr(as, ' ') + 1 : "?");
		text[0] = 0;
		sscanf(as, "%15s", text);
		return right_parse(text, &right) ? RIGHT_NONE : right;
	}
	if (token)
		right = by_token(ctl, token, who, size);
	else if (listed(ctl->conf.admins, peer))
		right = RIGHT_ADMIN;
	else if (listed(ctl->conf.operators, peer))
		right = RIGHT_OPERATE;
	else if (listed(ctl->conf.readers, peer))
		right = RIGHT_READ;
	else
		right = listed(ctl->conf.agents, peer) ? RIGHT_AGENT : RIGHT_NONE;
	return strcmp(ctl->conf.auth, "none") ? right : RIGHT_PART;
}

int part_call(struct controller *ctl, enum role part, const char *method, const char *target, json_t *body,
	      unsigned int timeout_ms, void (*done)(const struct http_result *result, void *ctx), void *ctx)
{
	const char *at = part == ROLE_MONITOR ? ctl->monitor_url : part == ROLE_ENGINE ? ctl->engine_url : ctl->updater_url;
	char *text, header[192], url[600];
	const char *const headers[] = { header, NULL };
	struct http_call *call = NULL;

	if (ctl->own_parts & part)
		return http_local(ctl->server, method, target, body, done, ctx);
	text = body ? json_dumps(body, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(HTTP_DIGITS)) : NULL;
	snprintf(url, sizeof(url), "%s%s", at, target);
	snprintf(header, sizeof(header), "Authorization: Bearer %s", ctl->secret);
	if (!body || text)
		call = http_call_text(ctl->client, method, url, text, headers, timeout_ms, done, ctx);
	json_decref(body);
	free(text);
	return call ? 0 : -ENOMEM;
}
