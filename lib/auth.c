// SPDX-License-Identifier: GPL-2.0
/*
 * Identities, roles and rights. Nothing here decides about a request: the HTTP
 * server does (http_request.c), for all routes of all daemons alike.
 */
#include "auth.h"
#include "http.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SELF	RIGHT_BIT(RIGHT_ANY)
#define METRICS	(SELF | RIGHT_BIT(RIGHT_METRICS))
#define READ	(METRICS | RIGHT_BIT(RIGHT_READ))
#define OPERATE	(READ | RIGHT_BIT(RIGHT_OPERATE))

struct auth_grant {
	char id[AUTH_ID_SIZE];		/* "cert:*": any verified certificate */
	const char *key;		/* the list it stands in */
	enum right role;
};

static const struct {
	const char *name, *may;
	rights_t rights;
	bool assignable;	/* to people and programs, by name */
	bool anybody;		/* may be given to "*" */
} roles[__RIGHTS] = {
	[RIGHT_UNSET] = { "unset" },
	[RIGHT_ANY] = { "any", "see that it lives", SELF },
	[RIGHT_METRICS] = { "metrics", "read metrics", METRICS, true, true },
	[RIGHT_AGENT] = { "agent", "report", SELF | RIGHT_BIT(RIGHT_AGENT), true, true },
	[RIGHT_READ] = { "read", "read everything but secrets", READ, true, true },
	[RIGHT_OPERATE] = { "operate", "read, and change VIPs and moves", OPERATE, true },
	[RIGHT_COMMAND] = { "command", "read, and change what the agent does",
			    READ | RIGHT_BIT(RIGHT_COMMAND) | RIGHT_BIT(RIGHT_ADMIN) },
	[RIGHT_ADMIN] = { "admin", "do everything that people may", OPERATE | RIGHT_BIT(RIGHT_AGENT) | RIGHT_BIT(RIGHT_ADMIN), true },
	[RIGHT_PART] = { "part", "do everything", RIGHTS_ALL },
};

const char *right_name(enum right right)
{
	return roles[right].name;
}

int right_parse(const char *name, enum right *right)
{
	enum right r;

	for (r = RIGHT_ANY; r < __RIGHTS; r++)
		if (roles[r].assignable && !strcmp(roles[r].name, name)) {
			*right = r;
			return 0;
		}
	return -EINVAL;
}

rights_t auth_role_rights(enum right role)
{
	return roles[role].rights;
}

const char *auth_role_of(rights_t rights)
{
	enum right r;

	/* an agent's controllers have admin too: their role has the other name */
	if (rights == roles[RIGHT_COMMAND].rights)
		return roles[RIGHT_COMMAND].name;
	for (r = RIGHT_PART; r > RIGHT_ANY; r--)
		if (rights & RIGHT_BIT(r))
			return roles[r].name;
	return "no role";
}

const char *auth_name(const char *id)
{
	return !strncmp(id, "cert:", 5) ? id + 5 : !strncmp(id, "token:", 6) ? id + 6 : NULL;
}

bool auth_is_name(const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@-");

	return len && len < 128 && !name[len] && name[0] != '-' && name[0] != '.';
}

/* id_parse - one word of a list, in its one form */
static int id_parse(const char *word, char id[AUTH_ID_SIZE])
{
	const char *name = strchr(word, ':');
	unsigned long uid;
	char *end;

	if (!strcmp(word, "*") || !strcmp(word, "cert:*")) {
		strcpy(id, "cert:*");
		return 0;
	}
	if (!name || !strncmp(word, "cert:", 5)) {
		name = name ? name + 1 : word;
		if (!auth_is_name(name))
			return -EINVAL;
		snprintf(id, AUTH_ID_SIZE, "cert:%s", name);
		return 0;
	}
	if (strncmp(word, "uid:", 4))
		return -EINVAL;
	errno = 0;
	uid = strtoul(word + 4, &end, 10);
	/* (uid_t)-1 is the kernel's "nobody at all" */
	if (errno || word[4] < '0' || word[4] > '9' || *end || uid >= UINT32_MAX)
		return -EINVAL;
	snprintf(id, AUTH_ID_SIZE, "uid:%lu", uid);
	return 0;
}

int auth_grant(struct auth *auth, enum right role, const char *key, const char *list, struct err *e)
{
	char *copy, *at, *word;
	struct auth_grant *more, *g;
	int ret = 0;

	if (!list)
		return 0;
	copy = at = strdup(list);
	if (!copy)
		return err_set(e, -ENOMEM, "no memory");
	while (!ret && (word = strsep(&at, ", \t"))) {
		if (!*word)
			continue;
		more = realloc(auth->grants, (auth->n_grants + 1) * sizeof(*more));
		if (!more) {
			ret = err_set(e, -ENOMEM, "no memory");
			break;
		}
		auth->grants = more;
		g = &more[auth->n_grants];
		g->key = key;
		g->role = role;
		if (id_parse(word, g->id))
			ret = err_set(e, -EINVAL, "%s: \"%.140s\" is no identity: cert:NAME, NAME alone for the same, uid:NUMBER, or * "
				      "for any certificate", key, word);
		else if (!strcmp(g->id, "cert:*") && !roles[role].anybody)
			ret = err_set(e, -EINVAL, "%s: * would let every certificate of the CA %s: name them", key, roles[role].may);
		else
			auth->n_grants++;
	}
	free(copy);
	return ret;
}

bool auth_granted(const struct auth *auth, enum right role)
{
	unsigned int i;

	for (i = 0; i < auth->n_grants; i++)
		if (auth->grants[i].role == role)
			return true;
	return false;
}

void auth_free(struct auth *auth)
{
	free(auth->grants);
	auth->grants = NULL;
	auth->n_grants = 0;
}

rights_t auth_rights(const struct auth *auth, const char *id)
{
	rights_t rights = RIGHT_BIT(RIGHT_ANY);
	unsigned int i;

	if (auth->open || !strcmp(id, "self:") || !strcmp(id, "uid:0"))
		return RIGHTS_ALL;
	for (i = 0; i < auth->n_grants; i++) {
		const struct auth_grant *g = &auth->grants[i];

		if (!strcmp(g->id, id) || (!strcmp(g->id, "cert:*") && !strncmp(id, "cert:", 5)))
			rights |= roles[g->role].rights;
	}
	return rights;
}

void auth_print(const struct auth *auth, const struct http_conf *http)
{
	unsigned int i;

	if (auth->open) {
		printf("  everybody who can connect may do everything%s\n",
		       http->listen.port ? ": whoever reaches the port, without a name (insecure = yes)" : "");
		return;
	}
	for (i = 0; i < auth->n_grants; i++)
		printf("  %s may %s (%s)\n", strcmp(auth->grants[i].id, "cert:*") ? auth->grants[i].id : "any certificate of tls-ca",
		       roles[auth->grants[i].role].may, auth->grants[i].key);
	if (auth->bearer)
		printf("  token:NAME may what its role says (PUT /v1/tokens/NAME)\n");
	if (http->listen.path[0])
		printf("  uid:0 may do everything (by %s)\n", http->listen.path);
}

int auth_of_agent(const struct auth_conf *conf, const struct http_conf *http, struct auth *auth, struct err *e)
{
	const char *given = conf->controllers ? "controllers" : conf->readers ? "readers" : conf->metrics ? "metrics" : NULL;
	int ret;

	memset(auth, 0, sizeof(*auth));
	if (http->insecure && http->listen.port) {
		/* only certificates have names over TCP */
		if (given)
			return err_set(e, -EINVAL, "%s = ... and insecure = yes: plain HTTP has no names, so the list would refuse "
				       "nobody; give tls-cert, tls-key and tls-ca", given);
		auth->open = true;
		return 0;
	}
	ret = auth_grant(auth, RIGHT_COMMAND, "controllers", conf->controllers, e);
	if (!ret)
		ret = auth_grant(auth, RIGHT_READ, "readers", conf->readers, e);
	if (!ret)
		ret = auth_grant(auth, RIGHT_METRICS, "metrics", conf->metrics, e);
	if (!ret && http->listen.port && !auth_granted(auth, RIGHT_COMMAND))
		ret = err_set(e, -EINVAL, "listen on TCP needs controllers = cert:NAME, ...: the names in the certificates of the controllers "
			      "that may command this agent");
	if (ret)
		auth_free(auth);
	return ret;
}
