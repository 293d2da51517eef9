// SPDX-License-Identifier: GPL-2.0
/*
 * Certificates: files, and whose the peer's is. Both ends present one of the
 * same CA; a peer without is refused in the handshake, before a byte of HTTP
 * is read.
 */
#include "http_priv.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PEM_MAX (1u << 20)

static int read_pem(const char *file, char **out, struct err *e)
{
	FILE *f = fopen(file, "re");
	size_t n;
	int ret;

	if (!f)
		return err_set(e, -errno, "%s: %s", file, strerror(errno));
	*out = malloc(PEM_MAX + 1);
	if (!*out) {
		fclose(f);
		return err_set(e, -ENOMEM, "%s: no memory", file);
	}
	n = fread(*out, 1, PEM_MAX + 1, f);
	ret = ferror(f) ? -EIO : n > PEM_MAX ? -EFBIG : 0;
	fclose(f);
	if (ret)
		return err_set(e, ret, "%s: %s", file, strerror(-ret));
	(*out)[n] = '\0';
	return 0;
}

void tls_files_free(struct tls_files *files)
{
	if (files->key)
		explicit_bzero(files->key, strlen(files->key));
	free(files->cert);
	free(files->key);
	free(files->ca);
	memset(files, 0, sizeof(*files));
}

static gnutls_datum_t datum(char *text)
{
	return (gnutls_datum_t){ .data = (void *)text, .size = strlen(text) };
}

/* check - do they parse, and is the key the certificate's */
static int check(const struct http_conf *conf, const struct tls_files *files, struct err *e)
{
	gnutls_datum_t cert = datum(files->cert), key = datum(files->key), ca = datum(files->ca);
	gnutls_certificate_credentials_t cred;
	int ret = gnutls_certificate_allocate_credentials(&cred), n;

	if (ret)
		return err_set(e, -ENOMEM, "TLS: %s", gnutls_strerror(ret));
	n = gnutls_certificate_set_x509_trust_mem(cred, &ca, GNUTLS_X509_FMT_PEM);
	if (n <= 0) {
		ret = err_set(e, -EINVAL, "tls-ca %s: no certificate in it", conf->ca);
		goto out;
	}
	ret = gnutls_certificate_set_x509_key_mem(cred, &cert, &key, GNUTLS_X509_FMT_PEM);
	if (ret)
		ret = err_set(e, -EINVAL, "tls-cert %s with tls-key %s: %s", conf->cert, conf->key, gnutls_strerror(ret));
out:
	gnutls_certificate_free_credentials(cred);
	return ret;
}

int tls_files_read(const struct http_conf *conf, struct tls_files *files, struct err *e)
{
	int ret;

	memset(files, 0, sizeof(*files));
	ret = read_pem(conf->cert, &files->cert, e);
	if (!ret)
		ret = read_pem(conf->key, &files->key, e);
	if (!ret)
		ret = read_pem(conf->ca, &files->ca, e);
	if (!ret)
		ret = check(conf, files, e);
	if (ret)
		tls_files_free(files);
	return ret;
}

int http_conf_check(const struct http_conf *conf, struct err *e)
{
	unsigned int n = !!conf->cert + !!conf->key + !!conf->ca;
	struct tls_files files;
	int ret;

	if (n && n < 3)
		return err_set(e, -EINVAL, "tls-cert, tls-key and tls-ca belong together, and %s is missing",
			       !conf->cert ? "tls-cert" : !conf->key ? "tls-key" : "tls-ca");
	if (n && conf->insecure)
		return err_set(e, -EINVAL, "insecure = yes, and certificates are given: one of the two");
	if (!n && conf->listen.port && !conf->insecure)
		return err_set(e, -EINVAL,
			       "listen on TCP needs tls-cert, tls-key and tls-ca (or insecure = yes: whoever reaches the port may change everything)");
	if (!n)
		return 0;
	ret = tls_files_read(conf, &files, e);
	if (!ret)
		tls_files_free(&files);
	return ret;
}

static gnutls_session_t session_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);

	return info ? info->tls_session : NULL;
}

/* name_of_cert - its common name, or else its first DNS name; *len without a final 0 */
static int name_of_cert(gnutls_x509_crt_t cert, char *name, size_t *len)
{
	size_t size = *len;
	int ret = gnutls_x509_crt_get_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name, len);
	unsigned int i;

	if (ret != GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
		return ret;
	for (i = 0; ret != GNUTLS_SAN_DNSNAME; i++) {
		*len = size;
		ret = gnutls_x509_crt_get_subject_alt_name(cert, i, name, len, NULL);
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* peer_name - of the certificate that was shown; -EACCES: it has none that can be one */
static int peer_name(gnutls_session_t session, char *name, size_t size)
{
	const gnutls_datum_t *list;
	gnutls_x509_crt_t cert;
	size_t len = size;
	unsigned int n;
	int ret;

	*name = '\0';
	list = gnutls_certificate_get_peers(session, &n);
	if (!list || !n || gnutls_x509_crt_init(&cert))
		return -EACCES;
	ret = gnutls_x509_crt_import(cert, &list[0], GNUTLS_X509_FMT_DER);
	if (!ret)
		ret = name_of_cert(cert, name, &len);
	gnutls_x509_crt_deinit(cert);
	/* with a 0 inside, the name that is compared would not be the one that was signed */
	return ret < 0 || len >= size || strlen(name) != len || !auth_is_name(name) ? -EACCES : 0;
}

/* peer_trouble - why the certificate isn't accepted, to stand after its name; NULL: it is. If it names purposes, to be a
 * client must be one: the certificate of a web server of the same CA is nobody's.
 */
static const char *peer_trouble(gnutls_session_t session)
{
	gnutls_typed_vdata_st purpose = { .type = GNUTLS_DT_KEY_PURPOSE_OID, .data = (void *)GNUTLS_KP_TLS_WWW_CLIENT };
	unsigned int status;

	if (gnutls_certificate_verify_peers(session, &purpose, 1, &status))
		return " can't be verified";
	if (!status)
		return NULL;
	if (status & GNUTLS_CERT_REVOKED)
		return " is revoked";
	if (status & GNUTLS_CERT_EXPIRED)
		return " expired";
	if (status & GNUTLS_CERT_NOT_ACTIVATED)
		return " is not valid yet";
	if (status & GNUTLS_CERT_PURPOSE_MISMATCH)
		return " is for another purpose than to be a client (clientAuth)";
	if (status & (GNUTLS_CERT_SIGNER_NOT_FOUND | GNUTLS_CERT_SIGNER_NOT_CA))
		return " is not signed by tls-ca";
	return " is not valid";
}

int tls_name(struct MHD_Connection *connection, char id[AUTH_ID_SIZE])
{
	gnutls_session_t session = session_of(connection);
	char name[AUTH_ID_SIZE - 5] = "";

	/* the handshake has seen to it; this is the lock behind the door */
	if (!session || peer_name(session, name, sizeof(name)) || peer_trouble(session))
		return -EACCES;
	snprintf(id, AUTH_ID_SIZE, "cert:%s", name);
	return 0;
}

/* peer_verify - in the handshake; 0: it goes on */
static int peer_verify(gnutls_session_t session)
{
	char name[AUTH_ID_SIZE - 5];
	int no_name = peer_name(session, name, sizeof(name));
	const char *why = peer_trouble(session);

	if (!no_name && !why)
		return 0;
	/* what a certificate that isn't ours calls itself is only shown if it is a name */
	refusal_log(no_name ? "a certificate without a name" : name, "a TLS client whose certificate %s%s%s", no_name ? "" : "of ",
		    no_name ? "has no common name or DNS name of letters, digits and ._@-" : name, why ?: "");
	return GNUTLS_E_CERTIFICATE_ERROR;
}

void tls_demand(struct MHD_Connection *connection)
{
	gnutls_session_t session = session_of(connection);

	if (!session)
		return;
	gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
	gnutls_session_set_verify_function(session, peer_verify);
}
