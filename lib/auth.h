/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who may do what, the same in every daemon. A route names the right it needs,
 * a configuration names the identities that have a role, and the HTTP server
 * compares the two before it reads a byte of the body.
 *
 * An identity is typed, and each type has one source:
 *
 *	cert:NAME	the verified client certificate's common name, or else its first DNS name
 *	uid:N		the user at the other end of a unix socket, from the kernel
 *	token:NAME	the bearer token that the controller stores under NAME
 *	an address	a peer on plain TCP, which has no identity: no list can name it
 *	self:		the program asks its own server
 *
 * So a certificate with the common name "uid:0" can't be mistaken for root.
 */
#ifndef DUET_LIB_AUTH_H
#define DUET_LIB_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include "conf.h"

#define AUTH_ID_SIZE	136	/* type, a name of at most 127 bytes, the final 0 */

/* A role is named by its highest right; which rights it includes is in auth.c. */
enum right {
	RIGHT_UNSET,	/* of a route: nobody thought of it, so it is never served */
	RIGHT_ANY,	/* everybody who can connect: liveness, the files of the web page */
	RIGHT_METRICS,
	RIGHT_AGENT,	/* reports of an agent; a reader is no agent */
	RIGHT_READ,
	RIGHT_OPERATE,
	RIGHT_COMMAND,	/* of an agent: to change what it does */
	RIGHT_ADMIN,
	RIGHT_PART,	/* between parts of the controller */
	__RIGHTS
};

typedef unsigned int rights_t;	/* set of RIGHT_BIT() */
#define RIGHT_BIT(right)	(1u << (right))
/* Who it is has to be asked elsewhere, before the body is read; only a route that is http_route.deferrable waits for that. */
#define RIGHTS_DEFERRED		(1u << 31)
#define RIGHTS_ALL		((RIGHT_BIT(__RIGHTS) - 1) & ~RIGHT_BIT(RIGHT_UNSET))

struct http_request;

/* auth_bearer_t - the rights of a bearer token, and its identity if it is known; 0: it is none */
typedef rights_t (*auth_bearer_t)(struct http_request *req, const char *token, char id[AUTH_ID_SIZE], void *ctx);

/* auth_resolve_t - has the token of a request looked up elsewhere whose rights are RIGHTS_DEFERRED; ends in
 * http_resolved(), or the request is answered, at once or later
 */
typedef void (*auth_resolve_t)(struct http_request *req, void *ctx);

struct auth {
	bool open;		/* everybody has every right: plain HTTP, or nobody to tell apart */
	auth_bearer_t bearer;	/* NULL: the server takes no tokens */
	auth_resolve_t resolve;	/* NULL: bearer never defers */
	void *bearer_ctx;	/* of both */
	struct auth_grant *grants;
	unsigned int n_grants;
};

/* auth_grant - role to each identity of list ("cert:alice, uid:998"); a bare NAME is cert:NAME, "*" is any verified
 * certificate, which no role that changes things accepts. key names the list in a refusal. list may be NULL.
 */
int auth_grant(struct auth *auth, enum right role, const char *key, const char *list, struct err *e);
/* auth_granted - does any list name anybody for role? */
bool auth_granted(const struct auth *auth, enum right role);
void auth_free(struct auth *auth);

/* auth_rights - of an identity; a unix socket's root and the program itself have every right */
rights_t auth_rights(const struct auth *auth, const char *id);
/* auth_role_rights - what a role includes */
rights_t auth_role_rights(enum right role);
/* auth_role_of - the name of the highest right in a set; "no role" if there is none above RIGHT_ANY */
const char *auth_role_of(rights_t rights);

const char *right_name(enum right right);
/* right_parse - of a role that people and programs can be given: agent, metrics, read, operate, admin */
int right_parse(const char *name, enum right *right);

/* auth_name - the NAME of a certificate or token; NULL: an identity of another type */
const char *auth_name(const char *id);
/* auth_is_name - can it be the NAME of an identity? Letters, digits and "._@-", at most 127 */
bool auth_is_name(const char *name);

/* auth_print - who may do what, a line for each, on stdout: for --check-config */
struct http_conf;
void auth_print(const struct auth *auth, const struct http_conf *http);

/* auth_of_agent - of the lists in an agent's section; refuses what can't work: TCP and nobody who may command,
 * lists where nobody can be told apart
 */
struct auth_conf {
	char *controllers, *readers, *metrics;
};
#define AUTH_CONF_KEYS(sec, into, m)	\
	{ .section = sec, .key = "controllers", .type = CONF_STR, .offset = offsetof(into, m.controllers) }, \
	{ .section = sec, .key = "readers", .type = CONF_STR, .offset = offsetof(into, m.readers) }, \
	{ .section = sec, .key = "metrics", .type = CONF_STR, .offset = offsetof(into, m.metrics) }
int auth_of_agent(const struct auth_conf *conf, const struct http_conf *http, struct auth *auth, struct err *e);

#endif
