// SPDX-License-Identifier: GPL-2.0
/*
 * The controller's tokens and lists, for the authorisation in lib/auth.h. Tokens
 * are stored as hashes. Parts of the controller, and its standbys, know a secret.
 */
#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "../updater/priv.h"
#include "gate.h"

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

/* same - in a time that depends on neither */
static bool same(const char *a, const char *b)
{
	char hash_a[65], hash_b[65];

	auth_hash(a, hash_a);
	auth_hash(b, hash_b);
	return !gnutls_memcmp(hash_a, hash_b, sizeof(hash_a));
}

static rights_t by_token(struct controller *ctl, const char *token, char id[AUTH_ID_SIZE])
{
	json_t *tokens = ctl->updater ? ctl->updater->tokens : NULL, *t;
	const char *name, *hash;
	enum right right;
	char hex[65];

	auth_hash(token, hex);
	json_object_foreach(tokens, name, t) {
		hash = get_str(t, "sha256", "");
		if (strlen(hash) == 64 && !gnutls_memcmp(hash, hex, 64) && !right_parse(get_str(t, "role", ""), &right)) {
			snprintf(id, AUTH_ID_SIZE, "token:%s", name);
			return auth_role_rights(right);
		}
	}
	return 0;
}

/* auth_bearer - rights of a token, of a part, or of the peer whose request a standby relays */
static rights_t auth_bearer(struct http_request *req, const char *token, char id[AUTH_ID_SIZE], void *ctx)
{
	const char *as = http_header(req, "X-Duet-As"), *who = as ? strchr(as, ' ') : NULL;
	struct controller *ctl = ctx;
	enum right right;
	char role[16];

	if (!same(token, ctl->secret))
		/* tokens are the leader's to look up */
		return !ctl->updater && ctl->lead ? RIGHTS_DEFERRED : by_token(ctl, token, id);
	if (!as) {
		snprintf(id, AUTH_ID_SIZE, "part:");
		return RIGHTS_ALL;
	}
	if (!who || sscanf(as, "%15s", role) != 1 || right_parse(role, &right))
		return 0;
	snprintf(id, AUTH_ID_SIZE, "%s", who + 1);
	return auth_role_rights(right);
}

int auth_configure(struct controller *ctl, struct err *e)
{
	const struct config *c = &ctl->conf;
	const char *list = c->admins ? "admins" : c->operators ? "operators" : c->readers ? "readers" : c->agents ? "agents" :
			   c->metrics ? "metrics" : NULL;
	bool tcp = c->http.listen.port, none = !list && (c->http.insecure || !tcp);
	struct auth *auth = &ctl->auth;
	int ret;

	if (c->auth && strcmp(c->auth, "none") && strcmp(c->auth, "required"))
		return err_set(e, -EINVAL, "auth = %s: must be none or required", c->auth);
	if (c->auth)
		none = !strcmp(c->auth, "none");
	if (none && tcp && !c->http.insecure)
		return err_set(e, -EINVAL, "auth = none and listen on TCP: every certificate of the CA could change everything; leave auth "
			       "out and name admins, operators, readers and agents (or insecure = yes, without certificates, for a testbed)");
	if (none && list)
		return err_set(e, -EINVAL, "auth = none and %s = ...: lists count with auth = required only", list);
	if (!none && !c->part_secret && ctl->own_parts != ROLE_ALL)
		return err_set(e, -EINVAL, "part_secret is missing: with auth = required the parts in other processes know this one by it");
	auth->open = none;
	auth->bearer = auth_bearer;
	auth->resolve = relay_look_up;
	auth->bearer_ctx = ctl;
	ret = auth_grant(auth, RIGHT_ADMIN, "admins", c->admins, e);
	if (!ret)
		ret = auth_grant(auth, RIGHT_OPERATE, "operators", c->operators, e);
	if (!ret)
		ret = auth_grant(auth, RIGHT_READ, "readers", c->readers, e);
	if (!ret)
		ret = auth_grant(auth, RIGHT_METRICS, "metrics", c->metrics, e);
	if (!ret)
		ret = auth_grant(auth, RIGHT_AGENT, "agents", c->agents ?: "*", e);
	if (ret)
		auth_free(auth);
	return ret;
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
