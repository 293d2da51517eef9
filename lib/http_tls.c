// SPDX-License-Identifier: GPL-2.0
/*
 * The server's side of TLS: both ends present a certificate of the same CA; a
 * peer without one is refused in the handshake, before a byte of HTTP is read.
 */
#include "http_priv.h"

#include <errno.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

int http_conf_check(const struct http_conf *conf, struct err *e)
{
	const struct tls_conf *t = &conf->tls;
	unsigned int n = !!t->cert + !!t->key + !!t->ca;
	struct tls_set *set;
	int ret;

	if (n && n < 3)
		return err_set(e, -EINVAL, "tls-cert, tls-key and tls-ca belong together, and %s is missing",
			       !t->cert ? "tls-cert" : !t->key ? "tls-key" : "tls-ca");
	if (!n && t->crl)
		return err_set(e, -EINVAL, "tls-crl revokes certificates of tls-ca, and that is missing");
	if (n && conf->insecure)
		return err_set(e, -EINVAL, "insecure = yes, and certificates are given: one of the two");
	if (!n && conf->listen.port && !conf->insecure)
		return err_set(e, -EINVAL,
			       "listen on TCP needs tls-cert, tls-key and tls-ca (or insecure = yes: whoever reaches the port may change everything)");
	if (!n)
		return 0;
	ret = tls_set_load(t, "tls-", NULL, &set, e);
	if (!ret)
		tls_set_unref(set);
	return ret;
}

static gnutls_session_t session_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);

	return info ? info->tls_session : NULL;
}

/* goes_without - it has shown no certificate, and need not */
static bool goes_without(const struct http_conn *conn, gnutls_session_t session)
{
	unsigned int n = 0;

	return conn->listener->server->certificate_optional && (!gnutls_certificate_get_peers(session, &n) || !n);
}

const char *tls_no_more(struct http_conn *conn)
{
	struct tls_set *now = tls_now(conn->listener->server->tls);
	gnutls_session_t session;
	const char *why;

	if (!conn->set || conn->anonymous || (conn->set == now && time(NULL) < conn->until && !tls_set_crl_expired(now)))
		return NULL;
	session = session_of(conn->connection);
	why = session ? tls_peer_trouble(now, session, GNUTLS_KP_TLS_WWW_CLIENT) : " is missing";
	if (!why) {
		tls_set_unref(conn->set);
		conn->set = tls_set_ref(now);
	}
	return why;
}

int tls_name(struct http_conn *conn)
{
	gnutls_session_t session = session_of(conn->connection);
	char name[AUTH_ID_SIZE - 5] = "";

	/* it goes by its address, which no list can name */
	if (session && goes_without(conn, session)) {
		conn->anonymous = true;
		return 0;
	}
	/* the handshake has seen to it; this is the lock behind the door */
	if (!session || tls_peer_name(session, name, sizeof(name)) || tls_peer_trouble(conn->set, session, GNUTLS_KP_TLS_WWW_CLIENT))
		return -EACCES;
	conn->until = tls_peer_accepted_until(session);
	snprintf(conn->name, AUTH_ID_SIZE, "cert:%s", name);
	return 0;
}

/* peer_verify - in the handshake; 0: it goes on */
static int peer_verify(gnutls_session_t session)
{
	const struct http_conn *conn = gnutls_session_get_ptr(session);
	char name[AUTH_ID_SIZE - 5];
	const char *why;
	int no_name;

	if (goes_without(conn, session))
		return 0;
	no_name = tls_peer_name(session, name, sizeof(name));
	why = tls_peer_trouble(conn->set, session, GNUTLS_KP_TLS_WWW_CLIENT);
	if (!no_name && !why)
		return 0;
	/* what a certificate that isn't ours calls itself is only shown if it is a name */
	refusal_log(no_name ? "a certificate without a name" : name, "a TLS client whose certificate %s%s%s", no_name ? "" : "of ",
		    no_name ? "has no common name or DNS name of letters, digits and ._@-" : name, why ?: "");
	return GNUTLS_E_CERTIFICATE_ERROR;
}

void tls_demand(struct http_conn *conn)
{
	gnutls_session_t session = session_of(conn->connection);

	if (!session)
		return;
	/* libmicrohttpd's own are of the day it started */
	gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, tls_set_credentials(conn->set));
	gnutls_session_set_ptr(session, conn);
	gnutls_certificate_server_set_request(session, conn->listener->server->certificate_optional ? GNUTLS_CERT_REQUEST :
											     GNUTLS_CERT_REQUIRE);
	gnutls_session_set_verify_function(session, peer_verify);
}
