// SPDX-License-Identifier: GPL-2.0
/*
 * libFuzzer: what the helper of the host agent reads from an agent that somebody took
 * over. Messages, each behind two bytes of length; a state that is accepted holds
 * nothing that the host's own configuration or the kernel's maps can't have.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../agents/host/message.h"

static void must(bool holds)
{
	if (!holds)
		__builtin_trap();
}

static void pair_holds(const struct conf *conf, const struct desired *d, const struct pair_def *p)
{
	struct addr vip = to_addr(&p->key.vip), dip = to_addr(&p->key.dip);
	struct prefix host = host_prefix(&vip);
	unsigned int i, k;

	must(!addr_not_host(&vip) && !addr_not_host(&dip) && addr_cmp(&vip, &dip) && addr_cmp(&vip, &conf->address));
	must(prefixes_allow(conf->vip_prefixes, conf->n_vip_prefixes, &host));
	must(p->delivery <= DELIVER_VIRTUAL && p->hash_key < DUET_KEYS);
	must(p->n_locals == 0 || (p->locals >= d->locals && p->locals + p->n_locals <= d->locals + d->n_locals));
	must(p->n_ports == 0 || (p->ports >= d->ports && p->ports + p->n_ports <= d->ports + d->n_ports));
	must((p->delivery == DELIVER_LO) == !p->n_locals && (p->delivery != DELIVER_NAT || p->n_locals == 1));
	for (i = 0; i < p->n_locals; i++)
		must(!addr_not_host(&p->locals[i].address) && addr_is_v4(&p->locals[i].address) == addr_is_v4(&vip));
	must(!p->accepts || p->accepts->n <= DECAP_RULES_MAX);
	for (i = 0; p->rules && i < p->rules->n_rules; i++) {
		must(p->rules->rules[i].n_dips && p->rules->rules[i].n_dips <= DUET_SET_DIPS_MAX);
		for (k = 0; k < p->rules->rules[i].n_dips; k++)
			must(!addr_not_host(&p->rules->rules[i].dips[k].addr) && p->rules->rules[i].dips[k].state <= DUET_DIP_DRAIN);
	}
}

static void state_holds(const struct conf *conf, const struct desired *d)
{
	unsigned int i;

	must(d->n_pairs <= DECAP_MAX_SERVED && d->n_muxes <= DECAP_MAX_MUXES && d->n_locals <= DECAP_MAX_LOCALS);
	for (i = 0; i < d->n_muxes; i++)
		must(!mux_prefix_refused(&d->muxes[i]) && prefixes_allow(conf->mux_prefixes, conf->n_mux_prefixes, &d->muxes[i]));
	for (i = 0; i < d->n_racks; i++)
		must(d->racks[i].name[0] && strnlen(d->racks[i].name, RACK_NAME) < RACK_NAME);
	for (i = 0; i < d->n_pairs; i++)
		pair_holds(conf, d, &d->pairs[i]);
	for (i = 0; i < d->n_snat; i++)
		must(d->snat[i].first >= 1024 && d->snat[i].last >= d->snat[i].first);
	must(!d->n_snat == !d->snat_blob);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct conf conf = { .n_mux_prefixes = 2, .n_vip_prefixes = 2 };
	struct draft draft = {};
	struct desired d;
	struct err e;

	if (!conf.mux_prefixes[0].len) {
		must(!prefix_parse("10.0.0.0/8", &conf.mux_prefixes[0]) && !prefix_parse("2001:db8::/32", &conf.mux_prefixes[1]));
		must(!prefix_parse("203.0.113.0/24", &conf.vip_prefixes[0]) && !prefix_parse("2001:db8::/32", &conf.vip_prefixes[1]));
		must(!addr_parse("203.0.113.77", &conf.address));
	}
	while (size >= 2) {
		size_t len = data[0] | data[1] << 8;
		const void *records;
		unsigned int n;
		uint8_t *copy;
		int type;

		data += 2;
		size -= 2;
		len = len < size ? len : size;
		copy = malloc(len + 1);	/* so that a byte read beyond its end is seen */
		memcpy(copy, data, len);
		type = message_check(copy, len, &records, &n);
		must(type == -EPROTO || (type >= 0 && type < __MESSAGES));
		if (type == MSG_COMMIT) {
			e.text[0] = '\0';
			if (draft_finish(&draft, &conf, &d, &e)) {
				must(e.text[0]);
			} else {
				state_holds(&conf, &d);
				desired_free(&d);
			}
		} else if (type >= 0 && type < MESSAGE_LISTS) {
			draft_add(&draft, type, records, n);
		}
		free(copy);
		data += len;
		size -= len;
	}
	draft_free(&draft);
	return 0;
}
