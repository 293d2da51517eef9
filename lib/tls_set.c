// SPDX-License-Identifier: GPL-2.0
/*
 * A set of certificates: read, checked, and then never changed. It is held as
 * GnuTLS wants it for a server's handshakes, and as files in memory for
 * libcurl, which reads names of files at each new connection: what it reads is
 * what was checked, whatever becomes of the files meanwhile.
 */
#include "tls_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PEM_MAX (1u << 20)

enum { CERT, KEY, CA, CRL, FILES };

struct tls_set {
	unsigned int refs;
	gnutls_certificate_credentials_t cred;
	gnutls_x509_trust_list_t trust;	/* the CAs and revocation lists; freed with cred */
	int fd[CRL];			/* the files in memory; -1: none */
	char path[CRL][48];
	struct tls_expiry expiry[TLS_EXPIRIES];
};

static int read_pem(const char *key, const char *file, gnutls_datum_t *out, struct err *e)
{
	FILE *f = fopen(file, "re");
	size_t n;
	int ret;

	if (!f)
		return err_set(e, -errno, "%s %s: %s", key, file, strerror(errno));
	out->data = malloc(PEM_MAX + 1);
	if (!out->data) {
		fclose(f);
		return err_set(e, -ENOMEM, "%s %s: no memory", key, file);
	}
	n = fread(out->data, 1, PEM_MAX + 1, f);
	ret = ferror(f) ? -EIO : n > PEM_MAX ? -EFBIG : 0;
	fclose(f);
	if (ret)
		return err_set(e, ret, "%s %s: %s", key, file, strerror(-ret));
	out->data[n] = '\0';
	out->size = n;
	return 0;
}

/* memory_file - libcurl takes connections for alike whose files have the same names: no two sets share one */
static int memory_file(struct tls_set *set, unsigned int which, const gnutls_datum_t *text, unsigned int generation)
{
	int fd = memfd_create("tls", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	set->fd[which] = fd;
	if (fd < 0 || write(fd, text->data, text->size) != (ssize_t)text->size ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL))
		return -EIO;
	/* as many slashes as tell two neighbours apart that got the same number */
	snprintf(set->path[which], sizeof(set->path[which]), "/proc/self/fd%.*s%d", 1 + generation % 16, "////////////////", fd);
	return 0;
}

static void expiry_note(struct tls_set *set, enum tls_what what, int64_t at)
{
	struct tls_expiry *x = &set->expiry[what];

	if (!x->given || at < x->at)
		x->at = at;
	x->given = true;
}

/* ca_expiry_note - a CA that has expired beside one that hasn't is about to be replaced: it says nothing */
static void ca_expiry_note(struct tls_set *set, int64_t at)
{
	struct tls_expiry *x = &set->expiry[TLS_CA];
	int64_t now = time(NULL);

	if (!x->given || (at > now ? x->at <= now || at < x->at : x->at <= now && at > x->at))
		x->at = at;
	x->given = true;
}

/* add_pair - the certificate and its key */
static int add_pair(struct tls_set *set, const struct tls_source *src, const gnutls_datum_t pem[FILES], struct err *e)
{
	gnutls_x509_crt_t *list = NULL;
	unsigned int n = 0, i;
	int ret = gnutls_certificate_set_x509_key_mem(set->cred, &pem[CERT], &pem[KEY], GNUTLS_X509_FMT_PEM);

	if (ret)
		return err_set(e, -EINVAL, "%scert %s with %skey %s: %s", src->prefix, src->conf->cert, src->prefix, src->conf->key,
			       gnutls_strerror(ret));
	if (gnutls_x509_crt_list_import2(&list, &n, &pem[CERT], GNUTLS_X509_FMT_PEM, 0) < 0)
		return err_set(e, -EINVAL, "%scert %s: no certificate in it", src->prefix, src->conf->cert);
	for (i = 0; i < n; i++) {
		expiry_note(set, TLS_CERT, gnutls_x509_crt_get_expiration_time(list[i]));
		gnutls_x509_crt_deinit(list[i]);
	}
	gnutls_free(list);
	return 0;
}

/* crl_signed - by one of the CAs; that it is old is another matter */
static bool crl_signed(gnutls_x509_crl_t crl, gnutls_x509_crt_t *cas, unsigned int n)
{
	const unsigned int old = GNUTLS_CERT_REVOCATION_DATA_SUPERSEDED | GNUTLS_CERT_REVOCATION_DATA_ISSUED_IN_FUTURE;
	unsigned int why = 0;

	if (gnutls_x509_crl_verify(crl, cas, n, 0, &why))
		return false;
	return !why || ((why & old) && !(why & ~(old | GNUTLS_CERT_INVALID)));
}

/* add_crls - the trust list takes them over. cas: as they are before they are in that list, which frees duplicates. */
static int add_crls(struct tls_set *set, const struct tls_source *src, const gnutls_datum_t *pem, gnutls_x509_crt_t *cas,
		    unsigned int n_cas, struct err *e)
{
	gnutls_x509_crl_t *list = NULL;
	unsigned int n = 0, i;
	time_t until;
	int ret = 0;

	if (gnutls_x509_crl_list_import2(&list, &n, pem, GNUTLS_X509_FMT_PEM, 0) < 0 || !n)
		return err_set(e, -EINVAL, "%scrl %s: no revocation list in it", src->prefix, src->conf->crl);
	for (i = 0; i < n && !ret; i++) {
		if (!crl_signed(list[i], cas, n_cas))
			ret = err_set(e, -EINVAL, "%scrl %s: list %u was not signed by a CA of %sca %s", src->prefix, src->conf->crl, i + 1,
				      src->prefix, src->conf->ca);
		until = gnutls_x509_crl_get_next_update(list[i]);
		if (until != (time_t)-1)
			expiry_note(set, TLS_CRL, until);
	}
	if (!ret && gnutls_x509_trust_list_add_crls(set->trust, list, n, GNUTLS_TL_NO_DUPLICATES, 0) < 0)
		ret = err_set(e, -ENOMEM, "%scrl %s: no memory", src->prefix, src->conf->crl);
	for (i = 0; ret && i < n; i++)
		gnutls_x509_crl_deinit(list[i]);
	gnutls_free(list);
	return ret;
}

static int add_trust(struct tls_set *set, const struct tls_source *src, const gnutls_datum_t pem[FILES], struct err *e)
{
	gnutls_x509_crt_t *list = NULL;
	unsigned int n = 0, i;
	int ret = 0;

	if (gnutls_x509_crt_list_import2(&list, &n, &pem[CA], GNUTLS_X509_FMT_PEM, 0) < 0 || !n)
		return err_set(e, -EINVAL, "%sca %s: no certificate in it", src->prefix, src->conf->ca);
	for (i = 0; i < n; i++)
		ca_expiry_note(set, gnutls_x509_crt_get_expiration_time(list[i]));
	if (src->conf->crl)
		ret = add_crls(set, src, &pem[CRL], list, n, e);
	if (!ret && gnutls_x509_trust_list_add_cas(set->trust, list, n, 0) < 1)
		ret = err_set(e, -EINVAL, "%sca %s: no certificate in it can be used", src->prefix, src->conf->ca);
	else if (ret)
		for (i = 0; i < n; i++)
			gnutls_x509_crt_deinit(list[i]);
	gnutls_free(list);
	return ret;
}

static struct tls_set *set_new(void)
{
	struct tls_set *set = calloc(1, sizeof(*set));
	unsigned int i;

	if (!set)
		return NULL;
	set->refs = 1;
	for (i = 0; i < CRL; i++)
		set->fd[i] = -1;
	if (gnutls_certificate_allocate_credentials(&set->cred)) {
		free(set);
		return NULL;
	}
	if (gnutls_x509_trust_list_init(&set->trust, 0)) {
		gnutls_certificate_free_credentials(set->cred);
		free(set);
		return NULL;
	}
	gnutls_certificate_set_trust_list(set->cred, set->trust, 0);	/* they own it */
	return set;
}

/* files_named - do the keys belong together */
static int files_named(const struct tls_source *src, struct err *e)
{
	const struct tls_conf *c = src->conf;

	if (!c->cert != !c->key)
		return err_set(e, -EINVAL, "%scert and %skey belong together, and %s%s is missing", src->prefix, src->prefix, src->prefix,
			       c->cert ? "key" : "cert");
	return c->ca ? 0 : err_set(e, -EINVAL, "%sca is missing: whom to trust", src->prefix);
}

/* held_key - the key as it was read before */
static int held_key(const struct tls_set *before, gnutls_datum_t *out)
{
	off_t size = before->fd[KEY] >= 0 ? lseek(before->fd[KEY], 0, SEEK_END) : -1;

	out->data = size > 0 ? malloc(size + 1) : NULL;
	if (!out->data || pread(before->fd[KEY], out->data, size, 0) != size)
		return -EACCES;
	out->data[size] = '\0';
	out->size = size;
	return 0;
}

int tls_set_load(const struct tls_conf *conf, const char *prefix, const struct tls_set *before, struct tls_set **out, struct err *e)
{
	const char *const files[FILES] = { conf->cert, conf->key, conf->ca, conf->crl };
	static const char *const names[FILES] = { "cert", "key", "ca", "crl" };
	const struct tls_source src = { conf, prefix };
	static unsigned int generation;
	gnutls_datum_t pem[FILES] = {};
	struct tls_set *set = NULL;
	struct err locked = {};
	char key[32];
	int ret = files_named(&src, e), i;

	for (i = 0; !ret && i < FILES; i++) {
		snprintf(key, sizeof(key), "%s%s", prefix, names[i]);
		ret = files[i] ? read_pem(key, files[i], &pem[i], e) : 0;
		if (ret == -EACCES && i == KEY && before && !held_key(before, &pem[i])) {
			locked = *e;
			ret = 0;
		}
	}
	if (ret)
		goto out;
	generation++;
	set = set_new();
	if (!set) {
		ret = err_set(e, -ENOMEM, "TLS: no memory");
		goto out;
	}
	ret = add_trust(set, &src, pem, e);
	if (!ret && conf->cert)
		ret = add_pair(set, &src, pem, e);
	/* a certificate of another key: what is wrong is that the new key can't be read */
	if (ret && locked.text[0])
		*e = locked;
	for (i = 0; !ret && i < CRL; i++)
		if (files[i] && memory_file(set, i, &pem[i], generation))
			ret = err_set(e, -EIO, "TLS: no file in memory: %s", strerror(errno));
out:
	if (pem[KEY].data)
		explicit_bzero(pem[KEY].data, pem[KEY].size);
	for (i = 0; i < FILES; i++)
		free(pem[i].data);
	if (ret)
		tls_set_unref(set);
	else
		*out = set;
	return ret;
}

struct tls_set *tls_set_ref(struct tls_set *set)
{
	if (set)
		set->refs++;
	return set;
}

void tls_set_unref(struct tls_set *set)
{
	unsigned int i;

	if (!set || --set->refs)
		return;
	for (i = 0; i < CRL; i++)
		if (set->fd[i] >= 0)
			close(set->fd[i]);
	gnutls_certificate_free_credentials(set->cred);
	free(set);
}

gnutls_certificate_credentials_t tls_set_credentials(const struct tls_set *set)
{
	return set->cred;
}

const char *tls_set_path(const struct tls_set *set, char which)
{
	const char *path = set->path[which == 'c' ? CERT : which == 'k' ? KEY : CA];

	return *path ? path : NULL;
}

const struct tls_expiry *tls_set_expiry(const struct tls_set *set, enum tls_what what)
{
	return &set->expiry[what];
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

int tls_peer_name(gnutls_session_t session, char *name, size_t size)
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

int64_t tls_peer_accepted_until(gnutls_session_t session)
{
	const gnutls_datum_t *list;
	gnutls_x509_crt_t cert;
	int64_t until = INT64_MAX, at;
	unsigned int n = 0, i;

	list = gnutls_certificate_get_peers(session, &n);
	for (i = 0; list && i < n; i++) {
		if (gnutls_x509_crt_init(&cert))
			return 0;
		at = gnutls_x509_crt_import(cert, &list[i], GNUTLS_X509_FMT_DER) ? 0 : gnutls_x509_crt_get_expiration_time(cert);
		gnutls_x509_crt_deinit(cert);
		if (at < until)
			until = at;
	}
	return until;
}

bool tls_set_crl_expired(const struct tls_set *set)
{
	return tls_expired(&set->expiry[TLS_CRL], time(NULL));
}

static const char *status_text(unsigned int status, const char *purpose)
{
	if (!status)
		return NULL;
	if (status & GNUTLS_CERT_REVOKED)
		return " is revoked";
	if (status & GNUTLS_CERT_EXPIRED)
		return " expired";
	if (status & GNUTLS_CERT_NOT_ACTIVATED)
		return " is not valid yet";
	if (status & GNUTLS_CERT_PURPOSE_MISMATCH)
		return strcmp(purpose, GNUTLS_KP_TLS_WWW_CLIENT) ? " is for another purpose than to be a server (serverAuth)" :
								   " is for another purpose than to be a client (clientAuth)";
	if (status & (GNUTLS_CERT_SIGNER_NOT_FOUND | GNUTLS_CERT_SIGNER_NOT_CA))
		return " is not signed by tls-ca";
	return " is not valid";
}

#define CHAIN_MAX 8

/* If the certificate names purposes, this one must be among them: that of a web server of the same CA is nobody's. */
const char *tls_peer_trouble(const struct tls_set *set, gnutls_session_t session, const char *purpose)
{
	gnutls_typed_vdata_st data = { .type = GNUTLS_DT_KEY_PURPOSE_OID, .data = (void *)purpose };
	const gnutls_datum_t *list;
	gnutls_x509_crt_t chain[CHAIN_MAX];
	unsigned int n = 0, status, i = 0;
	const char *why = NULL;

	if (tls_set_crl_expired(set))
		return " can't be told from a revoked one: tls-crl expired";
	list = gnutls_certificate_get_peers(session, &n);
	if (!list || !n || n > CHAIN_MAX)
		return " is missing";
	for (i = 0; i < n && !why; i++) {
		if (gnutls_x509_crt_init(&chain[i]))
			break;
		if (gnutls_x509_crt_import(chain[i], &list[i], GNUTLS_X509_FMT_DER))
			why = " is none";
	}
	if (!why && i < n)
		why = " can't be verified";
	if (!why)
		why = gnutls_x509_trust_list_verify_crt2(set->trust, chain, n, &data, 1, 0, &status, NULL) ? " can't be verified" :
													    status_text(status, purpose);
	while (i)
		gnutls_x509_crt_deinit(chain[--i]);
	return why;
}
