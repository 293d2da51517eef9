// SPDX-License-Identifier: GPL-2.0
/* Golden packets as packets.py --emit writes them; its top has the format. */
#include "core.h"

#include <arpa/inet.h>
#include <stdlib.h>

static void parse_addr(const char *text, __u8 out[16])
{
	static const __u8 mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (inet_pton(AF_INET6, text, out) == 1)
		return;
	memcpy(out, mapped, 12);
	if (inet_pton(AF_INET, text, out + 12) != 1)
		abort();
}

static __u8 digit(char c)
{
	return c <= '9' ? c - '0' : c - 'a' + 10;
}

static void parse_hex(const char *text, struct bytes *b)
{
	b->data = malloc(strlen(text) / 2 + 1);
	for (b->len = 0; text[0] && text[1]; text += 2)
		b->data[b->len++] = digit(text[0]) << 4 | digit(text[1]);
}

static bool parse_vip(struct core *c, const char *text)
{
	char addr[64], kind[64], fragments[64], oversize[64], all_down[64];
	struct core_vip *vip = &c->vips[c->n];

	if (c->n == CORE_VIPS || sscanf(text, "%63s %63s %63s %63s %63s", addr, kind, fragments,
					oversize, all_down) != 5)
		return false;
	parse_addr(addr, vip->addr);
	vip->tip = !strcmp(kind, "tip");
	vip->hash = !strcmp(fragments, "hash");
	vip->refuse = !strcmp(oversize, "refuse");
	vip->all_down = all_down[0];
	c->n++;
	return true;
}

static bool parse_rule(struct core_vip *vip, const char *text)
{
	struct core_rule *rule = &vip->rules[vip->n];
	char proto[64], fields[64];

	if (vip->n == CORE_RULES || sscanf(text, "%63s %hu %hu %63s", proto, &rule->match.port,
					   &rule->match.port_last, fields) != 4)
		return false;
	rule->match.proto = atoi(proto);	/* any: 0 */
	rule->match.fields = DUET_FIELDS_5TUPLE;
	if (!strcmp(fields, "src-port"))
		rule->match.fields = DUET_FIELDS_SRC_PORT;
	else if (!strcmp(fields, "src"))
		rule->match.fields = DUET_FIELDS_SRC;
	rule->place = vip->n++;
	return true;
}

static bool parse_dip(struct core_rule *rule, const char *text)
{
	struct duet_dip *dip;
	char addr[64], state[64];

	rule->dips = realloc(rule->dips, (rule->n + 1) * sizeof(*rule->dips));
	dip = &rule->dips[rule->n++];
	memset(dip, 0, sizeof(*dip));
	if (sscanf(text, "%63s %hu %63s", addr, &dip->weight, state) != 3)
		return false;
	parse_addr(addr, dip->addr);
	dip->down = strcmp(state, "up");
	return true;
}

static void parse_key(const char *text, struct core *c)
{
	__u8 bytes[DUET_KEY_LEN] = {};
	int i;

	for (i = 0; i < DUET_KEY_LEN; i++)
		sscanf(text + 2 * i, "%2hhx", &bytes[i]);
	duet_key_init(&c->key, bytes);
	duet_key_level2(&c->level2, &c->key);
}

static bool parse_config(struct golden *g, const char *key, const char *value)
{
	struct core *c = &g->core;
	struct core_vip *vip = c->n ? &c->vips[c->n - 1] : NULL;

	if (!strcmp(key, "key"))
		parse_key(value, c);
	else if (!strcmp(key, "mtu"))
		c->mtu = strtoul(value, NULL, 0);
	else if (!strcmp(key, "ethertype"))
		g->ethertype = strtoul(value, NULL, 16);
	else if (!strcmp(key, "local4") && strcmp(value, "none"))
		parse_addr(value, c->local4);
	else if (!strcmp(key, "local6") && strcmp(value, "none"))
		parse_addr(value, c->local6);
	else if (!strcmp(key, "vip"))
		return parse_vip(c, value);
	else if (!strcmp(key, "rule"))
		return vip && parse_rule(vip, value);
	else if (!strcmp(key, "dip"))
		return vip && vip->n && parse_dip(&vip->rules[vip->n - 1], value);
	return true;
}

static bool parse_line(struct golden *g, char *text)
{
	char *word = strsep(&text, " "), *next;

	if (!text)
		text = "";
	if (!strcmp(word, "case")) {
		snprintf(g->name, sizeof(g->name), "%s", text);
	} else if (!strcmp(word, "config")) {
		next = strsep(&text, " ");
		return parse_config(g, next, text ?: "");
	} else if (!strcmp(word, "in")) {
		parse_hex(text, &g->in);
	} else if (!strcmp(word, "verdict")) {
		snprintf(g->verdict, sizeof(g->verdict), "%s", text);
	} else if (!strcmp(word, "count")) {
		snprintf(g->count, sizeof(g->count), "%s", text);
	} else if (!strcmp(word, "out") && g->n_out < GOLDEN_OUT) {
		struct wanted *want = &g->out[g->n_out++];

		want->client = !strcmp(strsep(&text, " "), "client");
		next = strsep(&text, " ");
		parse_hex(next, &want->packet);
		parse_hex(text, &want->mask);
	} else {
		return false;
	}
	return true;
}

FILE *golden_open(void)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/test/packets.txt", getenv("O") ?: "out");
	f = fopen(path, "r");
	if (!f)
		perror(path);
	return f;
}

bool golden_read(FILE *f, struct golden *g)
{
	char *text = NULL;
	bool found = false;
	size_t size = 0;

	memset(g, 0, sizeof(*g));
	while (!found && getline(&text, &size, f) > 0) {
		text[strcspn(text, "\n")] = 0;
		found = !strcmp(text, "end");
		if (!found && !parse_line(g, text)) {
			fprintf(stderr, "%s: %.100s: not understood\n", g->name, text);
			abort();
		}
	}
	free(text);
	if (found)
		core_compile(&g->core);
	return found;
}

void golden_free(struct golden *g)
{
	unsigned int i;

	for (i = 0; i < g->n_out; i++) {
		free(g->out[i].packet.data);
		free(g->out[i].mask.data);
	}
	free(g->in.data);
	core_free(&g->core);
}
