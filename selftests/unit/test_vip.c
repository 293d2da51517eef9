// SPDX-License-Identifier: GPL-2.0
/*
 * VIP definitions: what is read and written, the sentence for each refusal,
 * and that no input whatever breaks the reader or gets no sentence.
 */
#include <duet/limits.h>
#include <duet/table.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "kselftest_harness.h"
#include "leaks.h"
#include "vip.h"

#define GOOD	"{'vip':'203.0.113.1','name':'web1','announce':'yes','rules':["		\
		"{'dips':[{'address':'10.1.2.1'},{'address':'10.1.1.1','weight':3,'state':'down'}]}," \
		"{'proto':'tcp','port':80,'fields':'src','dips':[{'address':'10.1.1.1'}]},"	\
		"{'proto':'udp','port':'4000-4999','fields':'src-port','dips':[{'address':'2001:db8::1'}]}," \
		"{'proto':47,'dips':[{'address':'10.1.1.1','weight':0},{'address':'10.1.1.2'}]}]}"

/* ' for ", so that the tests can be read */
static json_t *parse(const char *text)
{
	char *copy = strdup(text), *p;
	json_t *json;

	for (p = copy; *p; p++)
		if (*p == '\'')
			*p = '"';
	json = json_loads(copy, JSON_DECODE_ANY, NULL);
	free(copy);
	return json;
}

static struct vip *read_good(const char *text)
{
	json_t *json = parse(text);
	struct vip *vip = NULL;
	struct err e;

	if (vip_from_json(json, &vip, &e))
		vip = NULL;
	json_decref(json);
	return vip;
}

TEST(reads_and_sorts)
{
	struct vip *vip = read_good(GOOD);
	char buf[ADDR_STRLEN];

	ASSERT_NE(NULL, vip);
	EXPECT_STREQ("203.0.113.1", addr_str(&vip->addr, buf));
	ASSERT_EQ(4, vip->n_rules);
	/* with a port, by protocol and port; with a protocol; the default */
	EXPECT_EQ(IPPROTO_TCP, vip->rules[0].proto);
	EXPECT_EQ(80, vip->rules[0].port);
	EXPECT_EQ(80, vip->rules[0].port_last);
	EXPECT_EQ(DUET_FIELDS_SRC, vip->rules[0].fields);
	EXPECT_EQ(IPPROTO_UDP, vip->rules[1].proto);
	EXPECT_EQ(4000, vip->rules[1].port);
	EXPECT_EQ(4999, vip->rules[1].port_last);
	EXPECT_EQ(DUET_FIELDS_SRC_PORT, vip->rules[1].fields);
	EXPECT_EQ(47, vip->rules[2].proto);
	EXPECT_EQ(0, vip->rules[2].port);
	EXPECT_EQ(0, vip->rules[2].dips[0].weight);
	EXPECT_EQ(0, vip->rules[3].proto);
	EXPECT_EQ(0, vip->rules[3].port);
	EXPECT_EQ(DUET_FIELDS_5TUPLE, vip->rules[3].fields);
	ASSERT_EQ(2, vip->rules[3].n_dips);
	EXPECT_STREQ("10.1.1.1", addr_str(&vip->rules[3].dips[0].addr, buf));
	EXPECT_EQ(3, vip->rules[3].dips[0].weight);
	EXPECT_EQ(DUET_DIP_DOWN, vip->rules[3].dips[0].state);
	EXPECT_STREQ("10.1.2.1", addr_str(&vip->rules[3].dips[1].addr, buf));
	EXPECT_EQ(1, vip->rules[3].dips[1].weight);
	EXPECT_EQ(DUET_DIP_UP, vip->rules[3].dips[1].state);
	vip_free(vip);
	vip_free(NULL);
}

TEST(round_trip)
{
	struct vip *vip = read_good(GOOD), *again = NULL;
	json_t *json, *twice;
	struct err e;
	int i;

	ASSERT_NE(NULL, vip);
	for (i = 0; i < 2; i++) {
		json = vip_to_json(vip, i);
		ASSERT_EQ(0, vip_from_json(json, &again, &e));
		EXPECT_EQ(VIP_SAME, vip_compare(vip, again));
		twice = vip_to_json(again, i);
		EXPECT_TRUE(json_equal(json, twice));
		json_decref(twice);
		json_decref(json);
		vip_free(again);
	}
	vip_free(vip);
}

TEST(compare_and_dup)
{
	static const struct { const char *from, *to; enum vip_diff diff; } cases[] = {
		{ "'name':'web1'", "'name':'web2'", VIP_SAME },
		{ "'state':'down'", "'state':'up'", VIP_STATES },
		{ "'weight':3", "'weight':2", VIP_CONFIG },
		{ "10.1.2.1", "10.1.2.2", VIP_CONFIG },
		{ "203.0.113.1", "203.0.113.2", VIP_CONFIG },
		{ "'port':80", "'port':81", VIP_CONFIG },
		{ "4000-4999", "4000-5000", VIP_CONFIG },
		{ "'src-port'", "'5tuple'", VIP_CONFIG },
		{ "'proto':47", "'proto':50", VIP_CONFIG },
		{ ",{'address':'10.1.1.2'}]}]}", ",{'address':'10.1.1.2'},{'address':'10.1.1.3'}]}]}", VIP_CONFIG },
	};
	struct vip *vip = read_good(GOOD), *copy, *other;
	char text[1024];
	const char *at;
	unsigned int i;

	ASSERT_NE(NULL, vip);
	copy = vip_dup(vip);
	ASSERT_NE(NULL, copy);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		at = strstr(GOOD, cases[i].from);
		ASSERT_NE(NULL, at);
		snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - GOOD), GOOD, cases[i].to,
			 at + strlen(cases[i].from));
		other = read_good(text);
		ASSERT_NE(NULL, other);
		EXPECT_EQ(cases[i].diff, vip_compare(vip, other)) {
			TH_LOG("%s", cases[i].to);
		}
		EXPECT_EQ(cases[i].diff, vip_compare(other, copy));
		vip_free(other);
	}
	/* a copy is one of its own */
	EXPECT_EQ(VIP_SAME, vip_compare(vip, copy));
	copy->rules[0].dips[0].weight++;
	EXPECT_EQ(VIP_CONFIG, vip_compare(vip, copy));
	vip_free(vip);
	EXPECT_EQ(2, copy->rules[0].dips[0].weight);
	vip_free(copy);
	EXPECT_EQ(0, leaks());
}

/* The digest is a function of addresses, weights and states alone, and 0 when
 * nothing can be served; the values are the model's.
 */
TEST(digests)
{
	struct vip *vip = read_good(
		"{'vip':'203.0.113.1','rules':[{'dips':[{'address':'10.1.1.2','weight':2},{'address':'10.1.1.1'}]}]}");
	struct vip_rule *rule;

	ASSERT_NE(NULL, vip);
	rule = &vip->rules[0];
	EXPECT_EQ(0, rule->buckets);	/* made when somebody asks */
	ASSERT_EQ(0, vip_digests(vip));
	EXPECT_EQ(251, rule->buckets);
	EXPECT_EQ(0x3d05ea5bd07b41d7ull, rule->digest);
	EXPECT_EQ(251, rule->dips[0].buckets + rule->dips[1].buckets);
	EXPECT_EQ(84, rule->dips[0].buckets);
	rule->dips[1].state = DUET_DIP_DOWN;
	ASSERT_EQ(0, vip_digests(vip));
	EXPECT_EQ(0x9ae40309db4921bbull, rule->digest);
	EXPECT_EQ(251, rule->dips[0].buckets);
	EXPECT_EQ(0, rule->dips[1].buckets);
	rule->dips[0].state = DUET_DIP_DOWN;
	ASSERT_EQ(0, vip_digests(vip));
	EXPECT_EQ(0, rule->digest);
	EXPECT_EQ(0, rule->dips[0].buckets);
	rule->dips[0].state = rule->dips[1].state = DUET_DIP_UP;
	ASSERT_EQ(0, vip_digests(vip));
	EXPECT_EQ(0x3d05ea5bd07b41d7ull, rule->digest);
	vip_free(vip);
}

/* Two muxes that were told the same in another order hold the same tables */
TEST(order_is_nothing)
{
	static const char *const said[2] = {
		"{'vip':'203.0.113.1','rules':[{'dips':[{'address':'10.1.0.9','weight':2},{'address':'2001:db8::1'},"
		"{'address':'10.1.0.10'}]},{'proto':'tcp','port':80,'dips':[{'address':'10.1.0.2'},{'address':'10.1.0.1'}]}]}",
		"{'rules':[{'dips':[{'address':'10.1.0.1'},{'address':'10.1.0.2'}],'port':80,'proto':'tcp'},{'dips':["
		"{'address':'10.1.0.10'},{'weight':2,'address':'10.1.0.9'},{'address':'2001:db8::1'}]}],'vip':'203.0.113.1'}",
	};
	struct vip *vips[2];
	unsigned int i;

	for (i = 0; i < 2; i++) {
		vips[i] = read_good(said[i]);
		ASSERT_NE(NULL, vips[i]);
		ASSERT_EQ(0, vip_digests(vips[i]));
	}
	EXPECT_EQ(VIP_SAME, vip_compare(vips[0], vips[1]));
	for (i = 0; i < 2; i++) {
		EXPECT_NE(0, vips[0]->rules[i].digest);
		EXPECT_EQ(vips[0]->rules[i].digest, vips[1]->rules[i].digest);
	}
	vip_free(vips[0]);
	vip_free(vips[1]);
}

#define DIP	"'dips':[{'address':'10.1.1.1'}]"
#define RULE(s)	"{'vip':'203.0.113.1','rules':[{" s "}]}"
#define RULES(s) "{'vip':'203.0.113.1','rules':[" s "]}"
#define DIPS(s)	RULE("'dips':[" s "]")

/* it would make six lines of each */
/* clang-format off */
FIXTURE(refusal) { int unused; };
FIXTURE_SETUP(refusal) { }
FIXTURE_TEARDOWN(refusal) { }
FIXTURE_VARIANT(refusal) { const char *json, *why; };
#define REFUSE(name, j, w) FIXTURE_VARIANT_ADD(refusal, name) { .json = j, .why = w }
/* clang-format on */
REFUSE(no_object, "[]", "a VIP is an object with a \"vip\"");
REFUSE(null, "null", "a VIP is an object with a \"vip\"");
REFUSE(no_vip, "{}", "a VIP is an object with a \"vip\"");
REFUSE(vip_number, "{'vip':1}", "a VIP is an object with a \"vip\"");
REFUSE(vip_text, "{'vip':'web1','rules':[{" DIP "}]}", "VIP \"web1\" is no unicast address");
REFUSE(vip_prefix, "{'vip':'203.0.113.1/32','rules':[{" DIP "}]}", "VIP \"203.0.113.1/32\" is no unicast");
REFUSE(vip_multicast, "{'vip':'224.0.0.1','rules':[{" DIP "}]}", "VIP \"224.0.0.1\" is no unicast");
REFUSE(vip_zero, "{'vip':'0.0.0.0','rules':[{" DIP "}]}", "VIP \"0.0.0.0\" is no unicast");
REFUSE(vip_none, "{'vip':'::','rules':[{" DIP "}]}", "VIP \"::\" is no unicast");
REFUSE(vip_loopback6, "{'vip':'::1','rules':[{" DIP "}]}", "VIP \"::1\" is no unicast");
REFUSE(vip_link, "{'vip':'169.254.1.1','rules':[{" DIP "}]}", "VIP \"169.254.1.1\" is no unicast address of a host: it is a link-local");
REFUSE(vip_link6, "{'vip':'fe80::1','rules':[{" DIP "}]}", "it is a link-local address");
REFUSE(vip_reserved, "{'vip':'240.0.0.1','rules':[{" DIP "}]}", "it is a reserved address");
REFUSE(no_rules, "{'vip':'203.0.113.1'}", "VIP 203.0.113.1: no rules");
REFUSE(empty_rules, RULES(""), "VIP 203.0.113.1: no rules");
REFUSE(rules_object, "{'vip':'203.0.113.1','rules':{}}", "VIP 203.0.113.1: no rules");
REFUSE(rule_text, RULES("'tcp'"), "VIP 203.0.113.1: a rule is an object");
REFUSE(second_rule, RULES("{" DIP "},7"), "VIP 203.0.113.1, rule 2: a rule is an object");
REFUSE(no_dips, RULE("'proto':'tcp'"), "VIP 203.0.113.1: no DIPs");
REFUSE(empty_dips, DIPS(""), "VIP 203.0.113.1: no DIPs");
REFUSE(dip_text, DIPS("'10.1.1.1'"), "VIP 203.0.113.1: a DIP is an object with an \"address\"");
REFUSE(dip_bare, DIPS("{'weight':1}"), "VIP 203.0.113.1: a DIP is an object with an \"address\"");
REFUSE(dip_name, DIPS("{'address':'srv1'}"), "VIP 203.0.113.1: DIP \"srv1\" is no unicast");
REFUSE(dip_multicast, DIPS("{'address':'239.1.1.1'}"), "DIP \"239.1.1.1\" is no unicast");
REFUSE(dip_multicast6, DIPS("{'address':'ff02::1'}"), "DIP \"ff02::1\" is no unicast");
REFUSE(dip_loopback, DIPS("{'address':'127.0.0.1'}"), "DIP \"127.0.0.1\" is no unicast");
REFUSE(dip_loopback6, DIPS("{'address':'::1'}"), "DIP \"::1\" is no unicast");
REFUSE(dip_broadcast, DIPS("{'address':'255.255.255.255'}"), "DIP \"255.255.255.255\" is no unicast");
REFUSE(dip_link6, DIPS("{'address':'fe80::1'}"), "DIP \"fe80::1\" is no unicast address of a host: it is a link-local");
REFUSE(dip_self, DIPS("{'address':'203.0.113.1'}"), "VIP 203.0.113.1: the VIP can't be its own DIP");
REFUSE(dip_self_mapped, DIPS("{'address':'::ffff:203.0.113.1'}"), "the VIP can't be its own DIP");
REFUSE(dip_twice, DIPS("{'address':'10.1.1.1'},{'address':'10.1.1.2'},{'address':'::ffff:10.1.1.1'}"),
       "VIP 203.0.113.1: DIP 10.1.1.1 is given twice");
REFUSE(weight_negative, DIPS("{'address':'10.1.1.1','weight':-1}"), "DIP 10.1.1.1: a weight is a whole number");
REFUSE(weight_large, DIPS("{'address':'10.1.1.1','weight':65536}"), "from 0 to 65535");
REFUSE(weight_real, DIPS("{'address':'10.1.1.1','weight':1.5}"), "a weight is a whole number");
REFUSE(weight_text, DIPS("{'address':'10.1.1.1','weight':'1'}"), "a weight is a whole number");
REFUSE(weight_null, DIPS("{'address':'10.1.1.1','weight':null}"), "a weight is a whole number");
REFUSE(weights_zero, DIPS("{'address':'10.1.1.1','weight':0}"), "VIP 203.0.113.1: every DIP has weight 0");
REFUSE(state_unknown, DIPS("{'address':'10.1.1.1','state':'sick'}"), "DIP 10.1.1.1: a state is \"up\"");
REFUSE(state_number, DIPS("{'address':'10.1.1.1','state':1}"), "DIP 10.1.1.1: a state is \"up\"");
REFUSE(proto_unknown, RULE("'proto':'tpc'," DIP), "VIP 203.0.113.1: \"proto\" is any, tcp");
REFUSE(proto_list, RULE("'proto':['tcp']," DIP), "VIP 203.0.113.1: \"proto\" is any, tcp");
REFUSE(proto_zero, RULE("'proto':0," DIP), "protocol 0 is not from 1 to 255");
REFUSE(proto_256, RULE("'proto':256," DIP), "protocol 256 is not from 1 to 255");
REFUSE(proto_huge, RULE("'proto':9223372036854775807," DIP), "is not from 1 to 255");
REFUSE(proto_tail, RULE("'proto':'6x'," DIP), "\"proto\" is any, tcp");
REFUSE(port_zero, RULE("'proto':'tcp','port':0," DIP), "\"port\" is a number from 1 to 65535");
REFUSE(port_large, RULE("'proto':'tcp','port':65536," DIP), "\"port\" is a number from 1 to 65535");
REFUSE(port_negative, RULE("'proto':'tcp','port':-80," DIP), "\"port\" is a number from 1 to 65535");
REFUSE(port_wraps, RULE("'proto':'tcp','port':'18446744073709551617'," DIP), "\"port\" is a number");
REFUSE(port_backwards, RULE("'proto':'tcp','port':'90-80'," DIP), "\"port\" is a number from 1 to 65535");
REFUSE(port_half, RULE("'proto':'tcp','port':'80-'," DIP), "\"port\" is a number from 1 to 65535");
REFUSE(port_three, RULE("'proto':'tcp','port':'1-2-3'," DIP), "\"port\" is a number from 1 to 65535");
REFUSE(port_empty, RULE("'proto':'tcp','port':''," DIP), "\"port\" is a number from 1 to 65535");
REFUSE(port_real, RULE("'proto':'tcp','port':80.0," DIP), "\"port\" is a number from 1 to 65535");
REFUSE(port_no_proto, RULE("'port':80," DIP), "a port needs a \"proto\" that has ports");
REFUSE(port_icmp, RULE("'proto':'icmp','port':80," DIP), "a port needs a \"proto\" that has ports");
REFUSE(fields_unknown, RULE("'fields':'dst'," DIP), "\"fields\" is 5tuple, src-port or src");
REFUSE(fields_list, RULE("'fields':[]," DIP), "\"fields\" is 5tuple, src-port or src");
REFUSE(two_defaults, RULES("{" DIP "},{" DIP "}"), "VIP 203.0.113.1: rules overlap");
REFUSE(same_port, RULES("{'proto':'tcp','port':80," DIP "},{'proto':6,'port':'80'," DIP "}"),
       "VIP 203.0.113.1: rules overlap: tcp port 80-80 and 80-80");
REFUSE(inside_range, RULES("{'proto':'tcp','port':85," DIP "},{'proto':'tcp','port':'80-90'," DIP "}"),
       "rules overlap: tcp port 80-90 and 85-85");
REFUSE(edge_of_range, RULES("{'proto':'udp','port':'90-99'," DIP "},{'proto':'udp','port':'80-90'," DIP "}"),
       "rules overlap: udp port 80-90 and 90-99");

TEST_F(refusal, sentence)
{
	json_t *json = parse(variant->json), *before;
	struct vip *const untouched = (struct vip *)self;
	struct vip *vip = untouched;
	struct err e = { "" };

	ASSERT_NE(NULL, json) {
		TH_LOG("the test's own JSON is wrong: %s", variant->json);
	}
	before = json_deep_copy(json);
	EXPECT_EQ(-EINVAL, vip_from_json(json, &vip, &e));
	EXPECT_NE(NULL, strstr(e.text, variant->why)) {
		TH_LOG("got: %s", e.text);
	}
	EXPECT_EQ(untouched, vip);
	EXPECT_TRUE(json_equal(before, json));
	json_decref(before);
	json_decref(json);
	EXPECT_EQ(0, leaks());
}

TEST(not_overlapping)
{
	struct vip *vip = read_good(RULES(
		"{'proto':'tcp','port':'80-89'," DIP "},{'proto':'tcp','port':90," DIP "},{'proto':'udp','port':80," DIP "},"
		"{'proto':'tcp'," DIP "},{'proto':'icmp'," DIP "},{'port':null," DIP "}"));

	ASSERT_NE(NULL, vip);
	EXPECT_EQ(6, vip->n_rules);
	vip_free(vip);
}

/* rules x dips DIPs, each set from its own addresses */
static json_t *big(int rules, int dips)
{
	json_t *list = json_array(), *set;
	char text[32];
	int r, d;

	for (r = 0; r < rules; r++) {
		set = json_array();
		for (d = 0; d < dips; d++) {
			snprintf(text, sizeof(text), "10.%d.%d.%d", r, d / 200, 1 + d % 200);
			json_array_append_new(set, json_pack("{s:s}", "address", text));
		}
		json_array_append_new(list, json_pack("{s:s, s:i, s:o}", "proto", "tcp", "port", r + 1,
						      "dips", set));
	}
	return json_pack("{s:s, s:o}", "vip", "203.0.113.1", "rules", list);
}

TEST(limits)
{
	static const struct { int rules, dips, ret; const char *why; } cases[] = {
		{ 1, DUET_SET_DIPS_MAX, 0, "" },
		{ 1, DUET_SET_DIPS_MAX + 1, -E2BIG, "VIP 203.0.113.1: 513 DIPs, and a rule has at most 512" },
		{ DUET_VIP_RULES_MAX, DUET_VIP_DIPS_MAX / DUET_VIP_RULES_MAX, 0, "" },
		{ DUET_VIP_RULES_MAX + 1, 1, -E2BIG, "VIP 203.0.113.1: 65 rules, and a VIP has at most 64" },
		{ 2, DUET_VIP_DIPS_MAX / 2 + 1, -E2BIG, "706 DIPs in all its rules, and a VIP has at most 704" },
	};
	unsigned int i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *json = big(cases[i].rules, cases[i].dips);
		struct vip *vip = NULL;
		struct err e = { "" };

		EXPECT_EQ(cases[i].ret, vip_from_json(json, &vip, &e));
		EXPECT_NE(NULL, strstr(e.text, cases[i].why)) {
			TH_LOG("got: %s", e.text);
		}
		EXPECT_EQ(!cases[i].ret, !!vip);
		vip_free(vip);
		json_decref(json);
	}
}

/* A caller that wants no sentence, and one text longer than a sentence */
TEST(any_length)
{
	char text[4000];
	json_t *json;
	struct vip *vip = NULL;
	struct err e = { "" };

	memset(text, 'x', sizeof(text));
	json = json_pack("{s:s, s:[{s:[{s:s#}]}]}", "vip", "203.0.113.1", "rules", "dips", "address",
			 text, (int)sizeof(text));
	ASSERT_NE(NULL, json);
	EXPECT_EQ(-EINVAL, vip_from_json(json, &vip, &e));
	EXPECT_EQ(sizeof(e.text) - 1, strlen(e.text));
	EXPECT_EQ(-EINVAL, vip_from_json(json, &vip, NULL));
	json_decref(json);
	json = json_pack("{s:s#}", "vip", text, (int)sizeof(text));
	EXPECT_EQ(-EINVAL, vip_from_json(json, &vip, &e));
	json_decref(json);
	EXPECT_EQ(NULL, vip);
}

TEST(names)
{
	enum duet_dip_state state = 99;
	enum duet_fields fields = 99;
	enum duet_mode mode = 99;
	uint8_t proto = 99;
	char buf[8];
	int i;

	for (i = DUET_DIP_UP; i <= DUET_DIP_DOWN; i++) {
		EXPECT_EQ(0, dip_state_parse(dip_state_name(i), &state));
		EXPECT_EQ(i, state);
	}
	for (i = DUET_FIELDS_5TUPLE; i <= DUET_FIELDS_SRC; i++) {
		EXPECT_EQ(0, fields_parse(fields_name(i), &fields));
		EXPECT_EQ(i, fields);
	}
	for (i = DUET_MODE_HMUX; i <= DUET_MODE_SMUX; i++) {
		EXPECT_EQ(0, mode_parse(mode_name(i), &mode));
		EXPECT_EQ(i, mode);
	}
	for (i = 0; i < 256; i++) {
		EXPECT_EQ(0, proto_parse(proto_name(i, buf), &proto));
		EXPECT_EQ(i, proto);
	}
	EXPECT_STREQ("tcp", proto_name(IPPROTO_TCP, buf));
	EXPECT_STREQ("any", proto_name(0, buf));
	EXPECT_STREQ("255", proto_name(255, buf));
	for (i = 0; i < __DUET_VERDICT_MAX; i++)
		EXPECT_STRNE("?", verdict_name(i));
	EXPECT_STREQ("?", verdict_name(__DUET_VERDICT_MAX));
	EXPECT_STREQ("?", dip_state_name(-1));
	EXPECT_EQ(-EINVAL, dip_state_parse("", &state));
	EXPECT_EQ(-EINVAL, fields_parse("5-tuple", &fields));
	EXPECT_EQ(-EINVAL, mode_parse("HMUX", &mode));
	proto = 7;
	EXPECT_EQ(-EINVAL, proto_parse("", &proto));
	EXPECT_EQ(-EINVAL, proto_parse("0", &proto));
	EXPECT_EQ(-EINVAL, proto_parse("256", &proto));
	EXPECT_EQ(-EINVAL, proto_parse("-1", &proto));
	EXPECT_EQ(-EINVAL, proto_parse("4294967302", &proto));
	EXPECT_EQ(-EINVAL, proto_parse("TCP", &proto));
	EXPECT_EQ(7, proto);
}

/* ---- any input ---- */

static unsigned int random_state;

static unsigned int rnd(unsigned int below)
{
	return rand_r(&random_state) % below;
}

/* What stands where a sane value stood */
static json_t *strange(void)
{
	static const char *const texts[] = {
		"", "10.1.1.1", "203.0.113.1", "2001:db8::7", "tcp", "udp", "any", "80", "80-90", "5tuple", "down", "up",
		"-", "\xc3\xa9", "999999999999999999999999", "0.0.0.0",
	};
	static const json_int_t numbers[] = { 0, 1, -1, 6, 17, 80, 255, 256, 65535, 65536, INT64_MAX, INT64_MIN };

	switch (rnd(8)) {
	case 0: return json_null();
	case 1: return json_boolean(rnd(2));
	case 2: return json_real(rnd(100) / 7.0);
	case 3: return json_object();
	case 4: return json_array();
	case 5: return json_integer(numbers[rnd(sizeof(numbers) / sizeof(numbers[0]))]);
	default: return json_string(texts[rnd(sizeof(texts) / sizeof(texts[0]))]);
	}
}

/* mutate - change one thing somewhere below @json */
static void mutate(json_t *json)
{
	static const char *const keys[] = { "vip", "rules", "proto", "port", "fields", "dips", "address", "weight",
					    "state", "more" };
	const char *key = keys[rnd(sizeof(keys) / sizeof(keys[0]))];
	json_t *child = NULL;
	unsigned int i;

	if (json_is_object(json)) {
		void *it = json_object_iter(json);

		for (i = rnd(json_object_size(json) + 1); i && it; i--)
			it = json_object_iter_next(json, it);
		child = it ? json_object_iter_value(it) : NULL;
		if ((json_is_object(child) || json_is_array(child)) && rnd(6)) {
			mutate(child);
			return;
		}
		if (!rnd(4))
			json_object_del(json, key);
		else
			json_object_set_new(json, key, strange());
	} else if (json_is_array(json)) {
		i = rnd(json_array_size(json) + 1);
		child = json_array_get(json, i);
		if (child && rnd(6))
			mutate(child);
		else if (child && rnd(2))
			json_array_remove(json, i);
		else
			json_array_append_new(json, child ? json_deep_copy(child) : strange());
	}
}

/* Whatever was read is whole, has tables, can be written, and reads back the same */
static int sane(struct vip *vip)
{
	int ok = !vip_digests(vip);
	json_t *json = vip_to_json(vip, true);
	struct vip *again = NULL;
	struct err e;
	unsigned int i, k;

	ok = ok && !vip_from_json(json, &again, &e) && vip_compare(vip, again) == VIP_SAME && vip->n_rules;

	for (i = 0; i < vip->n_rules; i++) {
		const struct vip_rule *rule = &vip->rules[i];

		ok &= rule->n_dips && rule->buckets == duet_table_buckets(rule->n_dips) && rule->port <= rule->port_last;
		for (k = 1; k < rule->n_dips; k++)
			ok &= addr_cmp(&rule->dips[k - 1].addr, &rule->dips[k].addr) < 0;
	}
	vip_free(again);
	json_decref(json);
	return ok;
}

/* One definition, changed a little at a time in all sorts of ways: it is either
 * taken and whole, or refused with a sentence and nothing else.
 */
TEST(any_json)
{
	int taken = 0, refused = 0, round, changes;
	json_t *good = parse(GOOD), *json, *before;
	struct vip *vip;
	struct err e;
	int ret;

	random_state = 1;
	for (round = 0; round < 20000; round++) {
		json = json_deep_copy(good);
		for (changes = 1 + rnd(4); changes; changes--)
			mutate(json);
		before = json_deep_copy(json);
		vip = NULL;
		e.text[0] = '\0';
		ret = vip_from_json(json, &vip, &e);
		ASSERT_TRUE(json_equal(before, json));
		if (ret) {
			ASSERT_LT(ret, 0);
			ASSERT_EQ(NULL, vip);
			ASSERT_GT(strlen(e.text), 12) {
				TH_LOG("round %d: refused with \"%s\"", round, e.text);
			}
			refused++;
		} else {
			ASSERT_NE(NULL, vip);
			ASSERT_STREQ("", e.text);
			ASSERT_TRUE(sane(vip)) {
				TH_LOG("round %d", round);
			}
			vip_free(vip);
			taken++;
		}
		json_decref(before);
		json_decref(json);
	}
	json_decref(good);
	/* both ways were tried, not one of them only */
	EXPECT_GT(taken, 1000);
	EXPECT_GT(refused, 5000);
	EXPECT_EQ(0, leaks());
}

/* Bytes of a definition changed, as a broken client or disk would */
TEST(any_bytes)
{
	char text[1024], *p;
	int loaded = 0, round, changes;
	struct vip *vip;
	json_t *json;
	struct err e;

	random_state = 2;
	for (round = 0; round < 20000; round++) {
		strcpy(text, GOOD);
		for (p = text; *p; p++)
			if (*p == '\'')
				*p = '"';
		for (changes = 1 + rnd(4); changes; changes--)
			text[rnd(strlen(GOOD))] = " \"0123456789.:-,[]{}anulx\x80"[rnd(27)];
		json = json_loadb(text, strlen(GOOD), JSON_DECODE_ANY, NULL);
		if (!json)
			continue;
		loaded++;
		vip = NULL;
		e.text[0] = '\0';
		if (vip_from_json(json, &vip, &e)) {
			ASSERT_EQ(NULL, vip);
			ASSERT_GT(strlen(e.text), 12);
		} else {
			ASSERT_TRUE(sane(vip));
			vip_free(vip);
		}
		json_decref(json);
	}
	EXPECT_GT(loaded, 2000);
	EXPECT_EQ(0, leaks());
}

TEST_HARNESS_MAIN
