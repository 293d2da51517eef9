// SPDX-License-Identifier: GPL-2.0
/*
 * NAT from a VIP to the targets behind this host: nftables and conntrack do it,
 * and undo it for what comes back. Which target a new flow gets stands in the
 * packet's mark, where the decapsulator (or a probe) put it; all later packets of
 * the flow follow conntrack. Without targets there is no table, no conntrack.
 */
#include <errno.h>
#include <netinet/in.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"
#include "log.h"

#define TABLE "table inet duet_host"

struct nft {
	struct nft_ctx *ctx;
	char *held;		/* text of the table as this process made it */
};

int nft_open(struct nft **out, struct err *e)
{
	struct nft *nft = calloc(1, sizeof(*nft));

	if (!nft)
		return err_set(e, -ENOMEM, "no memory");
	nft->ctx = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!nft->ctx) {
		free(nft);
		return err_set(e, -ENOMEM, "no memory for nftables");
	}
	nft_ctx_buffer_error(nft->ctx);
	nft_ctx_buffer_output(nft->ctx);
	*out = nft;
	return 0;
}

void nft_close(struct nft *nft)
{
	if (!nft)
		return;
	nft_ctx_free(nft->ctx);
	free(nft->held);
	free(nft);
}

/* to_targets - "dnat" by the mark; @to: port or 0 */
static void to_targets(FILE *f, const struct pair_def *p, uint16_t to)
{
	bool v4 = addr_is_v4(&p->locals[0].address);
	char text[ADDR_STRLEN];
	unsigned int i;

	fprintf(f, "dnat %s %sto meta mark map { ", v4 ? "ip" : "ip6", to ? "addr . port " : "");
	for (i = 0; i < p->n_locals; i++) {
		fprintf(f, "%s0x%x : %s", i ? ", " : "", DECAP_MARK | p->locals[i].number,
			addr_str(&p->locals[i].address, text));
		if (to)
			fprintf(f, " . %u", to);
	}
	fprintf(f, " }\n");
}

static void pair_rules(FILE *f, const struct pair_def *p)
{
	char vip[ADDR_STRLEN];
	bool v4 = addr_is_v4(&p->locals[0].address);
	unsigned int i;

	str_addr(&p->key.vip, vip);
	for (i = 0; i < p->n_ports; i++) {
		fprintf(f, "%s daddr %s %s dport %u ", v4 ? "ip" : "ip6", vip, p->ports[i].proto == IPPROTO_TCP ? "tcp" : "udp",
			p->ports[i].port);
		to_targets(f, p, p->ports[i].to);
	}
	/* the other ports, and what has none, as they are */
	fprintf(f, "%s daddr %s ", v4 ? "ip" : "ip6", vip);
	to_targets(f, p, 0);
}

static void chain(FILE *f, const char *name, const char *hook, const struct pair_def *pairs, unsigned int n)
{
	unsigned int i;

	fprintf(f, "chain %s { type nat hook %s priority -100; policy accept;\nmeta mark & 0x%x != 0x%x accept\n", name, hook,
		DECAP_MARK_MASK, DECAP_MARK);
	for (i = 0; i < n; i++)
		if (pairs[i].n_locals)
			pair_rules(f, &pairs[i]);
	fprintf(f, "}\n");
}

static int run(struct nft *nft, const char *text, struct err *e)
{
	const char *said;

	if (!nft_run_cmd_from_buffer(nft->ctx, text))
		return 0;
	said = nft_ctx_get_error_buffer(nft->ctx);
	log_debug("nftables refuses: %s", text);
	return err_set(e, -EIO, "nftables: %.200s", said && said[0] ? said : "refused");
}

int nft_apply(struct nft *nft, const struct pair_def *pairs, unsigned int n, struct err *e)
{
	unsigned int i, targets = 0;
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	int ret;

	if (!f)
		return err_set(e, -ENOMEM, "no memory");
	for (i = 0; i < n; i++)
		targets += pairs[i].n_locals;
	/* to delete what may not be there: add it first */
	fprintf(f, TABLE "\ndelete " TABLE "\n");
	if (targets) {
		fprintf(f, TABLE " {\n");
		chain(f, "in", "prerouting", pairs, n);
		chain(f, "probes", "output", pairs, n);
		/* a mark of ours has no meaning beyond NAT */
		fprintf(f, "chain clear { type filter hook prerouting priority -90; policy accept;\n"
			   "meta mark & 0x%x == 0x%x meta mark set 0\n}\n}\n", DECAP_MARK_MASK, DECAP_MARK);
	}
	if (fclose(f)) {
		free(text);
		return err_set(e, -ENOMEM, "no memory");
	}
	if (nft->held && !strcmp(nft->held, text)) {
		free(text);
		return 0;
	}
	/* a kernel without nftables does for a host without targets */
	ret = run(nft, text, e);
	if (ret && !targets)
		ret = 0;
	free(nft->held);
	nft->held = ret ? NULL : text;
	if (ret)
		free(text);
	return ret;
}

void nft_remove(struct nft *nft)
{
	struct err e;

	run(nft, TABLE "\ndelete " TABLE "\n", &e);
}

int nft_works(struct nft *nft, struct err *e)
{
	return run(nft, "list tables", e);
}
